"""`batuta run`: start a workflow, show how it goes, print its result."""

from __future__ import annotations

import argparse
from typing import Any

from batuta.cli.client import Client, Row, asking
from batuta.cli.live import Live
from batuta.cli.look import error_text
from batuta.cli.out import Out, clean, now, span
from batuta.cli.usage import FAILED, INTERRUPTED, OK
from batuta.cli.values import attributes, call_values
from batuta.kernel.errors import BatutaError
from batuta.kernel.event import Event

ENDED = ("completed", "failed", "cancelled", "terminated", "continued")
OPENING = ("step.asked", "timer.set", "wait.set", "child.asked")
CLOSING = {
    "step.completed": ("✓", "green"),
    "step.performed": ("✓", "green"),
    "step.failed": ("✗", "red"),
    "step.cancelled": ("-", "yellow"),
    "timer.fired": ("✓", "green"),
    "wait.met": ("✓", "green"),
    "wait.expired": ("!", "yellow"),
    "child.ended": ("✓", "green"),
}
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
SHOWN_OPEN = 8


def run(args: argparse.Namespace, out: Out) -> int:
    """Start a run and follow it to its end."""
    positional, named = call_values(args.args)
    data: Row = {"workflow": args.workflow, "args": positional, "kwargs": named}
    for name in ("priority", "deadline"):
        if getattr(args, name) is not None:
            data[name] = getattr(args, name)
    if args.attr:
        data["attributes"] = attributes(args.attr)
    with asking(args) as client:
        answer = client.submit("run.start", args.id or "", data)
        id = str(answer["id"])
        if args.detach:
            return _detached(client, answer, out)
        steps = out.live or args.follow
        if not answer.get("created", True):
            out.note(f"Run {clean(id)} was started before; this is the same one")
            return wait_for(client, id, out, after=_before_last(client, id), steps=steps)
        if steps:
            out.done("Started", f"{clean(id)} ({clean(args.workflow)})")
        return wait_for(client, id, out, steps=steps)


def _before_last(client: Client, id: str) -> int:
    """Just before what last became of a run: an end that a retry made undone does not count."""
    last = client.events(0, 1, types=("run.*",), subject=id, newest_first=True)
    return last[0].seq - 1 if last else 0


def _detached(client: Client, answer: Row, out: Out) -> int:
    if out.json:
        out.value(answer)
    else:
        out.line(str(answer["id"]))
    if not client.served:
        out.note(f"No server runs on {client.shown}: the run goes on with the next `batuta up`")
    return OK


def wait_for(
    client: Client,
    id: str,
    out: Out,
    *,
    after: int = 0,
    steps: bool = False,
    wanted: str = "completed",
    word: str = "",
) -> int:
    """Follow a run to its end and say how it ended.

    Parameters
    ----------
    after: only what happened behind this event counts; what a retry leaves behind does not.
    steps: say each thing that ends on the way.
    wanted: the end that was asked for. word: what is said then.

    Returns
    -------
    The exit code: 0 where it completed, or ended as was wanted.
    """
    following = Following(out, steps)
    try:
        while True:
            event = following.until_end(client, id, after)
            if event.type != "run.continued":
                return _end(id, event, out, wanted, word)
            id, after = str(event.data["id"]), 0
            out.note(f"It goes on as {clean(id)}")
    except KeyboardInterrupt:
        where = "goes on" if client.served else "goes on with the next `batuta up`"
        out.note(f"Left run {clean(id)}, which {where}; `batuta logs {clean(id)} -f` follows it")
        return INTERRUPTED


def _end(id: str, event: Event, out: Out, wanted: str, word: str) -> int:
    """Print the result, or the error."""
    status = event.type.removeprefix("run.")
    if out.json:
        value: Row = {"id": id, "status": status}
        value |= {k: event.data[k] for k in ("result", "error", "reason") if k in event.data}
        out.value(value)
    elif status == "completed":
        out.value(event.data.get("result"))
    elif status == wanted:
        out.done(word, clean(id))
    else:
        out.error(_failure(id, status, event.data))
    return OK if status in ("completed", wanted) else FAILED


def _failure(id: str, status: str, data: Row) -> BatutaError:
    error = data.get("error")
    why = error_text(error, None) if isinstance(error, dict) else str(data.get("reason") or "")
    word = {"parked": "is parked"}.get(status, f"{'' if status == 'failed' else 'was '}{status}")
    hint = f"`batuta show {clean(id)}` has its history"
    if status in ("failed", "parked"):
        hint += f", `batuta retry {clean(id)}` goes on from there"
    return BatutaError(f"run {clean(id)} {word}" + (f": {why}" if why else ""), hint=hint)


class Following:
    """What is open in a run, drawn while it goes on."""

    def __init__(self, out: Out, steps: bool) -> None:
        self._out = out
        self._steps = steps
        self._open: dict[str, tuple[str, int]] = {}
        self._frame = 0

    def until_end(self, client: Client, id: str, after: int) -> Event:
        """The event that ended the run."""
        with Live(self._out) as live:
            for event in client.follow(after, subject=id):
                if event is None:
                    if live.due:
                        live.show(self._picture())
                    continue
                if event.type.removeprefix("run.") in (*ENDED, "parked"):
                    return event
                self._take(event, live)
        raise AssertionError("a follower goes on for ever")

    def _take(self, event: Event, live: Live) -> None:
        key = str(event.data.get("key", ""))
        if event.type in OPENING:
            self._open[key] = (_name(event), event.time)
        elif event.type in CLOSING:
            name, since = self._open.pop(key, (f"operation {key}", event.time))
            if self._steps:
                live.above(self._ended(event, name, event.time - since), self._picture())

    def _ended(self, event: Event, name: str, took: int) -> str:
        sign, colour = CLOSING[event.type]
        error = event.data.get("error")
        if error and event.type == "child.ended":
            sign, colour = CLOSING["step.failed"]
        text = f"{self._out.tint(sign, colour)} {name} {self._out.tint(span(took), 'grey')}"
        if isinstance(error, dict):
            text += f" {error_text(error, 120)}"
            retry_at = event.data.get("retry_at")
            if retry_at is not None:
                text += f", again in {span(max(0, retry_at - event.time))}"
        return text

    def _picture(self) -> list[str]:
        self._frame += 1
        sign = self._out.tint(SPINNER[self._frame % len(SPINNER)], "blue")
        at = now()
        lines = [
            f"{sign} {name} {self._out.tint(span(at - since), 'grey')}"
            for name, since in [*self._open.values()][:SHOWN_OPEN]
        ]
        more = len(self._open) - SHOWN_OPEN
        return [*lines, f"  and {more} more"] if more > 0 else lines


def _name(event: Event) -> str:
    """What an operation is called while it is open."""
    data: dict[str, Any] = event.data
    attempt = data.get("attempt") or 1
    name = {
        "step.asked": lambda: f"{'undo ' if data.get('undoes') else ''}{data.get('name', '')}",
        "timer.set": lambda: str(data.get("what") or "sleep"),
        "wait.set": lambda: f"{data.get('kind', 'event')} {data.get('name', '')}",
        "child.asked": lambda: f"run {data.get('id', '')}",
    }[event.type]()
    return clean(name + (f" (attempt {attempt})" if attempt > 1 else ""))
