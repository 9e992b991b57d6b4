"""The API of runs: start, list, show, and what people can ask of one."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from batuta.common.duration import nanoseconds
from batuta.common.problem import Problem
from batuta.kernel.errors import BatutaError, NotFound
from batuta.kernel.event import Event
from batuta.real.output import log_path
from batuta.server.port import System
from batuta.server.reply import (
    LIMIT_MAX,
    Json,
    Unprocessable,
    attributes_of,
    checked_fields,
    checked_id,
    error_body,
    fields_of,
    id_of,
    number_of,
    parse_json,
    status_of,
    system_of,
    words_of,
)
from batuta.workflow.view import RunView, as_json, run_view, search

BATCH_LIMIT = 1000
BATCH_AT_ONCE = 100
OUTPUT_MAX = 8 * 1024 * 1024  # bytes
START: dict[str, type | tuple[type, ...]] = {
    "workflow": str, "id": str, "args": list, "kwargs": dict, "priority": int,
    "deadline": (str, int, float), "attributes": dict,
}  # fmt: skip
RUN_STATUSES = (
    "running", "sleeping", "parked", "completed", "failed", "cancelled", "terminated", "continued",
)  # fmt: skip


def view_of(system: System, id: str) -> RunView:
    """A run's view. Raises `NotFound`."""
    view = run_view(system.journal.histories([id]))
    if view.status == "unknown":
        raise NotFound(f"there is no run `{id[:100]}`", hint="`batuta ps` lists the runs")
    return view


# -- starting ----------------------------------------------------------------------------------


async def start_run(request: Request) -> Json:
    """Start a run of a workflow. A second start with the same id gives the run that is there."""
    answer = await start(system_of(request), await fields_of(request, START))
    return Json(answer, status_code=201 if answer.get("created") else 200)


async def start_runs(request: Request) -> Json:
    """Start many runs at once. Each gets its own answer or its own error, in order."""
    body = await fields_of(request, {"runs": list})
    runs = body.get("runs", [])
    if len(runs) > BATCH_LIMIT:
        raise BatutaError(f"{len(runs):,} runs in one request, at most {BATCH_LIMIT:,} go")
    system = system_of(request)

    async def one(at: int, given: Any) -> dict[str, Any]:
        try:
            return await start(system, checked_fields(given, START, f"run {at}"))
        except BatutaError as error:
            return {**error_body(error.message, error.at, error.hint), "status": status_of(error)}

    results: list[dict[str, Any]] = []
    for first in range(0, len(runs), BATCH_AT_ONCE):
        part = runs[first : first + BATCH_AT_ONCE]
        results += await asyncio.gather(*(one(first + at, each) for at, each in enumerate(part)))
    return Json({"results": results})


async def start(system: System, given: dict[str, Any]) -> dict[str, Any]:
    """Check what somebody gave and submit it."""
    if "workflow" not in given:
        raise BatutaError("`workflow` is missing", hint=_known_workflows(system))
    flow = system.project.definitions.workflows.get(given["workflow"])
    if flow is None:
        raise NotFound(
            f"there is no workflow `{given['workflow'][:100]}`", hint=_known_workflows(system)
        )
    args, kwargs = given.get("args", []), given.get("kwargs", {})
    problems = flow.codec.problems(args, kwargs)
    if problems:
        raise misfit(problems)
    data: dict[str, Any] = {
        "workflow": flow.name, "args": args, "kwargs": kwargs,
        **{name: given[name] for name in ("priority", "attributes") if name in given},
    }  # fmt: skip
    _check_attributes(given.get("attributes", {}))
    if "deadline" in given:
        data["deadline"] = time.time_ns() + _duration(given["deadline"])
    return await system.submit("run.start", checked_id(given.get("id", "")), data)


def _known_workflows(system: System) -> str:
    names = sorted(system.project.definitions.workflows)[:20]
    return "defined are: " + (", ".join(names) or "none")


def misfit(problems: list[Problem]) -> Unprocessable:
    """Problems of an input as one error, the first one's place and hint beside it."""
    first = problems[0]
    message = "; ".join(problem.message for problem in problems[:10])
    return Unprocessable(message, at=str(first.source) if first.source else None, hint=first.hint)


def _check_attributes(attributes: dict[str, Any]) -> None:
    for name, value in attributes.items():
        if not isinstance(value, str | int | float | bool) or len(str(value)) > 1000:
            raise Unprocessable(
                f"attribute `{name[:80]}` is not a short text, number or truth value"
            )


def _duration(value: str | float) -> int:
    length = nanoseconds(value)
    if length <= 0:
        raise Unprocessable(f"a deadline of `{value}` has passed already")
    return length


# -- reading -----------------------------------------------------------------------------------


def list_runs(request: Request) -> Json:
    """Runs, the newest first, that match all filters."""
    statuses = words_of(request, "status")
    for status in statuses:
        if status not in RUN_STATUSES:
            raise BatutaError(
                f"`{status[:40]}` is no status of a run", hint=f"use {', '.join(RUN_STATUSES)}"
            )
    page = search(
        system_of(request).journal,
        statuses=statuses,
        workflow=request.query_params.get("workflow"),
        text=request.query_params.get("text"),
        attributes=attributes_of(request),
        cursor=request.query_params.get("cursor"),
        limit=number_of(request, "limit", 50, least=1, most=LIMIT_MAX),
    )
    runs = [
        {
            "id": row.id, "workflow": row.workflow, "status": row.status, "reason": row.reason,
            "started": row.started, "ended": row.ended, "duration": row.duration,
            "wake": row.wake, "definition": row.definition, "attributes": dict(row.attributes),
            "result": row.result, "parent": row.parent,
        }
        for row in page.rows
    ]  # fmt: skip
    return Json({"runs": runs, "next": page.next})


def get_run(request: Request) -> Json:
    """One run with its steps as a tree: durations, inputs, outputs, attempts, waits."""
    return Json(as_json(view_of(system_of(request), id_of(request))))


def get_history(request: Request) -> Json:
    """The events of one run, in order."""
    journal = system_of(request).journal
    id = id_of(request)
    limit = number_of(request, "limit", LIMIT_MAX, least=1, most=LIMIT_MAX)
    after = number_of(request, "after", 0, most=2**63 - 1)
    events = journal.read(after, limit + 1, subject=id)
    if not events and journal.record("run", id) is None:
        raise NotFound(f"there is no run `{id[:100]}`", hint="`batuta ps` lists the runs")
    more = events[limit - 1].seq if len(events) > limit else None
    return Json({"events": [event_json(event) for event in events[:limit]], "next": more})


def event_json(event: Event) -> dict[str, Any]:
    """An event as the API shows it; `time` in ns since the epoch."""
    return {
        "seq": event.seq, "time": event.time, "type": event.type, "subject": event.subject,
        "cause": event.cause_seq, "command": event.command, "data": event.data,
    }  # fmt: skip


def get_output(request: Request) -> Json:
    """What the steps of a run printed: lines `TIME KEY.ATTEMPT out|err TEXT`, the last ones
    where there are many."""
    id = id_of(request)
    if system_of(request).journal.record("run", id) is None:
        raise NotFound(f"there is no run `{id[:100]}`", hint="`batuta ps` lists the runs")
    text, cut = output_of(request.app.state.logs, id)
    return Json({"text": text, "cut": cut})


def output_of(folder: Path | None, run: str, limit: int = OUTPUT_MAX) -> tuple[str, bool]:
    """The end of a run's output in whole lines, and whether something is missing before it."""
    file = log_path(folder, run) if folder is not None else None
    if file is None or not file.is_file():
        return "", False
    with file.open("rb") as opened:
        size = opened.seek(0, os.SEEK_END)
        opened.seek(max(0, size - limit))
        data = opened.read(limit)
    if size > limit:
        data = data.partition(b"\n")[2]
    return data.decode("utf-8", "replace"), size > limit


async def query_run(request: Request) -> Json:
    """Ask a run a question that its workflow answers with `query(name, …)`."""
    args = parse_json(request.query_params.get("args", "[]").encode())
    if not isinstance(args, list):
        raise BatutaError("`args` is not a list in JSON")
    name = unquote(request.path_params["name"])
    return Json({"result": await system_of(request).query(id_of(request), name, args)})


# -- asking something of a run -------------------------------------------------------------------


async def submit(request: Request, type: str, data: dict[str, Any]) -> Json:
    """Submit something about the run in the path; unknown runs are 404 before anything."""
    system, id = system_of(request), id_of(request)
    if await run_in_threadpool(system.journal.record, "run", id) is None:
        raise NotFound(f"there is no run `{id[:100]}`", hint="`batuta ps` lists the runs")
    return Json(await system.submit(type, id, data), status_code=202)


async def signal_run(request: Request) -> Json:
    """Send a signal to a run."""
    given = await fields_of(request, {"name": str, "value": object})
    if not given.get("name"):
        raise BatutaError("`name` of the signal is missing")
    name = checked_id(given["name"], "name")
    return await submit(request, "run.signal", {"name": name, "value": given.get("value")})


async def cancel_run(request: Request) -> Json:
    """Cancel a run: it stops where it is and its compensations run."""
    return await submit(request, "run.cancel", await _reason(request))


async def terminate_run(request: Request) -> Json:
    """End a run at once, without compensations."""
    return await submit(request, "run.terminate", await _reason(request))


async def _reason(request: Request) -> dict[str, Any]:
    reason = (await fields_of(request, {"reason": str})).get("reason")
    return {"reason": reason[:1000]} if reason else {}


async def retry_run(request: Request) -> Json:
    """Let a failed or parked run go on from where it failed."""
    await fields_of(request, {})
    return await submit(request, "run.retry", {})


async def undo_run(request: Request) -> Json:
    """Undo what a run did: the compensations of its steps run."""
    await fields_of(request, {})
    return await submit(request, "run.undo", {})


async def fork_run(request: Request) -> Json:
    """Start a new run that takes over the history of this one before an operation."""
    given = await fields_of(request, {"key": str, "id": str})
    if not given.get("key"):
        raise BatutaError("`key` is missing", hint="it is the operation to fork from, such as `3`")
    if "id" in given:
        checked_id(given["id"])
    return await submit(request, "run.fork", given)
