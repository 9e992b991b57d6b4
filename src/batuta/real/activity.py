"""Activities: tasks that wait in a line until a worker of the user's fetches and settles them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from math import inf
from time import monotonic
from typing import Any

from batuta.kernel.world import Failure, Outcome
from batuta.real.job import Hub, Job
from batuta.workflow.asl.arn import token_of
from batuta.workflow.asl.errors import RUNTIME


class Activities:
    """The pool of `activity` commands, and the desk at which workers ask for them.

    A task's time limit counts from the moment it was asked for, the wait for its first
    heartbeat from the moment a worker has it. A worker that says nothing any more loses its
    task to those limits. A token is the same after a restart: a worker may settle a task that
    the server has put back into the line meanwhile.

    Attributes
    ----------
    known: says whether there is an activity of an ARN; None: whatever is asked for exists.
    """

    def __init__(self, hub: Hub) -> None:
        self.known: Callable[[str], Awaitable[bool]] | None = None
        self._hub = hub
        self._looks: set[asyncio.Task[None]] = set()
        self._lines: dict[str, deque[Job]] = {}
        self._asking: dict[str, deque[asyncio.Future[None]]] = {}
        self._jobs: dict[str, Job] = {}
        self._workers: dict[str, str | None] = {}

    # -- what the world calls --------------------------------------------------------------

    def begin(self, job: Job) -> None:
        """Put it into the line of its activity."""
        self._hub.began(job)
        job.context.beat_at = inf
        self._jobs[token_for(job)] = job
        self._line(job).append(job)
        self._wake(_activity(job))
        if self.known is not None:
            look = self._hub.loop.create_task(self._look(job, self.known))
            self._looks.add(look)
            look.add_done_callback(self._looks.discard)

    async def _look(self, job: Job, known: Callable[[str], Awaitable[bool]]) -> None:
        """A task of an activity that nobody made, or that was deleted, would wait for ever."""
        activity = _activity(job)
        if not await known(activity) and not job.done:
            text = f"The activity {activity} does not exist."
            self._end(token_for(job), job, job.failed(Failure(RUNTIME, text, retryable=False)))

    def stop(self, job: Job) -> None:
        """Its time is up, or nobody wants it any more: its worker is told when it speaks next."""
        assert job.stopped is not None
        self._end(token_for(job), job, job.failed(job.stopped))

    def give_up(self, job: Job) -> None:
        """There is nothing here that goes on after `stop`."""

    async def close(self) -> None:
        """Send the workers home."""
        for waiting in self._asking.values():
            for future in waiting:
                future.cancel()
        self._asking.clear()

    def stats(self) -> dict[str, float]:
        """How many wait for a worker, and how many a worker has."""
        running = len(self._workers)
        return {"activities.waiting": len(self._jobs) - running, "activities.running": running}

    # -- what workers call -----------------------------------------------------------------

    async def take(
        self, activity: str, worker: str | None, wait_s: float
    ) -> tuple[str, Any] | None:
        """The token and the input of the next task of an activity; None where none came.

        Parameters
        ----------
        activity: its ARN. worker: the worker's name. wait_s: how long to wait for one.
        """
        until = monotonic() + wait_s
        while not self._hub.closed:
            job = self._next(activity)
            if job is not None:
                return self._hand_over(job, worker)
            left = until - monotonic()
            if left <= 0 or not await self._wait(activity, left):
                break
        return None

    def put_back(self, token: str) -> None:
        """The worker went away before it had the task: another one gets it, before all others."""
        job = self._jobs.get(token)
        if job is None or token not in self._workers:
            return
        del self._workers[token]
        job.detail = None
        job.context.beat_at = inf
        self._line(job).appendleft(job)
        self._wake(_activity(job))

    def tell(self, token: str, value: dict[str, Any]) -> bool:
        """How a task ended (`ok`, or `error` and `cause`), or a sign of life (`beat`).

        False where there is no such task (any more).
        """
        job = self._jobs.get(token)
        if job is None:
            return False
        if "beat" in value:
            job.context.beat_at = monotonic()
            return True
        if "ok" in value:
            outcome = Outcome(job.command.id, value["ok"], None, job.started)
        else:
            failure = Failure(value.get("error") or "", value.get("cause") or "")
            outcome = job.failed(failure)
        self._end(token, job, outcome)
        return True

    # -- inside ----------------------------------------------------------------------------

    def _line(self, job: Job) -> deque[Job]:
        return self._lines.setdefault(_activity(job), deque())

    def _next(self, activity: str) -> Job | None:
        """The first of a line that is still wanted."""
        line = self._lines.get(activity)
        while line:
            job = line.popleft()
            if not job.done:
                return job
        self._lines.pop(activity, None)
        return None

    def _hand_over(self, job: Job, worker: str | None) -> tuple[str, Any]:
        token = token_for(job)
        self._workers[token] = worker
        job.detail = {"worker": worker}
        deadline = job.deadline
        self._hub.began(job)  # its heartbeats are awaited from now; its time goes on running
        job.deadline = deadline
        return token, job.command.data.get("input")

    def _end(self, token: str, job: Job, outcome: Outcome) -> None:
        """Hand an outcome over, with who had the task for the history."""
        self._jobs.pop(token, None)
        if token in self._workers:
            outcome.detail["worker"] = self._workers.pop(token)
        self._hub.finish(job, outcome)

    def _wake(self, activity: str) -> None:
        waiting = self._asking.get(activity)
        while waiting:
            future = waiting.popleft()
            if not future.done():
                future.set_result(None)
                return

    async def _wait(self, activity: str, wait_s: float) -> bool:
        """Wait for a task of an activity; False where the time was up first."""
        future: asyncio.Future[None] = self._hub.loop.create_future()
        waiting = self._asking.setdefault(activity, deque())
        waiting.append(future)
        try:
            async with asyncio.timeout(wait_s):
                await future
        except TimeoutError:
            return False
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._wake(activity)  # it was woken for a task that it does not take
            if self._hub.closed:
                return False
            raise
        finally:
            if future in waiting:
                waiting.remove(future)
        return True


def token_for(job: Job) -> str:
    """The task token of a command: the same when it is performed again."""
    run, _, key = job.command.id.rpartition("/")
    return token_of(run, key)


def _activity(job: Job) -> str:
    return str(job.command.data["resource"])
