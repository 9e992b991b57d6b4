"""What a mocked task answers, and in which order."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from inspect import Parameter, signature
from typing import Any

from batuta.common.duration import Duration, nanoseconds
from batuta.kernel.errors import BatutaError
from batuta.workflow.model import Step

POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


class Executable:
    """Another machine, which a task begins."""

    def execute(self, input: Any, name: str, start: int) -> Any:
        """Run it to its end; see `Machine`."""
        raise NotImplementedError


class Unmocked(BatutaError, AssertionError):
    """A task was reached that has no answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a task does when it is reached; made by `returns`, `fails` and `times_out`.

    Parameters
    ----------
    value: its result; a function is called with the task's input (and the attempt, from 1).
    error, cause: or its failure. never: it does not answer at all.
    after: how long it takes, ns. every: heartbeats until then, ns.
    """

    value: Any = None
    error: str | None = None
    cause: str | None = None
    never: bool = False
    after: int = 0
    every: int | None = None


@dataclass(frozen=True, slots=True)
class Turns:
    """The answers of one task, call by call.

    Parameters
    ----------
    again: whether the last one is given again and again.
    source: the file that has them, for the error of a call too many.
    """

    answers: tuple[Answer, ...]
    again: bool = True
    source: str = ""

    def at(self, number: int) -> Answer | None:
        """The answer of a call, counted from 1; None behind the last one."""
        if number > len(self.answers) and not self.again:
            return None
        return self.answers[min(number, len(self.answers)) - 1]


def returns(value: Any = None, *, after: Duration = 0, beats: Duration | None = None) -> Answer:
    """A result that comes after a time.

    Parameters
    ----------
    value: the result, or a function of the task's input (and, if it takes two, the attempt);
        whatever a bare value of `Machine.task` may be.
    after: how long the task takes; with `.waitForTaskToken`, when its token is sent back.
    beats: how often it sends a heartbeat until then.
    """
    return Answer(value, after=_time(after), every=None if beats is None else _pause(beats))


def fails(
    error: str = "States.TaskFailed",
    cause: str = "",
    *,
    after: Duration = 0,
    beats: Duration | None = None,
) -> Answer:
    """A failure, by the name that Retry and Catch know it by; times as in `returns`."""
    every = None if beats is None else _pause(beats)
    return Answer(error=error, cause=cause, after=_time(after), every=every)


def times_out(*, beats: Duration | None = None) -> Answer:
    """No answer: the state's TimeoutSeconds or HeartbeatSeconds pass, or the run waits for ever.

    Parameters
    ----------
    beats: how often it sends a heartbeat, so that only TimeoutSeconds can end it.
    """
    return Answer(never=True, every=None if beats is None else _pause(beats))


def answer_of(given: Any, state: str) -> Answer:
    """An answer as it is, anything else as a task's result.

    Raises `BatutaError` for a result that is no JSON.
    """
    answer = given if isinstance(given, Answer) else Answer(given)
    value = answer.value
    if callable(value) or isinstance(value, Executable):
        return answer
    return replace(answer, value=as_json(value, f"the answer of `{state}`"))


def settled(answer: Answer, input: Any, attempt: int, state: str) -> Answer:
    """The answer with its function called.

    A function may give an answer in its turn, `fails(…)` for some inputs. What it raises is not
    the task's failure but the test's.
    """
    value = answer.value
    if not callable(value) or isinstance(value, Step):
        return answer
    given = _called(value, input, attempt)
    if isinstance(given, Answer):
        return settled(answer_of(given, state), input, attempt, state)
    return replace(answer, value=answer_of(given, state).value)


def as_json(value: Any, what: str) -> Any:
    """A copy of a value as JSON has it. Raises `BatutaError` for one that JSON does not have."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as wrong:
        raise BatutaError(
            f"{what} is no JSON: {wrong}",
            hint="JSON is made of objects, lists, texts, numbers, true, false and null",
        ) from None


def _called(call: Callable[..., Any], input: Any, attempt: int) -> Any:
    try:
        parameters = signature(call).parameters.values()
    except ValueError:  # a function of C's that does not tell
        return call(input)
    wanted = [each for each in parameters if each.kind in POSITIONAL]
    needed = sum(each.default is Parameter.empty for each in wanted)
    if needed > 1:
        return call(input, attempt)
    taken = wanted or any(each.kind is Parameter.VAR_POSITIONAL for each in parameters)
    return call(input) if taken else call()


def _time(given: Duration) -> int:
    time = nanoseconds(given)
    if time < 0:
        raise BatutaError(f"`{given}` is negative: no task answers before it is asked")
    return time


def _pause(given: Duration) -> int:
    pause = nanoseconds(given)
    if pause <= 0:
        raise BatutaError(f"heartbeats every `{given}` make no sense", hint='write beats="30s"')
    return pause
