"""Steps that are Python functions in this process: many coroutines in few tasks, and threads."""

from __future__ import annotations

import asyncio
import ctypes
import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from queue import SimpleQueue
from time import monotonic

from batuta.kernel.world import Failure, Outcome
from batuta.real.call import perform_async, perform_here
from batuta.real.context import StepStopped, running
from batuta.real.job import Hub, Job, Line

SLICE_S = 0.002
CLOSE_S = 1.0
ABANDONED_PER_THREAD = 4


class AsyncPool:
    """Coroutine functions, awaited one after the other by a few tasks.

    A task that is suspended by its step is not waited for: the next one goes on with the
    line. So a step that does not suspend costs neither a task nor a turn of the loop.
    """

    def __init__(self, hub: Hub, limit: int, watch: Callable[[], None]) -> None:
        self._hub = hub
        self._watch = watch
        self._limit = limit
        self._line = Line()
        self._idle: list[asyncio.Future[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._lost: set[asyncio.Task[None]] = set()
        self._ready = 0
        self._called = False
        self._running = 0
        self._context = copy_context()

    def begin(self, job: Job) -> None:
        self._line.put(job)
        if not self._called:
            self._call()

    def stop(self, job: Job) -> None:
        assert job.stopped is not None
        if self._line.withdraw(job):
            self._hub.finish(job, job.failed(job.stopped))
        elif job.task is not None:
            job.task.cancel()

    def give_up(self, job: Job) -> None:
        """It swallowed its cancellation: another task may take its place."""
        if job.task is not None and job.task in self._tasks:
            self._tasks.discard(job.task)
            self._lost.add(job.task)
            self._running -= 1
            self._call()

    async def close(self) -> None:
        tasks = self._tasks | self._lost
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_S)

    def stats(self) -> dict[str, float]:
        return {
            "async.running": self._running,
            "async.waiting": len(self._line),
            "async.abandoned": len(self._lost),
        }

    def _call(self) -> None:
        if not self._called:
            self._called = True
            self._hub.loop.call_soon(self._dispatch, context=self._context)

    def _dispatch(self) -> None:
        self._called = False
        if not self._line or self._ready:
            return
        while self._idle:
            waiting = self._idle.pop()
            if not waiting.done():
                self._ready += 1
                waiting.set_result(None)
                return
        if len(self._tasks) < self._limit:
            self._ready += 1
            # A fresh context: what set off this call must not be seen by the steps.
            task = self._hub.loop.create_task(self._work(), context=Context())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(self._lost.discard)
            self._watch()

    async def _work(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        while await self._work_off(task):
            idle = self._hub.loop.create_future()
            self._idle.append(idle)
            await idle

    async def _work_off(self, task: asyncio.Task[None]) -> bool:
        """Perform what waits; begins and ends as the one that is ready. False: go home."""
        hub, line = self._hub, self._line
        running.set(None)
        clean = copy_context()
        until = monotonic() + SLICE_S
        while (job := line.take()) is not None:
            self._ready -= 1
            if line:
                self._call()  # runs as soon as this job suspends, and then wakes another task
            job.task = task
            self._running += 1
            hub.began(job)
            outcome = await perform_async(job, hub.value_limit)
            running.set(None)
            if task in self._lost:
                return False
            self._running -= 1
            job.task = None
            if job.stopped is not None:
                outcome = job.failed(job.stopped)
                while task.cancelling():
                    task.uncancel()
            elif task.cancelling():
                return False  # the world itself is closing
            if copy_context() != clean:
                # The step set a context variable of its own: the next must not see it.
                hub.finish(job, outcome)
                self._call()
                return False
            self._ready += 1
            # Where nothing else waits or runs, the outcomes are handed over at once: what follows
            # from them is in the line before this loop looks again, without a turn of asyncio's.
            hub.finish(job, outcome, at_once=not (line or self._running))
            if monotonic() > until:
                await asyncio.sleep(0)
                until = monotonic() + SLICE_S
        self._ready -= 1
        return True


class ThreadPool:
    """Ordinary functions in threads of our own; outcomes come back together, in one wake-up.

    Nobody can stop a thread. One whose step was given up is left behind, and another takes
    its place, as long as there are not too many of them. Once its grace is over, an
    exception is raised in it, which ends it unless it hangs outside of Python.
    """

    def __init__(self, hub: Hub, limit: int, grace_s: float) -> None:
        self._hub = hub
        self._limit = limit
        self._abandoned_limit = ABANDONED_PER_THREAD * limit
        self._grace_s = grace_s
        self._line = Line()
        self._tokens: SimpleQueue[bool] = SimpleQueue()
        self._done: deque[tuple[Job, Outcome]] = deque()
        self._waking = False
        self._pending = 0
        self._threads = 0
        self._abandoned: set[Job] = set()
        self._context = copy_context()
        self._lock = threading.Lock()
        self._at_work: set[Job] = set()

    def begin(self, job: Job) -> None:
        if not self._threads and len(self._abandoned) >= self._abandoned_limit:
            self._hub.finish(job, job.failed(self._exhausted(job)))
            return
        with self._lock:
            self._line.put(job)
        self._pending += 1
        self._hire()
        self._tokens.put(True)

    def stop(self, job: Job) -> None:
        """Leave its thread behind: its outcome need not wait for it."""
        assert job.stopped is not None
        with self._lock:
            waited = self._line.withdraw(job)
            if job.returned:
                return  # its outcome is on the way
            if not waited:
                self._abandoned.add(job)
        if waited:
            self._pending -= 1
            self._hub.finish(job, job.failed(job.stopped))
        else:
            self._leave_behind(job, job.stopped)

    def _leave_behind(self, job: Job, why: Failure) -> None:
        self._hub.loop.call_later(self._grace_s, self._strike, job)
        self._threads -= 1
        self._pending -= 1
        why.message += (
            f"; its thread could not be stopped at once and was left behind "
            f"({len(self._abandoned)} such threads now). With process=True a step can be killed"
        )
        self._hub.finish(job, job.failed(why))
        if len(self._abandoned) < self._abandoned_limit:
            self._hire()
            return
        while not self._threads and len(self._line):
            with self._lock:
                waiting = self._line.take()
            if waiting is not None:
                self._pending -= 1
                self._hub.finish(waiting, waiting.failed(self._exhausted(waiting)))

    def give_up(self, job: Job) -> None:
        """It was already given up when it was stopped."""

    async def close(self) -> None:
        for _ in range(self._threads):
            self._tokens.put(False)
        for job in list(self._at_work):
            self._strike(job)

    def stats(self) -> dict[str, float]:
        return {
            "thread.running": self._pending - len(self._line),
            "thread.waiting": len(self._line),
            "thread.abandoned": len(self._abandoned),
        }

    def _hire(self) -> None:
        """One more thread, where there is work for it and it is allowed."""
        if self._threads < min(self._pending, self._limit):
            self._threads += 1
            threading.Thread(target=self._work, name="batuta-step", daemon=True).start()

    def _exhausted(self, job: Job) -> Failure:
        return Failure(
            "batuta:ThreadsExhausted",
            f"step `{job.command.name}` has no thread to run in: {len(self._abandoned)} threads "
            "are held by steps that did not end in time. Restart the server, and give such "
            "steps process=True",
        )

    def _take(self) -> Job | None:
        with self._lock:
            job = self._line.take()
            if job is not None:
                self._at_work.add(job)
            return job

    def _work(self) -> None:
        while self._tokens.get():
            job = self._take()
            if job is None:
                continue
            job.thread = threading.get_ident()
            self._hub.began(job)
            try:
                outcome = Context().run(perform_here, job, self._hub.value_limit)
                if self._ended_alone(job):
                    return
            except StepStopped:  # it came when the step had just ended by itself
                self._ended_alone(job)
                return
            self._done.append((job, outcome))
            if not self._waking:
                self._waking = True
                self._wake()

    def _wake(self) -> None:
        try:
            self._hub.loop.call_soon_threadsafe(self._collect, context=self._context)
        except RuntimeError:  # the loop was closed: nobody waits for outcomes any more
            self._tokens.put(False)

    def _ended_alone(self, job: Job) -> bool:
        with self._lock:
            job.returned = True
            self._at_work.discard(job)
            if job not in self._abandoned:
                return False
            self._abandoned.discard(job)
            return True

    def _strike(self, job: Job) -> None:
        """Raise in a thread whose step did not end by itself."""
        with self._lock:
            # Its thread performs nothing else any more, so this hits no other step.
            if job in self._at_work and job.thread:
                stopped = ctypes.py_object(StepStopped)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(job.thread), stopped)

    def _collect(self) -> None:
        self._waking = False
        while self._done:
            job, outcome = self._done.popleft()
            self._pending -= 1
            self._hub.finish(job, outcome)
