"""Batuta: one orchestrator for a whole software system. These are all the names a user needs."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from batuta.common.pattern import field
from batuta.common.retry import retry
from batuta.kernel.errors import (
    BatutaError,
    Cancelled,
    CommandFailed,
    Conflict,
    HeartbeatLost,
    HttpFailed,
    NotFound,
    NotRetryable,
    RunFailed,
    StepExited,
    StepFailed,
    TimedOut,
    UndoFailed,
    ValueTooLarge,
    WorkerDied,
)
from batuta.real.context import current, heartbeat
from batuta.workflow.builtin import HttpResult, ShellResult, http, sh
from batuta.workflow.model import cron, every, on, queue, step, workflow
from batuta.workflow.saga import saga
from batuta.workflow.verbs import (
    Event,
    continue_as_new,
    emit,
    event,
    gather,
    now,
    patched,
    query,
    race,
    random,
    set_attributes,
    signal,
    sleep,
    timeout,
    uuid,
)

if TYPE_CHECKING:
    from batuta.real.app import Run, connect, start

__version__ = "0.1.0"

__all__ = [
    "BatutaError",
    "Cancelled",
    "CommandFailed",
    "Conflict",
    "Event",
    "HeartbeatLost",
    "HttpFailed",
    "HttpResult",
    "NotFound",
    "NotRetryable",
    "Run",
    "RunFailed",
    "ShellResult",
    "StepExited",
    "StepFailed",
    "TimedOut",
    "UndoFailed",
    "ValueTooLarge",
    "WorkerDied",
    "connect",
    "continue_as_new",
    "cron",
    "current",
    "emit",
    "event",
    "every",
    "field",
    "gather",
    "heartbeat",
    "http",
    "now",
    "on",
    "patched",
    "query",
    "queue",
    "race",
    "random",
    "retry",
    "saga",
    "set_attributes",
    "sh",
    "signal",
    "sleep",
    "start",
    "step",
    "timeout",
    "uuid",
    "workflow",
]

_LATER = ("Run", "connect", "start")


def __getattr__(name: str) -> Any:
    """What needs a whole system is loaded when it is used, so that importing stays fast."""
    if name in _LATER:
        return getattr(import_module("batuta.real.app"), name)
    raise AttributeError(f"module `batuta` has no attribute `{name}`")
