"""The errors a user meets; each says what is wrong and what to do."""

from __future__ import annotations

from typing import Any


class BatutaError(Exception):
    """What went wrong, where, and what to do next.

    Parameters
    ----------
    message: one sentence: what is wrong.
    at: `file:line` (or `file:line:column`) of the user's definition, where there is one.
    hint: what to do about it.
    """

    def __init__(self, message: str, *, at: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.at = at
        self.hint = hint

    def __str__(self) -> str:
        lines = [self.message]
        if self.at:
            lines.append(f"  --> {self.at}")
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


class NotFound(BatutaError):
    """There is no such run, workflow, event or rule."""


class Conflict(BatutaError):
    """What was asked does not fit the present state."""


class NotRetryable(Exception):
    """Raise it, or a subclass, in a step to say that trying again cannot help."""


class StepFailed(BatutaError):
    """A step failed for good, with an error that cannot be raised again as it was.

    Parameters
    ----------
    failure: type, message and traceback as they were recorded.
    """

    def __init__(self, message: str, failure: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.failure = failure or {}

    def __str__(self) -> str:
        trace = self.failure.get("traceback")
        return f"{self.message}\n{trace}" if trace else self.message


class RunFailed(StepFailed):
    """A child run, or the run whose result was asked for, failed."""


class TimedOut(StepFailed):
    """A time limit passed."""


class HeartbeatLost(StepFailed):
    """A step stayed silent for longer than its heartbeat allows."""


class WorkerDied(StepFailed):
    """The process that performed a step ended in the middle of it."""


class StepExited(StepFailed):
    """A step asked its process to exit."""


class CommandFailed(StepFailed):
    """A shell command ended with an exit code other than 0."""


class HttpFailed(StepFailed):
    """An HTTP call was answered with a status of 400 or more."""


class ValueTooLarge(StepFailed):
    """A value is larger than what a journal should hold."""


class TooManyOperations(StepFailed):
    """A run has asked for more than one run may; `continue_as_new` begins a fresh one."""


class UndoFailed(StepFailed):
    """A compensation did not succeed: something that was done is still done."""


class Cancelled(BaseException):
    """Raised at the point where a cancelled run, or the losing side of a race, waits.

    Not an `Exception`, so that `except Exception` does not swallow it; `finally`, `async with`
    and sagas run as for any other error, and may await.
    """


class ReplayMismatch(BatutaError):
    """The workflow's code asks for something else than its run has recorded."""


class JournalError(BatutaError):
    """The journal cannot do what was asked."""


class Fenced(JournalError):
    """Another server owns the partition now: what this one wanted to write was refused."""


class JournalReadOnly(JournalError):
    """The database may not be written."""


class JournalLocked(JournalError):
    """Another process holds the database."""


class JournalFull(JournalError):
    """There is no room left to write."""


class JournalCorrupt(JournalError):
    """What is stored is not what was written."""


class JournalTooNew(JournalError):
    """The database was written by a later version of Batuta."""


class JournalLost(JournalError):
    """The connection to the database is gone; nothing of the batch is certain."""
