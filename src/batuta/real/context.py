"""What a step can learn about itself while it runs, and how it says that it is alive."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextvars import ContextVar
from time import monotonic
from typing import Any, Protocol

from batuta.kernel.errors import BatutaError


class Output(Protocol):
    """Where what a step prints goes."""

    def write(self, stream: str, text: str) -> None: ...
    def write_bytes(self, stream: str, data: bytes) -> None: ...
    def end(self) -> None: ...


class StepStopped(BaseException):
    """This step was given up (its time ran out, or its run was cancelled): end at once.

    Raised by `heartbeat` in a thread that is still running after it was given up. It is
    no `Exception`, so that an ordinary `except Exception` does not keep the thread alive.
    """


class StepContext:
    """The step that is running here.

    Parameters
    ----------
    command: the command's id, another one for each attempt.
    run: the id of the run that asked for it.
    name: the step's name.
    attempt: 1 for the first.
    last_heartbeat: the details that the attempt before this one reported last, or None.
    cancelled: True once nobody waits for the result any more.
    """

    __slots__ = (
        *("attempt", "beat_at", "cancelled", "command", "details", "last_heartbeat", "name"),
        *("opens", "output", "send"),
    )

    def __init__(
        self, command: str, name: str, attempt: int, last_heartbeat: object = None
    ) -> None:
        self.command = command
        self.name = name
        self.attempt = attempt
        self.last_heartbeat = last_heartbeat
        self.cancelled = False
        self.beat_at = 0.0
        self.details: Any = None
        self.output: Output | None = None
        self.opens: Callable[[str], Output] | None = None
        self.send: Callable[[object], None] | None = None

    @property
    def id(self) -> str:
        """What to hand on as idempotency key: the run and the step's place in it, the same for
        every attempt, after a crash and after a retry of the run."""
        return self.command.rpartition(".")[0]

    @property
    def run(self) -> str:
        """The id of the run that asked for it."""
        return self.command.rpartition("/")[0]

    def heartbeat(self, details: object = None) -> None:
        """Say that the step is alive; `details` (JSON-able) is what the next attempt can read."""
        if self.cancelled:
            raise StepStopped(f"step `{self.name}` was given up; its result is no longer wanted")
        if details is not None:
            try:
                details = json.loads(json.dumps(details, allow_nan=False))
            except (TypeError, ValueError) as error:
                raise BatutaError(
                    f"the details of a heartbeat of step `{self.name}` cannot be stored: {error}",
                    hint="give numbers, text, lists and dicts",
                ) from error
            self.details = details
        self.beat_at = monotonic()
        if self.send is not None:
            self.send(details)


running: ContextVar[StepContext | None] = ContextVar("batuta_step", default=None)


def current() -> StepContext:
    """The step that is running here: `.id` (its idempotency key), `.run`, `.attempt` …"""
    context = running.get()
    if context is None:
        raise BatutaError(
            "current() is only known inside a step",
            hint="call it in a function decorated with @step, while Batuta performs it",
        )
    return context


def heartbeat(details: object = None) -> None:
    """Say that the running step is alive; see `StepContext.heartbeat`."""
    current().heartbeat(details)
