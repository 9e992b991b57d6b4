"""Commands that are performed by a task each: processes, shell commands, HTTP calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from functools import partial

from batuta.kernel.world import Outcome
from batuta.real.call import raised
from batuta.real.context import StepStopped
from batuta.real.job import Hub, Job, Line

CLOSE_S = 5.0


class TaskPool:
    """So many tasks at once, and a line for the others.

    Parameters
    ----------
    name: what its numbers are called in `stats`.
    perform: one command; cancelled when it shall stop, and cleans up then.
    """

    def __init__(
        self, hub: Hub, name: str, limit: int, perform: Callable[[Job], Awaitable[Outcome]]
    ) -> None:
        self._hub = hub
        self._name = name
        self._limit = limit
        self._perform = perform
        self._line = Line()
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, job: Job) -> None:
        self._line.put(job)
        self._fill()

    def stop(self, job: Job) -> None:
        assert job.stopped is not None
        if self._line.withdraw(job):
            self._hub.finish(job, job.failed(job.stopped))
        elif job.task is not None:
            job.task.cancel()

    def give_up(self, job: Job) -> None:
        """Its clean-up takes too long: cut that short."""
        if job.task is not None:
            job.task.cancel()

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_S)

    def stats(self) -> dict[str, float]:
        return {
            f"{self._name}.running": len(self._tasks),
            f"{self._name}.waiting": len(self._line),
        }

    def _fill(self) -> None:
        while len(self._tasks) < self._limit and (job := self._line.take()) is not None:
            job.task = self._hub.loop.create_task(self._run(job), context=Context())
            self._tasks.add(job.task)
            job.task.add_done_callback(partial(self._ended, job))

    def _ended(self, job: Job, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if job.stopped is not None and not job.done:  # stopped before its first line ran
            self._hub.finish(job, job.failed(job.stopped))
        if not self._hub.closed:
            self._fill()

    async def _run(self, job: Job) -> None:
        self._hub.began(job)
        try:
            outcome = await self._perform(job)
        except (asyncio.CancelledError, StepStopped):
            if job.stopped is None:
                raise  # the world is closing
            outcome = job.failed(job.stopped)
        except Exception as error:  # of the effect or of what the command asks for
            outcome = raised(job, error)
        if job.context.output is not None:
            job.context.output.end()
        if job.stopped is not None:
            outcome = job.failed(job.stopped)
        self._hub.finish(job, outcome)
