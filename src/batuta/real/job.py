"""One command while it is being performed, and the line in which commands wait for a place."""

from __future__ import annotations

import asyncio
from bisect import insort
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Any, Protocol

from batuta.common.failure import bases_by_name
from batuta.kernel.world import Command, Failure, Outcome
from batuta.real.context import Output, StepContext


class Job:
    """A command on its way to its outcome.

    Parameters
    ----------
    command: what is performed.
    pool: who performs it.
    opens: makes the output of a step that prints; None: it goes where the server's goes.
    deadline: when its time is up, by the steady clock in seconds; infinite while it waits.
    started: when a worker began with it, ns; 0 while it waits.
    stopped: why it was told to stop; None while it may go on.
    gone: it has left its line. returned: its function has ended.
    done: its outcome has been handed over.
    detail: what is worth recording should it fail, whoever ends it.
    """

    __slots__ = (
        *("command", "context", "deadline", "detail", "done", "give_up_at", "gone", "pool"),
        *("returned", "started", "stopped", "task", "thread"),
    )

    def __init__(
        self, command: Command, pool: Pool, opens: Callable[[str], Output] | None = None
    ) -> None:
        self.command = command
        self.pool = pool
        self.context = StepContext(
            command.id, command.name, command.attempt, command.data.get("heartbeat")
        )
        self.context.opens = opens
        self.deadline = inf
        self.started = 0
        self.stopped: Failure | None = None
        self.give_up_at = inf
        self.gone = False
        self.returned = False
        self.done = False
        self.thread = 0
        self.task: asyncio.Task[None] | None = None
        self.detail: dict[str, Any] | None = None

    def begin(self, started: int, steady: float) -> None:
        """Its time runs from here: `started` in ns, `steady` in seconds of the steady clock."""
        self.started = started
        command = self.command
        if command.timeout_s is not None:
            self.deadline = steady + command.timeout_s
        self.context.beat_at = steady

    @property
    def due(self) -> float:
        """When the watcher has to look at it next."""
        if self.stopped is not None:
            return self.give_up_at
        due, silent = self.deadline, self.command.heartbeat_s
        if silent is not None and self.started:
            due = min(due, self.context.beat_at + silent)
        return due

    def failed(self, failure: Failure, bases: list[str] | None = None) -> Outcome:
        """Its outcome where it did not succeed."""
        outcome = Outcome(self.command.id, failure=failure, started=self.started)
        if self.detail is not None:
            outcome.detail.update(self.detail)
        if bases is None:
            bases = bases_by_name(failure.type)
        if bases:
            outcome.detail["bases"] = bases
        if self.context.details is not None:
            outcome.detail["heartbeat"] = self.context.details
        return outcome


class Pool(Protocol):
    """Performs jobs of one kind, so many at once and no more."""

    def begin(self, job: Job) -> None:
        """Perform it when there is a place for it; returns at once."""

    def stop(self, job: Job) -> None:
        """Make a job end, or leave the line where it waits; `job.stopped` says why."""

    def give_up(self, job: Job) -> None:
        """It did not end although it was told to: go on without it."""

    async def close(self) -> None:
        """Let go of everything that it holds."""

    def stats(self) -> dict[str, float]:
        """Numbers for people who watch."""


class Hub(Protocol):
    """What a pool needs from the world that it belongs to."""

    loop: asyncio.AbstractEventLoop
    value_limit: int
    closed: bool

    def now(self) -> int:
        """Nanoseconds since 1970-01-01 UTC; for any thread."""

    def began(self, job: Job) -> None:
        """A worker begins with it now; for any thread."""

    def finish(self, job: Job, outcome: Outcome, *, at_once: bool = False) -> None:
        """Hand its outcome over; only in the loop's thread, and only the first counts."""


class Line:
    """Jobs that wait: the higher priority first, within one the earlier. Not for two threads."""

    def __init__(self) -> None:
        self._lanes: dict[int, deque[Job]] = {}
        self._order: list[int] = []
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def put(self, job: Job) -> None:
        """Add one at the end of its priority."""
        lane = self._lanes.get(job.command.priority)
        if lane is None:
            lane = self._lanes[job.command.priority] = deque()
            insort(self._order, job.command.priority)
        lane.append(job)
        self._length += 1

    def take(self) -> Job | None:
        """The next one that is still wanted."""
        while self._order:
            lane = self._lanes[self._order[-1]]
            job = lane.popleft()
            if not lane:
                del self._lanes[self._order.pop()]
            if not job.gone:
                job.gone = True
                self._length -= 1
                return job
        return None

    def withdraw(self, job: Job) -> bool:
        """Take this one out of the line; False where it has left it already."""
        if job.gone:
            return False
        job.gone = True
        self._length -= 1
        return True
