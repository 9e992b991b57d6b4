"""The effect `aws`: one call of a service, or a job from its start to its end."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from json import JSONDecodeError, dumps, loads
from typing import Any

from batuta.kernel.world import Failure, Outcome
from batuta.real.aws import optimised
from batuta.real.aws.calls import Asked, Operation, token_for
from batuta.real.aws.clients import Clients, in_thread
from batuta.real.aws.jobs import KINDS, Kind, dig
from batuta.real.call import Refused
from batuta.real.job import Job
from batuta.workflow.asl.errors import RUNTIME, TASK_FAILED
from batuta.workflow.asl.resource import SYNC_2, Resource, parse

FIRST_LOOK_S = 0.1
LAST_LOOK_S = 5.0
LOOK_GROWTH = 1.5
STOP_S = 4.0
LOOKS_AT_ONCE = 32
LOST_LOOKS = 5
TOKENS = {
    "codebuild:startBuild": "IdempotencyToken",
    "codebuild:startBuildBatch": "IdempotencyToken",
}
"""Starts whose idempotency token the service's description does not mark as one."""
UNSUPPORTED = {
    "eks:call": "call the cluster's API by http:invoke, or by a step of the project's",
    "eks:runJob": "call the cluster's API by http:invoke, or by a step of the project's",
    "elasticmapreduce:modifyInstanceFleetByName": "use aws-sdk:emr:modifyInstanceFleet",
    "elasticmapreduce:modifyInstanceGroupByName": "use aws-sdk:emr:modifyInstanceGroups",
}


def asked_by(job: Job, resource: Resource) -> Asked:
    """The call that a command of a task asks for."""
    data = job.command.data
    parts = str(data.get("execution", "")).split(":")
    region = parts[3] if len(parts) > 3 else None
    credentials = data.get("credentials") or {}
    return Asked(
        resource.service, resource.action, data.get("input"), job.command.id, region or None,
        credentials.get("RoleArn"),
    )  # fmt: skip


class Aws:
    """Performs `aws` commands, and `nested` ones that go to another place."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._looks = asyncio.Semaphore(LOOKS_AT_ONCE)

    async def perform(self, job: Job) -> Outcome:
        """Call the service, and wait for the end of what was begun where the task says so."""
        resource = parse(job.command.data["resource"])
        key = f"{resource.service}:{resource.action}"
        if not resource.allowed or key in UNSUPPORTED:
            return job.failed(_refusal(resource, UNSUPPORTED.get(key)))
        asked = asked_by(job, resource)
        if not resource.pattern.startswith("sync"):
            value = await in_thread(lambda: optimised.call(Operation(self._clients, asked)))
            return Outcome(job.command.id, value, None, job.started)
        run = _Run(self._clients, asked, resource, KINDS[key], self._looks)
        return await run.perform(job)


def _refusal(resource: Resource, hint: str | None) -> Failure:
    text = f"The resource {resource.text} is not supported"
    return Failure(RUNTIME, f"{text}: {hint}" if hint else text, retryable=False)


class _Run:
    """One job: begun, looked at until it has ended, stopped where nobody waits any more."""

    def __init__(
        self,
        clients: Clients,
        asked: Asked,
        resource: Resource,
        kind: Kind,
        looks: asyncio.Semaphore,
    ) -> None:
        self._clients = clients
        self._looks = looks
        self._asked = asked
        self._resource = resource
        self._kind = kind
        self._sent: dict[str, Any] = asked.input if isinstance(asked.input, dict) else {}

    async def perform(self, job: Job) -> Outcome:
        submitted = await self._begin(job)
        job.detail = {"submitted": submitted}
        ids = self._kind.ids(self._sent, submitted)
        if None in ids.values() or [None] in ids.values():
            cause = dumps(submitted, separators=(",", ":"))
            return job.failed(Failure(TASK_FAILED, cause))
        try:
            state, answer = await self._wait(ids)
        except asyncio.CancelledError:
            if (
                job.stopped is not None
            ):  # else the server ends, and goes on with it at its next start
                await self._stop(submitted)
            raise
        except Refused as refused:
            return job.failed(refused.failure)
        output = self._output(answer, submitted)
        failed = state in self._kind.bad
        failed = failed or (self._kind.fails is not None and self._kind.fails(output))
        if failed:
            cause = dumps(output, separators=(",", ":"), ensure_ascii=False)
            return job.failed(Failure(TASK_FAILED, cause))
        value = {"submitted": submitted, "output": output}
        return Outcome(job.command.id, value, None, job.started)

    async def _begin(self, job: Job) -> dict[str, Any]:
        """Begin it; told to stop meanwhile, wait for the answer, so that it can be stopped."""
        starting = asyncio.ensure_future(in_thread(self._start))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            if job.stopped is None:
                raise
            with suppress(Exception):  # it never began, or does not answer
                async with asyncio.timeout(STOP_S):
                    await self._stop(await starting)
            raise

    def _start(self) -> dict[str, Any]:
        """Begin it, with a token that makes a second beginning the same job where there is one."""
        asked = self._asked
        token = TOKENS.get(f"{asked.service}:{asked.action}")
        if token is not None:
            asked = replace(asked, input={token: token_for(asked.command), **self._sent})
        found: dict[str, Any] = optimised.call(Operation(self._clients, asked))
        return found

    async def _wait(self, ids: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Look until it has ended: its state and the last answer. Raises `Refused`."""
        kind, delay_s, lost = self._kind, FIRST_LOOK_S, 0
        while True:
            try:
                async with self._looks:
                    answer = await in_thread(lambda: self._call(kind.look, ids))
                lost = 0
            except Refused as refused:
                if kind.gone and "NotFound" in refused.failure.type:
                    return "", {}
                lost += 1
                if lost >= LOST_LOOKS:
                    raise
                answer = {}
            state = str(dig(answer, kind.status) or "")
            if state in kind.good or state in kind.bad:
                return state, answer
            await asyncio.sleep(delay_s)
            delay_s = min(LAST_LOOK_S, delay_s * LOOK_GROWTH)

    def _call(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        asked = self._asked
        service = "emr" if asked.service == "elasticmapreduce" else asked.service
        action = name[:1].lower() + name[1:]
        other = Asked(service, action, given, asked.command, asked.region, asked.role)
        operation = _Quiet(self._clients, other, asked.service)
        answer: dict[str, Any] = operation.answer(operation.call(given))
        return answer

    async def _stop(self, submitted: dict[str, Any]) -> None:
        """Stop it; whoever waited has been told already, so that errors are nobody's."""
        kind = self._kind
        if kind.stop is None:
            return
        ids = (kind.stop_ids or kind.ids)(self._sent, submitted)
        with suppress(Refused, TimeoutError):
            async with asyncio.timeout(STOP_S):
                await in_thread(lambda: self._call(str(kind.stop), ids))

    def _output(self, answer: dict[str, Any], submitted: dict[str, Any]) -> Any:
        """The task's result: the job as the last look has seen it."""
        kind = self._kind
        output = dig(answer, kind.result)
        if self._asked.service == "states":
            return self._execution(output)
        if self._asked.service == "codebuild":
            return {kind.extra[0]: output}
        return {**output, **{name: submitted[name] for name in kind.extra if name in submitted}}

    def _execution(self, output: dict[str, Any]) -> dict[str, Any]:
        """A nested execution; `.sync:2` has its input and output as JSON, not as text."""
        hidden = ("TraceHeader", "RedriveCount", "RedriveStatus", "RedriveStatusReason")
        told = {name: value for name, value in output.items() if name not in hidden}
        if self._resource.pattern == SYNC_2:
            for name in ("Input", "Output"):
                with suppress(JSONDecodeError, TypeError, KeyError):
                    told[name] = loads(told[name])
        return told


class _Quiet(Operation):
    """An operation whose errors and answers are those of an optimised integration."""

    def __init__(self, clients: Clients, asked: Asked, service: str) -> None:
        super().__init__(clients, asked)
        self.asked = Asked(service, asked.action, asked.input, asked.command)
