"""The verbs that ask for something: `send`, `signal`, `cancel`, `retry`, `undo` and their like."""

from __future__ import annotations

import argparse
from typing import Any

from batuta.cli.client import Client, asking
from batuta.cli.out import Out, clean
from batuta.cli.run import ENDED, wait_for
from batuta.cli.values import json_value, loose_value


def send(args: argparse.Namespace, out: Out) -> int:
    """Send an event."""
    data = None if args.data is None else json_value(args.data, "--data")
    event: dict[str, Any] = {"type": args.type, "source": args.source, "data": data}
    if args.id:
        event["id"] = args.id
    with asking(args) as client:
        answer = client.submit("event.send", args.subject, event)
        if out.json:
            out.value(answer)
        else:
            about = f" about {clean(args.subject)}" if args.subject else ""
            out.done("Sent", f"{clean(args.type)}{about}")
            out.line(str(answer["id"]))
        _unserved(client, out, "what it starts goes on with the next `batuta up`")
    return 0


def signal(args: argparse.Namespace, out: Out) -> int:
    """Send a signal to a run."""
    value = None if args.value is None else loose_value(args.value, "the value")
    return _ask(args, out, "run.signal", {"name": args.name, "value": value}, "Signalled")


def cancel(args: argparse.Namespace, out: Out) -> int:
    """Cancel a run."""
    return _ask(args, out, "run.cancel", {"reason": args.reason}, "Asked to cancel")


def terminate(args: argparse.Namespace, out: Out) -> int:
    """Stop a run at once."""
    return _ask(args, out, "run.terminate", {"reason": args.reason}, "Terminated")


def retry(args: argparse.Namespace, out: Out) -> int:
    """Go on with a failed run."""
    return _ask(args, out, "run.retry", {}, "Retried")


def redrive(args: argparse.Namespace, out: Out) -> int:
    """Go on with an execution of a state machine."""
    return _ask(args, out, "run.retry", {}, "Redriven")


def fork(args: argparse.Namespace, out: Out) -> int:
    """Start a run anew from one of its steps."""
    data = {"key": args.key} | ({"id": args.new_id} if args.new_id else {})
    return _ask(args, out, "run.fork", data, "Forked")


def undo(args: argparse.Namespace, out: Out) -> int:
    """Undo what a run did."""
    return _ask(args, out, "run.undo", {}, "Undoing")


def query(args: argparse.Namespace, out: Out) -> int:
    """Ask a run a question."""
    values = [loose_value(text, f"argument {n}") for n, text in enumerate(args.args, 1)]
    with asking(args) as client:
        out.value(client.query(args.id, args.name, values))
    return 0


def _ask(args: argparse.Namespace, out: Out, type: str, data: dict[str, Any], verb: str) -> int:
    """Ask something of a run; a new run that comes of it is printed, and waited for on request."""
    with asking(args) as client:
        # Without a server nobody else does what was asked, so it is done here.
        wait = getattr(args, "wait", False) or (not client.served and type in FINISHED_HERE)
        before = client.head() if wait else 0
        answer = client.submit(type, args.id, data)
        if type in ENDING and answer.get("status") in ENDED:
            return _ended(args.id, answer, out, ENDING[type])
        made = answer.get("id")
        new = made if made and made != args.id else None
        if not (out.json and wait):
            _say(args.id, new, answer, out, verb)
        if wait:
            wanted, word = WANTED.get(type, ("completed", ""))
            return wait_for(client, new or args.id, out, after=before, wanted=wanted, word=word)
        if type != "run.terminate":
            _unserved(client, out, "the run goes on with the next `batuta up`")
    return 0


def _say(id: str, new: str | None, answer: dict[str, Any], out: Out, verb: str) -> None:
    if out.json:
        out.value({"id": id} | answer)
        return
    out.done(verb, clean(id) + (f" as {clean(new)}" if new else ""))
    if new:
        out.line(new)


def _ended(id: str, answer: dict[str, Any], out: Out, wanted: str) -> int:
    """It was over before it could be stopped: nothing is done, and that is said."""
    if out.json:
        out.value(answer)
    elif answer["status"] == wanted:
        out.done(wanted.capitalize(), clean(id))
    else:
        out.note(f"Nothing to do: run {clean(id)} has ended before ({answer['status']})")
    return 0


ENDING = {"run.cancel": "cancelled", "run.terminate": "terminated"}
WANTED = {"run.cancel": ("cancelled", "Cancelled"), "run.undo": ("cancelled", "Undone")}
FINISHED_HERE = ("run.cancel", "run.retry", "run.fork", "run.undo")


def _unserved(client: Client, out: Out, then: str) -> None:
    if not client.served:
        out.note(f"No server runs on {client.shown}: {then}")
