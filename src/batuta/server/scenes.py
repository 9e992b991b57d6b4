"""What each page shows, read from the journal: folds and lists, nothing that decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batuta.kernel.errors import NotFound
from batuta.kernel.event import Event
from batuta.kernel.journal import Journal
from batuta.server.drawing import draw, drawing
from batuta.server.flow_graph import Ran, ran
from batuta.workflow.view import (
    ENDED,
    RunView,
    Timeline,
    TimelineRow,
    run_view,
    search,
    sentence,
    timeline,
    why_chain,
)

RUN_TYPES = ("run.*", "attributes.set", "signal.received", "patch.marked")
WHOLE_EVENTS = 2000  # a run with up to so many events is read as a whole
WINDOW_EVENTS = 400  # of a longer one, a page shows so many
ROWS = 200
STATES_SHOWN = 200
JOURNAL_ROWS = 40
WHY_LINES = 14
PAGE_ROWS = 50
EVENT_ROWS = 100
Scene = dict[str, Any]


# -- runs --------------------------------------------------------------------------------------


def runs_scene(
    journal: Journal,
    statuses: Sequence[str],
    workflow: str,
    text: str,
    attributes: Mapping[str, str | int | float | bool],
    cursor: str,
) -> Scene:
    """A page of the list of runs, with the counts per status."""
    counts: dict[str, int] = {}
    names: set[str] = set()
    for (name, status), count in journal.counts("run").items():
        names.add(name)
        if not workflow or name == workflow:
            counts[status] = counts.get(status, 0) + count
    page = search(
        journal, statuses=statuses, workflow=workflow, text=text, attributes=attributes,
        cursor=cursor or None, limit=PAGE_ROWS,
    )  # fmt: skip
    return {
        "rows": page.rows, "next": page.next, "counts": counts, "total": sum(counts.values()),
        "workflows": sorted(names),
    }  # fmt: skip


# -- one run -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a run's history: its events, and where the part before it ends."""

    events: list[Event]
    older: int | None
    newest: bool


def run_scene(
    journal: Journal, id: str, *, now: int, before: int | None = None, page: int = 1
) -> Scene:
    """A run: header, graph, timeline, journal, why. Raises `NotFound`."""
    window = _window(journal, id, before)
    view = _view(journal, id, window)
    if view.status == "unknown":
        raise NotFound(
            f"there is no run `{id[:100]}`", hint="look for it in the list of runs: it may have"
            " been removed when its time of keeping was over",
        )  # fmt: skip
    first = (page - 1) * ROWS
    line = timeline(view, None if view.status in ENDED else now, offset=first, limit=ROWS + 1)
    more = len(line.rows) > ROWS
    states = _ran(view, window)
    return {
        "run": view,
        "line": _from_window(line, view, window),
        "rows": line.rows[:ROWS],
        "drawing": drawing(view) if states is None or states.graph is None else draw(states.graph),
        "states": [] if states is None else states.rows[:STATES_SHOWN],
        "more_states": 0 if states is None else max(0, len(states.rows) - STATES_SHOWN),
        "older": window.older,
        "newest": window.newest,
        "page": page,
        "next_page": page + 1 if more else None,
        "events": _told(journal, window.events[: -JOURNAL_ROWS - 1 : -1]),
        "hidden": len(window.events) > JOURNAL_ROWS or window.older is not None,
        "why": why_chain(journal, id, limit=WHY_LINES),
        "signal": next((n.name for n in view.nodes.values() if _waits_for_signal(n)), ""),
        "children": journal_children(view),
    }


def _ran(view: RunView, window: Window) -> Ran | None:
    """The states of an execution that is read as a whole."""
    whole = window.older is None and window.newest
    return ran(view, window.events) if whole else None


def _waits_for_signal(node: Any) -> bool:
    return bool(node.kind == "signal" and node.status == "waiting")


def journal_children(view: RunView) -> list[str]:
    """The ids of the child runs that the window shows."""
    return [node.child for node in view.nodes.values() if node.child]


def _window(journal: Journal, id: str, before: int | None) -> Window:
    events = journal.read(subject=id, before=before, newest_first=True, limit=WHOLE_EVENTS + 1)
    if len(events) <= WHOLE_EVENTS:
        return Window(events[::-1], None, before is None)
    part = events[:WINDOW_EVENTS]
    return Window(part[::-1], part[-1].seq, before is None)


def _view(journal: Journal, id: str, window: Window) -> RunView:
    """The fold of the window and of the run's own events outside of it."""
    events = window.events
    if window.older is not None or not window.newest:
        known = {event.seq for event in events}
        own = journal.read(subject=id, types=RUN_TYPES)
        events = sorted([*events, *(e for e in own if e.seq not in known)], key=lambda e: e.seq)
    view = run_view(events)
    if not window.newest:
        record = journal.record("run", id)
        if record is not None and view.status not in ENDED:
            view.status = record.status
    return view


def _from_window(line: Timeline, view: RunView, window: Window) -> Timeline:
    """The span of time that the bars share: the run's, or the window's where it is a part."""
    if (window.older is None and window.newest) or not line.rows:
        return line
    spans = [span for row in line.rows for span in row.spans]
    return Timeline(min(s.started for s in spans), max(s.ended for s in spans), line.rows)


def bars(line: Timeline, row: TimelineRow) -> list[dict[str, Any]]:
    """The bars of a row in thousandths of the width."""
    found = []
    for span in row.spans:
        left = line.share(span.started) * 1000
        right = line.share(span.ended) * 1000
        found.append(
            {
                "x": round(min(left, 996), 1), "width": round(max(right - left, 4), 1),
                "outcome": span.outcome, "number": span.number,
                "took": span.ended - span.started,
            }
        )  # fmt: skip
    return found


# -- events ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Told:
    """An event with the sentence that it says."""

    event: Event
    sentence: str


def _told(journal: Journal, events: Sequence[Event]) -> list[Told]:
    known = {event.seq: event for event in events}
    return [Told(event, sentence(event, known.get(event.cause_seq or 0))) for event in events]


def events_scene(journal: Journal, types: Sequence[str], subject: str, before: int | None) -> Scene:
    """A page of events, the newest first."""
    found = journal.read(
        limit=EVENT_ROWS + 1, before=before, types=types, subject=subject or None,
        newest_first=True,
    )  # fmt: skip
    shown = found[:EVENT_ROWS]
    older = shown[-1].seq if len(found) > EVENT_ROWS else None
    return {"events": _told(journal, shown), "older": older}


def event_scene(journal: Journal, seq: int) -> Scene:
    """One event with its cause and its consequences. Raises `NotFound`."""
    event = journal.event(seq) if 0 < seq < 2**63 else None
    if event is None:
        raise NotFound(f"there is no event #{seq}", hint="events have numbers from 1 on")
    cause = journal.event(event.cause_seq) if event.cause_seq else None
    return {
        "event": event, "sentence": sentence(event, cause),
        "cause": _told(journal, [cause])[0] if cause else None,
        "consequences": _told(journal, journal.consequences(seq)[:ROWS]),
    }  # fmt: skip
