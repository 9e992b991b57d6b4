"""The verbs that list definitions and dead letters: `workflows`, `schedules`, `dead`."""

from __future__ import annotations

import argparse

from batuta.cli.client import Row, asking, reading
from batuta.cli.look import error_text, shown_at
from batuta.cli.out import Column, Out, ago, brief, clean, now, stamp
from batuta.cli.usage import UsageError
from batuta.kernel.errors import NotFound

WORKFLOWS = (
    Column("workflow"),
    Column("starts", shrink=True),
    Column("runs", right=True),
    Column("defined", shrink=True),
    Column("what it is", shrink=True),
)
SCHEDULES = (
    Column("schedule"),
    Column("when", shrink=True),
    Column("missed"),
    Column("last"),
    Column("next"),
)
LETTERS = (
    Column("delivery"),
    Column("event", shrink=True),
    Column("subject", shrink=True),
    Column("tries", right=True),
    Column("since"),
    Column("error", shrink=True),
)


def workflows(args: argparse.Namespace, out: Out) -> int:
    """List the workflows."""
    with asking(args) as client:
        rows = client.workflows()
    if out.json:
        for row in rows:
            out.value(row)
    elif not rows:
        out.note("There are no workflows here; `batuta check` says what is wrong")
    else:
        out.table(WORKFLOWS, [_workflow(row) for row in rows])
    return 0


def _workflow(row: Row) -> list[str]:
    starts = f"on {row['on']}" if row["on"] else row["schedule"] or "by hand"
    doc = next(iter((row["doc"] or "").splitlines()), "")
    return [row["name"], starts, str(sum(row["runs"].values())), shown_at(row["definition"]), doc]


def schedules(args: argparse.Namespace, out: Out) -> int:
    """List the schedules."""
    with asking(args) as client:
        rows = client.schedules()
    if out.json:
        for row in rows:
            out.value(row)
    elif not rows:
        out.note("There are no schedules; `@every` and `@cron` make them")
    else:
        at = now()
        out.table(SCHEDULES, [_schedule(row, at) for row in rows])
    return 0


def _schedule(row: Row, at: int) -> list[str]:
    last = ago(row["last"], at) if row["last"] else "never"
    next_ = f"{stamp(row['next'])} ({ago(row['next'], at)})" if row["next"] else ""
    return [row["name"], row["expression"], row["missed"], last, next_]


def dead(args: argparse.Namespace, out: Out) -> int:
    """List, show or redrive dead letters."""
    if args.action != "list" and not args.id:
        raise UsageError(f"`dead {args.action}` needs an ID", hint="`batuta dead` lists them")
    if args.action == "redrive":
        with asking(args) as client:
            answer = client.submit("dead.redrive", args.id, {})
        if out.json:
            out.value({"id": args.id} | answer)
        else:
            out.done("Redrove", clean(args.id))
        return 0
    with reading(args) as client:
        rows = client.dead(args.limit if args.action == "list" else 1000)
    if args.action == "show":
        return _show(rows, args.id, out)
    if out.json:
        for row in rows:
            out.value(row)
    elif not rows:
        out.note("There are no dead letters")
    else:
        at = now()
        out.table(LETTERS, [_letter(row, at) for row in rows])
    return 0


def _letter(row: Row, at: int) -> list[str]:
    error = row["error"]
    text = error_text(error, None) if isinstance(error, dict) else str(error or "")
    since = ago(row["ended"] or row["time"], at)
    return [
        row["id"],
        row["type"] or "",
        row["subject"] or "",
        str(row["attempt"] or 1),
        since,
        text,
    ]


def _show(rows: list[Row], id: str, out: Out) -> int:
    found = next((row for row in rows if row["id"] == id), None)
    if found is None:
        raise NotFound(f"there is no dead letter `{id}`", hint="`batuta dead` lists them")
    if out.json:
        out.value(found)
        return 0
    error = found["error"]
    facts = {
        "delivery": found["id"],
        "rule": found["rule"],
        "event": f"{found['type']} {found['subject'] or ''} ({brief(found['event'], 60)})",
        "run": found["run"] or "",
        "tries": str(found["attempt"] or 1),
        "error": error_text(error, None) if isinstance(error, dict) else str(error or ""),
    }
    for name, text in facts.items():
        out.line(f"{out.paint(name.ljust(8), 'grey')} {clean(text)}")
    if isinstance(error, dict):
        for line in str(error.get("traceback") or "").splitlines():
            out.line(f"  {clean(line)}")
    return 0
