"""The verbs that print what happened line by line: `logs`, `events`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from batuta.cli.client import Reader, Row, reading
from batuta.cli.out import Out, brief, clean, clock
from batuta.cli.run import ENDED
from batuta.kernel.errors import NotFound
from batuta.kernel.event import Event
from batuta.workflow.view import sentence

OUTPUT = re.compile(r"(\S+Z) (\S+) (out|err) ?(.*)", re.DOTALL)
OUTPUT_TICKS = 5


class Printed(NamedTuple):
    """A line that a step printed: when (ns), which attempt, to which stream, what."""

    time: int
    place: str
    stream: str
    text: str


# -- logs --------------------------------------------------------------------------------------


def logs(args: argparse.Namespace, out: Out) -> int:
    """Print a run's events and what its steps printed, in the order of time."""
    with reading(args) as client:
        events = _all(client, args.id)
        if not events and not args.follow:
            raise NotFound(f"nothing happened to `{args.id}`", hint="`batuta ps` lists the runs")
        seen = client.output(args.id)
        asked: dict[str, Event] = {}
        _print(events, seen, out, asked)
        if not args.follow or _ended(events):
            return 0
        return _go_on(client, args.id, events[-1].seq if events else 0, len(seen), out, asked)


def _all(client: Reader, id: str) -> list[Event]:
    found: list[Event] = []
    while True:
        page = client.events(found[-1].seq if found else 0, 1000, subject=id)
        found += page
        if len(page) < 1000:
            return found


def _ended(events: list[Event]) -> bool:
    last = [e.type.removeprefix("run.") for e in events if e.type.startswith("run.")]
    return bool(last) and last[-1] in ENDED


def _go_on(
    client: Reader, id: str, after: int, seen: int, out: Out, asked: dict[str, Event]
) -> int:
    for ticks, event in enumerate(client.follow(after, subject=id), 1):
        ended = event is not None and _ended([event])
        if ended or ticks % OUTPUT_TICKS == 0 or event is not None:
            lines = client.output(id)
            _print([], lines[seen:], out, asked)
            seen = len(lines)
        if event is not None:
            _print([event], [], out, asked)
        if ended:
            return 0
    return 0


def _print(
    events: Iterable[Event], lines: Iterable[str], out: Out, asked: dict[str, Event]
) -> None:
    """Print both in the order of time; `asked` keeps the askings, which lend outcomes a name."""
    printed = [found for line in lines if (found := printed_line(line))]
    merged: list[Event | Printed] = sorted([*events, *printed], key=lambda each: each.time)
    for each in merged:
        if isinstance(each, Event):
            out.value(event_json(each)) if out.json else out.line(_event_line(each, out, asked))
        elif out.json:
            out.value(each._asdict())
        else:
            mark = out.paint(f"{each.place} {'|' if each.stream == 'out' else '!'}", "grey")
            out.line(f"{out.paint(clock(each.time), 'grey')}  {mark} {clean(each.text)}")


def _event_line(event: Event, out: Out, asked: dict[str, Event]) -> str:
    place = (event.command or "").rpartition("/")[2]
    if event.type == "step.asked" and event.command:
        asked[event.command] = event
    text = sentence(event, asked.get(event.command or ""))
    colour = "red" if event.type in ("step.failed", "run.failed") else ""
    where = out.paint(f" [{place}]", "grey") if place else ""
    return f"{out.paint(clock(event.time), 'grey')}  {out.paint(clean(text), colour)}{where}"


def printed_line(line: str) -> Printed | None:
    """A line of a run's output file; None for what is none."""
    found = OUTPUT.fullmatch(line)
    if found is None:
        return None
    try:
        moment = datetime.fromisoformat(found[1])
    except ValueError:
        return None
    whole = int(moment.timestamp()) * 1_000_000_000
    return Printed(whole + moment.microsecond * 1000, found[2], found[3], found[4])


# -- events ------------------------------------------------------------------------------------


def events(args: argparse.Namespace, out: Out) -> int:
    """List events, and go on with new ones on request."""
    with reading(args) as client:
        after = args.after
        wanted = {"types": args.type, "subject": args.subject}
        if after is None:
            found = client.events(0, args.limit, newest_first=True, **wanted)[::-1]
        else:
            found = client.events(after, args.limit, **wanted)
        for event in found:
            _print_event(event, out)
        if not args.follow:
            if not found:
                out.note("There are no such events")
            return 0
        behind = found[-1].seq if found else after if after is not None else client.head()
        for new in client.follow(behind, **wanted):
            if new is not None:
                _print_event(new, out)
    return 0


def _print_event(event: Event, out: Out) -> None:
    if out.json:
        out.value(event_json(event))
        return
    head = f"{out.paint(f'#{event.seq}'.rjust(7), 'grey')}  {out.paint(clock(event.time), 'grey')}"
    data = brief(event.data, None if out.width is None else 60)
    out.line(f"{head}  {clean(event.type)}  {clean(event.subject)}  {out.paint(data, 'grey')}")


def event_json(event: Event) -> Row:
    """An event for programs; `time` in ns since 1970-01-01 UTC."""
    return {
        "seq": event.seq,
        "time": event.time,
        "type": event.type,
        "subject": event.subject,
        "cause": event.cause_seq,
        "command": event.command,
        "data": event.data,
    }
