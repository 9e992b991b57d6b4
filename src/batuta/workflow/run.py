"""One run as the machine holds it, and the row that stands for it in lists."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from batuta.kernel.event import Event, Record
from batuta.kernel.world import Command, Failure, Outcome
from batuta.workflow.ask import Call, EventWait, SignalWait
from batuta.workflow.asl.execution import Execution
from batuta.workflow.program import Program

Driven = Program | Execution
"""What goes on from outcome to outcome: a coroutine, or the interpreter of a state machine."""

ENDED = ("completed", "failed", "cancelled", "terminated", "continued")
SHOWN_RESULT_BYTES = 1000
MACHINE_SHOWN = ("type", "arn", "execution", "version", "alias", "label", "map_run")
"""What the row of a state machine's run tells of it; the definition is in `run.started`."""


class Run:
    """A run's state outside of its program.

    `inflight`: steps that a world performs now. `recorded`: the status that its row has.
    `stuck`: why it cannot go on until somebody mends the code. `epoch`: how often it was
    retried as a whole, which is part of its command ids. `resumed`: how often a server ended
    while it stood where it stands. `queue`: its timers, the first one first, where it has many.
    """

    __slots__ = (
        "attributes", "cancel_asked", "deadline", "ended", "epoch", "id", "inflight", "misfit",
        "overdue", "parent", "partition", "priority", "program", "queue", "recorded", "rested",
        "resumed", "started", "status", "stuck", "undoing", "workflow",
    )  # fmt: skip

    def __init__(self, started: Event) -> None:
        data = started.data
        self.id = started.subject
        self.partition = started.partition
        self.workflow: str = data["workflow"]
        self.priority: int = data.get("priority", 0)
        self.deadline: int | None = data.get("deadline")
        self.parent: dict[str, str] | None = data.get("parent")
        self.attributes: dict[str, Any] = data.get("attributes", {})
        self.started = started
        self.status = "running"
        self.queue: list[tuple[int, str, str]] | None = None
        self.recorded = ""
        self.program: Driven | None = None
        self.inflight = 0
        self.epoch = 0
        self.undoing = False
        self.overdue = False
        self.cancel_asked: Event | None = None
        self.ended: Event | None = None
        self.rested: tuple[int | None, int] | None = None
        self.stuck: BaseException | None = None
        self.misfit: BaseException | None = None
        self.resumed: dict[str, int] = {}


def command_of(
    run: Run, call: Call[Any], asked: Event, stored: dict[str, Any] | None = None
) -> Command:
    """What a world shall do for a step's asking; `stored`: its arguments, if they are at hand."""
    step = call.step
    data = asked.data
    if stored is None or not ASKED_ONLY.isdisjoint(stored):
        stored = {name: data[name] for name in data if name not in ASKED_ONLY}
    return Command(
        asked.command or "",
        step.kind,
        step.name,
        stored,
        asked,
        step,
        step.timeout_s,
        step.heartbeat_s,
        step.queue,
        step.priority or run.priority,
        data["attempt"],
        step.repeatable,
    )


ASKED_ONLY = frozenset(("key", "name", "kind", "attempt", "undoes"))


TOLD_APART = ("bases", "heartbeat", "worker")
"""What of an outcome's detail is no part of its failure."""


def failure_data(failure: Failure, outcome: Outcome | None) -> dict[str, Any]:
    """A failure in its stored form."""
    data: dict[str, Any] = {"type": failure.type, "message": failure.message}
    if failure.traceback:
        data["traceback"] = failure.traceback
    if failure.args is not None:
        data["args"] = failure.args
    if not failure.retryable:
        data["retryable"] = False
    if outcome is not None:
        detail = {k: v for k, v in outcome.detail.items() if k not in TOLD_APART}
        if detail:
            data["detail"] = detail
    return data


def run_record(run: Run, status: str, at: Event | None, wake: int | None) -> Record:
    """The row of a run as of now."""
    started = run.started
    data: dict[str, Any] = {"definition": started.data.get("definition", "")}
    if run.priority:
        data["priority"] = run.priority
    if run.deadline is not None:
        data["deadline"] = run.deadline
    if run.parent is not None:
        data["parent"] = run.parent
    machine = started.data.get("machine")
    if machine is not None:
        data["machine"] = {part: machine[part] for part in MACHINE_SHOWN if part in machine}
        if run.epoch:
            data["redrives"] = run.epoch
    if status == "sleeping" and run.program is not None:
        waits = [
            _wait(ask)
            for ask in run.program.open.values()
            if isinstance(ask, EventWait | SignalWait)
        ]
        if waits:
            data["waits"] = waits
    if run.resumed and status == "running":
        data["resumed"] = run.resumed
    if at is not None and status not in ("running", "sleeping"):
        data |= _ending(at)
    ended = at.time if at is not None and status in ENDED else None
    return Record(
        "run", run.id, run.partition, status, run.workflow, started.time, ended, wake, 0,
        run.attributes, data,
    )  # fmt: skip


def ended_record(record: Record, event: Event) -> Record:
    """The row of a run that ends without being in memory."""
    status = event.type.removeprefix("run.")
    data = {**record.data, **_ending(event)}
    data.pop("waits", None)
    return replace(record, status=status, ended=event.time, wake=None, seq=0, data=data)


def _ending(event: Event) -> dict[str, Any]:
    data = event.data
    if "error" in data and isinstance(data["error"], dict):
        return {"error": data["error"]["message"], "failure": data["error"]["type"]}
    if "reason" in data:
        return {"reason": data["reason"]}
    if "id" in data:
        return {"next": data["id"]}
    result = data.get("result")
    small = result is None or isinstance(result, bool | int | float)
    if small or (isinstance(result, str) and len(result) <= SHOWN_RESULT_BYTES):
        return {"result": result}
    return {}


def _wait(ask: EventWait | SignalWait[Any]) -> dict[str, Any]:
    if isinstance(ask, SignalWait):
        return {"kind": "signal", "key": ask.key, "name": ask.name}
    where = None if ask.where is None else ask.where.to_json()
    return {
        "kind": "event",
        "key": ask.key,
        "name": ask.type,
        "subject": ask.subject,
        "where": where,
    }


def seen(event: Event) -> dict[str, Any]:
    """A user's event as rules, waits and workflows see it."""
    data = event.data
    return {
        "id": data.get("id", ""),
        "type": event.type,
        "source": data.get("source", ""),
        "subject": event.subject,
        "time": event.time,
        "data": data.get("data"),
    }
