"""Steps in processes of their own: reused while they behave, killed when they do not."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from batuta.kernel.world import Failure, Outcome
from batuta.real.call import Refused, StepDefinition
from batuta.real.context import Output
from batuta.real.job import Hub, Job
from batuta.real.mask import Mask
from batuta.real.output import StepOutput
from batuta.real.pipes import Kept, Pipe
from batuta.real.shell import Surroundings, exit_text, signal_group
from batuta.real.worker import PATH_VARIABLE, Frame, pack

STDERR_KEPT = 64 * 1024
_HOME = str(Path(__file__).resolve().parents[2])


class WorkerGone(Exception):
    """The process ended, or its socket did."""


class Worker:
    """One worker process: a socket for jobs and results, pipes for what it prints.

    Parameters
    ----------
    mask: hides secrets in what it prints. limit: the longest message that it may send, bytes.
    program: the module that it runs. environment: its variables; None: the server's.
    """

    def __init__(
        self,
        mask: Mask,
        limit: int,
        program: str = "batuta.real.worker",
        environment: dict[str, str] | None = None,
    ) -> None:
        self._limit = limit
        self._program = program
        self._environment = environment
        self._mask = mask
        self._output: Output | None = None
        self._stderr = Kept(STDERR_KEPT)
        self.generation = 0

    async def start(self) -> None:
        """Start the process and connect to it."""
        loop = asyncio.get_running_loop()
        self._pipes = [
            Pipe(loop, lambda data: self._take("out", data)),
            Pipe(loop, lambda data: self._take("err", data)),
        ]
        here, there = socket.socketpair()
        with there:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", self._program, str(there.fileno())),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=self._pipes[0].writer,
                stderr=self._pipes[1].writer,
                env=environment_for(os.environ if self._environment is None else self._environment),
                pass_fds=[there.fileno()],
                start_new_session=True,
            )
        for pipe in self._pipes:
            pipe.close_writer()
        self._reader, self._writer = await asyncio.open_connection(sock=here)
        self._ended = loop.create_task(self._process.wait())
        await self._receive()

    async def perform(self, hub: Hub, job: Job, frame: Frame) -> Frame:
        """One job: heartbeats go into its context, the answer is returned."""
        self._output, self._stderr = job.context.output, Kept(STDERR_KEPT)
        try:
            self._writer.write(pack(frame))
            await self._writer.drain()
            while True:
                answer = await self._receive()
                if "began" in answer:
                    hub.began(job)
                elif "heartbeat" in answer:
                    job.context.heartbeat(answer["heartbeat"])
                else:
                    return answer
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            raise WorkerGone from error
        finally:
            for pipe in self._pipes:
                pipe.drain()
            self._output = None

    async def kill(self) -> int:
        """End the process and all that it started; how it ended."""
        signal_group(self._process.pid, signal.SIGKILL)
        code = await self._ended
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()
        for pipe in self._pipes:
            pipe.drain()
            pipe.close()
        return code

    async def exit_code(self) -> int:
        """How it ended by itself; it gets a moment for that after its socket is gone."""
        await asyncio.wait([self._ended], timeout=1)
        return await self.kill()

    def last_words(self) -> str:
        """The end of what it wrote to its standard error during the job."""
        return self._stderr.last_lines(self._mask)

    async def _receive(self) -> Frame:
        """The next message, or `WorkerGone` when the process ends without one."""
        reading = asyncio.ensure_future(self._read())
        try:
            await asyncio.wait([reading, self._ended], return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                # What it had sent before it ended may still be on its way through the socket.
                await asyncio.wait([reading], timeout=0.2)
            if not reading.done():
                raise WorkerGone
            return reading.result()
        finally:
            if not reading.done():
                reading.cancel()
                with suppress(asyncio.CancelledError):
                    await reading

    async def _read(self) -> Frame:
        try:
            length = int.from_bytes(await self._reader.readexactly(4), "big")
            if length > self._limit:
                raise WorkerGone
            frame: Frame = json.loads(await self._reader.readexactly(length))
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            raise WorkerGone from error
        return frame

    def _take(self, stream: str, data: bytes) -> None:
        if stream == "err":
            self._stderr.add(data)
        if self._output is not None:
            self._output.write_bytes(stream, data)


class Processes:
    """The worker processes of a world; a task per command borrows one."""

    def __init__(self, hub: Hub, surroundings: Surroundings) -> None:
        self._hub = hub
        self._around = surroundings
        self._idle: list[Worker] = []
        self._all: set[Worker] = set()
        self._generation = 0
        self.died = 0

    async def perform(self, job: Job) -> Outcome:
        """Perform a function step in a worker."""
        frame = self._frame(job)
        if self._around.sink is not None:
            job.context.output = StepOutput(job.command.id, self._around.sink, self._around.mask)
        worker = await self._borrow()
        try:
            answer = await worker.perform(self._hub, job, frame)
        except WorkerGone:
            code = await worker.exit_code()
            self._all.discard(worker)
            self.died += 1
            return job.failed(_died(job, code, worker.last_words()))
        except BaseException:  # cancelled: whatever it is doing, it shall not go on
            self._all.discard(worker)
            await worker.kill()
            raise
        await self._give_back(worker)
        return _outcome(job, answer)

    def renew(self) -> None:
        """The definitions changed: workers that have imported the old ones are not used again."""
        self._generation += 1

    async def close(self) -> None:
        """Kill them all."""
        workers = list(self._all)
        self._all.clear()
        self._idle.clear()
        await asyncio.gather(*(worker.kill() for worker in workers))

    async def _borrow(self) -> Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.generation == self._generation:
                return worker
            self._all.discard(worker)
            await worker.kill()
        worker = Worker(self._around.mask, 2 * self._hub.value_limit + (1 << 20))
        worker.generation = self._generation
        self._all.add(worker)
        try:
            await worker.start()
        except WorkerGone:
            code = await worker.exit_code()
            self._all.discard(worker)
            text = f"a worker process could not start; it {exit_text(code)}:\n"
            raise Refused(
                Failure("batuta:WorkerDied", text + worker.last_words(), retryable=True)
            ) from None
        return worker

    async def _give_back(self, worker: Worker) -> None:
        if worker.generation == self._generation and not self._hub.closed:
            self._idle.append(worker)
        else:
            self._all.discard(worker)
            await worker.kill()

    def _frame(self, job: Job) -> Frame:
        command = job.command
        step: StepDefinition = command.target
        plain: Any = inspect.unwrap(step.fn)
        data = command.data
        return {
            "id": command.id,
            "name": command.name,
            "attempt": command.attempt,
            "heartbeat": data.get("heartbeat"),
            "module": step.module,
            "file": plain.__code__.co_filename,
            "qualname": plain.__qualname__,
            "path": [entry for entry in sys.path if entry],
            "args": data.get("args") or [],
            "kwargs": data.get("kwargs") or {},
            "limit": self._hub.value_limit,
        }


def environment_for(given: Mapping[str, str]) -> dict[str, str]:
    """Variables such that a worker finds Batuta wherever the server found it."""
    path = given.get("PYTHONPATH", "")
    both = os.pathsep.join(filter(None, (_HOME, path)))
    return {**given, "PYTHONPATH": both, PATH_VARIABLE: path}


def _outcome(job: Job, answer: Frame) -> Outcome:
    failure = answer.get("failure")
    if failure is not None:
        return job.failed(Failure(**failure), answer["bases"])
    outcome = Outcome(job.command.id, answer["value"], None, job.started)
    if job.context.details is not None:
        outcome.detail["heartbeat"] = job.context.details
    return outcome


def _died(job: Job, code: int, last_words: str) -> Failure:
    text = f"the process of step `{job.command.name}` {exit_text(code)} before the step did"
    if code == -signal.SIGKILL:
        text += " (where nobody killed it by hand, the machine ran out of memory)"
    return Failure("batuta:WorkerDied", f"{text}:\n{last_words}" if last_words else text)
