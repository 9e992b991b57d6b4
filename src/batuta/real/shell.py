"""Shell commands: in a session of their own, output kept to a limit, secrets hidden."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batuta.kernel.world import Failure, Outcome
from batuta.real.call import Refused
from batuta.real.job import Job
from batuta.real.mask import Mask
from batuta.real.output import LogSink, StepOutput
from batuta.real.pipes import Kept, Pipe

INHERITED = ("PATH", "HOME", "LANG")
TERM_GRACE_S = 2.0
LINGER_S = 0.5
TOKEN_VARIABLE = "BATUTA_TASK_TOKEN"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What commands get from the place where they run.

    Parameters
    ----------
    folder: where relative paths begin.
    secrets: values by name; a name that is missing here is looked up in the environment.
    mask: hides them all.
    sink: keeps what is printed, or None.
    """

    folder: Path
    secrets: Mapping[str, str]
    mask: Mask
    sink: LogSink | None


class Shell:
    """Performs `shell` commands: data `{command, cwd?, env?, secrets?, check?, stdin?}`.

    Its value is `{exit_code, stdout, stderr, dropped}`. A step is over when its shell is:
    what the shell left running is stopped if it still holds the output open.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        self._around = surroundings

    async def perform(self, job: Job) -> Outcome:
        """Run one command to its end, or to its cancellation."""
        data = asked(job.command.data)
        secrets = self._secrets(data.get("secrets") or [])
        mask = Mask([*self._around.secrets.values(), *secrets.values()])
        out, err = Kept(), Kept()
        output = None
        if self._around.sink is not None:
            output = job.context.output = StepOutput(job.command.id, self._around.sink, mask)
        loop = asyncio.get_running_loop()
        pipes = [Pipe(loop, _both(out, output, "out")), Pipe(loop, _both(err, output, "err"))]
        try:
            code = await self._run(job, data, self._environment(data, secrets), pipes)
        finally:
            for pipe in pipes:
                pipe.close()
        value = {
            "exit_code": code,
            "stdout": out.text(mask),
            "stderr": err.text(mask),
            "dropped": out.dropped + err.dropped,
        }
        if code == 0 or not data.get("check", True):
            return Outcome(job.command.id, value, None, job.started)
        return _failed(job, value, mask.hide_text(str(data["command"])))

    async def _run(
        self, job: Job, data: dict[str, Any], environment: dict[str, str], pipes: list[Pipe]
    ) -> int:
        stdin = data.get("stdin")
        cwd = self._around.folder / (data.get("cwd") or ".")
        if not cwd.is_dir():
            raise Refused(_refusal(f"`{job.command.name}` cannot run in {cwd}: no such folder"))
        process = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            data["command"],
            cwd=cwd,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            stdout=pipes[0].writer,
            stderr=pipes[1].writer,
            start_new_session=True,
        )
        for pipe in pipes:
            pipe.close_writer()
        try:
            await _feed(process, stdin)
            code = await process.wait()
            await _end_of_output(process.pid, pipes)
        except asyncio.CancelledError:
            await end_group(process)
            raise
        return code

    def _secrets(self, names: list[str]) -> dict[str, str]:
        found = {}
        for name in names:
            value = self._around.secrets.get(name, os.environ.get(name))
            if value is None:
                raise Refused(
                    _refusal(
                        f"secret `{name}` is not known here: set it as an environment variable "
                        "of the server"
                    )
                )
            found[name] = value
        return found

    @staticmethod
    def _environment(data: dict[str, Any], secrets: dict[str, str]) -> dict[str, str]:
        least = {name: os.environ[name] for name in INHERITED if name in os.environ}
        given = {name: str(value) for name, value in (data.get("env") or {}).items()}
        return {**least, **given, **secrets}


def asked(data: dict[str, Any]) -> dict[str, Any]:
    """What a shell command is, also where it is the input of a state machine's task.

    A task that waits for its token finds it in the variable `BATUTA_TASK_TOKEN`.
    """
    if "resource" not in data:
        return data
    given = data.get("input")
    if not isinstance(given, dict) or not isinstance(given.get("command"), str):
        raise Refused(_refusal('the task\'s input has no command: give `{"command": "..."}`'))
    if "token" not in data:
        return given
    return {**given, "env": {**(given.get("env") or {}), TOKEN_VARIABLE: data["token"]}}


async def end_group(process: asyncio.subprocess.Process) -> None:
    """Ask a process and its children to end, then make them."""
    signal_group(process.pid, signal.SIGTERM)
    try:
        async with asyncio.timeout(TERM_GRACE_S):
            await process.wait()
    except TimeoutError:
        pass
    finally:
        signal_group(process.pid, signal.SIGKILL)
    await process.wait()


def signal_group(pid: int, number: int) -> None:
    """Send a signal to a process group that may be gone."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def exit_text(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


async def _feed(process: asyncio.subprocess.Process, stdin: str | None) -> None:
    if stdin is None or process.stdin is None:
        return
    try:
        process.stdin.write(stdin.encode())
        await process.stdin.drain()
        process.stdin.close()
        await process.stdin.wait_closed()
    except (BrokenPipeError, ConnectionResetError):
        pass  # a command need not read its input


async def _end_of_output(group: int, pipes: list[Pipe]) -> None:
    """Read the rest; whoever keeps a pipe open after the shell has ended is stopped."""
    ends = [pipe.ended for pipe in pipes]
    _, open_ends = await asyncio.wait(ends, timeout=LINGER_S)
    if open_ends:
        signal_group(group, signal.SIGKILL)
        await asyncio.wait(ends, timeout=LINGER_S)


def _both(kept: Kept, output: StepOutput | None, stream: str) -> Callable[[bytes], None]:
    if output is None:
        return kept.add

    def take(data: bytes) -> None:
        kept.add(data)
        output.write_bytes(stream, data)

    return take


def _failed(job: Job, value: dict[str, Any], command: str) -> Outcome:
    tail = "\n".join(value["stderr"].rstrip().splitlines()[-20:])[-4000:]
    code = value["exit_code"]
    text = f"`{command}` {exit_text(code)}" + (f":\n{tail}" if tail else "")
    outcome = job.failed(Failure("batuta:CommandFailed", text))
    outcome.detail["exit_code"] = code
    outcome.detail["stdout"] = value["stdout"][-4000:]
    outcome.detail["stderr"] = value["stderr"][-4000:]
    outcome.detail["dropped"] = value["dropped"]
    return outcome


def _refusal(text: str) -> Failure:
    return Failure("batuta:CommandFailed", text, retryable=False)
