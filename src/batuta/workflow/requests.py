"""What people, rules and other runs can ask of a run, and the events that answer them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from batuta.kernel.errors import Conflict
from batuta.kernel.event import Event, Message, Record
from batuta.kernel.machine import Decision
from batuta.workflow.replay import effective, forked, retry_point
from batuta.workflow.run import ENDED, ended_record

if TYPE_CHECKING:
    from batuta.workflow.runs import Runs

Answer = dict[str, Any]


def _signal(
    runs: Runs, message: Message, record: Record, history: list[Event], into: Decision
) -> Answer:
    if record.status == "continued":
        # The id that people know goes on to mean the run that took over.
        following: str = record.data["next"]
        into.messages.append(
            Message(
                message.id + ">",
                record.partition,
                message.type,
                following,
                message.data,
                message.cause,
                message.time,
            )
        )
        return {"id": following}
    _require(record, "signalled", ("running", "sleeping", "parked"))
    data = {"name": message.data["name"], "value": message.data.get("value"), "id": message.id}
    into.events.append(_event("signal.received", record, data, message))
    return {"id": record.id}


def _cancel(
    runs: Runs, message: Message, record: Record, history: list[Event], into: Decision
) -> Answer:
    if record.status in ENDED:
        return {"id": record.id, "status": record.status}
    if record.status == "parked":
        return _terminate(runs, message, record, history, into)
    known = runs.runs.get(record.id)
    if known is not None and known.cancel_asked is not None:
        # Its cleanup is not to be disturbed; whoever cannot wait for it terminates the run.
        return {"id": record.id, "status": "cancelling"}
    data = {"reason": message.data.get("reason") or "cancelled"}
    into.events.append(_event("run.cancel_asked", record, data, message))
    return {"id": record.id, "status": "cancelling"}


def _terminate(
    runs: Runs, message: Message, record: Record, history: list[Event], into: Decision
) -> Answer:
    if record.status in ENDED:
        return {"id": record.id, "status": record.status}
    data = {"reason": message.data.get("reason") or "terminated"}
    for detail in ("error", "cause"):
        if message.data.get(detail) is not None:
            data[detail] = message.data[detail]
    event = _event("run.terminated", record, data, message)
    into.events.append(event)
    if record.id not in runs.runs:
        into.records.append(ended_record(record, event))
        runs.asleep.pop(record.id, None)
    return {"id": record.id, "status": "terminated"}


def _retry(
    runs: Runs, message: Message, record: Record, history: list[Event], into: Decision
) -> Answer:
    machine = next((e.data.get("machine") for e in history if e.type == "run.started"), None)
    stopped = () if machine is None else ("cancelled", "terminated")
    _require(record, "retried", ("failed", "parked", *stopped))
    _require_committed(record, history)
    if machine is not None:
        redriven = _event("run.retried", record, {"from": None}, message)
        _reopen(runs, record, history, redriven, into)
        return {"id": record.id, "status": "running"}
    fresh: str | None = message.data.get("fresh")
    try:
        point = retry_point(effective(history), record)
    except Conflict:
        if fresh is None:
            raise
        # A child whose steps were undone begins once more, under another id.
        data = next(event.data for event in history if event.type == "run.started")
        event = runs.start_event(fresh, data, message.cause, message.time, record.partition)
        into.events.append(event)
        return {"id": fresh, "status": "running"}
    retried = _event("run.retried", record, point, message)
    _reopen(runs, record, history, retried, into)
    epoch = sum(event.type == "run.retried" for event in history) + 1
    for child in point.get("children", ()):
        into.messages.append(
            Message(
                f"{child}/retry{epoch}",
                record.partition,
                "run.retry",
                child,
                {"fresh": f"{child}r{epoch}"},
                retried,
                message.time,
            )
        )
    return {"id": record.id, "status": "running"}


def _undo(
    runs: Runs, message: Message, record: Record, history: list[Event], into: Decision
) -> Answer:
    if record.status in ("running", "sleeping"):
        return _cancel(runs, message, record, history, into)
    _require(record, "undone", ("completed",))
    _reopen(runs, record, history, _event("run.undo_asked", record, {}, message), into)
    return {"id": record.id, "status": "running"}


def _fork(
    runs: Runs, message: Message, record: Record, history: list[Event], into: Decision
) -> Answer:
    _require(record, "forked", ("completed", "failed", "cancelled", "terminated"))
    _require_committed(record, history)
    new: str = message.data["id"]
    if new in runs.runs:
        raise Conflict(f"there is a run `{new}` already", hint="give the fork another id")
    partition = record.partition
    copies = forked(
        effective(history), message.data["key"], new, partition, message.cause, message.time
    )
    runs.restore(copies)
    into.folded.extend(copies)
    return {"id": new, "created": True, "status": "running"}


def _reopen(runs: Runs, record: Record, history: list[Event], event: Event, into: Decision) -> None:
    known = runs.runs.get(record.id)
    if known is not None:
        runs.forget(known)
    runs.restore([*history, event])
    into.folded.append(event)


def _require(record: Record, done: str, statuses: tuple[str, ...]) -> None:
    if record.status not in statuses:
        raise Conflict(
            f"run `{record.id}` is {record.status} and cannot be {done}",
            hint=f"`batuta show {record.id}` tells what became of it",
        )


def _require_committed(record: Record, history: list[Event]) -> None:
    if any(event.seq == 0 for event in history):
        raise Conflict(f"run `{record.id}` is just ending", hint="ask again in a moment")


def _event(type: str, record: Record, data: dict[str, Any], message: Message) -> Event:
    return Event(type, record.id, data, message.cause, message.time, None, record.partition)


RECEIVE: dict[str, Callable[[Runs, Message, Record, list[Event], Decision], Answer]] = {
    "run.signal": _signal,
    "run.cancel": _cancel,
    "run.terminate": _terminate,
    "run.retry": _retry,
    "run.undo": _undo,
    "run.fork": _fork,
}
