"""The world where commands really happen: effects in a table, deadlines, outcomes in batches."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from contextvars import copy_context
from math import inf
from pathlib import Path
from time import monotonic

from batuta.common.failure import failure_of
from batuta.kernel.clock import RealClock
from batuta.kernel.errors import BatutaError
from batuta.kernel.world import Command, Failure, Outcome
from batuta.real.context import Output
from batuta.real.function import AsyncPool, ThreadPool
from batuta.real.guard import guard
from batuta.real.http import Http
from batuta.real.integrations import Integrations
from batuta.real.job import Job, Pool
from batuta.real.mask import Mask
from batuta.real.output import LogSink, StepOutput, capture
from batuta.real.process import Processes
from batuta.real.services import Services, place_of
from batuta.real.shell import Shell, Surroundings
from batuta.real.tasks import TaskPool
from batuta.real.watchdog import HELD_LIMIT_S, Watchdog

LIMITS: Mapping[str, int] = {
    "async": 1000,
    "thread": 32,
    "process": os.cpu_count() or 1,
    "shell": 32,
    "http": 256,
    "lambda": 4 * (os.cpu_count() or 1),
    "aws": 64,
    "jobs": 1000,
    "invoke": 256,
    "items": 8,
    "results": 8,
}
VALUE_LIMIT = 16 * 1024 * 1024
WATCH_S = 0.02
STOP_GRACE_S = 5.0


class RealWorld:
    """Performs commands on this machine; lives in one event loop, made inside it.

    Parameters
    ----------
    deliver: gets the outcomes, in lists: one call for each turn of the loop that has any.
    limits: how many commands of a kind are performed at once; kinds not named keep `LIMITS`.
    value_limit: how many bytes of JSON a result may have.
    stop_grace_s: how long a step may take to end once it was told to.
    held_limit_s: how long a coroutine function without a time limit may hold the loop.
    folder: where relative paths of shell commands begin; the working directory by default.
    secrets: values by name, given to the shell commands that name them, hidden everywhere.
    sink: keeps what steps print; None: it goes where the server's own output goes.
    integrations: where the services are that state machines call.
    """

    def __init__(
        self,
        deliver: Callable[[list[Outcome]], None],
        *,
        limits: Mapping[str, int] | None = None,
        value_limit: int = VALUE_LIMIT,
        stop_grace_s: float = STOP_GRACE_S,
        held_limit_s: float = HELD_LIMIT_S,
        folder: Path | None = None,
        secrets: Mapping[str, str] | None = None,
        sink: LogSink | None = None,
        clock: RealClock | None = None,
        integrations: Integrations | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.value_limit = value_limit
        self.clock = clock or RealClock()
        self.now = self.clock.now
        self._deliver = deliver
        self._grace_s = stop_grace_s
        self._jobs: dict[str, Job] = {}
        self._outcomes: list[Outcome] = []
        self._wake_at = inf
        self._wake: asyncio.TimerHandle | None = None
        self._look_s = 0.0
        self._performed = 0
        self.closed = False
        self.limits = {**LIMITS, **(limits or {})}
        self._mask = Mask((secrets or {}).values())
        self._sink = sink
        self._opens = self._output if sink is not None else None
        around = Surroundings(folder or Path.cwd(), secrets or {}, self._mask, sink)
        self._context = copy_context()
        self._watchdog = Watchdog(self.loop, held_limit_s)
        self._processes = Processes(self, around)
        self._http = Http()
        self.services = Services(self, around, integrations or Integrations(around.folder))
        self._pools: dict[str, Pool] = {
            "async": AsyncPool(self, self.limits["async"], self._watchdog.start),
            "thread": ThreadPool(self, self.limits["thread"], stop_grace_s),
            "process": self._tasks("process", self._processes.perform),
            "shell": self._tasks("shell", Shell(around).perform),
            "http": self._tasks("http", self._http.perform),
            "activity": self.services.activities,
            **{kind: self._tasks(kind, each) for kind, each in self.services.effects.items()},
        }
        self._at_work = False

    def _tasks(self, kind: str, perform: Callable[[Job], Awaitable[Outcome]]) -> TaskPool:
        return TaskPool(self, kind, self.limits[kind], perform)

    def _output(self, command: str) -> Output:
        assert self._sink is not None
        return StepOutput(command, self._sink, self._mask)

    def new_id(self) -> str:
        """A short id that was never given before."""
        return os.urandom(10).hex()

    def perform(self, command: Command) -> None:
        """Begin with a command and return at once."""
        if self.closed:
            return
        if command.id in self._jobs:
            raise BatutaError(f"command {command.id} is being performed already")
        if not self._at_work:
            self._at_work = True
            guard.install()
            capture.install()
        pool = self._pools.get(_place(command))
        if pool is None:
            self._refuse(command)
            return
        job = Job(command, pool, self._opens)
        self._jobs[command.id] = job
        try:
            pool.begin(job)
        except Exception as error:  # no thread or process to be had: the command's failure
            self.finish(job, job.failed(failure_of(error)))

    def commands(self) -> list[Command]:
        """What is being performed, or waits for its turn."""
        return [job.command for job in self._jobs.values()]

    def has(self, command: str) -> bool:
        """Whether a command is being performed, or waits for its turn."""
        return command in self._jobs

    def cancel(self, command: str) -> None:
        """Stop a command, performed or still waiting; its outcome is `batuta:Cancelled`."""
        job = self._jobs.get(command)
        if job is not None and job.stopped is None:
            name = job.command.name
            self._stop(job, Failure("batuta:Cancelled", f"`{name}` was cancelled", retryable=False))

    def stats(self) -> dict[str, float]:
        """Counters and gauges: per pool what runs, waits and was left behind."""
        found: dict[str, float] = {"performed": self._performed, "clock.jumps": self.clock.jumps}
        found["process.died"] = self._processes.died
        for pool in self._pools.values():
            found.update(pool.stats())
        return found

    async def close(self, grace_s: float = 0.0) -> None:
        """Wait for what runs, at most `grace_s` seconds, and stop the rest without an outcome.

        A command without an outcome is performed again by whoever starts next.
        """
        until = monotonic() + grace_s
        while self._jobs and monotonic() < until:
            await asyncio.sleep(WATCH_S)
        self._flush()
        if self.closed:
            return
        self.closed = True
        for job in self._jobs.values():
            job.context.cancelled = True
        if self._wake is not None:
            self._wake.cancel()
        for pool in self._pools.values():
            await pool.close()
        await self._processes.close()
        await self._http.close()
        await self.services.close()
        self._watchdog.close()
        if self._at_work:
            capture.remove()
            guard.remove()

    def renew(self) -> None:
        """The definitions changed: worker processes that imported the old ones are replaced."""
        self._processes.renew()

    # What pools call

    def began(self, job: Job) -> None:
        """A worker begins with it now; for any thread."""
        job.begin(self.now(), monotonic())
        command = job.command
        if command.timeout_s is not None or command.heartbeat_s is not None:
            self._watch(job)

    def finish(self, job: Job, outcome: Outcome, *, at_once: bool = False) -> None:
        """Hand its outcome over, with those of the same turn of the event loop or at once;
        only in the loop's thread, and only the first counts."""
        if job.done or self.closed:
            return
        job.done = True
        del self._jobs[job.command.id]
        self._performed += 1
        if at_once:
            self._outcomes.append(outcome)
            self._flush()
            return
        if not self._outcomes:
            self.loop.call_soon(self._flush, context=self._context)
        self._outcomes.append(outcome)

    def _flush(self) -> None:
        outcomes, self._outcomes = self._outcomes, []
        if outcomes:
            self._deliver(outcomes)

    def _refuse(self, command: Command) -> None:
        if not self._outcomes:
            self.loop.call_soon(self._flush, context=self._context)
        text = f"nothing here performs `{command.kind}` commands (`{command.name}`)"
        failure = Failure("batuta:UnknownKind", text, retryable=False)
        self._outcomes.append(Outcome(command.id, failure=failure))

    # Deadlines and heartbeats: one watcher for all

    def _watch(self, job: Job) -> None:
        if job.due >= self._wake_at:
            return
        self._wake_at = job.due
        with suppress(RuntimeError):  # a thread of a world whose loop was closed
            self.loop.call_soon_threadsafe(self._rewatch, context=self._context)

    def _rewatch(self) -> None:
        if self._wake is not None:
            self._wake.cancel()
        self._wake = None
        if self._wake_at < inf and not self.closed:
            # Where very much runs, looking takes a bounded share of the loop's time.
            delay = max(WATCH_S, 20 * self._look_s, self._wake_at - monotonic())
            self._wake = self.loop.call_later(delay, self._look)

    def _look(self) -> None:
        """Stop what is overdue and find out when to look again."""
        steady = monotonic()
        earliest = self._wake_at = inf
        for job in list(self._jobs.values()):
            if not job.started:
                continue
            due = job.due
            if due <= steady:
                self._overdue(job, steady)
                due = job.due
            earliest = min(earliest, due)
        self._look_s = monotonic() - steady
        self._wake_at = min(self._wake_at, earliest)
        self._rewatch()

    def _overdue(self, job: Job, steady: float) -> None:
        command = job.command
        if job.stopped is not None:
            job.give_up_at = inf
            job.pool.give_up(job)
            job.stopped.message += f"; it did not end within {self._grace_s:g} s either"
            self.finish(job, job.failed(job.stopped))
        elif steady >= job.deadline:
            text = f"`{command.name}` did not end within {command.timeout_s:g} s"
            self._stop(job, Failure("batuta:TimedOut", text))
        else:
            text = f"`{command.name}` sent no heartbeat for {command.heartbeat_s:g} s"
            self._stop(job, Failure("batuta:HeartbeatLost", text))

    def _stop(self, job: Job, why: Failure) -> None:
        job.stopped = why
        job.context.cancelled = True
        job.give_up_at = monotonic() + self._grace_s
        job.pool.stop(job)
        if not job.done and job.give_up_at < self._wake_at:
            self._watch(job)


def _place(command: Command) -> str:
    """Which pool performs it."""
    if command.kind != "function":
        return place_of(command)
    return "process" if command.isolated else str(command.target.mode)
