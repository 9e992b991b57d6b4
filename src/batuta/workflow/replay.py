"""Which part of a run's history still holds after it was retried, and what a fork takes over."""

from __future__ import annotations

from typing import Any

from batuta.kernel.errors import Conflict, NotFound
from batuta.kernel.event import Event, Link, Record

ASKS = ("step.asked", "step.performed")


def effective(history: list[Event]) -> list[Event]:
    """The events that still count: a retry takes back the failure that it retries, and
    everything that followed from it."""
    kept: list[Event] = []
    for event in history:
        if event.type == "run.retried" and event.data.get("from"):
            kept = _until(kept, event.data["from"])
        kept.append(event)
    return kept


ASKINGS = ("step.asked", "timer.set", "wait.set", "child.asked")
OF_RUNS = (
    "run.", "step.", "timer.", "wait.", "signal.received", "child.", "event.emitted",
    "patch.marked", "attributes.set",
)  # fmt: skip
ARRIVED = ("step.completed", "wait.met", "child.ended", "signal.received")


def _until(history: list[Event], start: int) -> list[Event]:
    """What counts when everything from `start` on is taken back.

    Operations that failed for good there, and children that were cancelled for that, are
    asked for anew. What came in at the same time for other operations stays: a step with a
    recorded outcome is not performed again, a signal is not lost.
    """
    failed = next(event for event in history if event.seq >= start)
    before = [event for event in history if event.seq < start]
    behind = [event for event in history if event.seq >= start]
    children = {event.data["key"] for event in before if event.type == "child.asked"}
    anew = {event.data["key"] for event in behind if _final(event) and event.type == "step.failed"}
    anew |= {
        event.data["key"]
        for event in behind
        if event.type == "wait.cancelled" and event.data["key"] in children
    }
    asked = {event.data["key"] for event in before if event.type in ASKINGS} - anew
    arrived = [
        event
        for event in behind
        if (
            event.type in ARRIVED
            and not _final(event)
            and (event.type == "signal.received" or event.data["key"] in asked)
        )
        or (event.type == "step.performed" and not _asked_behind(event, failed))
    ]
    return [
        e for e in before if e.type.startswith("run.") or e.data.get("key") not in anew
    ] + arrived


def _final(event: Event) -> bool:
    """Whether an operation failed for good."""
    if event.type == "step.failed":
        return event.data.get("retry_at") is None
    return event.type == "child.ended" and event.data["status"] == "failed"


def retry_point(history: list[Event], record: Record) -> dict[str, Any]:
    """Where a failed or parked run goes on: `{from: seq, children: ids}`, the first of the
    failures that ended it, and the children that failed and are to be retried as well.

    Raises `Conflict` where its steps were compensated already.
    """
    if record.status == "parked":
        return {"from": None}
    ended = next(event for event in reversed(history) if event.type == "run.failed")
    undone = [event for event in history if event.type in ASKS and event.data.get("undoes")]
    if undone:
        raise Conflict(
            f"run `{record.id}` cannot be retried: its steps were compensated",
            hint=f"start it again, or `batuta fork {record.id} KEY` from a step before",
        )
    failed: list[Event] = []
    for event in history:
        if _final(event):
            failed.append(event)
        elif failed and _asked_behind(event, failed[0]):
            failed.clear()  # they were caught: the workflow went on behind them
    if not failed:
        return {"from": ended.seq}
    point: dict[str, Any] = {"from": failed[0].seq, "key": failed[0].data["key"]}
    children = [event.data["id"] for event in failed if event.type == "child.ended"]
    return {**point, "children": children} if children else point


def _asked_behind(event: Event, failed: Event) -> bool:
    """Whether the workflow asked for something after a failure."""
    if event.type == "step.performed":
        return bool(event.data["asked"] >= failed.time)
    return event.type in ASKINGS


def forked(
    history: list[Event], key: str, new: str, partition: int, cause: Event | int | None, now: int
) -> list[Event]:
    """Copies of the events before operation `key` was asked for, as the history of a new run."""
    # Users' events, and the delivery that started the run, may be about the same subject.
    history = [event for event in history if event.type.startswith(OF_RUNS)]
    until = next((at for at, event in enumerate(history) if event.data.get("key") == key), None)
    if until is None:
        keys = [event.data["key"] for event in history if event.type in ASKS]
        raise NotFound(
            f"run `{history[0].subject}` has no operation `{key}`",
            hint=f"it has: {', '.join(dict.fromkeys(keys)) or 'none'}",
        )
    old = history[0].subject
    copies: dict[int, Event] = {}
    left_out = ("run.cancel_asked", "run.retried", "run.parked")
    ended = {e.data["key"] for e in history[:until] if e.type == "child.ended"}
    taken = [
        event
        for event in history[:until]
        if event.type not in left_out
        # A child that has not ended would tell the old run: the new one asks for its own.
        and (event.type != "child.asked" or event.data["key"] in ended)
    ]
    for event in taken:
        before = event.cause_seq
        # A cause inside the old run is that event's copy; one from outside stays the link.
        led = copies.get(before, cause) if before else cause
        command = event.command
        copy = Event(
            event.type, new, event.data, led, now if event.type == "run.started" else event.time,
            new + command[len(old) :] if command else None, partition,
        )  # fmt: skip
        copies[event.seq] = copy
    first = copies[history[0].seq]
    first.links = (Link("supersedes", history[0].seq),)
    first.data = {
        name: value for name, value in first.data.items() if name not in ("parent", "trigger")
    } | {"forked": {"run": old, "key": key}}
    if first.data.get("deadline") is not None:
        first.data["deadline"] += now - history[0].time
    return list(copies.values())
