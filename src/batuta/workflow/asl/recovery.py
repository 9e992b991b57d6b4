"""Retriers and catchers: which failures a state tries again, and where it goes on otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from batuta.workflow.asl.env import Env
from batuta.workflow.asl.errors import (
    ALL,
    HEARTBEAT_TIMEOUT,
    TASK_FAILED,
    TIMEOUT,
    UNCAUGHT_BY_ALL,
)
from batuta.workflow.asl.template import jsonata, payload, result_path

if TYPE_CHECKING:
    from batuta.workflow.asl.scope import Scope

SECOND = 1_000_000_000
SCALE = 2.0**-64


class Matcher:
    """Something that is for certain errors."""

    def __init__(self, value: Mapping[str, Any]) -> None:
        self.errors = frozenset(value["ErrorEquals"])

    def matches(self, error: str | None, state: str) -> bool:
        """Whether it is for this error of a state of this type."""
        errors = self.errors
        if error in errors:
            return True
        if error == TIMEOUT and HEARTBEAT_TIMEOUT in errors:
            return True
        if ALL in errors:
            return error not in UNCAUGHT_BY_ALL
        return TASK_FAILED in errors and state == "Task" and error != TIMEOUT


def first_match(matchers: Sequence[Matcher], error: str | None, state: str) -> int | None:
    """The place of the first that is for this error."""
    for at, matcher in enumerate(matchers):
        if matcher.matches(error, state):
            return at
    return None


class Retrier(Matcher):
    """One entry of `Retry`."""

    def __init__(self, value: Mapping[str, Any]) -> None:
        super().__init__(value)
        self.interval: float = value.get("IntervalSeconds", 1)
        self.attempts: int = value.get("MaxAttempts", 3)
        self.backoff: float = value.get("BackoffRate", 2.0)
        self.longest: float | None = value.get("MaxDelaySeconds")
        self.jitter = value.get("JitterStrategy") == "FULL"

    def delay(self, scope: Scope, at: int, draw: Callable[[], int]) -> int | None:
        """How long to wait before the next attempt, ns; None where there is no further one.

        Counts the attempt: each retrier has a count of its own for each visit of a state.
        """
        if scope.retries is None:
            scope.retries = {}
        used = scope.retries.get(at, 0)
        if used >= self.attempts:
            return None
        scope.retries[at] = used + 1
        scope.retried += 1
        try:
            delay = self.interval * self.backoff**used
        except OverflowError:
            delay = float(self.longest or 0)
        if self.longest is not None:
            delay = min(delay, self.longest)
        if self.jitter:
            delay *= draw() * SCALE
        return int(delay * SECOND)


class Catcher(Matcher):
    """One entry of `Catch`."""

    def __init__(self, value: Mapping[str, Any], in_jsonata: bool) -> None:
        super().__init__(value)
        self.next: str = value["Next"]
        self.in_jsonata = in_jsonata
        self._output = jsonata("Output", value["Output"]) if "Output" in value else None
        make = jsonata if in_jsonata else payload
        self._assign = make("Assign", value["Assign"]) if "Assign" in value else None
        where = value.get("ResultPath", "$")
        self._drops = where is None
        self._put = None if in_jsonata or where in (None, "$") else result_path(where)

    def output(self, env: Env) -> tuple[Any, Any]:
        """The state's output after the failure `env.error_output`, and what it assigns."""
        failure = env.error_output
        if self.in_jsonata:
            output = failure if self._output is None else self._output(None, env)
            return output, None if self._assign is None else self._assign(None, env)
        assigned = None if self._assign is None else self._assign(failure, env)
        if self._drops:
            return env.input, assigned
        return (failure if self._put is None else self._put(env.input, failure)), assigned
