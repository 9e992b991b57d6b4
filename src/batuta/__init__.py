"""Batuta: one orchestrator for a whole software system. These are all the names a user needs."""

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
