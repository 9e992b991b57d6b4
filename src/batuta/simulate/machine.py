"""One execution of a state machine on virtual time: days of waiting in microseconds."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

from batuta.kernel.errors import BatutaError, TimedOut
from batuta.kernel.event import Event
from batuta.kernel.world import Command, Failure
from batuta.workflow.ask import Ask, Call, ChildCall, Emit, SignalWait, Sleep
from batuta.workflow.asl.errors import StateFailed
from batuta.workflow.asl.execution import Execution, Recorded, Recorder
from batuta.workflow.asl.history import HistoryEvent
from batuta.workflow.asl.machine import StateMachine

SECOND = 1_000_000_000
START = 1_704_067_200 * SECOND
"""2024-01-01T00:00:00Z: where the virtual clock begins when nothing else is said."""


@dataclass(slots=True)
class Performance:
    """How a task's command goes.

    Parameters
    ----------
    value: its result. failure: or why it failed.
    takes: ns. worker: who took it (an activity).
    signals: what comes by the task token, in order: (ns after the call has ended, value).
    never: it does not end by itself: only a time limit of the state ends it.
    silence: the longest time without a heartbeat, ns; None: there is none until it ends.
    alive: heartbeats come in time until the last of the signals, without being among them.
    """

    value: Any = None
    failure: Failure | None = None
    takes: int = 0
    worker: str | None = None
    signals: Sequence[tuple[int, dict[str, Any]]] = ()
    never: bool = False
    silence: int | None = None
    alive: bool = False


@dataclass(slots=True)
class Result:
    """How an execution ended.

    Parameters
    ----------
    status: `SUCCEEDED`, `FAILED`, `TIMED_OUT`, or `RUNNING` where nothing would ever happen
        any more (it waits for a task token that nobody returns); of a child execution also
        `ABORTED`: its Map ended before it.
    history: as the service gives it; empty where it was not asked for.
    path: the names of the states that were entered, in order; with the history only.
    duration: virtual ns. transitions: how often a state was left for the next one, those of
        child executions too.
    emitted: the events that it wrote. children: the child executions of its distributed Maps, in
        the order in which they began; with the history only.
    """

    status: str
    output: Any = None
    error: str | None = None
    cause: str | None = None
    history: list[HistoryEvent] = field(default_factory=list)
    duration: int = 0
    transitions: int = 0
    execution: Execution | None = None
    emitted: list[Emit] = field(default_factory=list)
    children: list[Result] = field(default_factory=list)

    @property
    def path(self) -> list[str]:
        """The states that were entered, in order."""
        return [
            each.details["name"]
            for each in self.history
            if each.type.endswith("StateEntered") and each.details is not None
        ]


Perform = Callable[[Command], Performance]


def run(
    machine: StateMachine,
    input: Any,
    perform: Perform,
    *,
    name: str = "execution",
    start: int = START,
    history: bool = True,
    transitions_max: int | None = None,
) -> Result:
    """Run a state machine to its end on a virtual clock.

    Parameters
    ----------
    perform: how each task's command goes; called in the order of virtual time.
    name: of the execution; randomness is keyed by it.
    start: when it begins, ns since 1970.
    history: whether the history is written down.
    transitions_max: an execution that passes more states loops; None: it may.

    Raises `Loops`.
    """
    result = Result("RUNNING")
    machine.recorder = _recorder(result.history) if history else None
    driven = _Virtual(perform, start, recording=history, most=transitions_max)
    execution = driven.begin(machine, f"{machine.name}:{name}", input, result)
    deadline = None if machine.deadline is None else start + machine.deadline
    overdue = driven.until(execution, deadline)
    result.duration = driven.now - start
    result.transitions = execution.transitions + driven.transitions
    result.emitted = driven.emitted
    driven.close(stopped=overdue or execution.ended)
    return _verdict(result, execution, driven.now, overdue)


def _recorder(events: list[HistoryEvent]) -> Recorder:
    def record(id: int, prev: int, type: str, time: int, details: dict[str, Any] | None) -> None:
        events.append(HistoryEvent(id, prev, type, time, details))

    return record


def _verdict(result: Result, execution: Execution, now: int, overdue: bool) -> Result:
    """How it ended, into its result."""
    error = execution.error
    if overdue:
        result.status = "TIMED_OUT"
        ended = HistoryEvent(
            len(result.history) + 1, execution.main.last, "ExecutionTimedOut", now, None
        )
        result.history.append(ended)
    elif isinstance(error, StateFailed):
        result.status, result.error, result.cause = "FAILED", error.error, error.cause
    elif execution.ended:
        result.status, result.output = "SUCCEEDED", execution.result
    return result


class Loops(BatutaError):
    """An execution goes on and on."""


def _loops(execution: Execution, most: float) -> Loops:
    waiting = [scope for scope, _ in execution.waiters.values()] or [execution.main]
    at = waiting[0].node.name
    return Loops(
        f"`{execution.workflow.name}` has passed {most:,} states and is in `{at}`: it loops",
        at=execution.workflow.source or None,
        hint="what its tasks give has to lead out of the loop at some time",
    )


def _end(done: Performance, step: Any) -> tuple[int | None, Failure | None]:
    """After how long a call ends, None for never, and why it fails."""
    takes = None if done.never else done.takes
    failure = done.failure
    silence = takes if done.silence is None else done.silence
    heartbeat = None if step.heartbeat_s is None else int(step.heartbeat_s * SECOND)
    if heartbeat is not None and (silence is None or silence >= heartbeat):
        takes, failure = heartbeat, Failure("batuta:HeartbeatLost", "it sent no heartbeat")
    timeout = None if step.timeout_s is None else int(step.timeout_s * SECOND)
    if timeout is not None and (takes is None or takes >= timeout):
        takes, failure = timeout, Failure("batuta:TimedOut", "it did not end in time")
    return takes, failure


def _without_heartbeat(execution: Execution, ask: SignalWait[Any]) -> int | None:
    """How long a task token is waited for by its state's TimeoutSeconds alone, ns."""
    heard: Any = execution.waiters[ask.key][1]
    waiting = heard.__self__
    timeout = waiting.limits.timeout
    return None if timeout is None else waiting.asked + timeout * SECOND - execution.now


class _Virtual:
    """The clock, what is going to happen, and the executions that it happens to."""

    def __init__(self, perform: Perform, start: int, *, recording: bool, most: int | None) -> None:
        self.now = start
        self._most = inf if most is None else most
        self._recording = recording
        self._perform = perform
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        self.emitted: list[Emit] = []
        self.transitions = 0
        self._watched: dict[str, tuple[Execution, ChildCall[Any]]] = {}
        self._open: dict[str, Result] = {}
        self._alive: set[str] = set()

    def begin(self, machine: StateMachine, run: str, input: Any, result: Result) -> Execution:
        data = {"workflow": machine.name, "args": [input], "kwargs": {}}
        execution = machine.program(Event("run.started", run, data, None, self.now), 0)
        result.execution = execution
        self._open[run] = result
        execution.begin()
        self._take(execution)
        return execution

    def until(self, execution: Execution, deadline: int | None) -> bool:
        """Let time pass until the execution has ended; whether its deadline came first."""
        heap = self._heap
        while heap and not execution.ended:
            time, _, act, args = heapq.heappop(heap)
            if deadline is not None and time >= deadline:
                self.now = deadline
                return True
            self.now = time
            act(*args)
        return False

    def close(self, *, stopped: bool) -> None:
        """Nothing happens any more; child executions that are under way were stopped, or wait."""
        for result in list(self._open.values())[1:]:  # the first one is the execution itself
            result.duration += self.now
            if stopped:
                self._abort(result)

    def _abort(self, result: Result) -> None:
        """A child execution that was under way when its Map ended."""
        result.status = "ABORTED"
        if self._recording:
            ended = HistoryEvent(len(result.history) + 1, 0, "ExecutionAborted", self.now, None)
            result.history.append(ended)

    def _at(self, time: int, act: Callable[..., None], *args: Any) -> None:
        self._count += 1
        heapq.heappush(self._heap, (time, self._count, act, args))

    def _take(self, execution: Execution) -> None:
        """See to everything that an execution has asked for."""
        if execution.dropped:
            self._drop(execution)
        if execution.ended:
            watched = self._watched.pop(execution.run, None)
            if watched is not None:
                self._watch(*watched, execution)
        wanted = execution.wanted
        while wanted:
            asks = list(wanted.values())
            wanted.clear()
            for ask in asks:
                execution.open[ask.key] = ask
                TAKE[type(ask)](self, execution, ask)

    def _drop(self, execution: Execution) -> None:
        """What an execution wants no longer; its child executions end with that."""
        for ask in execution.dropped.values():
            result = self._open.pop(f"{execution.run}/{ask.key}", None)
            if result is None or result.execution is None:
                continue
            child = result.execution
            result.duration += self.now
            self._abort(result)
            self._watched.pop(child.run, None)
            child.cancel("its Map has ended")
            self._take(child)
        execution.dropped.clear()

    def _settle(
        self, execution: Execution, ask: Ask[Any], value: Any, error: BaseException | None
    ) -> None:
        """Hand an outcome on, unless nobody waits for it any more."""
        if execution.open.get(ask.key) is not ask:
            return
        if execution.transitions > self._most:
            raise _loops(execution, self._most)
        execution.now = self.now
        execution.resolve(ask.key, value, error)
        self._take(execution)

    def call(self, execution: Execution, ask: Call[Any]) -> None:
        """A task's command; its name is the state's."""
        step: Any = ask.step
        scope = execution.waiters[ask.key][0]
        command = Command(
            f"{execution.run}/{ask.key}.1", step.kind, scope.node.name, ask.data or {},
            Event("step.asked", execution.run, {}, None, self.now), step, step.timeout_s,
            step.heartbeat_s, attempt=scope.retried + 1,
        )  # fmt: skip
        done = self._perform(command)
        takes, failure = _end(done, step)
        if takes is not None:
            self._at(self.now + takes, self._called, execution, ask, done, failure)

    def _called(
        self, execution: Execution, ask: Call[Any], done: Performance, failure: Failure | None
    ) -> None:
        if done.worker is not None:
            execution.cause = Event("", execution.run, {"worker": done.worker}, None, self.now)
        token = (ask.data or {}).get("token")
        for after, value in done.signals if failure is None else ():
            self._at(self.now + after, self._signal, execution, f"task:{token}", value)
        if done.alive:
            self._alive.add(f"task:{token}")
        if failure is None:
            self._settle(execution, ask, done.value, None)
            return
        told: dict[str, Any] = {"type": failure.type, "message": failure.message}
        if isinstance(done.value, dict) and "submitted" in done.value:
            told["detail"] = {"submitted": done.value["submitted"]}
        self._settle(execution, ask, None, Recorded(told))

    def _signal(self, execution: Execution, name: str, value: dict[str, Any]) -> None:
        execution.now = self.now
        execution.signal(name, value)
        self._take(execution)

    def sleep(self, execution: Execution, ask: Sleep) -> None:
        """Time that shall pass."""
        self._at(self.now + ask.delay, self._settle, execution, ask, None, None)

    def wait(self, execution: Execution, ask: SignalWait[Any]) -> None:
        """A task token that is waited for."""
        within = ask.within
        if ask.name in self._alive:
            within = _without_heartbeat(execution, ask)
        if within is not None:
            late = TimedOut("it did not come in time", {"message": "it did not come in time"})
            self._at(self.now + within, self._settle, execution, ask, None, late)

    def emit(self, execution: Execution, ask: Emit) -> None:
        """An event of the user's, which nobody waits for."""
        del execution.open[ask.key]
        self.emitted.append(ask)

    def child(self, execution: Execution, ask: ChildCall[Any]) -> None:
        """A child execution of a distributed Map."""
        machine: Any = ask.workflow
        result = Result("RUNNING", duration=-self.now)
        around = self._open.get(execution.run)
        if self._recording and around is not None:
            machine.recorder = _recorder(result.history)
            around.children.append(result)
        begun = self.begin(machine, f"{execution.run}/{ask.key}", ask.args[0], result)
        self._watch(execution, ask, begun)

    def _watch(self, parent: Execution, ask: ChildCall[Any], child: Execution) -> None:
        """Tell the parent when the child has ended."""
        if parent.open.get(ask.key) is not ask:
            return
        if not child.ended:
            self._watched[child.run] = parent, ask
            return
        self.transitions += child.transitions
        result = self._open.pop(child.run)
        result.duration += self.now
        result.transitions = child.transitions
        _verdict(result, child, self.now, False)
        failed = child.error
        if isinstance(failed, StateFailed):
            told = {"type": failed.error, "message": failed.cause}
            self._at(self.now, self._settle, parent, ask, None, Recorded(told))
        else:
            self._at(self.now, self._settle, parent, ask, child.result, None)


TAKE: Mapping[type, Callable[[_Virtual, Execution, Any], None]] = {
    Call: _Virtual.call,
    ChildCall: _Virtual.child,
    Emit: _Virtual.emit,
    SignalWait: _Virtual.wait,
    Sleep: _Virtual.sleep,
}
