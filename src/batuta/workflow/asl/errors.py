"""How a state fails: the error's name and its cause, as the service gives them."""

from __future__ import annotations

ALL = "States.ALL"
BRANCH_FAILED = "States.BranchFailed"
DATA_LIMIT_EXCEEDED = "States.DataLimitExceeded"
EXCEED_TOLERATED_FAILURE_THRESHOLD = "States.ExceedToleratedFailureThreshold"
HEARTBEAT_TIMEOUT = "States.HeartbeatTimeout"
HTTP_SOCKET = "States.Http.Socket"
INTRINSIC_FAILURE = "States.IntrinsicFailure"
ITEM_READER_FAILED = "States.ItemReaderFailed"
NO_CHOICE_MATCHED = "States.NoChoiceMatched"
PARAMETER_PATH_FAILURE = "States.ParameterPathFailure"
PERMISSIONS = "States.Permissions"
QUERY_EVALUATION_ERROR = "States.QueryEvaluationError"
RESULT_PATH_MATCH_FAILURE = "States.ResultPathMatchFailure"
RESULT_WRITER_FAILED = "States.ResultWriterFailed"
RUNTIME = "States.Runtime"
TASK_FAILED = "States.TaskFailed"
TIMEOUT = "States.Timeout"

UNCAUGHT_BY_ALL = (RUNTIME, DATA_LIMIT_EXCEEDED)
"""Errors that `States.ALL` does not stand for; a retrier or catcher has to name them."""


class StateFailed(Exception):
    """A state, or an expression in it, failed.

    Parameters
    ----------
    error: the error's name (`States.Runtime`, or one of the user's); None where a Fail state
        gives none.
    cause: what people read; None where there is none.
    location: the field whose expression failed (`Output/total`), where one did.
    """

    def __init__(
        self, error: str | None, cause: str | None = None, location: str | None = None
    ) -> None:
        super().__init__(error, cause)
        self.error = error
        self.cause = cause
        self.location = location

    def __str__(self) -> str:
        return f"{self.error}: {self.cause}" if self.cause else str(self.error)


class Malformed(Exception):
    """An expression is not of its language.

    Parameters
    ----------
    message: what is wrong. offset: where in the expression's text, from 0.
    """

    def __init__(self, message: str, offset: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
