"""The API of definitions, schedules, dead letters, and of the server itself."""

from __future__ import annotations

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from batuta.kernel.errors import BatutaError, NotFound
from batuta.kernel.event import Record
from batuta.server import metrics
from batuta.server.port import System
from batuta.server.reply import LIMIT_MAX, Json, fields_of, id_of, number_of, system_of


def list_workflows(request: Request) -> Json:
    """What the project defines, with the problems found in it."""
    system = system_of(request)
    return Json(
        {
            "folder": str(system.project.folder),
            "workflows": workflows(system),
            "queues": [
                {"name": queue.name, "concurrency": queue.concurrency, "rate": queue.rate,
                 "per": queue.per}
                for queue in system.project.definitions.queues.values()
            ],
            "problems": [
                {"message": problem.message, "severity": problem.severity,
                 "at": str(problem.source) if problem.source else None, "hint": problem.hint}
                for problem in system.project.problems
            ],
        }
    )  # fmt: skip


def workflows(system: System) -> list[dict[str, Any]]:
    """The workflows with their counts of runs."""
    counts: dict[str, dict[str, int]] = {}
    for (name, status), count in system.journal.counts("run").items():
        counts.setdefault(name, {})[status] = count
    defined = system.project.definitions
    rules = {rule.workflow.name: rule.type for rule in defined.rules.values()}
    times = {each.workflow.name: each.expression for each in defined.schedules.values()}
    return [
        {
            "name": name, "definition": flow.source, "signature": flow.codec.shown(),
            "doc": (flow.__doc__ or "").strip(), "on": rules.get(name),
            "schedule": times.get(name), "runs": counts.get(name, {}),
        }
        for name, flow in sorted(defined.workflows.items())
    ]  # fmt: skip


def list_schedules(request: Request) -> Json:
    """The schedules with their last and next time."""
    return Json({"schedules": schedules(system_of(request))})


def schedules(system: System) -> list[dict[str, Any]]:
    """Each schedule of the project, with what the journal knows of it."""
    records = {record.name: record for record in system.journal.records("schedule")}
    found = []
    for name, schedule in sorted(system.project.definitions.schedules.items()):
        record = records.get(name)
        data = record.data if record else {}
        found.append(
            {
                "name": name, "expression": schedule.expression,
                "workflow": schedule.workflow.name, "missed": schedule.missed,
                "definition": schedule.workflow.source, "last": data.get("last"),
                "next": data.get("next"), "status": record.status if record else "new",
            }
        )  # fmt: skip
    return found


def list_dead(request: Request) -> Json:
    """The dead letters: events that a rule gave up, the newest first."""
    limit = number_of(request, "limit", 100, least=1, most=LIMIT_MAX)
    records = system_of(request).journal.records(
        "delivery", statuses=("dead",), newest_first=True, limit=limit
    )
    return Json({"dead": [letter(record) for record in records]})


LETTER = ("event", "type", "subject", "attempt", "error", "run")


def letter(record: Record) -> dict[str, Any]:
    """A delivery as the API shows it."""
    data = record.data
    return {
        "id": record.id, "rule": record.name, "status": record.status, "time": record.time,
        "ended": record.ended,
        **{name: data.get(name) for name in LETTER},
    }  # fmt: skip


async def redrive(request: Request) -> Json:
    """Give a dead letter to its rule again."""
    await fields_of(request, {})
    return Json(await redrive_one(system_of(request), id_of(request)), status_code=202)


async def redrive_one(system: System, id: str) -> dict[str, Any]:
    """Submit the redriving of a delivery. Raises `NotFound` for an unknown one."""
    if await run_in_threadpool(system.journal.record, "delivery", id) is None:
        raise NotFound(f"there is no delivery `{id[:100]}`", hint="`batuta dead` lists them")
    return await system.submit("dead.redrive", id, {})


def get_stats(request: Request) -> Json:
    """Counters and gauges of this server."""
    system = system_of(request)
    return Json({"stats": system.stats(), "head": system.journal.head()})


def healthz(request: Request) -> Json:
    """Whether the server can read its journal."""
    try:
        head = system_of(request).journal.head()
    except BatutaError as error:
        return Json({"status": "failing", "reason": error.message}, status_code=503)
    return Json({"status": "ok", "head": head})


def get_metrics(request: Request) -> Response:
    """Counters, gauges and histograms for Prometheus."""
    requests: metrics.Histogram = request.app.state.requests
    found = metrics.collect(system_of(request), requests)
    return PlainTextResponse(metrics.render(found), media_type=metrics.MEDIA)


def get_openapi(request: Request) -> Json:
    """This description."""
    description: dict[str, Any] = request.app.state.openapi
    return Json(description)
