"""The effect `nested`: an execution begun by another one, asked of this server itself."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from json import JSONDecodeError, dumps, loads
from typing import Any, Protocol

from batuta.kernel.errors import BatutaError
from batuta.kernel.world import Failure, Outcome
from batuta.real.aws.calls import token_for
from batuta.real.aws.effect import Aws
from batuta.real.aws.failures import failure_of_refusal
from batuta.real.aws.names import lower_first, upper_first
from batuta.real.aws.shapes import metadata
from batuta.real.integrations import Integrations
from batuta.real.job import Job
from batuta.workflow.asl.errors import TASK_FAILED
from batuta.workflow.asl.registry import ServiceError
from batuta.workflow.asl.resource import SYNC_2, Resource, parse

STOP_S = 4.0
HIDDEN = ("RedriveCount", "RedriveStatus", "RedriveStatusReason", "TraceHeader")
TIMES = ("startDate", "stopDate")


class States(Protocol):
    """Step Functions, as this server itself answers it."""

    async def start(self, asked: dict[str, Any], by: str) -> dict[str, Any]:
        """StartExecution; the same `by` means the same execution, also when it has ended.
        Raises `ServiceError`."""

    async def ended(self, arn: str) -> dict[str, Any]:
        """DescribeExecution, as soon as the execution has ended."""

    async def stop(self, arn: str) -> None:
        """StopExecution."""

    async def knows_activity(self, arn: str) -> bool:
        """Whether there is such an activity."""


class Nested:
    """Performs `nested` commands.

    Parameters
    ----------
    integrations: where they name another place for `stepfunctions`, it is asked by `aws`.

    Attributes
    ----------
    states: who answers here; None until a server stands.
    """

    def __init__(self, integrations: Integrations, aws: Aws) -> None:
        self.states: States | None = None
        self._integrations = integrations
        self._aws = aws

    def use(self, integrations: Integrations) -> None:
        """The project changed."""
        self._integrations = integrations

    async def perform(self, job: Job) -> Outcome:
        """Begin the execution, and wait for its end where the task says so."""
        resource = parse(job.command.data["resource"])
        elsewhere = "stepfunctions" in self._integrations.endpoints
        if self.states is None or elsewhere or not resource.allowed:
            return await self._aws.perform(job)
        try:
            begun = await self._begin(self.states, job)
        except BatutaError as refused:
            return job.failed(_failure(refused))
        submitted = {**_shown(begun), **metadata(_told_of(job.command.id, begun))}
        if not resource.pattern.startswith("sync"):
            return Outcome(job.command.id, submitted, None, job.started)
        job.detail = {"submitted": submitted}
        return await self._wait(self.states, job, resource, begun["executionArn"])

    @staticmethod
    async def _begin(states: States, job: Job) -> dict[str, Any]:
        given = job.command.data.get("input")
        asked = {lower_first(name): value for name, value in (given or {}).items()}
        asked["input"] = _text(asked.get("input"))
        asked.setdefault("name", token_for(job.command.id))
        begun: dict[str, Any] = await states.start(asked, job.command.id)
        return begun

    async def _wait(self, states: States, job: Job, resource: Resource, arn: str) -> Outcome:
        try:
            told = _execution(await states.ended(arn), resource)
        except asyncio.CancelledError:
            if job.stopped is not None:  # else the server ends, and goes on at its next start
                with suppress(BatutaError, TimeoutError):
                    async with asyncio.timeout(STOP_S):
                        await states.stop(arn)
            raise
        if told["Status"] != "SUCCEEDED":
            cause = dumps(told, separators=(",", ":"), ensure_ascii=False)
            return job.failed(Failure(TASK_FAILED, cause))
        assert job.detail is not None
        value = {**job.detail, "output": told}
        return Outcome(job.command.id, value, None, job.started)


def _failure(refused: BatutaError) -> Failure:
    if isinstance(refused, ServiceError):
        return failure_of_refusal("states", refused.code, refused.message)
    return Failure("StepFunctions.AWSStepFunctionsException", refused.message, retryable=True)


def _told_of(command: str, begun: dict[str, Any]) -> dict[str, Any]:
    """What would have been told of the HTTP answer, had there been one."""
    request = token_for(command)
    headers = {
        "Content-Type": "application/x-amz-json-1.0", "Content-Length": str(len(dumps(begun))),
        "x-amzn-RequestId": request,
    }  # fmt: skip
    about = {"HTTPStatusCode": 200, "RequestId": request, "Headers": headers}
    return {"ResponseMetadata": about}


def _text(input: Any) -> str:
    if input is None:
        return "{}"
    return input if isinstance(input, str) else dumps(input, ensure_ascii=False)


def _shown(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer of the API as the integration gives it: names in PascalCase, times in ms."""
    found = {}
    for name, value in answer.items():
        if name in TIMES:
            value = round(value * 1000)
        elif isinstance(value, dict):
            value = _shown(value)
        found[upper_first(name)] = value
    return found


def _execution(answer: dict[str, Any], resource: Resource) -> dict[str, Any]:
    """How it ended; `.sync:2` has input and output as JSON, not as text."""
    told = {name: each for name, each in sorted(_shown(answer).items()) if name not in HIDDEN}
    if resource.pattern == SYNC_2:
        for name in ("Input", "Output"):
            with suppress(JSONDecodeError, TypeError, KeyError):
                told[name] = loads(told[name])
    if told["Status"] == "TIMED_OUT":
        told.setdefault("Error", "States.Timeout")
    return told
