"""Steps in the fast simulation: attempts, retries, queues, and what they add up to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import blake2b
from heapq import heappush
from typing import Any

from batuta.common.duration import SECOND
from batuta.common.failure import failure_of
from batuta.common.keyed import u
from batuta.kernel.dispatch import Queue
from batuta.kernel.world import Failure
from batuta.simulate.lane import Lane
from batuta.simulate.models import MISSING, SCALE, TIMED_OUT, Models, StepModel, bases, three
from batuta.simulate.placeholder import placeholder, result_placeholder
from batuta.simulate.process import Process
from batuta.simulate.timeline import Timeline
from batuta.simulate.world import BUILTIN_RESULTS, value_of
from batuta.workflow.failure import revive
from batuta.workflow.run import failure_data

Answer = Callable[[Process, Any, Any, BaseException | None], None]
"""Hands a value or an error to whoever waits for an ask."""

FATAL = "batuta:NotRetryable"
IMMUTABLE = (type(None), bool, int, float, str, bytes)


class Step:
    """What is known about a step in a simulation, and what came of it so far.

    `running`, `waiting`, `paused`: ns in attempts, in the queue, between attempts.
    """

    __slots__ = (
        "attempts", "fail", "failures", "fixed", "lane", "limit", "model", "name", "paused",
        "queue", "retries", "retry", "running", "sample", "tail", "value", "waiting",
    )  # fmt: skip

    def __init__(self, step: Any, model: StepModel, lane: Lane | None) -> None:
        self.name: str = step.name
        self.tail = f"\0{step.name}\0"
        self.sample = model.duration.sample
        self.fail = model.fail
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
        self.fixed = not (model.run or model.values) and isinstance(self.value, IMMUTABLE)


class Performing:
    """Performs the steps of all runs.

    Parameters
    ----------
    timeline: the clock. models: how steps go. seed: what luck is keyed with.
    queues: limits by name. concurrency: how many steps without a queue may run at once.
    answer: takes what comes of each.
    """

    def __init__(
        self,
        timeline: Timeline,
        models: Models,
        seed: int | str,
        queues: Iterable[Queue],
        concurrency: int | None,
        answer: Answer,
    ) -> None:
        self.steps: dict[Any, Step] = {}
        self.assumed: set[str] = set()
        self._timeline = timeline
        self._models = models
        self._answer = answer
        self._lanes = {queue.name: Lane(queue) for queue in queues}
        self._default = None if concurrency is None else Lane(Queue("", concurrency))

    def known(self, step: Any) -> Step:
        """What is known about a step."""
        # Shell commands and calls are made anew each time: they are known by their names.
        key = step if hasattr(step, "fn") else ("builtin", step.kind, step.name)
        known = self.steps.get(key)
        if known is None:
            model = self._models.step(step.name)
            known = self.steps[key] = Step(step, model, self.lane_of(step.queue))
            if model.source == "default":
                self.assumed.add(f"step {step.name}")
        return known

    def lane_of(self, queue: str | None) -> Lane | None:
        """The limits of a queue; None where there are none."""
        return self._default if queue is None else self._lanes.get(queue)

    # -- attempts --------------------------------------------------------------------------

    def begin(self, process: Process, ask: Any) -> None:
        """A run asks for a step."""
        ask.attempt = 1
        ask.undoes = False  # a compensation's own mark: here it says who has a place
        self.attempt(process, ask, self.known(ask.step))

    def attempt(self, process: Process, ask: Any, step: Step) -> None:
        """Begin an attempt, or wait for a place in the queue."""
        lane = step.lane
        if lane is not None:
            now = self._timeline.now
            # Until it begins, `due` says since when it waits, as a negative number.
            ask.due = -1 - now
            priority = ask.step.priority or process.workflow.priority
            if not lane.enter(now, priority, process, ask):
                self._look_again(lane)
                return
            ask.undoes = True
        self.go(process, ask, step)

    def go(self, process: Process, ask: Any, step: Step) -> None:
        """An attempt begins: how it goes is drawn."""
        # The same as `model.draw(luck(…))`, written out.
        key = f"{process.luck}{ask.key}{step.tail}{ask.attempt}".encode("utf-8", "surrogatepass")
        drawn = three(blake2b(key, digest_size=24).digest())
        timeline = self._timeline
        ask.due = number = timeline.next()
        step.attempts += 1
        limit = step.limit
        if (drawn[1] >> 11) * SCALE >= step.fail:
            taken = step.sample((drawn[0] >> 11) * SCALE)
            if limit is None or taken <= limit:
                step.running += taken
                heappush(timeline.heap, (timeline.now + taken, number, None, process, ask, taken))
                return
            failure: str | None = TIMED_OUT
        else:
            taken, failure = step.model.draw(drawn)
        if limit is not None and taken > limit:
            taken, failure = limit, TIMED_OUT
        step.running += taken
        at = timeline.now + taken
        heappush(timeline.heap, (at, number, self._fail, process, ask, (failure, taken)))

    # -- queues ----------------------------------------------------------------------------

    def open(self, process: Any, ask: Any, lane: Lane) -> None:
        """Let in whoever waits for a queue."""
        now = self._timeline.now
        while (entry := lane.next(now)) is not None:
            waiting, wanted = entry
            step = self.known(wanted.step)
            waited = now + wanted.due + 1
            step.waiting += waited
            wanted.command = (wanted.command or 0) + waited
            wanted.undoes = True
            self.go(waiting, wanted, step)
        self._look_again(lane)

    def _look_again(self, lane: Lane) -> None:
        opens = lane.opens()
        if opens is not None and opens != lane.looked:
            lane.looked = opens
            self._timeline.push(opens, self.open, None, None, lane)

    def _leave(self, ask: Any, lane: Lane | None) -> None:
        if lane is not None:
            ask.undoes = False
            lane.running -= 1
            self.open(None, None, lane)

    def drop(self, ask: Any) -> None:
        """Nobody waits for a step any more."""
        lane = self.known(ask.step).lane
        if ask.undoes and lane is not None:
            ask.undoes = False
            lane.running -= 1
            # Not at once: it may be dropped in the middle of something.
            self._timeline.push(self._timeline.now, self.open, None, None, lane)

    # -- what comes of it ------------------------------------------------------------------

    def complete(self, process: Process, ask: Any, ran: int) -> None:
        """An attempt succeeded."""
        step = self.known(ask.step)
        self._leave(ask, step.lane)
        process.path = (ask.asked, step.name, ran, ask.command or 0, 0)
        try:
            value = self._value(process, ask, step)
        except Exception as raised:  # the user's own function, called by the model
            failure = failure_of(raised)
            kind = failure.type if failure.retryable else FATAL
            if not self._tried_again(process, ask, step, kind, ran):
                self._end(process, ask, step, failure, ran)
            return
        self._answer(process, ask, value, None)

    def _value(self, process: Process, ask: Any, known: Step) -> Any:
        if known.fixed:
            return known.value
        step = ask.step
        if known.model.values and not known.model.run:
            key = f"{process.luck}{ask.key}{known.tail}{ask.attempt}"
            drawn = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=24).digest()
            return known.model.pick(three(drawn))
        if hasattr(step, "fn"):
            return value_of(known.model, step, ask.args, ask.kwargs)
        value = known.value
        return placeholder(BUILTIN_RESULTS.get(step.kind, Any)) if value is MISSING else value

    def _fail(self, process: Process, ask: Any, detail: Any) -> None:
        step = self.known(ask.step)
        self._leave(ask, step.lane)
        kind, ran = detail
        if self._tried_again(process, ask, step, kind, ran):
            return
        text = f"{step.name} failed (simulated)"
        if kind == TIMED_OUT and step.limit is not None:
            text = f"step {step.name} took longer than {step.limit / SECOND:g} s"
        self._end(process, ask, step, Failure(kind, text, args=[text]), ran)

    def _tried_again(self, process: Process, ask: Any, step: Step, kind: str, ran: int) -> bool:
        """Whether another attempt follows a failed one."""
        attempt, retry = ask.attempt, step.retry
        step.failures[kind] = step.failures.get(kind, 0) + 1
        if kind == FATAL or not retry.allows(kind, bases(kind), attempt):
            return False
        pause = retry.delay(attempt, u(0, process.run, ask.key, attempt, "retry"))
        step.paused += pause
        step.retries += 1
        # A failed attempt is on the way as well: it was being tried again all the time.
        ask.asked = (ask.asked, step.name, 0, ask.command or 0, ran + pause)
        ask.command = None
        self._timeline.push(self._timeline.now + pause, self._retry, process, ask)
        return True

    def _end(self, process: Process, ask: Any, step: Step, failure: Failure, ran: int) -> None:
        process.path = (ask.asked, step.name, ran, ask.command or 0, 0)
        error = revive(failure_data(failure, None), ask.describe())
        self._answer(process, ask, None, error)

    def _retry(self, process: Process, ask: Any, detail: Any) -> None:
        ask.attempt += 1
        self.attempt(process, ask, self.known(ask.step))
