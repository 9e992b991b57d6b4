"""How each kind of asking (but steps) becomes events: timers, waits, children, marks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batuta.kernel.event import Event, Message
from batuta.kernel.machine import Decision
from batuta.workflow.ask import (
    Ask,
    Attributes,
    ChildCall,
    Emit,
    EventWait,
    Patch,
    SignalWait,
    Sleep,
)
from batuta.workflow.asl.machine import flow_of
from batuta.workflow.run import Run

if TYPE_CHECKING:
    from batuta.workflow.runs import Runs


@dataclass(frozen=True, slots=True)
class Asking:
    """The event type that records an asking, and what writes it."""

    event: str
    ask: Callable[[Runs, Run, Any, int, Decision], None]


def _write(
    run: Run, type: str, data: dict[str, Any], ask: Ask[Any], now: int, into: Decision
) -> Event:
    event = Event(type, run.id, data, ask.cause, now, None, run.partition)
    into.events.append(event)
    return event


def _timer(runs: Runs, run: Run, ask: Sleep, now: int, into: Decision) -> None:
    since = ask.cause.time if ask.cause is not None else now
    data = {"key": ask.key, "due": since + ask.delay, "what": ask.describe()}
    _write(run, "timer.set", data, ask, now, into)


def _signal(runs: Runs, run: Run, ask: SignalWait[Any], now: int, into: Decision) -> None:
    data = {"key": ask.key, "kind": "signal", "name": ask.name}
    _write(run, "wait.set", _limited(data, ask, now), ask, now, into)


def _event(runs: Runs, run: Run, ask: EventWait, now: int, into: Decision) -> None:
    data: dict[str, Any] = {"key": ask.key, "kind": "event", "name": ask.type}
    if ask.subject is not None:
        data["subject"] = ask.subject
    _write(run, "wait.set", _limited(data, ask, now), ask, now, into)


def _limited(data: dict[str, Any], ask: Any, now: int) -> dict[str, Any]:
    if ask.within is not None:
        data["due"] = (ask.cause.time if ask.cause is not None else now) + ask.within
    return data


def _child(runs: Runs, run: Run, ask: ChildCall[Any], now: int, into: Decision) -> None:
    child = ask.id or f"{run.id}/{ask.key}" + (f"r{run.epoch}" if run.epoch else "")
    data: dict[str, Any] = {"key": ask.key, "workflow": ask.workflow.name, "id": child}
    if ask.detached:
        data["detached"] = True
    asked = _write(run, "child.asked", data, ask, now, into)
    start: dict[str, Any] = {
        "workflow": ask.workflow.name, "args": ask.args, "kwargs": ask.kwargs, **ask.options,
    }  # fmt: skip
    partition = run.partition
    if ask.detached:
        partition = runs.partition_of(child)
    else:
        start["parent"] = {"run": run.id, "key": ask.key}
    if ask.id is None and partition in runs.owned and flow_of(runs.definitions, start) is not None:
        into.events.append(runs.start_event(child, start, asked, now, partition))
        return
    into.messages.append(
        Message(f"{run.id}/{ask.key}/start", partition, "run.start", child, start, asked, now)
    )


def _emit(runs: Runs, run: Run, ask: Emit, now: int, into: Decision) -> None:
    id = f"{run.id}/{ask.key}"
    data = {"key": ask.key, "type": ask.type, "subject": ask.subject, "id": id}
    emitted = _write(run, "event.emitted", data, ask, now, into)
    sent: dict[str, Any] = {"id": id, "source": ask.source or f"/runs/{run.id}"}
    if ask.data is not None:
        sent["data"] = ask.data
    partition = runs.partition_of(ask.subject)
    if partition in runs.owned:
        into.events.append(Event(ask.type, ask.subject, sent, emitted, now, None, partition))
        return
    sent["type"] = ask.type
    into.messages.append(Message(id, partition, "event.send", ask.subject, sent, emitted, now))


def _attributes(runs: Runs, run: Run, ask: Attributes, now: int, into: Decision) -> None:
    _write(run, "attributes.set", {"key": ask.key, "values": ask.values}, ask, now, into)


def _patch(runs: Runs, run: Run, ask: Patch, now: int, into: Decision) -> None:
    _write(run, "patch.marked", {"key": ask.key, "name": ask.name}, ask, now, into)


RECORDED: dict[str, Callable[[dict[str, Any]], str]] = {
    "step.asked": lambda data: f"step {data['name']}",
    "step.performed": lambda data: f"step {data['name']}",
    "timer.set": lambda data: str(data["what"]),
    "wait.set": lambda data: f"{data['kind']} {data['name']}",
    "child.asked": lambda data: f"run of {data['workflow']}",
    "event.emitted": lambda data: f"emit {data['type']}",
    "attributes.set": lambda data: "attributes",
}
"""What an asking that is recorded asked for, in the words of `Ask.describe`."""

ASKING = {
    "timer": Asking("timer.set", _timer),
    "signal": Asking("wait.set", _signal),
    "event": Asking("wait.set", _event),
    "child": Asking("child.asked", _child),
    "emit": Asking("event.emitted", _emit),
    "attributes": Asking("attributes.set", _attributes),
    "patch": Asking("patch.marked", _patch),
}
