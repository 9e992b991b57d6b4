"""Lambda functions: in Python run from their handler here, others called where they are."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from json import JSONDecodeError, dumps, loads
from pathlib import Path
from time import monotonic
from typing import Any

from batuta.kernel.world import Failure, Outcome
from batuta.real.aws.calls import Operation
from batuta.real.aws.clients import Clients, in_thread
from batuta.real.aws.effect import asked_by
from batuta.real.aws.shapes import metadata, text_of
from batuta.real.call import Refused
from batuta.real.integrations import Integrations, LambdaSource
from batuta.real.job import Hub, Job
from batuta.real.output import StepOutput
from batuta.real.process import Worker, WorkerGone
from batuta.real.shell import INHERITED, Surroundings, exit_text
from batuta.workflow.asl.resource import Resource, parse

PROGRAM = "batuta.real.lambdahost"
START_S = 30.0
IDLE_MAX = 8
LOOK_AGAIN_S = 1.0
FILES_MAX = 5000
UNKNOWN = "Lambda.Unknown"
HTTP_DATE = "%a, %d %b %Y %H:%M:%S GMT"
_REQUESTS = uuid.UUID("a4ad1aa5-6a5e-4a1c-9e0a-1c1a2d4d7a11")


@dataclass(frozen=True, slots=True)
class Invocation:
    """A call of a function.

    Parameters
    ----------
    function: its name. qualifier: version or alias. arn: as it was called.
    event: what it gets. request: the id of the call, the same when it is performed again.
    """

    function: str
    qualifier: str
    arn: str
    event: Any
    request: str


@dataclass(slots=True)
class Kept:
    """Idle processes of one function, and the code that they run."""

    idle: list[Worker] = field(default_factory=list)
    stamp: int = 0
    looked_at: float = 0.0


class Lambdas:
    """Performs `lambda` commands.

    Parameters
    ----------
    hub: the world. around: its secrets and where output goes.
    integrations: has the functions that are here. clients: for those that are not.
    """

    def __init__(
        self, hub: Hub, around: Surroundings, integrations: Integrations, clients: Clients
    ) -> None:
        self._hub = hub
        self._around = around
        self._integrations = integrations
        self._clients = clients
        self._kept: dict[str, Kept] = {}
        self._all: set[Worker] = set()
        self._sent_off: set[asyncio.Task[Any]] = set()

    async def perform(self, job: Job) -> Outcome:
        """Call a function, by its ARN or by `lambda:invoke`; its result as the state sees it."""
        resource = parse(job.command.data["resource"])
        invocation = _invocation(job, resource)
        source = self._integrations.lambdas.get(invocation.function)
        if source is None:
            value = await in_thread(lambda: self._remote(job, resource, invocation))
            return Outcome(job.command.id, value, None, job.started)
        if self._around.sink is not None:
            job.context.output = StepOutput(job.command.id, self._around.sink, self._around.mask)
        kind = _given(job, resource).get("InvocationType", "RequestResponse")
        if kind == "DryRun":
            return Outcome(job.command.id, _shown(None, 204, invocation), None, job.started)
        if kind == "Event":
            task = asyncio.create_task(self._here(job, source, invocation))
            self._sent_off.add(task)
            task.add_done_callback(self._forget)
            return Outcome(job.command.id, _shown(None, 202, invocation), None, job.started)
        answer = await self._here(job, source, invocation)
        if "error" in answer:
            return job.failed(failure_of_function(answer["error"]))
        value = answer["value"]
        if resource.family == "task":
            value = _shown(value, 200, invocation)
        return Outcome(job.command.id, value, None, job.started)

    async def close(self) -> None:
        """End them all."""
        for task in [*self._sent_off]:
            task.cancel()
        workers = list(self._all)
        self._all.clear()
        self._kept.clear()
        await asyncio.gather(*(worker.kill() for worker in workers))

    def use(self, integrations: Integrations) -> None:
        """The project changed."""
        self._integrations = integrations

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._sent_off.discard(task)
        if not task.cancelled():
            task.exception()  # a call that nobody waits for: its output says what happened

    # -- here ------------------------------------------------------------------------------

    async def _here(self, job: Job, source: LambdaSource, invocation: Invocation) -> dict[str, Any]:
        """Run the handler in a process of its function; `{"value"}` or `{"error"}`."""
        worker = await self._borrow(source)
        loop = asyncio.get_running_loop()
        limit = asyncio.timeout(START_S + source.timeout)
        hub = _Began(self._hub, lambda: limit.reschedule(loop.time() + source.timeout))
        try:
            async with limit:
                answer = await worker.perform(hub, job, self._frame(source, invocation))
        except TimeoutError:
            await self._end(worker)
            return {"error": _timed_out(source, invocation)}
        except WorkerGone:
            code = await worker.exit_code()
            self._all.discard(worker)
            return {"error": _died(code, invocation)}
        except BaseException:  # cancelled: whatever it is doing, it shall not go on
            await self._end(worker)
            raise
        await self._give_back(source, worker)
        return answer

    def _frame(self, source: LambdaSource, invocation: Invocation) -> dict[str, Any]:
        return {
            "name": source.name,
            "handler": source.handler,
            "folder": os.path.realpath(source.folder),
            "timeout_s": source.timeout,
            "event": invocation.event,
            "arn": invocation.arn,
            "version": invocation.qualifier,
            "request": invocation.request,
        }

    async def _borrow(self, source: LambdaSource) -> Worker:
        kept = self._kept.setdefault(source.name, Kept())
        stamp = self._stamp(source, kept)
        while kept.idle:
            worker = kept.idle.pop()
            if worker.generation == stamp:
                return worker
            await self._end(worker)
        limit = 2 * self._hub.value_limit + (1 << 20)
        worker = Worker(self._around.mask, limit, PROGRAM, self._variables(source))
        worker.generation = stamp
        self._all.add(worker)
        starting = asyncio.ensure_future(worker.start())
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:  # end it once it is there to be ended
            with suppress(WorkerGone):
                await starting
            await self._end(worker)
            raise
        except WorkerGone:
            code = await worker.exit_code()
            self._all.discard(worker)
            text = f"the process of function `{source.name}` {exit_text(code)} before it was ready"
            raise Refused(Failure(UNKNOWN, f"{text}:\n{worker.last_words()}")) from None
        return worker

    def _stamp(self, source: LambdaSource, kept: Kept) -> int:
        """What tells one state of a function's code from another; looked at once a second."""
        now = monotonic()
        if now - kept.looked_at >= LOOK_AGAIN_S:
            kept.looked_at = now
            kept.stamp = hash(
                (stamp_of(source.folder), source.handler, *source.environment.items())
            )
        return kept.stamp

    async def _give_back(self, source: LambdaSource, worker: Worker) -> None:
        kept = self._kept.setdefault(source.name, Kept())
        idle = sum(len(each.idle) for each in self._kept.values())
        if worker.generation != kept.stamp or idle >= IDLE_MAX or self._hub.closed:
            await self._end(worker)
        else:
            kept.idle.append(worker)

    async def _end(self, worker: Worker) -> None:
        self._all.discard(worker)
        await worker.kill()

    def _variables(self, source: LambdaSource) -> dict[str, str]:
        """The variables that the service sets, AWS's own, and the function's."""
        found = {name: os.environ[name] for name in INHERITED if name in os.environ}
        found |= {name: text for name, text in os.environ.items() if name.startswith("AWS_")}
        region = self._integrations.region or found.get("AWS_REGION") or "us-east-1"
        if self._integrations.endpoint:
            found["AWS_ENDPOINT_URL"] = self._integrations.endpoint
        return {
            **found,
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "AWS_LAMBDA_FUNCTION_NAME": source.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{source.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": "batuta",
            "AWS_EXECUTION_ENV": "AWS_Lambda_python",
            "LAMBDA_TASK_ROOT": os.path.realpath(source.folder),
            "_HANDLER": source.handler,
            **source.environment,
        }

    # -- elsewhere -------------------------------------------------------------------------

    def _remote(self, job: Job, resource: Resource, invocation: Invocation) -> Any:
        """Call a function where it is. Blocks. Raises `Refused`."""
        given = _given(job, resource)
        if resource.family == "lambda":
            given = {"FunctionName": resource.text, "Payload": invocation.event}
        if given.get("Payload") is not None:
            given["Payload"] = dumps(given["Payload"])
        asked = asked_by(job, Resource(resource.text, "lambda", "lambda", "invoke"))
        operation = Operation(self._clients, asked)
        answer = operation.call(operation.arguments(given))
        payload = answer.pop("Payload").read().decode("utf-8", "replace")
        if answer.pop("FunctionError", None):
            raise Refused(failure_of_payload(payload))
        value = _parsed(payload)
        if resource.family == "lambda":
            return value
        shown = operation.answer(answer)
        return {**shown, "Payload": value, **metadata(answer)}


class _Began:
    """The world, told of a beginning together with whoever measures the function's own time."""

    def __init__(self, hub: Hub, began: Any) -> None:
        self.loop = hub.loop
        self.value_limit = hub.value_limit
        self.closed = hub.closed
        self.now = hub.now
        self.finish = hub.finish
        self._hub = hub
        self._began = began

    def began(self, job: Job) -> None:
        """It was imported and is called now."""
        self._began()
        if not job.done:
            self._hub.began(job)


def stamp_of(folder: Path) -> int:
    """What tells one state of a folder's Python files from another."""
    newest, count = 0, 0
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "__pycache__"))]
        for name in files:
            if name.endswith(".py") and count < FILES_MAX:
                count += 1
                newest = max(newest, os.stat(os.path.join(place, name)).st_mtime_ns)
    return hash((newest, count))


def _given(job: Job, resource: Resource) -> dict[str, Any]:
    """The parameters of `lambda:invoke`; none where the function is called by its ARN."""
    given = job.command.data.get("input")
    return dict(given) if resource.family == "task" and isinstance(given, dict) else {}


def _invocation(job: Job, resource: Resource) -> Invocation:
    request = str(uuid.uuid5(_REQUESTS, job.command.id))
    if resource.family == "lambda":
        function = resource.service.rpartition(":")[2]
        event = job.command.data.get("input")
        return Invocation(function, resource.action, resource.text, event, request)
    given = _given(job, resource)
    text = str(given.get("FunctionName", ""))
    name, _, qualifier = text.rpartition("function:")[2].partition(":")
    qualifier = str(given.get("Qualifier") or qualifier or "$LATEST")
    arn = text
    if not text.startswith("arn:"):
        parts = str(job.command.data.get("execution", "")).split(":")
        place = parts[3:5] if len(parts) > 4 else ["us-east-1", "000000000000"]
        arn = f"arn:aws:lambda:{place[0]}:{place[1]}:function:{name}"
    event = given.get("Payload")
    return Invocation(name, qualifier, arn, {} if event is None else event, request)


def _shown(value: Any, status: int, invocation: Invocation) -> dict[str, Any]:
    """A result of a function that ran here, as `lambda:invoke` gives it."""
    text = "" if status != 200 else dumps(value, separators=(",", ":"))
    headers = {
        "Connection": "keep-alive",
        "Content-Length": str(len(text.encode())),
        "Content-Type": "application/json",
        "Date": datetime.now(UTC).strftime(HTTP_DATE),
        "X-Amz-Executed-Version": invocation.qualifier,
        "x-amzn-Remapped-Content-Length": "0",
        "x-amzn-RequestId": invocation.request,
    }
    about = {
        "Headers": headers, "HTTPStatusCode": status, "RequestId": invocation.request,
    }  # fmt: skip
    told: dict[str, Any] = {"StatusCode": status, **metadata({"ResponseMetadata": about})}
    if status != 200:
        return {"Payload": "", **told}
    return {"ExecutedVersion": invocation.qualifier, "Payload": value, **told}


def failure_of_function(error: Mapping[str, Any]) -> Failure:
    """The failure of a state whose function told this error."""
    kind = error.get("errorType")
    return Failure(str(kind or UNKNOWN), dumps(error, separators=(",", ":")))


def failure_of_payload(payload: str) -> Failure:
    """The same from the answer of a function that ran elsewhere."""
    try:
        error = loads(payload)
    except JSONDecodeError:
        error = None
    if isinstance(error, dict) and error.get("errorType"):
        return Failure(str(error["errorType"]), payload)
    text = (
        "The cause could not be determined because Lambda did not return an error type. "
        f"Returned payload: {payload}"
    )
    return Failure(UNKNOWN, text)


def _timed_out(source: LambdaSource, invocation: Invocation) -> dict[str, Any]:
    text = f"Task timed out after {source.timeout:.2f} seconds"
    return {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {invocation.request} Error: {text}",
    }


def _died(code: int, invocation: Invocation) -> dict[str, Any]:
    how = f"exit status {code}" if code >= 0 else f"signal: {exit_text(code).rpartition(' ')[2]}"
    return {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {invocation.request} Error: Runtime exited with error: {how}",
    }


def _parsed(payload: str) -> Any:
    try:
        return loads(payload) if payload else ""
    except JSONDecodeError:
        return text_of(payload)
