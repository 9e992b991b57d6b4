"""Map runs: what a distributed Map has begun, how far it is, and its limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from batuta.kernel.event import Record
from batuta.server.stepfunctions.errors import no_resource, validation
from batuta.server.stepfunctions.executions import known_execution, status_of
from batuta.server.stepfunctions.history import told_of
from batuta.server.stepfunctions.names import map_run_of
from batuta.server.stepfunctions.paging import paged
from batuta.server.stepfunctions.service import Answer, Asked, Service, date
from batuta.workflow.asl.errors import TIMEOUT
from batuta.workflow.asl.states.distributed import MapRun

COUNTED = ("pending", "running", "succeeded", "failed", "timedOut", "aborted")
STATUS_COUNTED = {"RUNNING": "running", "SUCCEEDED": "succeeded", "FAILED": "failed",
                  "TIMED_OUT": "timedOut", "ABORTED": "aborted"}  # fmt: skip


async def list_map_runs(service: Service, asked: Asked, request: Request) -> Answer:
    """The map runs of an execution, in the order in which they began."""
    record, _ = await known_execution(service, asked["executionArn"])
    runs = list((await told_of(service, record.id)).map_runs.values())
    place, name = service.place, record.id.partition(":")[0]
    parent = {"executionArn": place.execution(record.id), "stateMachineArn": place.machine(name)}

    def shown(run: MapRun) -> Answer:
        dates = {"startDate": date(run.started)}
        if _stopped(run, record):
            dates["stopDate"] = date(run.stopped or record.ended or record.time)
        return {**parent, "mapRunArn": run.arn, **dates}

    page, more = paged(asked, ["maps", record.id], runs, shown)
    return {"mapRuns": page, **more}


def _stopped(run: MapRun, record: Record) -> bool:
    return run.status != "RUNNING" or record.ended is not None


async def _known(service: Service, arn: str) -> tuple[Record, MapRun]:
    """A map run and the execution that it belongs to. Raises `ServiceError`."""
    machine, _, rest = map_run_of(arn).partition("/")
    run = f"{machine}:{rest.partition(':')[2].rpartition('/')[0]}"
    record = await service.record("run", run)
    found = None if record is None else (await told_of(service, run)).map_runs.get(arn)
    if record is None or found is None:
        raise no_resource(arn)
    return record, found


async def describe_map_run(service: Service, asked: Asked, request: Request) -> Answer:
    """A map run with its limits and its counts."""
    arn = asked["mapRunArn"]
    record, run = await _known(service, arn)
    counts = _known_counts(run)
    if run.status != "SUCCEEDED" and _stopped(run, record):
        # What was stopped with it is told by the children's own records.
        counts = await service.read(
            lambda journal: _count(journal.records("run", name=record.name), arn)
        )
    answer: Answer = {
        "mapRunArn": arn, "executionArn": service.place.execution(record.id),
        "status": "ABORTED" if run.status == "RUNNING" and record.ended else run.status,
        "startDate": date(run.started),
        "maxConcurrency": run.at_once,
        "toleratedFailurePercentage": run.tolerated_percentage or 0,
        "toleratedFailureCount": run.tolerated_count or 0,
        "itemCounts": _counts(counts, max(run.read, run.begun), run),
        "executionCounts": _counts(counts, run.begun, run),
        "redriveCount": record.data.get("redrives", 0),
    }  # fmt: skip
    if _stopped(run, record):
        answer["stopDate"] = date(run.stopped or record.ended or record.time)
    return answer


def _known_counts(run: MapRun) -> dict[str, int]:
    counts = dict.fromkeys(COUNTED, 0)
    late = sum(error == TIMEOUT for error, _ in run.failures.values())
    counts |= {"running": len(run.running), "succeeded": len(run.results), "timedOut": late}
    return {**counts, "failed": len(run.failures) - late}


def _count(records: Any, arn: str) -> dict[str, int]:
    counts = dict.fromkeys(COUNTED, 0)
    for record in records:
        if record.data.get("machine", {}).get("map_run") == arn:
            counts[STATUS_COUNTED[status_of(record)]] += 1
    return counts


def _counts(counts: Mapping[str, int], total: int, run: MapRun) -> Answer:
    pending = max(0, total - sum(counts.values()))
    written = counts["succeeded"] if run.details is not None else 0
    return {
        **counts, "pending": pending, "total": total, "resultsWritten": written,
        "failuresNotRedrivable": 0, "pendingRedrive": 0,
    }  # fmt: skip


async def update_map_run(service: Service, asked: Asked, request: Request) -> Answer:
    """Other limits for a map run that goes on."""
    record, run = await _known(service, asked["mapRunArn"])
    fields = ("maxConcurrency", "toleratedFailureCount", "toleratedFailurePercentage")
    value = {field: asked[field] for field in fields if field in asked}
    if not value:
        raise validation(
            "Either maxConcurrency, toleratedFailureCount or toleratedFailurePercentage must be "
            "specified"
        )
    if _stopped(run, record):
        raise validation(f"Map Run is {run.status} and cannot be updated")
    told = {"name": f"map:{asked['mapRunArn']}", "value": value}
    await service.system.submit("run.signal", record.id, told)
    return {}
