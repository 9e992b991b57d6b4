"""How each type of event changes a run: the fold, one small function per type."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from batuta.kernel.errors import ReplayMismatch, TimedOut
from batuta.kernel.event import Event
from batuta.workflow.ask import Ask, Call, ChildCall, EventWait
from batuta.workflow.asking import RECORDED
from batuta.workflow.asl.execution import Execution
from batuta.workflow.program import AT_ONCE
from batuta.workflow.run import Run

if TYPE_CHECKING:
    from batuta.workflow.runs import Runs


def _step_asked(runs: Runs, run: Run, event: Event) -> None:
    program = run.program
    if program is None:
        return
    data = event.data
    key = data["key"]
    call: Any = program.wanted.pop(key, None)
    if call is None:
        call = program.open.get(key)
        if type(call) is not Call or call.command is not None:
            mismatch(runs, run, event, None)
            return
    elif call.asked is not event and call.describe() != RECORDED[event.type](data):
        program.wanted[key] = call
        mismatch(runs, run, event, call)
        return
    program.open[key] = call
    call.asked = event
    call.attempt = data["attempt"]
    call.command = event.command
    call.due = None
    run.inflight += 1
    assert event.command is not None
    runs.commands[event.command] = (run, call)


def _step_completed(runs: Runs, run: Run, event: Event) -> None:
    program = run.program
    entry = runs.commands.pop(event.command or "", None)
    if program is None or entry is None:
        return
    call = entry[1]
    run.inflight -= 1
    call.command = None
    program.cause = event
    program.now = event.time
    runs.dirty[run.id] = run
    try:
        value = call.step.codec.decode_result(event.data["result"])
    except Exception as misfit:  # the step's type was changed under a recorded result
        run.stuck = misfit
        return
    program.resolve(call.key, value)


def _step_performed(runs: Runs, run: Run, event: Event) -> None:
    """Asked and completed in one; folded live, the asking was folded before."""
    if event.command not in runs.commands:
        _step_asked(runs, run, event)
    _step_completed(runs, run, event)


def _step_failed(runs: Runs, run: Run, event: Event) -> None:
    program = run.program
    entry = runs.commands.pop(event.command or "", None)
    if program is None or entry is None:
        return
    call = entry[1]
    run.inflight -= 1
    call.command = None
    runs.dirty[run.id] = run
    retry_at = event.data.get("retry_at")
    if retry_at is not None:
        call.due = retry_at
        call.cause = event
        runs.time(run, retry_at, call.key)
        return
    program.cause = event
    program.now = event.time
    program.resolve(call.key, None, program.revive(event.data["error"], call.describe()))


def _step_cancelled(runs: Runs, run: Run, event: Event) -> None:
    entry = runs.commands.pop(event.command or "", None)
    if entry is not None:
        run.inflight -= 1
        entry[1].command = None
    _gone(runs, run, event)


def _gone(runs: Runs, run: Run, event: Event) -> None:
    """An asking that was dropped is recorded as such."""
    if run.program is not None:
        run.program.dropped.pop(event.data["key"], None)
        runs.dirty[run.id] = run


def _opened(runs: Runs, run: Run, event: Event) -> None:
    """A timer, wait, child or mark that the program wanted is recorded."""
    program = run.program
    if program is None:
        return
    key = event.data["key"]
    ask = program.wanted.pop(key, None)
    if ask is None or ask.describe() != RECORDED[event.type](event.data):
        if ask is not None:
            program.wanted[key] = ask
        mismatch(runs, run, event, ask)
        return
    ask.asked = event
    if ask.kind in AT_ONCE:
        if event.type == "attributes.set":
            run.attributes = {**run.attributes, **event.data["values"]}
            run.recorded = ""
        return
    program.open[key] = ask
    due = ask.due = event.data.get("due")
    if due is not None:
        runs.time(run, due, key)
    if isinstance(ask, EventWait):
        runs.waits.add(run.id, key, ask)
    elif isinstance(ask, ChildCall) and ask.detached:
        _resolve(runs, run, event, event.data["id"], None)


def _marked(runs: Runs, run: Run, event: Event) -> None:
    """A mark is known before the run is folded again, and code may stop to ask for it."""
    if run.program is not None:
        run.program.wanted.pop(event.data["key"], None)
        runs.dirty[run.id] = run


def _fired(runs: Runs, run: Run, event: Event) -> None:
    _resolve(runs, run, event, None, None)


def _wait_met(runs: Runs, run: Run, event: Event) -> None:
    ask = _open(run, event)
    if ask is not None:
        runs.waits.remove(run.id, ask)
        _resolve(runs, run, event, ask.decode(event.data["event"]), None)


def _wait_expired(runs: Runs, run: Run, event: Event) -> None:
    ask = _open(run, event)
    if ask is not None:
        runs.waits.remove(run.id, ask)
        text = f"{ask.describe()} did not come in time"
        _resolve(runs, run, event, None, TimedOut(text, {"message": text}))


def _child_ended(runs: Runs, run: Run, event: Event) -> None:
    ask = _open(run, event)
    if ask is None:
        return
    data = event.data
    if data["status"] == "completed":
        try:
            value = ask.decode(data.get("result"))
        except Exception as misfit:  # the child's type was changed under a recorded result
            run.stuck = misfit
            runs.dirty[run.id] = run
            return
        _resolve(runs, run, event, value, None)
    else:
        error = data.get("error") or {"message": f"it was {data['status']}"}
        assert run.program is not None
        _resolve(runs, run, event, None, run.program.revive_child(error, data["id"]))


def _open(run: Run, event: Event) -> Ask[Any] | None:
    return run.program.open.get(event.data["key"]) if run.program is not None else None


def _resolve(runs: Runs, run: Run, event: Event, value: Any, error: BaseException | None) -> None:
    program = run.program
    if program is not None:
        program.cause, program.now = event, event.time
        runs.dirty[run.id] = run
        program.resolve(event.data["key"], value, error)


def _signal_received(runs: Runs, run: Run, event: Event) -> None:
    runs.dirty[run.id] = run
    if run.program is not None:
        run.program.cause, run.program.now = event, event.time
        run.program.signal(event.data["name"], event.data["value"])


def _cancel_asked(runs: Runs, run: Run, event: Event) -> None:
    run.cancel_asked = event
    run.overdue = bool(event.data.get("overdue"))
    runs.dirty[run.id] = run
    if run.program is not None:
        run.program.cause, run.program.now = event, event.time
        run.program.cancel(event.data["reason"])


def _undo_asked(runs: Runs, run: Run, event: Event) -> None:
    run.status = "running"
    run.undoing = True
    runs.dirty[run.id] = run
    if run.program is not None:
        run.program.cause, run.program.now = event, event.time
        run.program.undo()


def _retried(runs: Runs, run: Run, event: Event) -> None:
    run.epoch += 1
    run.status = "running"
    run.ended = None
    runs.dirty[run.id] = run
    if isinstance(run.program, Execution):
        run.program.retry(event)


def _ended(runs: Runs, run: Run, event: Event) -> None:
    run.status = event.type.removeprefix("run.")
    run.ended = event
    runs.dirty[run.id] = run


def _parked(runs: Runs, run: Run, event: Event) -> None:
    run.status = "parked"


def mismatch(runs: Runs, run: Run, event: Event, ask: Ask[Any] | None) -> None:
    """The code asks for something else than the run has recorded: it cannot go on."""
    if run.stuck is not None:
        return
    recorded = RECORDED[event.type](event.data)
    wanted = "nothing" if ask is None else f"`{ask.describe()}`"
    run.stuck = ReplayMismatch(
        f"run `{run.id}` has recorded `{recorded}` as operation "
        f"{event.data['key']}, but its code now asks for {wanted} there",
        at=run.started.data.get("definition"),
        hint='guard what was changed with `if patched("…"):`, or bring back the old code; '
        f"then `batuta retry {run.id}`",
    )
    runs.dirty[run.id] = run


APPLY: dict[str, Callable[[Runs, Run, Event], None]] = {
    "step.asked": _step_asked,
    "step.completed": _step_completed,
    "step.performed": _step_performed,
    "step.failed": _step_failed,
    "step.cancelled": _step_cancelled,
    "timer.set": _opened,
    "timer.fired": _fired,
    "wait.set": _opened,
    "wait.met": _wait_met,
    "wait.expired": _wait_expired,
    "wait.cancelled": _gone,
    "child.asked": _opened,
    "child.ended": _child_ended,
    "event.emitted": _opened,
    "attributes.set": _opened,
    "patch.marked": _marked,
    "signal.received": _signal_received,
    "run.cancel_asked": _cancel_asked,
    "run.undo_asked": _undo_asked,
    "run.retried": _retried,
    "run.parked": _parked,
    "run.completed": _ended,
    "run.failed": _ended,
    "run.cancelled": _ended,
    "run.terminated": _ended,
    "run.continued": _ended,
}
