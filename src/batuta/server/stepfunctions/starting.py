"""Starting executions: what is started, under which name, with which input."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from json import JSONDecodeError, loads
from typing import Any
from uuid import uuid4

from starlette.requests import Request

from batuta.kernel.event import Event, Record
from batuta.server.stepfunctions.aliases import drawn
from batuta.server.stepfunctions.errors import no_machine, unsupported_type, wrong_resource
from batuta.server.stepfunctions.executions import ENDS, ended, last_of, started_of, status_of
from batuta.server.stepfunctions.names import check_name, machine_of
from batuta.server.stepfunctions.service import Answer, Asked, Service, date
from batuta.workflow.asl.registry import ServiceError, subject_of, version_of

BILLED_MB = 64
BILLED_STEP_MS = 100
CONFIGURED = ("logging", "tracing", "encryption", "revision")


@dataclass(frozen=True, slots=True)
class Found:
    """What an ARN of a state machine, a version or an alias stands for.

    Parameters
    ----------
    name: the state machine's. data: of the machine's or the version's record.
    updated: when it became so, ns.
    """

    name: str
    data: Mapping[str, Any]
    updated: int
    version: int | None = None
    alias: str | None = None

    @property
    def type(self) -> str:
        """STANDARD or EXPRESS."""
        type: str = self.data["type"]
        return type


async def find(service: Service, arn: str) -> Found:
    """What would be started by an ARN; an alias has chosen one of its versions.
    Raises `ServiceError`."""
    asked = machine_of(arn)
    if asked.label is not None:
        raise wrong_resource("statemachine")
    record = await service.record("machine", subject_of(asked.name))
    if record is None:
        raise no_machine(arn)
    version, alias = asked.version, asked.alias
    if alias is not None:
        routed = record.data["aliases"].get(alias)
        if routed is None:
            raise no_machine(arn)
        version = drawn(routed["routing"])
    if version is None:
        return Found(asked.name, record.data, record.data["updated"])
    kept = await service.record("version", version_of(asked.name, version))
    if kept is None:
        raise no_machine(arn)
    return Found(asked.name, kept.data, kept.time, version, alias)


def input_of(asked: Asked) -> Any:
    """An execution's input. Raises `ServiceError`."""
    try:
        return loads(asked.get("input", "{}"), parse_constant=_no_constant)
    except (JSONDecodeError, ValueError, RecursionError) as wrong:
        raise ServiceError(
            "InvalidExecutionInput", f"Invalid State Machine Execution Input: '{wrong}'"
        ) from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _asking(service: Service, found: Found, asked: Asked, name: str) -> dict[str, Any]:
    arn = service.place.machine(found.name)
    qualifier = found.alias if found.alias is not None else found.version
    machine: dict[str, Any] = {
        "definition": found.data["definition"], "type": found.type, "name": found.name,
        "arn": arn if qualifier is None else f"{arn}:{qualifier}",
        "role": found.data["role"], "execution": name, "updated": found.updated,
        **{part: found.data[part] for part in CONFIGURED if found.data.get(part) is not None},
    }  # fmt: skip
    if found.version is not None:
        machine["version"] = found.version
    if found.alias is not None:
        machine["alias"] = found.alias
    if "traceHeader" in asked:
        machine["trace"] = asked["traceHeader"]
    if "startedBy" in asked:
        machine["by"] = asked["startedBy"]
    if service.settings.strict:
        machine["quotas"] = "aws"
    return {"workflow": found.name, "args": [input_of(asked)], "kwargs": {}, "machine": machine}


async def start_execution(service: Service, asked: Asked, request: Request) -> Answer:
    """Start an execution. Of a STANDARD state machine, the same name with the same input means
    the execution that runs already."""
    return await begin_execution(service, asked)


async def begin_execution(service: Service, asked: Asked) -> Answer:
    """The same, also for a task of this server's: what is `startedBy` the same command is the
    same execution, also when it has ended."""
    found = await find(service, asked["stateMachineArn"])
    name = check_name(asked.get("name") or str(uuid4()))
    data = _asking(service, found, asked, name)
    run = f"{found.name}:{name}"
    if found.type == "EXPRESS":
        run += f":{uuid4()}"
    begun = await service.system.submit("run.start", run, data)
    arn = service.place.execution(run, found.type)
    record = await service.begun(run)
    if not begun["created"]:
        await _check_same(service, record, run, data, arn)
    return {"executionArn": arn, "startDate": date(record.time)}


async def _check_same(
    service: Service, record: Record, run: str, data: dict[str, Any], arn: str
) -> None:
    started = await started_of(service, run)
    known = started is not None and "machine" in started.data
    same = known and started is not None and started.data["args"] == data["args"]
    by = data["machine"].get("by")
    again = by is not None and started is not None and started.data["machine"].get("by") == by
    if not again and not (same and status_of(record) == "RUNNING"):
        raise ServiceError("ExecutionAlreadyExists", f"Execution Already Exists: '{arn}'")


async def start_sync_execution(service: Service, asked: Asked, request: Request) -> Answer:
    """Start an execution of an EXPRESS state machine and wait for its end."""
    found = await find(service, asked["stateMachineArn"])
    if found.type != "EXPRESS":
        raise unsupported_type()
    name = check_name(asked.get("name") or str(uuid4()))
    data = _asking(service, found, asked, name)
    run = f"{found.name}:{name}:{uuid4()}"
    begun = await service.system.submit("run.start", run, data)
    end = await end_of(service, run, begun.get("seq", 0))
    record = await service.begun(run)
    took_ms = (end.time - record.time) / 1e6
    answer: Answer = {
        "executionArn": service.place.execution(run, "EXPRESS"),
        "stateMachineArn": service.place.machine(found.name), "name": name,
        "startDate": date(record.time), "stopDate": date(end.time),
        "status": status_of(record, end),
        "billingDetails": {
            "billedMemoryUsedInMB": BILLED_MB,
            "billedDurationInMilliseconds": max(1, math.ceil(took_ms / BILLED_STEP_MS)) * 100,
        },
    }  # fmt: skip
    if "traceHeader" in asked:
        answer["traceHeader"] = asked["traceHeader"]
    if asked.get("includedData") != "METADATA_ONLY":
        answer["input"] = asked.get("input", "{}")
        answer["inputDetails"] = answer["outputDetails"] = {"included": True}
    return {**answer, **ended(end, asked)}


async def end_of(service: Service, run: str, after: int) -> Event:
    """The event that ends a run. A finished run is found without following the journal."""
    end = await last_of(service, run, ENDS)
    if end is not None:
        return end
    async for event in service.system.follow(after, ENDS, run):
        return event
    raise ServiceError("ServiceUnavailable", "the server is stopping")
