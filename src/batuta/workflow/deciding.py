"""What a run does next: the events and commands that follow from where it stands."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

from batuta.common.failure import failure_of
from batuta.kernel.errors import Cancelled, NotFound, TimedOut, ValueTooLarge
from batuta.kernel.event import Event, Message
from batuta.kernel.machine import Decision
from batuta.kernel.payload import encode
from batuta.workflow.ask import Call, ChildCall, Sleep
from batuta.workflow.asking import ASKING
from batuta.workflow.asl.errors import StateFailed
from batuta.workflow.run import ENDED, Driven, Run, command_of, failure_data, run_record, seen

if TYPE_CHECKING:
    from batuta.workflow.runs import Runs

SECOND = 1_000_000_000
VALUE_BYTES_MAX = 16 * 1024 * 1024

MANY = 64
"""From so many open askings on, a run keeps its timers in a queue of its own."""
NAP = 5 * SECOND
"""A run that waits for less than this stays in memory and is not recorded as sleeping."""


def decide_arrivals(runs: Runs, now: int, into: Decision) -> None:
    """What reaches runs from outside: due times, events they wait for, their children's ends.

    A run that is not in memory is asked for through `into.load`; its arrivals wait.
    """
    runs.arrivals += 1
    for run_id in list(runs.due):
        run = _present(runs, run_id, into)
        if run is not None:
            keys = runs.due[run_id]
            before = len(into.events)
            while keys and len(into.events) == before:
                _due(runs, run, keys.popleft(), now, into)
            if not keys:
                # The others are looked at when this is folded: nobody may wait for them any more.
                del runs.due[run_id]
        elif run_id not in runs.asleep:
            del runs.due[run_id]
    met, runs.met = runs.met, []
    for run_id, key, event in met:
        run = _present(runs, run_id, into)
        if run is not None:
            _meet(runs, run, key, event, now, into)
        elif run_id in runs.asleep:
            runs.met.append((run_id, key, event))
    ended, runs.ended_children = runs.ended_children, []
    for run_id, key, event in ended:
        run = _present(runs, run_id, into)
        if run is not None:
            _child_ended(run, key, event, now, into)
        elif run_id in runs.asleep:
            runs.ended_children.append((run_id, key, event))


def _present(runs: Runs, run_id: str, into: Decision) -> Run | None:
    run = runs.runs.get(run_id)
    if run is None and run_id in runs.asleep:
        if runs.loading.setdefault(run_id, runs.arrivals) == runs.arrivals:
            into.load.append(run_id)
        else:
            # It was asked for before and is not there: another server has ended it since.
            del runs.loading[run_id], runs.asleep[run_id]
    return run


def _due(runs: Runs, run: Run, key: str, now: int, into: Decision) -> None:
    program = run.program
    if run.status != "running" or program is None:
        return
    if key == "deadline":
        if run.deadline is not None and run.cancel_asked is None:
            data = {"reason": "the deadline passed", "overdue": True}
            _add(run, "run.cancel_asked", data, run.started, now, into)
        return
    # A run that was folded again has all its timers in the queue; the one that woke it has
    # no key of its own.
    ask = program.open.get(key) if key else None
    if ask is None or ask.due is None or ask.due > now:
        return
    ask.due = None
    if type(ask) is Call:
        _ask_step(run, ask, now, into)
        runs.dirty[run.id] = run
    else:
        kind = "timer.fired" if isinstance(ask, Sleep) else "wait.expired"
        _add(run, kind, {"key": key}, ask.asked, now, into)


def _meet(runs: Runs, run: Run, key: str, event: Event, now: int, into: Decision) -> None:
    if run.status != "running":
        return  # it ended in this very turn
    ask = run.program.open.get(key) if run.program is not None else None
    if ask is not None and not _earlier(event, ask.asked) and runs.waits.remove(run.id, ask):
        _add(run, "wait.met", {"key": key, "event": seen(event)}, event, now, into)


def _earlier(event: Event, asked: Event | None) -> bool:
    """Whether an event of another server came before the run waited for it."""
    return event.seq > 0 and asked is not None and (asked.seq == 0 or asked.seq > event.seq)


def _child_ended(run: Run, key: str, event: Event, now: int, into: Decision) -> None:
    if run.status != "running" or run.program is None or key not in run.program.open:
        return
    data: dict[str, Any] = {
        "key": key, "id": event.subject, "status": event.type.removeprefix("run."),
    }  # fmt: skip
    for detail in ("result", "error"):
        if detail in event.data:
            data[detail] = event.data[detail]
    _add(run, "child.ended", data, event, now, into)


def decide_run(runs: Runs, run: Run, now: int, into: Decision) -> None:
    """Everything that follows from a run that was touched."""
    if run.status != "running":
        if run.status in ENDED:
            _close(runs, run, into)
        return
    program = run.program
    if run.stuck is not None:
        _park(run, run.stuck, now, into)
        return
    if program is None:
        _fail(run, run.misfit or NotFound("its workflow is gone"), now, into)
        return
    if program.dropped:
        _drop(runs, run, program, now, into)
    if program.wanted:
        _ask(runs, run, program, now, into)
    elif program.ended and not program.dropped:
        _end(runs, run, program, now, into)
        return
    _rest(runs, run, program, now, into)


def _add(
    run: Run, type: str, data: dict[str, Any], cause: Event | int | None, now: int, into: Decision
) -> Event:
    event = Event(type, run.id, data, cause, now, None, run.partition)
    into.events.append(event)
    return event


def _ask(runs: Runs, run: Run, program: Driven, now: int, into: Decision) -> None:
    waits_only = True
    for ask in list(program.wanted.values()):
        if type(ask) is Call:
            waits_only = False
            _ask_step(run, ask, now, into)
        else:
            ASKING[ask.kind].ask(runs, run, ask, now, into)
    if waits_only:
        # With a step in flight it stays as it is; else it may have come to rest.
        runs.dirty[run.id] = run


def _ask_step(run: Run, call: Call[Any], now: int, into: Decision) -> None:
    attempt = call.attempt + 1
    step = call.step
    data: dict[str, Any] = {
        "key": call.key, "name": step.name, "kind": step.kind, "attempt": attempt,
    }  # fmt: skip
    stored = call.data
    if stored is not None:
        data |= stored
    if call.undoes:
        data["undoes"] = True
    command = f"{run.id}/{call.key}.{attempt}"
    if run.epoch:
        command += f"r{run.epoch}"
    event = Event("step.asked", run.id, data, call.cause, now, command, run.partition)
    call.asked = event
    into.events.append(event)
    into.commands.append(command_of(run, call, event, stored))


def _drop(runs: Runs, run: Run, program: Driven, now: int, into: Decision) -> None:
    for ask in program.dropped.values():
        runs.waits.remove(run.id, ask)
        if isinstance(ask, ChildCall):
            _end_child(run, ask, "run.cancel", program.cause, now, into)
        kind = "step.cancelled" if type(ask) is Call else "wait.cancelled"
        data: dict[str, Any] = {"key": ask.key}
        if type(ask) is Call:
            data["attempt"] = ask.attempt
        into.events.append(
            Event(kind, run.id, data, program.cause, now, ask.command, run.partition)
        )
        if ask.command is not None:
            into.cancels.append(ask.command)


def _end_child(
    run: Run, ask: ChildCall[Any], how: str, cause: Event | None, now: int, into: Decision
) -> None:
    assert ask.asked is not None
    reason = {"reason": f"its parent `{run.id}` does not wait for it any more"}
    child: str = ask.asked.data["id"]
    into.messages.append(Message(f"{child}/{how}", run.partition, how, child, reason, cause, now))


def _end(runs: Runs, run: Run, program: Driven, now: int, into: Decision) -> None:
    error, cause = program.error, program.cause
    if program.continued is not None:
        _continue(runs, run, program, program.continued, now, into)
    elif error is None and run.undoing:
        _add(run, "run.cancelled", {"reason": "undone"}, cause, now, into)
    elif error is None:
        try:
            result = program.workflow.codec.encode_result(program.result)
            _check_size(run, result)
        except Exception as misfit:  # what it returned cannot be stored
            _fail(run, misfit, now, into)
            return
        _add(run, "run.completed", {"result": result}, cause, now, into)
    elif isinstance(error, Cancelled) and run.overdue:
        text = "the run's deadline passed"
        _fail(run, TimedOut(text, {"message": text}), now, into)
    elif isinstance(error, Cancelled) and run.cancel_asked is not None:
        reason = run.cancel_asked.data["reason"]
        _add(run, "run.cancelled", {"reason": reason}, cause, now, into)
    else:
        _fail(run, error, now, into)


def _continue(
    runs: Runs, run: Run, program: Driven, stored: dict[str, Any], now: int, into: Decision
) -> None:
    if run.workflow not in runs.definitions.workflows:
        _fail(run, NotFound(f"workflow `{run.workflow}` is not defined any more"), now, into)
        return
    base, _, count = run.id.rpartition("~")
    new = f"{base}~{int(count) + 1}" if base and count.isdigit() else f"{run.id}~2"
    ended = _add(run, "run.continued", {"id": new}, program.cause, now, into)
    data = {
        **stored, "workflow": run.workflow, "priority": run.priority,
        "attributes": run.attributes, "parent": run.parent,
    }  # fmt: skip
    into.events.append(runs.start_event(new, data, ended, now, run.partition))
    for name, values in program.signals.items():
        # What came in and was not awaited is the next run's.
        for at, value in enumerate(values):
            signal = {"name": name, "value": value, "id": f"{new}/{name}/{at}"}
            into.events.append(
                Event("signal.received", new, signal, ended, now, None, run.partition)
            )


def _fail(run: Run, error: BaseException, now: int, into: Decision) -> None:
    cause = run.program.cause if run.program is not None else run.started
    told = _told(error) if isinstance(error, StateFailed) else failure_data(failure_of(error), None)
    _add(run, "run.failed", {"error": told}, cause, now, into)


def _told(failed: StateFailed) -> dict[str, Any]:
    """How an execution failed: by error name and cause, which may be missing."""
    return {"type": failed.error or "", "message": failed.cause or ""}


def _park(run: Run, stuck: BaseException, now: int, into: Decision) -> None:
    error = failure_data(failure_of(stuck), None)
    cause = run.program.cause if run.program is not None else run.started
    event = _add(run, "run.parked", {"reason": str(stuck), "error": error}, cause, now, into)
    run.recorded = "parked"
    into.records.append(run_record(run, "parked", event, None))


def _close(runs: Runs, run: Run, into: Decision) -> None:
    """A run has ended: write its last row, tell its parent, let go of it."""
    ended = run.ended
    assert ended is not None
    if run.program is not None:
        for ask in run.program.open.values():
            if ask.command is not None:
                into.cancels.append(ask.command)
            elif isinstance(ask, ChildCall):
                _end_child(run, ask, "run.terminate", ended, ended.time, into)
    into.records.append(run_record(run, run.status, ended, None))
    if run.parent is not None and run.status != "continued":
        runs.ended_children.append((run.parent["run"], run.parent["key"], ended))
    runs.asleep.pop(run.id, None)
    runs.forget(run)


def _check_size(run: Run, result: Any) -> None:
    """Raises `ValueTooLarge` for a result that no journal should hold."""
    if result is None or isinstance(result, bool | int | float):
        return
    size = len(result) if isinstance(result, str) else len(encode(result))
    if size > VALUE_BYTES_MAX:
        text = (
            f"the result of workflow `{run.workflow}` is {size:,} bytes of JSON; "
            f"{VALUE_BYTES_MAX:,} are allowed. Store it elsewhere and return where it is."
        )
        raise ValueTooLarge(text, {"message": text})


def _next_due(run: Run, program: Driven) -> int | None:
    """When the first of its timers, time limits and retries is due, or its deadline."""
    dues = program.open
    if len(dues) < MANY:
        run.queue = None
        first = min((ask.due for ask in dues.values() if ask.due is not None), default=None)
        return _first(first, run.deadline)
    queue = run.queue
    if queue is None:
        # Looking at all of them each time one is due would take the square of their number.
        queue = run.queue = [
            (ask.due, run.id, key) for key, ask in dues.items() if ask.due is not None
        ]
        heapq.heapify(queue)
    while queue and (queue[0][2] not in dues or dues[queue[0][2]].due != queue[0][0]):
        heapq.heappop(queue)
    return _first(queue[0][0] if queue else None, run.deadline)


def _first(a: int | None, b: int | None) -> int | None:
    return a if b is None or (a is not None and a < b) else b


def _rest(runs: Runs, run: Run, program: Driven, now: int, into: Decision) -> None:
    """Where nothing is in flight the run only waits: it may leave memory."""
    busy = run.inflight or program.wanted or program.dropped or program.ended
    idle = not (busy or run.id in runs.due)
    if not idle and run.recorded == "running" and run.rested is None:
        return
    wake = _next_due(run, program) if idle else None
    asleep = idle and (wake is None or wake - now > NAP)
    status = "sleeping" if asleep else "running"
    # A sleeping run's row says when to wake it and for what, so it follows every change of that.
    rested = (wake, program.operations) if asleep else None
    if status != run.recorded or rested != run.rested:
        if run.recorded == "sleeping":
            runs.stir(run)
        run.recorded, run.rested = status, rested
        into.records.append(run_record(run, status, program.cause, wake))
    if asleep:
        runs.rest(run)
