"""Commands, their outcomes, and the contract of a world that turns one into the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from batuta.kernel.event import Event


@dataclass(slots=True, eq=False)
class Command:
    """Something that shall be done in a world, recorded before it is done.

    Parameters
    ----------
    id: stable, the idempotency key that the effect gets (`run/key.attempt`).
    kind: which effect performs it: `function`, `shell`, `http` …
    name: what the user calls it (a step's name).
    data: JSON-able arguments; for `function` `{"args": [...], "kwargs": {...}}`.
    cause: the event that asked for it.
    target: the definition in memory (a `Step`), for effects that run code of the user's.
    timeout_s: after how long it fails with `TimedOut`; None: never.
    heartbeat_s: how long it may stay silent before it fails with `HeartbeatLost`; None: ever.
    queue: the named queue whose limits it counts against.
    priority: higher starts first.
    attempt: 1 for the first.
    repeatable: its effect may be done before the asking is durable.
    isolated: perform it in a process of its own, because it seems to kill its host.
    """

    id: str
    kind: str
    name: str
    data: dict[str, Any]
    cause: Event
    target: Any = None
    timeout_s: float | None = None
    heartbeat_s: float | None = None
    queue: str | None = None
    priority: int = 0
    attempt: int = 1
    repeatable: bool = False
    isolated: bool = False


@dataclass(slots=True, eq=False)
class Failure:
    """Why something failed, as data that can be stored and shown.

    Parameters
    ----------
    type: the exception's class as `module:QualifiedName` (`builtins:ValueError`,
        `batuta:TimedOut`).
    message: its text.
    traceback: as Python prints it, without Batuta's own frames; empty where there is none.
    args: the exception's arguments where they are JSON-able, to raise it again as it was.
    retryable: False where trying again cannot help (`batuta:ValueTooLarge`, a bad result).
    """

    type: str
    message: str
    traceback: str = ""
    args: list[Any] | None = None
    retryable: bool = True


@dataclass(slots=True, eq=False)
class Outcome:
    """How a command ended.

    Parameters
    ----------
    command: the command's id.
    value: the JSON-able result, where it succeeded.
    failure: why not, where it did not.
    started: when a worker began with it, ns; 0: at the asking. ended: ns; 0: now.
    detail: more that is worth recording (`exit_code`, `status`, the last heartbeat).
    """

    command: str
    value: Any = None
    failure: Failure | None = None
    started: int = 0
    ended: int = 0
    detail: dict[str, Any] = field(default_factory=dict)


class World(Protocol):
    """Where commands are performed: this machine, or a simulation of it.

    Exactly one outcome comes back for each command that is performed and not cancelled.
    """

    def now(self) -> int:
        """Nanoseconds since 1970-01-01 UTC."""

    def new_id(self) -> str:
        """A short id that was never given before."""

    def perform(self, command: Command) -> None:
        """Begin with a command and return at once."""

    def cancel(self, command: str) -> None:
        """Stop a command; an outcome that still comes is ignored by whoever cancelled."""
