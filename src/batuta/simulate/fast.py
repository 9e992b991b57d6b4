"""The fast simulation: workflows' own code in virtual time, without a journal.

It knows the same models, the same luck, the same retries, limits and queues as the simulation
of whole servers, and comes to the same times; a run costs microseconds instead of milliseconds.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush
from typing import Any

from batuta.kernel.dispatch import Queue
from batuta.kernel.errors import Cancelled, TimedOut
from batuta.simulate.models import Models
from batuta.simulate.performing import Performing, Step
from batuta.simulate.process import Process
from batuta.simulate.timeline import Timeline
from batuta.simulate.waiting import Waiting
from batuta.workflow.ask import Ask, Call, ChildCall, active
from batuta.workflow.failure import revive_child
from batuta.workflow.program import Branch

FOREVER = 1 << 62
ALONE: Any = ("nobody waits for it",)
"""The parent of a run that was started by another one and not awaited."""

Start = tuple[int, Any, tuple[Any, ...], dict[str, Any], str]
"""(time in ns, workflow, its arguments, by name, the run's id)"""

Ended = Callable[[Process, Any, BaseException | None], None]


class Fast:
    """Runs of workflows in virtual time.

    Parameters
    ----------
    models: how steps go, when signals and events come. seed: what luck is keyed with.
    queues: limits on steps. concurrency: how many steps without a queue may run at once.
    ended: called with each run that was started from outside when it ends: (process, its
        result, its error).
    start: the first instant, ns.
    """

    def __init__(
        self,
        models: Models,
        *,
        seed: int | str = 0,
        queues: Iterable[Queue] = (),
        concurrency: int | None = None,
        ended: Ended | None = None,
        start: int = 0,
        operations_max: int = 10_000,
    ) -> None:
        self.seed = seed
        self.operations_max = operations_max
        self.alive = 0
        self.timeline = Timeline(start)
        self.performing = Performing(self.timeline, models, seed, queues, concurrency, self._answer)
        self.waiting = Waiting(self.timeline, models, seed, self._answer)
        self._ended = ended
        self._begins: dict[str, Callable[[Process, Any], None]] = {
            "step": self.performing.begin,
            "timer": self.waiting.sleep,
            "signal": self.waiting.signal,
            "event": self.waiting.event,
            "child": self._child,
        }

    @property
    def now(self) -> int:
        """The present time, ns."""
        return self.timeline.now

    @property
    def steps(self) -> dict[Any, Step]:
        """What came of each step."""
        return self.performing.steps

    @property
    def assumed(self) -> set[str]:
        """What was asked for and had no model."""
        return self.performing.assumed | self.waiting.assumed

    # -- from outside ----------------------------------------------------------------------

    def feed(self, starts: Iterator[Start]) -> None:
        """Start runs one after the other, in order of time."""
        start = next(starts, None)
        if start is not None:
            self.timeline.push(start[0], self._fed, None, None, (start[1:], starts))

    def _fed(self, process: Any, ask: Any, detail: Any) -> None:
        self.feed(detail[1])
        self._start(process, ask, detail[0])

    def start(
        self, workflow: Any, args: tuple[Any, ...], kwargs: dict[str, Any], run: str, at: int
    ) -> None:
        """Start a run at a time, ns."""
        self.timeline.push(at, self._start, None, None, (workflow, args, kwargs, run))

    def run(self, until: int | None = None) -> None:
        """Let time pass until nothing is going to happen any more, or up to a time, ns."""
        before, threshold = (active.program, active.branch), gc.get_threshold()
        # Nearly everything here is freed by its count of references; looking for cycles among
        # a million waiting runs again and again would take most of the time.
        gc.set_threshold(200_000, 50, 1000)
        try:
            self._run(FOREVER if until is None else until)
        finally:
            gc.set_threshold(*threshold)
            active.program, active.branch = before

    def _run(self, until: int) -> None:
        timeline, performing = self.timeline, self.performing
        heap, pop, steps, resume = timeline.heap, heappop, performing.steps, self._resume
        while heap:
            entry = pop(heap)
            time, number, act, process, ask, detail = entry
            if ask is not None and ask.due != number:
                continue  # it was dropped
            if time > until:
                heappush(heap, entry)
                return
            timeline.now = time
            if act is not None:
                active.program = None
                act(process, ask, detail)
                continue
            # A step succeeded: its way is short.
            step = steps.get(ask.step)
            branch = ask.cause
            if not (step is not None and step.fixed and type(branch) is Branch) or branch.sagas:
                active.program = None
                performing.complete(process, ask, detail)
                continue
            lane = step.lane
            if lane is not None:
                lane.running -= 1
                if lane.waiting:
                    performing.open(None, None, lane)
            process.path = (ask.asked, step.name, detail, ask.command or 0, 0)
            resume(process, branch, step.value)

    def _resume(self, process: Process, branch: Branch, value: Any) -> None:
        """A branch goes on; `Program._drive` with the frequent case written out."""
        active.program, active.branch = process, branch
        branch.at = None
        try:
            ask: Any = branch.coro.send(value)
        except StopIteration as stop:
            process.finish(branch, stop.value, None)
        except BaseException as raised:
            process.finish(branch, None, raised)
        else:
            performing = self.performing
            step = performing.steps.get(ask.step) if type(ask) is Call else None
            if step is None or ask.key or branch.postponed is not None:
                process.go_on(branch, ask)
            else:
                branch.count = count = branch.count + 1
                ask.key = f"{branch.scope}{count}"
                branch.at = ask
                ask.cause = branch
                ask.asked = process.path
                lane = step.lane
                if lane is None:
                    ask.undoes = False
                elif lane.running < lane.most and not lane.waiting:
                    lane.running += 1
                    ask.undoes = True
                else:
                    performing.begin(process, ask)
                    return
                ask.attempt = 1
                performing.go(process, ask, step)
                return
        self._look(process)

    # -- runs ------------------------------------------------------------------------------

    def _start(self, process: Any, ask: Any, detail: Any) -> None:
        workflow, args, kwargs, run = detail
        self._spawn(workflow, args, kwargs, run, None, self.timeline.now)

    def _spawn(
        self,
        workflow: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        run: str,
        parent: tuple[Process, Any] | None,
        began: int,
    ) -> Process:
        """A run begins now."""
        process = Process(workflow.fn(*args, **kwargs), run, workflow, self, began)
        if parent is not None:
            process.parent = parent
            process.path = parent[1].asked if parent is not ALONE else None
        self.alive += 1
        if workflow.deadline is not None:
            due = self.timeline.now + workflow.deadline
            self.timeline.push(due, self._overdue, process, None)
        self._resume(process, process.main, None)
        return process

    def _overdue(self, process: Process, ask: Any, detail: Any) -> None:
        if not process.ended:
            process.overdue = True
            process.stop("the deadline passed")
            self._look(process)

    def _look(self, process: Process) -> None:
        if process.ended and not process.closed:
            process.closed = True
            self._close(process)

    def _close(self, process: Process) -> None:
        """A run has ended."""
        self.alive -= 1
        if process.continued is not None:
            stored, flow = process.continued, process.workflow
            args, kwargs = flow.codec.decode_call(stored["args"], stored["kwargs"])
            base, _, count = process.run.rpartition("~")
            again = f"{base}~{int(count) + 1}" if base and count.isdigit() else f"{process.run}~2"
            self._spawn(flow, args, kwargs, again, process.parent, process.began)
            return
        error = process.error
        if isinstance(error, Cancelled) and process.overdue:
            error = TimedOut("the run's deadline passed", {"message": "the run's deadline passed"})
        if process.parent is ALONE:
            return
        if process.parent is None:
            if self._ended is not None:
                self._ended(process, process.result, error)
            return
        parent, ask = process.parent
        if ask.due is None:
            return  # nobody waits for it any more
        if error is not None:
            message = "it was cancelled" if isinstance(error, Cancelled) else str(error)
            error = revive_child({"message": message}, process.run)
        parent.path = process.path
        self._answer(parent, ask, process.result, error)

    # -- asking and answering --------------------------------------------------------------

    def begin(self, process: Process, ask: Ask[Any]) -> None:
        """A run asks for something that takes time."""
        self._begins[ask.kind](process, ask)

    def _answer(self, process: Process, ask: Any, value: Any, error: BaseException | None) -> None:
        process.answer(ask, value, error)
        self._look(process)

    def drop(self, process: Process, ask: Any) -> None:
        """A run does not wait for something any more."""
        ask.due = None
        if type(ask) is Call:
            self.performing.drop(ask)
        elif isinstance(ask, ChildCall):
            child: Any = ask.command
            if child is not None and not child.ended:
                child.stop(f"its parent `{process.run}` does not wait for it any more")
                self._look(child)
        else:
            self.waiting.drop(ask)

    def _child(self, process: Process, ask: ChildCall[Any]) -> None:
        """A run calls another workflow."""
        flow, now = ask.workflow, self.timeline.now
        args, kwargs = flow.codec.decode_call(ask.args, ask.kwargs)
        run = ask.id or f"{process.run}/{ask.key}"
        # It begins behind this one: whoever asks must have come to rest before it is answered.
        self.timeline.push(now, self._born, process, ask, (flow, args, kwargs, run))

    def _born(self, process: Process, ask: Any, detail: Any) -> None:
        flow, args, kwargs, run = detail
        now = self.timeline.now
        ask.due = 0
        if ask.detached:
            self._answer(process, ask, run, None)
            self._spawn(flow, args, kwargs, run, ALONE, now)
            return
        child = self._spawn(flow, args, kwargs, run, (process, ask), now)
        if not child.ended:
            ask.command = child
