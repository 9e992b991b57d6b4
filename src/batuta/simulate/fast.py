"""The fast simulation: workflows' own code in virtual time, without a journal.

It knows the same models, the same luck, the same retries, limits and queues as the simulation
of whole servers, and comes to the same times; a run costs microseconds instead of milliseconds.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from heapq import heappop, heappush
from typing import Any

from batuta.common.duration import SECOND
from batuta.common.failure import failure_of
from batuta.common.keyed import u
from batuta.kernel.dispatch import Queue
from batuta.kernel.errors import Cancelled, TimedOut
from batuta.kernel.world import Failure
from batuta.simulate.lane import Lane
from batuta.simulate.models import (
    MISSING,
    SCALE,
    TIMED_OUT,
    ArrivalModel,
    Models,
    StepModel,
    bases,
    luck,
    three,
)
from batuta.simulate.placeholder import placeholder, result_placeholder
from batuta.simulate.process import Process
from batuta.simulate.world import BUILTIN_RESULTS, value_of
from batuta.workflow.ask import Ask, Call, ChildCall, EventWait, Expiry, SignalWait, Sleep, active
from batuta.workflow.failure import revive, revive_child
from batuta.workflow.program import Branch, Joining
from batuta.workflow.run import failure_data

ENDED, START, FAILED, RETRY, TIMER, EXPIRED, ARRIVED, DEADLINE, OPEN, BORN, FED = range(11)

FOREVER = 1 << 62
IMMUTABLE = (type(None), bool, int, float, str, bytes)
LATE = 1 << 60
"""Added to the number of a time limit: what falls on the same instant comes before it."""

Entry = tuple[int, int, int, Any, Any, Any]
"""(time, number, what happens, process, ask, detail)"""

Start = tuple[int, Any, tuple[Any, ...], dict[str, Any], str]
"""(time in ns, workflow, its arguments, by name, the run's id)"""

Ended = Callable[[Process, Any, BaseException | None], None]


class Step:
    """What is known about a step in a simulation, and what came of it so far."""

    __slots__ = (
        "attempts", "failures", "fixed", "lane", "limit", "model", "name", "paused", "queue",
        "retries", "retry", "running", "sample", "tail", "value", "waiting",
    )  # fmt: skip

    def __init__(self, step: Any, model: StepModel, lane: Lane | None) -> None:
        self.name: str = step.name
        self.tail = f"\0{step.name}\0"
        self.sample = model.duration.sample
        self.model = model
        self.lane = lane
        self.queue: str | None = step.queue
        self.retry = step.retry
        self.limit = None if step.timeout_s is None else int(step.timeout_s * SECOND)
        self.attempts = self.retries = self.running = self.waiting = self.paused = 0
        self.failures: dict[str, int] = {}
        self.value = model.value
        if self.value is MISSING and not model.run and hasattr(step, "fn"):
            self.value = result_placeholder(step.fn)
        # A value that cannot be changed by whoever gets it is made once.
        self.fixed = not model.run and isinstance(self.value, IMMUTABLE)


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
        self.models = models
        self.seed = seed
        self._seed = f"{seed}\0"
        self.now = start
        self.operations_max = operations_max
        self.steps: dict[Any, Step] = {}
        self.alive = 0
        self.assumed: set[str] = set()
        self._ended = ended
        self._heap: list[Entry] = []
        self._count = 0
        self._lanes = {queue.name: Lane(queue) for queue in queues}
        self._default = None if concurrency is None else Lane(Queue("", concurrency))
        self._waits: dict[str, dict[Ask[Any], Process]] = {}

    # -- from outside ----------------------------------------------------------------------

    def feed(self, starts: Iterator[Start]) -> None:
        """Start runs one after the other, in order of time."""
        start = next(starts, None)
        if start is not None:
            at, workflow, args, kwargs, run = start
            self._push(at, FED, None, None, ((workflow, args, kwargs, run), starts))

    def _fed(self, process: Any, ask: Any, detail: Any) -> None:
        self.feed(detail[1])
        self._start(process, ask, detail[0])

    def start(
        self, workflow: Any, args: tuple[Any, ...], kwargs: dict[str, Any], run: str, at: int
    ) -> None:
        """Start a run at a time, ns."""
        self._push(at, START, None, None, (workflow, args, kwargs, run))

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
        heap, pop, acts, steps = self._heap, heappop, self._acts(), self.steps
        while heap:
            entry = pop(heap)
            time, number, what, process, ask, detail = entry
            if ask is not None and ask.due != number:
                continue  # it was dropped
            if time > until:
                heappush(heap, entry)
                return
            self.now = time
            if what:
                active.program = None
                acts[what](process, ask, detail)
                continue
            # A step succeeded: by far the most frequent thing, so its way is short.
            step = steps.get(ask.step)
            branch = ask.cause
            if step is None or not step.fixed or type(branch) is not Branch or branch.sagas:
                active.program = None
                self._complete(process, ask, detail)
                continue
            queued = 0
            if step.lane is not None:
                queued = ask.command or 0
                ask.undoes = False
                step.lane.running -= 1
                if step.lane.waiting:
                    self._open(None, None, step.lane)
            process.path = (ask.asked, step.name, detail, queued, 0)
            self._resume(process, branch, step.value)

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
            step = self.steps.get(ask.step) if type(ask) is Call else None
            if step is None or ask.key or branch.postponed is not None:
                process.go_on(branch, ask)
            else:
                branch.count = count = branch.count + 1
                ask.key = f"{branch.scope}{count}"
                branch.at = ask
                ask.cause = branch
                ask.asked = process.path
                ask.attempt = 1
                ask.undoes = False  # a compensation's own mark: here it says who has a place
                lane = step.lane
                if lane is None:
                    self._go(process, ask, step)
                elif lane.running < lane.most and not lane.waiting:
                    lane.running += 1
                    ask.undoes = True
                    self._go(process, ask, step)
                else:
                    self._attempt(process, ask, step)
                return
        if process.ended:
            self._close(process)

    def _acts(self) -> list[Callable[[Any, Any, Any], None]]:
        return [
            self._complete, self._start, self._fail, self._retry, self._pass, self._expire,
            self._pass, self._overdue, self._open, self.born,
            self._fed,
        ]  # fmt: skip

    def _push(self, at: int, what: int, process: Any, ask: Any, detail: Any = None) -> None:
        self._count = number = self._count + 1
        if ask is not None:
            ask.due = number
        heappush(self._heap, (at, number, what, process, ask, detail))

    # -- runs ------------------------------------------------------------------------------

    def _start(self, process: Any, ask: Any, detail: Any) -> None:
        workflow, args, kwargs, run = detail
        self.spawn(workflow, args, kwargs, run, None)

    def spawn(
        self,
        workflow: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        run: str,
        parent: tuple[Process, Ask[Any]] | None,
        began: int | None = None,
    ) -> Process:
        """A run begins now."""
        coro = workflow.fn(*args, **kwargs)
        process = Process(coro, run, workflow, self, self.now if began is None else began)
        if parent is not None:
            process.parent = parent
            process.path = parent[1].asked  # type: ignore[assignment]
        self.alive += 1
        if workflow.deadline is not None:
            self._push(self.now + workflow.deadline, DEADLINE, process, None)
        process.begin()
        if process.ended:
            self._close(process)
        return process

    def _overdue(self, process: Process, ask: Any, detail: Any) -> None:
        if not process.ended:
            process.overdue = True
            process.stop("the deadline passed")
            self._look(process)

    def _look(self, process: Process) -> None:
        if process.ended:
            self._close(process)

    def _close(self, process: Process) -> None:
        """A run has ended."""
        if process.closed:
            return
        process.closed = True
        self.alive -= 1
        if process.continued is not None:
            stored, flow = process.continued, process.workflow
            args, kwargs = flow.codec.decode_call(stored["args"], stored["kwargs"])
            base, _, count = process.run.rpartition("~")
            again = f"{base}~{int(count) + 1}" if base and count.isdigit() else f"{process.run}~2"
            self.spawn(flow, args, kwargs, again, process.parent, process.began)
            return
        error = process.error
        if isinstance(error, Cancelled) and process.overdue:
            error = TimedOut("the run's deadline passed", {"message": "the run's deadline passed"})
        if process.parent is None:
            if self._ended is not None:
                self._ended(process, process.result, error)
            return
        parent, ask = process.parent
        if ask.due is None:
            return
        if error is not None:
            message = "it was cancelled" if isinstance(error, Cancelled) else str(error)
            error = revive_child({"message": message}, process.run)
        parent.path = process.path
        self._answer(parent, ask, process.result, error)

    def _answer(
        self, process: Process, ask: Ask[Any], value: Any, error: BaseException | None
    ) -> None:
        process.answer(ask, value, error)
        if process.ended:
            self._close(process)

    # -- asking ----------------------------------------------------------------------------

    def begin(self, process: Process, ask: Any) -> None:
        """A run asks for something that takes time."""
        if type(ask) is Call:
            step = self.steps.get(ask.step)
            if step is None:
                step = self._known(ask.step)
            ask.attempt = 1
            ask.undoes = False
            self._attempt(process, ask, step)
        else:
            BEGIN[ask.kind](self, process, ask)

    def _known(self, step: Any) -> Step:
        model = self.models.step(step.name)
        lane = self.lane_of(step.queue)
        # Shell commands and calls are made anew each time: they are known by their names.
        key = step if hasattr(step, "fn") else ("builtin", step.kind, step.name)
        known = self.steps.get(key)
        if known is None:
            known = self.steps[key] = Step(step, model, lane)
        if model.source == "default":
            self.assumed.add(f"step {step.name}")
        return known

    def lane_of(self, queue: str | None) -> Lane | None:
        """The limits of a queue; None where there are none."""
        return self._default if queue is None else self._lanes.get(queue)

    def _attempt(self, process: Process, ask: Any, step: Step) -> None:
        lane = step.lane
        if lane is not None:
            # Until it begins, `due` says since when it waits, as a negative number.
            ask.due = -1 - self.now
            priority = ask.step.priority or process.workflow.priority
            if not lane.enter(self.now, priority, process, ask):
                return
            ask.undoes = True  # it has a place in the queue
        self._go(process, ask, step)

    def _go(self, process: Process, ask: Any, step: Step) -> None:
        """An attempt begins: how it goes is drawn."""
        model, attempt = step.model, ask.attempt
        # The same as `model.draw(luck(…))`, written out.
        key = f"{self._seed}{process.run}/{ask.key}{step.tail}{attempt}"
        drawn = three(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=24).digest())
        if model.fail and (drawn[1] >> 11) * SCALE < model.fail:
            taken, failure = model.draw(drawn)
        else:
            taken, failure = step.sample((drawn[0] >> 11) * SCALE), None
        limit = step.limit
        if limit is not None and taken > limit:
            taken, failure = limit, TIMED_OUT
        step.attempts += 1
        step.running += taken
        self._count = ask.due = number = self._count + 1
        if failure is None:
            heappush(self._heap, (self.now + taken, number, ENDED, process, ask, taken))
        else:
            detail = failure, taken
            heappush(self._heap, (self.now + taken, number, FAILED, process, ask, detail))

    def _leave(self, lane: Lane) -> None:
        lane.leave()
        self._open(None, None, lane)

    def _open(self, process: Any, ask: Any, lane: Lane) -> None:
        """Let in whoever waits for a queue."""
        while (entry := lane.next(self.now)) is not None:
            waiting, wanted = entry
            step = self._known_again(wanted.step)
            waited = self.now + wanted.due + 1
            step.waiting += waited
            wanted.command = (wanted.command or 0) + waited
            wanted.undoes = True
            self._go(waiting, wanted, step)
        opens = lane.opens()
        if opens is not None:
            self._push(opens, OPEN, None, None, lane)

    def _known_again(self, step: Any) -> Step:
        return self.steps.get(step) or self._known(step)

    # -- what happens ----------------------------------------------------------------------

    def _complete(self, process: Process, ask: Any, detail: Any) -> None:
        step = self._known_again(ask.step)
        if step.lane is not None:
            ask.undoes = False
            self._leave(step.lane)
        ran: int = detail
        process.path = (ask.asked, step.name, ran, ask.command or 0, 0)
        try:
            value = self._value(ask, step)
        except Exception as raised:  # the user's own function, called by the model
            self._failed(process, ask, step, failure_of(raised), ran)
            return
        self._answer(process, ask, value, None)

    def _value(self, ask: Any, known: Step) -> Any:
        if known.fixed:
            return known.value
        step = ask.step
        if hasattr(step, "fn"):
            return value_of(known.model, step, ask.args, ask.kwargs)
        value = known.value
        return placeholder(BUILTIN_RESULTS.get(step.kind, Any)) if value is MISSING else value

    def _fail(self, process: Process, ask: Any, detail: Any) -> None:
        step = self._known_again(ask.step)
        if step.lane is not None:
            ask.undoes = False
            self._leave(step.lane)
        type, ran = detail
        text = f"step {step.name} took longer than {step.limit / SECOND:g} s" if (
            type == TIMED_OUT and step.limit is not None
        ) else f"{step.name} failed (simulated)"  # fmt: skip
        self._failed(process, ask, step, Failure(type, text, args=[text]), ran)

    def _failed(self, process: Process, ask: Any, step: Step, failure: Failure, ran: int) -> None:
        kind, attempt = failure.type, ask.attempt
        step.failures[kind] = step.failures.get(kind, 0) + 1
        queued = ask.command or 0
        ask.command = None
        if failure.retryable and step.retry.allows(kind, bases(kind), attempt):
            chance = u(0, process.run, ask.key, attempt, "retry")
            pause = step.retry.delay(attempt, chance)
            step.paused += pause
            step.retries += 1
            # A failed attempt is on the way as well: it was being tried again all the time.
            ask.asked = (ask.asked, step.name, 0, queued, ran + pause)
            self._push(self.now + pause, RETRY, process, ask)
            return
        process.path = (ask.asked, step.name, ran, queued, 0)
        error = revive(failure_data(failure, None), ask.describe())
        self._answer(process, ask, None, error)

    def _retry(self, process: Process, ask: Any, detail: Any) -> None:
        ask.attempt += 1
        self._attempt(process, ask, self._known_again(ask.step))

    def _pass(self, process: Process, ask: Any, detail: Any) -> None:
        """A timer fired, a signal or an event came."""
        name, since, value = detail
        process.path = (ask.asked, name, self.now - since, 0, 0)
        if isinstance(ask, EventWait):
            self._waits[ask.type].pop(ask, None)
        self._answer(process, ask, value, None)

    def _expire(self, process: Process, ask: Any, detail: Any) -> None:
        """Something did not come in time."""
        name, since, _ = detail
        process.path = (ask.asked, name, self.now - since, 0, 0)
        if isinstance(ask, EventWait):
            self._waits[ask.type].pop(ask, None)
        text = f"{ask.describe()} did not come in time"
        self._answer(process, ask, None, TimedOut(text, {"message": text}))

    def drop(self, process: Process, ask: Any) -> None:
        """Nobody waits for it any more."""
        ask.due = None
        if type(ask) is Call:
            if ask.undoes:
                lane = self._known_again(ask.step).lane
                assert lane is not None
                lane.leave()
                ask.undoes = False
                self._push(self.now, OPEN, None, None, lane)
        elif isinstance(ask, EventWait):
            self._waits.get(ask.type, {}).pop(ask, None)
        elif isinstance(ask, ChildCall):
            child: Any = ask.command
            if child is not None and not child.ended:
                child.stop(f"its parent `{process.run}` does not wait for it any more")
                if child.ended:
                    self._close(child)

    # -- what is asked for besides steps ---------------------------------------------------

    def sleep(self, process: Process, ask: Sleep) -> None:
        """A run lets time pass."""
        self._push(self.now + ask.delay, TIMER, process, ask, ("sleep", self.now, None))

    def limit(self, process: Process, joining: Joining, within: int) -> None:
        """A time limit begins."""
        expiry = joining.expiry = Expiry(within)
        expiry.cause = joining  # type: ignore[assignment]
        expiry.asked = process.path  # type: ignore[assignment]
        self._count += 1
        expiry.due = number = self._count + LATE
        detail = ("time limit", self.now, None)
        heappush(self._heap, (self.now + within, number, TIMER, process, expiry, detail))

    def signal(self, process: Process, ask: SignalWait[Any]) -> None:
        """A run waits for a signal."""
        model = self.models.signal(ask.name)
        if model.source == "default":
            self.assumed.add(f"signal {ask.name}")
        self._await(process, ask, model, ask.name, ask.within)

    def event(self, process: Process, ask: EventWait) -> None:
        """A run waits for an event: one that another run emits, or that the model lets come."""
        model = self.models.events.get(ask.type) or self.models.events.get("*")
        self._waits.setdefault(ask.type, {})[ask] = process
        self._await(process, ask, model, ask.type, ask.within)

    def _await(
        self, process: Process, ask: Any, model: ArrivalModel | None, name: str, within: int | None
    ) -> None:
        now = self.now
        comes: int | None = None
        if model is not None:
            drawn = luck(self.seed, f"{process.run}/{ask.key}", name, 1)
            never = model.never and (drawn[1] >> 11) * 2.0**-53 < model.never
            if not never:
                comes = now + model.after.sample((drawn[0] >> 11) * 2.0**-53)
        what = f"{ask.kind} {name}"
        if comes is not None and (within is None or comes <= now + within):
            assert model is not None
            value = model.value if ask.kind == "signal" else self._made(process, ask, comes, model)
            self._push(comes, ARRIVED, process, ask, (what, now, value))
        elif within is not None:
            self._push(now + within, EXPIRED, process, ask, (what, now, None))
        else:
            ask.due = 0  # only another run can bring it

    def _made(self, process: Process, ask: EventWait, at: int, model: ArrivalModel) -> Any:
        return ask.build(
            {
                "id": f"{process.run}/{ask.key}", "type": ask.type, "source": "/simulation",
                "subject": ask.subject or "", "time": at, "data": model.value,
            }
        )  # fmt: skip

    def emit(self, process: Process, ask: Any) -> None:
        """A run writes an event: whoever waits for it goes on, at this same instant."""
        waits = self._waits.get(ask.type)
        if not waits:
            return
        seen = {
            "id": f"{process.run}/{ask.key}", "type": ask.type, "source": f"/runs/{process.run}",
            "subject": ask.subject, "time": self.now, "data": ask.data,
        }  # fmt: skip
        for wait, waiting in list(waits.items()):
            if not isinstance(wait, EventWait):
                continue
            if (wait.subject is None or wait.subject == ask.subject) and (
                wait.where is None or wait.where.test(seen)
            ):
                del waits[wait]
                detail = (f"event {ask.type}", self.now, wait.build(seen))
                self._push(self.now, ARRIVED, waiting, wait, detail)

    def child(self, process: Process, ask: ChildCall[Any]) -> None:
        """A run calls another workflow."""
        flow = ask.workflow
        args, kwargs = flow.codec.decode_call(ask.args, ask.kwargs)
        run = ask.id or f"{process.run}/{ask.key}"
        if ask.detached:
            self._push(self.now, ARRIVED, process, ask, ("start", self.now, run))
            self._push(self.now, START, None, None, (flow, args, kwargs, run))
            return
        # It begins behind this one: whoever asks must have come to rest before it is answered.
        self._push(self.now, BORN, process, ask, (flow, args, kwargs, run))

    def born(self, process: Process, ask: ChildCall[Any], detail: Any) -> None:
        """A child begins."""
        flow, args, kwargs, run = detail
        ask.due = 0
        child = self.spawn(flow, args, kwargs, run, (process, ask))
        if not child.ended:
            ask.command = child  # type: ignore[assignment]


BEGIN: dict[str, Callable[[Fast, Process, Any], None]] = {
    "timer": Fast.sleep,
    "signal": Fast.signal,
    "event": Fast.event,
    "child": Fast.child,
}
