"""Which part of a run's history still holds after it was retried, and what a fork takes over."""

from __future__ import annotations

from typing import Any

from batuta.kernel.errors import Conflict, NotFound
from batuta.kernel.event import Event, Link, Record


def effective(history: list[Event]) -> list[Event]:
    """The events that still count: a retry takes back the failure that it retries, and
    everything that followed from it."""
    kept: list[Event] = []
    for event in history:
        if event.type == "run.retried" and event.data.get("from"):
            start, key = event.data["from"], event.data.get("key")
            kept = [e for e in kept if e.seq < start and (not key or e.data.get("key") != key)]
        kept.append(event)
    return kept


def retry_point(history: list[Event], record: Record) -> dict[str, Any]:
    """Where a failed or parked run goes on: `{from: seq, key}` of the step that failed.

    Raises `Conflict` where its steps were compensated already.
    """
    if record.status == "parked":
        return {"from": None}
    ended = next(event for event in reversed(history) if event.type == "run.failed")
    undone = [
        event for event in history if event.type == "step.asked" and event.data.get("undoes")
    ]
    if undone:
        raise Conflict(
            f"run `{record.id}` cannot be retried: its steps were compensated",
            hint=f"start it again, or `batuta fork {record.id} KEY` from a step before",
        )
    failed = [
        event
        for event in history
        if event.type == "step.failed" and event.data.get("retry_at") is None
    ]
    if not failed or _goes_on_after(history, failed[-1]):
        return {"from": ended.seq}
    return {"from": failed[-1].seq, "key": failed[-1].data["key"]}


def _goes_on_after(history: list[Event], failed: Event) -> bool:
    """Whether the workflow caught that failure and did something else behind it."""
    return any(event.type == "step.asked" and event.seq > failed.seq for event in history)


def forked(
    history: list[Event], key: str, new: str, partition: int, cause: Event | int | None, now: int
) -> list[Event]:
    """Copies of the events before operation `key` was asked for, as the history of a new run."""
    until = next((at for at, event in enumerate(history) if event.data.get("key") == key), None)
    if until is None:
        keys = [event.data["key"] for event in history if event.type == "step.asked"]
        raise NotFound(
            f"run `{history[0].subject}` has no operation `{key}`",
            hint=f"it has: {', '.join(dict.fromkeys(keys)) or 'none'}",
        )
    old = history[0].subject
    copies: dict[int, Event] = {}
    left_out = ("run.cancel_asked", "run.retried", "run.parked")
    taken = [event for event in history[:until] if event.type not in left_out]
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
    return list(copies.values())
