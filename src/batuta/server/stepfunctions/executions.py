"""Executions: describe, list, stop, redrive, and the state machine that one runs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from json import dumps
from typing import Any

from starlette.requests import Request

from batuta.kernel.event import Event, Record
from batuta.kernel.journal import Journal
from batuta.server.stepfunctions.errors import (
    invalid_token,
    no_execution,
    no_machine,
    no_resource,
    unsupported_type,
    validation,
)
from batuta.server.stepfunctions.machines import configured
from batuta.server.stepfunctions.names import MachineArn, execution_of, machine_of
from batuta.server.stepfunctions.paging import place_in, size_of, token_for
from batuta.server.stepfunctions.service import Answer, Asked, Service, date
from batuta.workflow.asl.arn import Place
from batuta.workflow.asl.registry import ServiceError, subject_of

ENDS = ("run.completed", "run.failed", "run.terminated", "run.cancelled")
STATUSES = {"completed": "SUCCEEDED", "failed": "FAILED", "terminated": "ABORTED",
            "cancelled": "ABORTED"}  # fmt: skip
TIMED_OUT = "batuta:TimedOut"
INCLUDED = {"included": True}
SAME_FOR_NS = 15 * 60 * 1_000_000_000
LOOKED_AT_ONCE = 500


def status_of(record: Record, end: Event | None = None) -> str:
    """A run's status in the service's words.

    Parameters
    ----------
    end: the event that ended it, where it is known to be newer than the record.
    """
    word = record.status if end is None else end.type.removeprefix("run.")
    overdue = record.data.get("failure") if end is None else _failure(end)
    if word == "failed" and overdue == TIMED_OUT:
        return "TIMED_OUT"
    return STATUSES.get(word, "RUNNING")


def _failure(end: Event) -> str | None:
    type: str | None = end.data.get("error", {}).get("type") if "error" in end.data else None
    return type


async def started_of(service: Service, run: str) -> Event | None:
    """The event that a run began with."""
    found = await service.read(
        lambda journal: journal.read(0, 1, types=("run.started",), subject=run)
    )
    return found[0] if found else None


async def last_of(service: Service, run: str, types: Sequence[str]) -> Event | None:
    """The newest of these events of a run."""
    found = await service.read(
        lambda journal: journal.read(0, 1, types=types, subject=run, newest_first=True)
    )
    return found[0] if found else None


async def known_execution(
    service: Service, arn: str, *, express: bool = False
) -> tuple[Record, Event]:
    """An execution's record and beginning. Raises `ServiceError`."""
    run = execution_of(arn, express=express)
    record = await service.record("run", run)
    started = await started_of(service, run) if record is not None else None
    if record is None or started is None or "machine" not in started.data:
        raise no_execution(arn)
    return record, started


# -- describing ----------------------------------------------------------------------------------


async def describe_execution(service: Service, asked: Asked, request: Request) -> Answer:
    """An execution with its input, and its output or its error."""
    return await described(service, asked)


async def described(service: Service, asked: Asked, *, express: bool = False) -> Answer:
    """The same, for whoever asks without HTTP; `express`: of EXPRESS state machines as well."""
    record, started = await known_execution(service, asked["executionArn"], express=express)
    end = None
    if record.ended is not None:
        end = await last_of(service, record.id, ENDS)
    answer = {**_shown(service.place, record, started.data["machine"])}
    status = answer["status"]
    if "trace" in started.data["machine"]:
        answer["traceHeader"] = started.data["machine"]["trace"]
    if asked.get("includedData") != "METADATA_ONLY":
        answer["input"] = dumps(_input(started), ensure_ascii=False)
        answer["inputDetails"] = INCLUDED
    if end is not None:
        answer |= ended(end, asked)
    answer |= await _redrives(service, record, status, answer)
    return answer


def _input(started: Event) -> Any:
    args = started.data["args"]
    return args[0] if args else started.data["kwargs"]


def ended(end: Event, asked: Asked) -> Answer:
    """The output or the error that an execution ended with."""
    if end.type == "run.completed":
        if asked.get("includedData") == "METADATA_ONLY":
            return {}
        output = dumps(end.data.get("result"), ensure_ascii=False)
        return {"output": output, "outputDetails": INCLUDED}
    if end.type == "run.failed":
        failed = end.data["error"]
        if failed["type"] == TIMED_OUT:
            return {}
        told = {"error": failed["type"], "cause": failed["message"]}
    else:
        told = {"error": end.data.get("error"), "cause": end.data.get("cause")}
    return {name: text for name, text in told.items() if text}


async def _redrives(service: Service, record: Record, status: str, answer: Answer) -> Answer:
    found: Answer = {}
    if answer["redriveCount"]:
        last = await last_of(service, record.id, ("run.retried",))
        if last is not None:
            found["redriveDate"] = date(last.time)
    if "mapRunArn" in answer and status not in ("RUNNING", "SUCCEEDED"):
        return {**found, "redriveStatus": "REDRIVABLE_BY_MAP_RUN"}
    if status in ("RUNNING", "SUCCEEDED"):
        return {
            **found, "redriveStatus": "NOT_REDRIVABLE",
            "redriveStatusReason": f"Execution is {status} and cannot be redriven",
        }  # fmt: skip
    return {**found, "redriveStatus": "REDRIVABLE"}


def _shown(place: Place, record: Record, machine: Mapping[str, Any]) -> Answer:
    """What lists and descriptions share."""
    name, _, rest = record.id.partition(":")
    arn = place.machine(name)
    label = machine.get("label")
    answer: Answer = {
        "executionArn": place.execution(record.id, machine.get("type", "STANDARD"), label),
        "stateMachineArn": arn if label is None else f"{arn}/{label}",
        "name": machine.get("execution") if label is None else rest,
        "status": status_of(record), "startDate": date(record.time),
        "redriveCount": record.data.get("redrives", 0),
    }  # fmt: skip
    if answer["name"] is None:
        answer["name"] = rest
    if record.ended is not None:
        answer["stopDate"] = date(record.ended)
    if "version" in machine:
        answer["stateMachineVersionArn"] = f"{arn}:{machine['version']}"
    if "alias" in machine:
        answer["stateMachineAliasArn"] = f"{arn}:{machine['alias']}"
    if "map_run" in machine:
        answer["mapRunArn"] = machine["map_run"]
    return answer


async def describe_state_machine_for_execution(
    service: Service, asked: Asked, request: Request
) -> Answer:
    """The state machine as it was when an execution began."""
    record, started = await known_execution(service, asked["executionArn"])
    machine = started.data["machine"]
    name = record.id.partition(":")[0]
    answer: Answer = {
        "stateMachineArn": service.place.machine(name), "name": name,
        "updateDate": date(machine.get("updated", started.time)),
        **configured({"role": "", **machine}, asked),
    }  # fmt: skip
    if machine.get("revision") is not None:
        answer["revisionId"] = machine["revision"]
    if "label" in machine:
        answer["label"], answer["mapRunArn"] = machine["label"], machine["map_run"]
    return answer


# -- listing -------------------------------------------------------------------------------------


async def list_executions(service: Service, asked: Asked, request: Request) -> Answer:
    """The executions of a state machine, a version, an alias or a map run, newest first."""
    if ("stateMachineArn" in asked) == ("mapRunArn" in asked):
        which = "Must provide" if "mapRunArn" not in asked else "Must provide either"
        raise validation(f"1 validation error detected: {which} a StateMachine ARN or MapRun ARN")
    wanted = await _wanted(service, asked)
    about = ["executions", asked.get("stateMachineArn"), asked.get("mapRunArn"),
             asked.get("statusFilter"), asked.get("redriveFilter")]  # fmt: skip
    after, size = place_in(asked.get("nextToken"), about), size_of(asked)
    if after is not None and not (isinstance(after, list) and len(after) == 2):
        raise invalid_token()
    records = await service.read(
        lambda journal: list(islice(_matching(journal, asked, wanted, after), size + 1))
    )
    place = service.place
    page = [_listed(place, record) for record in records[:size]]
    answer: Answer = {"executions": page}
    if len(records) > size:
        answer["nextToken"] = token_for(about, [records[size - 1].time, records[size - 1].id])
    return answer


async def _wanted(service: Service, asked: Asked) -> MachineArn | None:
    """The state machine whose executions are wanted. Raises `ServiceError`."""
    if "mapRunArn" in asked:
        return None
    arn = asked["stateMachineArn"]
    wanted = machine_of(arn)
    record = await service.record("machine", subject_of(wanted.name))
    if record is None:
        raise no_machine(arn)
    if record.data["type"] == "EXPRESS":
        raise unsupported_type()
    known = record.data["aliases"] if wanted.alias is not None else record.data["versions"]
    if wanted.qualifier is not None and wanted.qualifier not in known:
        raise no_resource(arn)
    return wanted


def _matching(
    journal: Journal, asked: Asked, wanted: MachineArn | None, after: list[Any] | None
) -> Iterator[Record]:
    behind = None if after is None else (int(after[0]), str(after[1]))
    map_run = asked.get("mapRunArn")
    name = wanted.name if wanted is not None else str(map_run).split(":")[6].partition("/")[0]
    for record in journal.records("run", name=name, newest_first=True, after=behind):
        machine = record.data.get("machine")
        if machine is None or machine.get("map_run") != map_run:
            continue
        if wanted is not None and wanted.version not in (None, machine.get("version")):
            continue
        if wanted is not None and wanted.alias not in (None, machine.get("alias")):
            continue
        if asked.get("statusFilter") not in (None, status_of(record)):
            continue
        redriven = "REDRIVEN" if record.data.get("redrives") else "NOT_REDRIVEN"
        if asked.get("redriveFilter") in (None, redriven):
            yield record


def _listed(place: Place, record: Record) -> Answer:
    return _shown(place, record, record.data["machine"])


# -- stopping and redriving ----------------------------------------------------------------------


async def stop_execution(service: Service, asked: Asked, request: Request) -> Answer:
    """End an execution where it stands; one that has ended keeps its end."""
    record, _ = await known_execution(service, asked["executionArn"])
    if record.ended is None:
        data = {name: asked[name] for name in ("error", "cause") if asked.get(name)}
        await service.system.submit("run.terminate", record.id, {"reason": "stopped", **data})
        record = await service.record("run", record.id) or record
    end = record.ended
    if end is None:
        last = await last_of(service, record.id, ENDS)
        end = record.time if last is None else last.time
    return {"stopDate": date(end)}


async def redrive_execution(service: Service, asked: Asked, request: Request) -> Answer:
    """Let an execution go on from the states that did not succeed."""
    record, started = await known_execution(service, asked["executionArn"])
    token = (record.id, asked.get("clientToken"))
    known = service.redriven.get(token) if token[1] else None
    if known is not None:
        return {"redriveDate": date(known)}
    status = status_of(record)
    if status in ("RUNNING", "SUCCEEDED") or "map_run" in started.data["machine"]:
        why = "is a child of a map run" if "map_run" in started.data["machine"] else f"is {status}"
        raise ServiceError("ExecutionNotRedrivable", f"Execution {why} and cannot be redriven")
    await service.system.submit("run.retry", record.id, {})
    last = await last_of(service, record.id, ("run.retried",))
    at = record.time if last is None else last.time
    _keep(service.redriven, token, at)
    return {"redriveDate": date(at)}


def _keep(known: OrderedDict[tuple[str, str | None], int], token: tuple[str, Any], at: int) -> None:
    """Remember what a client's token led to, for as long as the service does."""
    known[token] = at
    for old, time in list(known.items()):
        if time >= at - SAME_FOR_NS:
            break
        del known[old]
