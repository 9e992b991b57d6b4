"""One call of a step's function: arguments out of JSON, result into it, exceptions as failures."""

from __future__ import annotations

import asyncio
import json
import marshal
from typing import Any, Protocol

from batuta.common.failure import bases_of, clip, failure_of, message_of, name_of, traceback_of
from batuta.kernel.world import Failure, Outcome
from batuta.real.context import StepContext, StepStopped, running
from batuta.real.job import Job


class Codec(Protocol):
    """How a function's arguments and result are stored."""

    def decode_call(
        self, args: list[Any], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]: ...

    def encode_result(self, value: Any) -> Any: ...


class StepDefinition(Protocol):
    """What the real world wants to know of a step."""

    fn: Any
    name: str
    module: str
    mode: str

    @property
    def codec(self) -> Codec: ...


class Refused(Exception):
    """The arguments or the result of a step do not fit; trying again cannot help."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def arguments(step: StepDefinition, data: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments as the step's signature types them."""
    try:
        return step.codec.decode_call(data.get("args") or [], data.get("kwargs") or {})
    except Exception as error:  # whatever the codec or a user's own type raises
        raise Refused(_misfit(error, f"the arguments of step `{step.name}`")) from error


def stored(step: StepDefinition, value: Any, limit: int) -> Any:
    """The result as JSON-able data that fits the journal."""
    try:
        data = step.codec.encode_result(value)
        # A lower bound of the JSON's size, at a tenth of its price, settles nearly every case.
        estimate = 0 if data is None else len(marshal.dumps(data))
        size = estimate if 6 * estimate <= limit else len(json.dumps(data).encode())
    except Exception as error:  # whatever the codec or a user's own type raises
        raise Refused(_misfit(error, f"the result of step `{step.name}`")) from error
    if size > limit:
        raise Refused(
            Failure(
                "batuta:ValueTooLarge",
                f"the result of step `{step.name}` is {size:,} bytes of JSON; "
                f"{limit:,} are allowed{largest_path(data)}. "
                "Store it elsewhere and return where it is.",
                retryable=False,
            )
        )
    return data


def largest_path(data: Any) -> str:
    """Where in a value most of it is, for the text of an error."""
    path, here = "", data
    for _ in range(20):
        if isinstance(here, dict) and here:
            step, here = max(here.items(), key=lambda item: len(json.dumps(item[1])))
            path += f".{step}"
        elif isinstance(here, list) and 0 < len(here) <= 1000:
            place = max(range(len(here)), key=lambda index: len(json.dumps(here[index])))
            here = here[place]
            path += f"[{place}]"
        else:
            break
    return f" (most of it at `result{clip(path, 200)}`)" if path else ""


def _misfit(error: Exception, what: str) -> Failure:
    name = name_of(type(error))
    kind = name if name.startswith("batuta:") else "batuta:Unstorable"
    failure = Failure(kind, message_of(error), traceback_of(error), retryable=False)
    if what not in failure.message:
        failure.message = f"{what} cannot be stored or read: {failure.message}"
    return failure


def raised(job: Job, error: BaseException) -> Outcome:
    """The outcome of a step that ended with an exception."""
    if isinstance(error, Refused):
        return job.failed(error.failure)
    if isinstance(error, asyncio.CancelledError | StepStopped) and job.stopped is not None:
        return job.failed(job.stopped)
    if isinstance(error, SystemExit | KeyboardInterrupt | GeneratorExit):
        return job.failed(exited(job.context, error))
    return job.failed(failure_of(error), bases_of(error))


def exited(context: StepContext, error: BaseException) -> Failure:
    """The failure of a step that asked its process to exit, which it may not."""
    how = f"{type(error).__name__}({message_of(error)})"
    return Failure(
        "batuta:StepExited",
        f"step `{context.name}` raised {how}: a step may not end its process. "
        "Raise an ordinary exception, or return.",
        traceback_of(error),
    )


def perform_here(job: Job, limit: int) -> Outcome:
    """Call an ordinary function in this thread."""
    step: StepDefinition = job.command.target
    context = job.context
    running.set(context)
    try:
        args, kwargs = arguments(step, job.command.data)
        value = stored(step, step.fn(*args, **kwargs), limit)
        outcome = Outcome(context.command, value, None, job.started)
        if context.details is not None:
            outcome.detail["heartbeat"] = context.details
    except BaseException as error:  # a step may raise anything; all of it is data to us
        outcome = raised(job, error)
    if context.output is not None:
        context.output.end()
    return outcome


async def perform_async(job: Job, limit: int) -> Outcome:
    """Await a coroutine function in this task."""
    step: StepDefinition = job.command.target
    context = job.context
    running.set(context)
    try:
        args, kwargs = arguments(step, job.command.data)
        value = stored(step, await step.fn(*args, **kwargs), limit)
        outcome = Outcome(context.command, value, None, job.started)
        if context.details is not None:
            outcome.detail["heartbeat"] = context.details
    except BaseException as error:  # a step may raise anything; all of it is data to us
        outcome = raised(job, error)
    if context.output is not None:
        context.output.end()
    return outcome
