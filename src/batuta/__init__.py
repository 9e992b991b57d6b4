"""One orchestrator for a whole software system: all the names that a user needs."""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from batuta.real.app import Run, connect, start
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

_HOME = {
    "BatutaError": "kernel.errors",
    "Cancelled": "kernel.errors",
    "CommandFailed": "kernel.errors",
    "Conflict": "kernel.errors",
    "Event": "workflow.verbs",
    "HeartbeatLost": "kernel.errors",
    "HttpFailed": "kernel.errors",
    "HttpResult": "workflow.builtin",
    "NotFound": "kernel.errors",
    "NotRetryable": "kernel.errors",
    "Run": "real.app",
    "RunFailed": "kernel.errors",
    "ShellResult": "workflow.builtin",
    "StepExited": "kernel.errors",
    "StepFailed": "kernel.errors",
    "TimedOut": "kernel.errors",
    "UndoFailed": "kernel.errors",
    "ValueTooLarge": "kernel.errors",
    "WorkerDied": "kernel.errors",
    "connect": "real.app",
    "continue_as_new": "workflow.verbs",
    "cron": "workflow.model",
    "current": "real.context",
    "emit": "workflow.verbs",
    "event": "workflow.verbs",
    "every": "workflow.model",
    "field": "common.pattern",
    "gather": "workflow.verbs",
    "heartbeat": "real.context",
    "http": "workflow.builtin",
    "now": "workflow.verbs",
    "on": "workflow.model",
    "patched": "workflow.verbs",
    "query": "workflow.verbs",
    "queue": "workflow.model",
    "race": "workflow.verbs",
    "random": "workflow.verbs",
    "retry": "common.retry",
    "saga": "workflow.saga",
    "set_attributes": "workflow.verbs",
    "sh": "workflow.builtin",
    "signal": "workflow.verbs",
    "sleep": "workflow.verbs",
    "start": "real.app",
    "step": "workflow.model",
    "timeout": "workflow.verbs",
    "uuid": "workflow.verbs",
    "workflow": "workflow.model",
}
"""Which module each name comes from. It is loaded at the first use, so that neither the command
line nor a script pays for what it does not use."""


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module `batuta` has no attribute `{name}`")
    found = globals()[name] = getattr(import_module(f"batuta.{home}"), name)
    return found


class _Package(ModuleType):
    """The import system binds the subpackage `batuta.workflow` to the name that users know as
    the decorator; here the decorator stays."""

    @property
    def workflow(self) -> Any:
        return import_module("batuta.workflow.model").workflow

    @workflow.setter
    def workflow(self, subpackage: ModuleType) -> None:
        pass


sys.modules[__name__].__class__ = _Package
