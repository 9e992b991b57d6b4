"""The verbs that look at runs: `ps`, `show`, `why`."""

from __future__ import annotations

import argparse
import importlib
import os
from pathlib import Path
from typing import Any

from batuta.cli.client import Row, reading
from batuta.cli.out import Cell, Column, Node, Out, ago, brief, clean, clock, now, span, stamp
from batuta.cli.values import attributes

SIGNS = {
    "completed": ("✓", "green"),
    "failed": ("✗", "red"),
    "cancelled": ("-", "yellow"),
    "terminated": ("-", "magenta"),
    "expired": ("!", "yellow"),
    "running": (">", "blue"),
    "retrying": ("~", "yellow"),
    "waiting": ("·", "cyan"),
}
OPEN = ("running", "retrying", "waiting")
INPUT_WIDTH = 100
EVENTS_MAX = 1_000_000
INDENT = 16  # what stands before a value, in a tree that is not deep

RUN_COLUMNS = (
    Column("status"),
    Column("run"),
    Column("workflow", shrink=True),
    Column("started"),
    Column("took", right=True),
    Column("reason", shrink=True),
)


# -- ps ----------------------------------------------------------------------------------------


def ps(args: argparse.Namespace, out: Out) -> int:
    """List runs."""
    wanted = [word for text in args.status for word in text.split(",") if word]
    with reading(args) as client:
        rows = client.runs(
            statuses=wanted,
            workflow=args.workflow,
            text=args.text,
            attributes=attributes(args.attr),
            limit=args.limit,
        )
    if out.json:
        for row in rows:
            out.value(row)
        return 0
    if not rows:
        out.note("There are no such runs" if _filtered(args) else "There are no runs yet")
        return 0
    at = now()
    out.table(RUN_COLUMNS, [run_cells(row, at, out) for row in rows])
    if len(rows) == args.limit:
        out.note(out.tint(f"The newest {args.limit}; --limit shows more", "grey"))
    return 0


def _filtered(args: argparse.Namespace) -> bool:
    return bool(args.status or args.workflow or args.text or args.attr)


def run_cells(row: Row, at: int, out: Out) -> list[str | Cell]:
    """A run as a line of a table."""
    ended = row["ended"]
    reason = row["reason"]
    if row["status"] == "sleeping" and row.get("wake"):
        reason = f"{reason}, wakes {ago(row['wake'], at)}".removeprefix(", ")
    return [
        out.status(row["status"]),
        row["id"],
        row["workflow"],
        ago(row["started"], at),
        span((ended or at) - row["started"]),
        " ".join(reason.split()),
    ]


# -- show --------------------------------------------------------------------------------------


def show(args: argparse.Namespace, out: Out) -> int:
    """Show one run."""
    with reading(args) as client:
        view = client.run(args.id)
        began = client.events(0, 1, types=("run.started",), subject=view["id"])
        shower: Any = None
        if began and began[0].data.get("machine"):
            # Only here is the interpreter needed, whose loading takes its time.
            shower = importlib.import_module("batuta.cli.states")
            journal = client.events(0, EVENTS_MAX, subject=view["id"])
            view["states"] = shower.rows_of(journal, view)
    if out.json:
        out.value(view)
        return 0
    at = now()
    out.tree([run_tree(view, out, at, full=args.full)])
    if shower is not None:
        width = _width(out, full=args.full)
        out.tree([shower.states_tree(view["states"], out, at, width=width)])
    return 0


def _width(out: Out, *, full: bool) -> int | None:
    """How wide values are shown."""
    return None if full else min(INPUT_WIDTH, max(40, (out.width or INPUT_WIDTH) - INDENT))


def run_tree(view: Row, out: Out, at: int, *, full: bool = False) -> Node:
    """A run's history as a tree.

    Parameters
    ----------
    view: as `view.as_json` has it.
    at: the present time, ns.
    full: nothing is cut, and failures have their tracebacks.
    """
    status = out.paint(view["status"], out.status(view["status"]).colour)
    took = span((view["ended"] or at) - view["started"])
    timing = f"took {took}" if view["ended"] else f"for {took}"
    head = f"{status} {out.paint(clean(view['id']), 'bold')} {clean(view['workflow'])} {timing}"
    width = _width(out, full=full)
    return Node(
        head,
        _run_notes(view, out, at, width),
        [_operation(node, out, at, width) for node in view["steps"]],
    )


def _run_notes(view: Row, out: Out, at: int, width: int | None) -> list[str]:
    facts: list[tuple[str, str]] = []
    if view["reason"]:
        facts.append(("because", clean(" ".join(view["reason"].split()))))
    facts.append(("started", f"{stamp(view['started'])} ({ago(view['started'], at)})"))
    if view["definition"]:
        facts.append(("defined", shown_at(view["definition"])))
    facts += [
        (name.replace("_", " "), brief(view[name], width))
        for name in ("parent", "trigger", "continued_as")
        if view.get(name)
    ]
    if view.get("attributes"):
        facts.append(("attributes", brief(view["attributes"], width)))
    if view.get("deadline"):
        facts.append(("deadline", f"{stamp(view['deadline'])} ({ago(view['deadline'], at)})"))
    if _has_input(view["input"]):
        facts.append(("input", _call(view["input"], width)))
    if view["status"] == "completed":
        facts.append(("result", brief(view["result"], width)))
    facts += [("signal", f"{s['name']} {brief(s['value'], width)}") for s in view["signals"]]
    notes = _facts(facts, out)
    if width is None:
        notes += _traceback(view.get("error"))
    return notes


def _facts(facts: list[tuple[str, str]], out: Out) -> list[str]:
    room = max((len(name) for name, _ in facts), default=0)
    return [f"{out.paint(name.ljust(room), 'grey')} {text}" for name, text in facts]


def _has_input(value: Any) -> bool:
    return bool(value and (value.get("args") or value.get("kwargs") or "args" not in value))


def _call(value: Any, width: int | None) -> str:
    """Arguments as they were given: one alone as itself, several as in a call."""
    if not isinstance(value, dict) or "args" not in value:
        return brief(value, width)
    texts = [brief(each, width) for each in value["args"]]
    texts += [f"{name}={brief(each, width)}" for name, each in value["kwargs"].items()]
    text = ", ".join(texts)
    return text if width is None or len(text) <= width else text[: width - 1] + "…"


def _operation(node: Row, out: Out, at: int, width: int | None) -> Node:
    """One operation with what is below it."""
    sign, colour = SIGNS.get(node["status"], ("?", ""))
    name = f"undo {clean(node['name'])}" if node["undoes"] else clean(node["name"])
    kind = "" if node["kind"] in ("function", "parallel", "branch") else f"{node['kind']} "
    parts = [out.paint(sign, colour), out.paint(node["key"], "grey"), f"{kind}{name}"]
    parts.append(_timing(node, out, at))
    if len(node["attempts"]) > 1:
        parts.append(f"({len(node['attempts'])} attempts)")
    children = [_operation(child, out, at, width) for child in node["children"]]
    return Node(" ".join(parts), _operation_notes(node, out, at, width), children)


def _timing(node: Row, out: Out, at: int) -> str:
    """`12 ms`, `failed after 3 s`, `waiting for 2 min`: how it ended or stands, and how long."""
    status = node["status"]
    said = "" if status == "completed" and node["kind"] != "child" else f"{status} "
    if not node["started"]:
        return out.paint(status, SIGNS.get(status, ("", ""))[1])
    took = span((node["ended"] or at) - node["started"])
    word = "" if status == "completed" else "after " if node["ended"] else "for "
    return out.paint(said, SIGNS.get(status, ("", ""))[1]) + out.paint(f"{word}{took}", "grey")


def _operation_notes(node: Row, out: Out, at: int, width: int | None) -> list[str]:
    facts: list[tuple[str, str]] = []
    if _has_input(node["input"]) and node["kind"] != "timer":
        facts.append(("in", _call(node["input"], width)))
    if node["child"]:
        facts.append(("run", node["child"]))
    if node["due"] and node["status"] in OPEN:
        facts.append(("due", f"{stamp(node['due'])} ({ago(node['due'], at)})"))
    if node["status"] == "completed" and node["output"] is not None:
        facts.append(("out", brief(node["output"], width)))
    facts += [
        (f"try {each['number']}", _attempt(each, at, width))
        for each in node["attempts"]
        if each["error"]
    ]
    if node["error"] and not node["attempts"]:
        facts.append(("error", error_text(node["error"], width)))
    notes = _facts(facts, out)
    if width is None:
        notes += _traceback(node["error"])
    return notes


def _attempt(attempt: Row, at: int, width: int | None) -> str:
    text = error_text(attempt["error"], width)
    took = span((attempt["ended"] or at) - (attempt["started"] or attempt["asked"]))
    again = ""
    if attempt["retry_at"] is not None:
        again = f", again {ago(attempt['retry_at'], at)}" if attempt["retry_at"] > at else ", again"
    return f"{text} after {took}{again}"


def error_text(error: Row, width: int | None) -> str:
    """An error in one line: `ValueError: what it said`."""
    kind = str(error.get("type", "")).rpartition(":")[2]
    message = str(error.get("message", ""))
    text = " ".join((f"{kind}: {message}" if kind else message).split())
    return clean(text if width is None or len(text) <= width else text[: width - 1] + "…")


def _traceback(error: Row | None) -> list[str]:
    return [f"  {clean(line)}" for line in str((error or {}).get("traceback") or "").splitlines()]


def shown_at(at: str) -> str:
    """`file:line` with the file relative to the present folder where it is below it."""
    file, colon, line = at.rpartition(":")
    if not colon:
        return at
    path, here = Path(file), Path(os.getcwd())
    return f"{path.relative_to(here)}:{line}" if path.is_relative_to(here) else at


# -- why ---------------------------------------------------------------------------------------


def why(args: argparse.Namespace, out: Out) -> int:
    """Print the chain of causes."""
    with reading(args) as client:
        chain = client.why(args.id)
    for link in chain:
        if out.json:
            out.value(link)
    if not out.json:
        for line in why_lines(chain, out):
            out.line(line)
    return 0


def why_lines(chain: list[Row], out: Out) -> list[str]:
    """The chain of causes, the newest first, ending with the definition."""
    room = max((len(str(link["seq"])) for link in chain if link["seq"]), default=1) + 1
    lines = []
    for link in chain:
        seq = f"#{link['seq']}" if link["seq"] else ""
        when = clock(link["time"]) if link["time"] else " " * 12
        head = f"{out.paint(seq.rjust(room), 'grey')}  {out.paint(when, 'grey')}"
        text = clean(link["sentence"])
        if link["seq"] is None and link["at"]:
            text = text.replace(link["at"], out.paint(shown_at(link["at"]), "cyan"))
        lines.append(f"{head}  {text}".rstrip())
    return lines
