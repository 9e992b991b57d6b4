"""The interpreter: an execution of a state machine, driven from recorded outcome to outcome."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from batuta.common.keyed import bits
from batuta.kernel.errors import Cancelled
from batuta.kernel.event import Event
from batuta.workflow.ask import Ask, Emit, SignalWait, Sleep
from batuta.workflow.asl.context import timestamp
from batuta.workflow.asl.env import Allowance
from batuta.workflow.asl.errors import StateFailed
from batuta.workflow.asl.scope import NOTHING, Join, Scope

if TYPE_CHECKING:
    from batuta.workflow.asl.machine import StateMachine
    from batuta.workflow.asl.states.distributed import MapRun
    from batuta.workflow.asl.states.node import States

Recorder = Callable[[int, int, str, int, dict[str, Any] | None], None]
Then = Callable[["Execution", Scope, Any, Any], None]

OPERATIONS_MAX = 10_000_000
TRANSITIONS_AT_ONCE = 500_000
"""States passed without waiting for the world: more are a loop that never ends."""


class Recorded(Exception):
    """A failure as the journal has it: `{type, message, detail?}`."""

    def __init__(self, failure: dict[str, Any], what: str = "") -> None:
        super().__init__(failure.get("message"))
        self.failure = failure


class Execution:
    """A run of a state machine; for the machine of runs it is a program like a Python one.

    It knows no clock, no journal and no world: `now` and `cause` are those of the event that
    is being folded, and every asking stands in `wanted` until an event records it.

    Parameters
    ----------
    machine: the definition. states: its flow.
    run: the run's id. about: the constant part of the context object.
    input: the execution's input.
    recorder: gets the service's history events as they happen: id, previous id, type, ns,
        details. None: they are only counted.
    """

    revive = revive_child = Recorded

    def __init__(
        self,
        machine: StateMachine,
        states: States,
        run: str,
        about: dict[str, Any],
        input: Any,
        recorder: Recorder | None = None,
    ) -> None:
        self.workflow = machine
        self.run = run
        self.about = about
        self.input = input
        self.recorder = recorder
        self.now = 0
        self.cause: Event | None = None
        self.wanted: dict[str, Ask[Any]] = {}
        self.dropped: dict[str, Ask[Any]] = {}
        self.open: dict[str, Ask[Any]] = {}
        self.waiters: dict[str, tuple[Scope, Then]] = {}
        self.signals: dict[str, deque[Any]] = {}
        self.queries: dict[str, Any] = {}
        self.patches: set[str] = set()
        self.replaying = False
        self.operations = 0
        self.operations_max = OPERATIONS_MAX
        self.events = 0
        self.transitions = 0
        self.draws = 0
        self.allowance = Allowance()
        self.redrives = 0
        self.ended = False
        self.continued: dict[str, Any] | None = None
        self.result: Any = None
        self.error: BaseException | None = None
        self.ready: deque[Scope] = deque()
        self.gone: set[Scope] = set()  # stopped in this turn, ready or not
        self.main = Scope(states, input, NOTHING, "", 0)
        self.map_runs: dict[str, MapRun] = {}

    # -- from outside ----------------------------------------------------------------------

    def begin(self) -> None:
        """Run up to the first thing that has to be waited for."""
        self.events = 1
        if self.recorder is not None:
            self.recorder(1, 0, "ExecutionStarted", self.now, {"input": self.input})
        self.ready.append(self.main)
        self.drain()

    def resolve(self, key: str, value: Any, error: BaseException | None = None) -> None:
        """Hand the outcome of an asking to the line of control that waits for it."""
        self.open.pop(key, None)
        waiter = self.waiters.pop(key, None)
        if waiter is None:
            return
        scope, then = waiter
        scope.keys.pop(key, None)
        then(self, scope, value, error)
        self.drain()

    def signal(self, name: str, value: Any) -> None:
        """A signal came in (a task token's outcome): hand it on, or keep it until it is awaited."""
        run = self.map_runs.get(name.removeprefix("map:"))
        if run is not None:
            join = self.join_of(run)
            if join is not None:
                join.node.changed(self, run, value)
                self.drain()
            return
        for waiting in (self.open, self.wanted):
            for key, ask in waiting.items():
                if type(ask) is SignalWait and ask.name == name:
                    self.wanted.pop(key, None)
                    self.resolve(key, value)
                    return
        self.signals.setdefault(name, deque()).append(value)

    def cancel(self, reason: str) -> None:
        """End it where it stands."""
        if not self.ended:
            self.abort(self.main, noted=False)
            self.ready.clear()
            self.ended, self.error = True, Cancelled(reason)

    def undo(self) -> None:
        """A state machine says itself what compensates what: there is nothing to undo."""

    def retry(self, event: Event) -> None:
        """Redrive: everything that succeeded stays, the states that did not end run again."""
        self.cause, self.now = event, event.time
        self.redrives += 1
        self.about["Execution"]["RedriveCount"] = self.redrives
        self.about["Execution"]["RedriveTime"] = timestamp(event.time)
        self.ended, self.error = False, None
        self.note(self.main, "ExecutionRedriven", {"redriveCount": self.redrives})
        if self.main.keys or self.main.below is not None:
            self.abort(self.main, noted=False)  # it was stopped from outside
        self.gone.clear()
        self._redrive(self.main, self.main.last)
        self.drain()

    def _redrive(self, scope: Scope, last: int) -> None:
        scope.retries, scope.retried, scope.last = None, 0, last
        join, scope.redo = scope.redo, None
        if join is None:
            self.ready.append(scope)
            return
        scope.below = join
        stopped, join.stopped = join.stopped, []
        for child in stopped:
            join.children[child.index] = child
        for child in stopped:
            self._redrive(child, last)
        join.node.resume(self, join)

    def close(self) -> None:
        """Let go of it."""

    # -- what states use -------------------------------------------------------------------

    def draw(self) -> int:
        """64 random bits: the same ones whenever this place in this run is reached."""
        self.draws += 1
        return bits(0, self.run, self.draws)

    def note(self, scope: Scope, type: str, details: dict[str, Any] | None = None) -> int:
        """Write an event into the history, behind the last one of this line of control."""
        self.events += 1
        if self.recorder is not None:
            self.recorder(self.events, scope.last, type, self.now, details)
        scope.last = self.events
        return self.events

    def aside(
        self,
        scope: Scope,
        type: str,
        details: dict[str, Any] | None = None,
        prev: int | None = None,
    ) -> int:
        """Write an event that the next one of this line of control does not refer to."""
        self.events += 1
        if self.recorder is not None:
            before = scope.last if prev is None else prev
            self.recorder(self.events, before, type, self.now, details)
        return self.events

    def ask(self, scope: Scope, ask: Ask[Any], then: Then, key: str | None = None) -> str:
        """Ask for something on behalf of a line of control; `then` gets the outcome."""
        key = ask.key = key or scope.key()
        ask.cause = self.cause
        self.operations += 1
        self.waiters[key] = scope, then
        scope.keys[key] = None
        if type(ask) is SignalWait:
            kept = self.signals.get(ask.name)
            if kept:
                value = kept.popleft()
                if not kept:
                    del self.signals[ask.name]
                del self.waiters[key], scope.keys[key]
                then(self, scope, value, None)
                return key
        self.wanted[key] = ask
        return key

    def emit(self, scope: Scope, ask: Emit) -> str:
        """Write an event into the journal; its id. Nobody waits for it."""
        ask.key = scope.key()
        ask.cause = self.cause
        self.operations += 1
        self.wanted[ask.key] = ask
        return f"{self.run}/{ask.key}"

    def sleep(self, scope: Scope, delay: int, then: Then) -> None:
        """Wait so many nanoseconds; none is no wait."""
        if delay <= 0:
            then(self, scope, None, None)
            return
        self.ask(scope, Sleep(delay), then)

    def drain(self) -> None:
        """Go on with every line of control that can, breadth first."""
        ready, gone = self.ready, self.gone
        most = self.transitions + TRANSITIONS_AT_ONCE
        while ready:
            scope = ready.popleft()
            if scope not in gone:
                scope.node.step(self, scope)
            if self.transitions > most:
                self._stop_loop(scope)
        gone.clear()
        self.allowance.renew()

    def _stop_loop(self, scope: Scope) -> None:
        text = (
            f"{TRANSITIONS_AT_ONCE:,} states were passed without waiting for anything, the last "
            f"of them '{scope.node.name}': the state machine loops"
        )
        self.fail(self.main, "States.Runtime", text)

    # -- ends ------------------------------------------------------------------------------

    def finish(self, scope: Scope, output: Any) -> None:
        """A line of control has ended with this output."""
        join = scope.join
        if join is not None:
            join.node.child_ended(self, join, scope, output)
            return
        self.ended = True
        self.result = output
        self.note(scope, "ExecutionSucceeded", {"output": output})

    def fail(self, scope: Scope, error: str | None, cause: str | None) -> None:
        """A line of control has failed."""
        join = scope.join
        if join is not None:
            join.node.child_failed(self, join, scope, error, cause)
            return
        self.abort(scope, noted=False)
        self.ready.clear()
        self.ended = True
        self.error = StateFailed(error, cause)
        details = {
            name: text for name, text in (("cause", cause), ("error", error)) if text is not None
        }
        self.note(scope, "ExecutionFailed", details or None)

    def abort(self, scope: Scope, *, noted: bool) -> None:
        """Stop what a line of control waits for, and what it has begun.

        Parameters
        ----------
        noted: whether the history tells that its state was aborted.
        """
        self.stop_asking(scope)
        below = scope.below
        if below is not None:
            self.stop(below, noted=noted)
        if noted and not scope.fresh:
            self.aside(scope, f"{scope.node.type}StateAborted")
        self.gone.add(scope)

    def stop_asking(self, scope: Scope) -> None:
        """Drop everything that a line of control has asked for."""
        for key in scope.keys:
            self.waiters.pop(key, None)
            if self.wanted.pop(key, None) is None:
                ask = self.open.pop(key, None)
                if ask is not None:
                    self.dropped[key] = ask
        scope.keys.clear()

    def join_of(self, wanted: MapRun) -> Join | None:
        """Where a map run stands, while it runs."""
        scopes = [self.main]
        while scopes:
            join = scopes.pop().below
            if join is None:
                continue
            if join.state is wanted:
                return join
            scopes.extend(join.children.values())
        return None

    def stop(self, join: Join, *, noted: bool, note: str | None = None) -> None:
        """Abort every line of control of a join; a redrive takes them up again.

        Parameters
        ----------
        note: an event that the history has for each of them.
        """
        scope = join.scope
        for child in list(join.children.values()):
            self.abort(child, noted=noted)
            join.stopped.append(child)
            if note is not None:
                details = {"index": child.index, "name": scope.node.name}
                self.aside(child, note, details)
        join.children.clear()
        scope.below, scope.redo = None, join
