"""The web pages: server-rendered, live where there is JavaScript, and complete without it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from batuta.kernel.errors import BatutaError
from batuta.server import words
from batuta.server.api_rest import letter, redrive_one, schedules, workflows
from batuta.server.api_runs import RUN_STATUSES
from batuta.server.live import page_stream
from batuta.server.reply import (
    attributes_of,
    id_of,
    number_of,
    parse_json,
    scalar,
    system_of,
    words_of,
)
from batuta.server.scenes import (
    Scene,
    bars,
    event_scene,
    events_scene,
    run_scene,
    runs_scene,
)
from batuta.workflow.view import ENDED, why_chain

FOLDER = Path(__file__).parent
SEQ_MAX = 2**63 - 1
WHY_MAX = 500
PARTS = {
    "runs": ("runs_list",),
    "run": ("run_head", "run_graph", "run_states", "run_steps", "run_journal", "run_why"),
    "events": ("events_list",),
}


def path_of(*parts: object) -> str:
    """A path of quoted parts: `path_of("runs", id)`."""
    return "/" + "/".join(quote(str(part), safe="") for part in parts)


def with_query(path: str, **query: Any) -> str:
    """A path with a query, empty values left out."""
    pairs = {name: value for name, value in query.items() if value not in (None, "", [])}
    return f"{path}?{urlencode(pairs, doseq=True)}" if pairs else path


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "absolute": words.absolute, "iso": words.iso, "took": words.length,
        "pretty": words.pretty, "brief": words.brief, "said": words.said,
    }  # fmt: skip
    made.globals |= {
        "path": path_of, "with_query": with_query, "relative": words.relative, "bars": bars,
        "statuses": RUN_STATUSES, "ended": ENDED,
    }  # fmt: skip
    return made


environment = _environment()


def render(template: str, scene: Scene) -> str:
    """A template with what it shows."""
    return environment.get_template(template).render(now=time.time_ns(), **scene)


def page(request: Request, template: str, scene: Scene, status: int = 200) -> Response:
    """A whole page."""
    frame = {
        "version": request.app.state.openapi["info"]["version"],
        "folder": system_of(request).project.folder.name,
        "at": request.url.path,
    }
    return HTMLResponse(render(template, frame | scene), status_code=status)


# -- lists -------------------------------------------------------------------------------------


def _runs(request: Request) -> Scene:
    query = request.query_params
    statuses = [status for status in words_of(request, "status") if status in RUN_STATUSES]
    workflow, text = query.get("workflow", ""), query.get("text", "").strip()
    attributes = attributes_of(request)
    named = query.get("attribute", "").strip()
    if "=" in named:
        name, _, value = named.partition("=")
        attributes[name.strip()] = scalar(value.strip())
    journal = system_of(request).journal
    cursor = query.get("cursor", "")
    kept = {"status": ",".join(statuses), "workflow": workflow, "text": text, "attribute": named}
    return {
        "filters": kept, "chosen": statuses, "filtered": any(kept.values()), "cursor": cursor,
        **runs_scene(journal, statuses, workflow, text, attributes, cursor),
    }  # fmt: skip


def runs(request: Request) -> Response:
    """The list of runs."""
    head = system_of(request).journal.head()
    scene = _runs(request)
    live = "" if scene["cursor"] else with_query("/live/runs", **scene["filters"], after=head)
    return page(request, "runs.html", scene | {"live": live})


def _events(request: Request) -> Scene:
    types, subject = words_of(request, "type"), request.query_params.get("subject", "").strip()
    before = number_of(request, "before", 0, most=SEQ_MAX) or None
    kept = {"type": ",".join(types), "subject": subject}
    scene = events_scene(system_of(request).journal, types, subject, before)
    return {"filters": kept, "filtered": any(kept.values()), "before": before, **scene}


def events(request: Request) -> Response:
    """The journal, the newest events first."""
    head = system_of(request).journal.head()
    scene = _events(request)
    live = "" if scene["before"] else with_query("/live/events", **scene["filters"], after=head)
    return page(request, "events.html", scene | {"live": live})


def workflows_page(request: Request) -> Response:
    """What the project defines."""
    system = system_of(request)
    scene = {
        "found": workflows(system),
        "queues": list(system.project.definitions.queues.values()),
        "problems": list(system.project.problems),
    }
    return page(request, "workflows.html", scene)


def schedules_page(request: Request) -> Response:
    """The schedules."""
    return page(request, "schedules.html", {"found": schedules(system_of(request))})


def dead_page(request: Request) -> Response:
    """The dead letters."""
    records = system_of(request).journal.records(
        "delivery", statuses=("dead",), newest_first=True, limit=200
    )
    return page(request, "dead.html", {"found": [letter(record) for record in records]})


# -- single things -------------------------------------------------------------------------------


def _run(request: Request) -> Scene:
    before = number_of(request, "before", 0, most=SEQ_MAX) or None
    number = number_of(request, "page", 1, least=1, most=10_000)
    journal = system_of(request).journal
    return run_scene(journal, id_of(request), now=time.time_ns(), before=before, page=number)


def run(request: Request) -> Response:
    """One run: header, graph, timeline, journal, why."""
    head = system_of(request).journal.head()
    scene = _run(request)
    view = scene["run"]
    moving = view.status not in ENDED and scene["newest"]
    live = with_query(path_of("live", "run", view.id), page=scene["page"], after=head)
    return page(request, "run.html", scene | {"live": live if moving else ""})


def event(request: Request) -> Response:
    """One event, its cause and its consequences."""
    text = id_of(request, "seq")
    seq = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
    return page(request, "event.html", event_scene(system_of(request).journal, seq))


def why(request: Request) -> Response:
    """The chain of causes of anything."""
    id = id_of(request)
    chain = why_chain(system_of(request).journal, id, limit=WHY_MAX)
    return page(request, "why.html", {"id": id, "why": chain})


def find(request: Request) -> Response:
    """Whatever an id names: an event, a run, or the chain of anything else."""
    id = request.query_params.get("id", "").strip()
    if not id:
        return RedirectResponse("/", status_code=303)
    number = id.removeprefix("#")
    if id.startswith("#") and number.isascii() and number.isdigit():
        return RedirectResponse(path_of("events", number), status_code=303)
    journal = system_of(request).journal
    if len(id) < 1000 and journal.record("run", id) is not None:
        return RedirectResponse(path_of("runs", id), status_code=303)
    try:
        why_chain(journal, id, limit=1)
    except BatutaError:
        return RedirectResponse(with_query("/", text=id[:200]), status_code=303)
    return RedirectResponse(path_of("why", id), status_code=303)


# -- live --------------------------------------------------------------------------------------


def _live(name: str, scene: Callable[[Request], Scene]) -> Callable[..., Any]:
    """The stream of a page: its parts again whenever something happened to them."""

    async def stream(request: Request) -> StreamingResponse:
        after = number_of(request, "after", 0, most=SEQ_MAX)
        types: tuple[str, ...] = ("run.*",) if name == "runs" else ()
        subject = id_of(request) if name == "run" else None
        if name == "events":
            types = tuple(words_of(request, "type"))
            subject = request.query_params.get("subject") or None

        def parts() -> list[tuple[str, str]]:
            found = scene(request)
            return [(part, render(f"parts/{part}.html", found)) for part in PARTS[name]]

        return page_stream(request, after, types, subject, parts)

    return stream


# -- doing something -----------------------------------------------------------------------------

ACTIONS = ("cancel", "terminate", "retry", "undo", "signal")


async def act(request: Request) -> Response:
    """A form of the run's page, then the page again."""
    verb, id = request.path_params["verb"], id_of(request)
    if verb not in ACTIONS:
        raise BatutaError(f"`{verb[:40]}` is nothing that a run can be asked")
    form = await _form(request)
    data: dict[str, Any] = {}
    if verb == "signal":
        if not form.get("name"):
            raise BatutaError("the signal has no name", hint="give the name that the run waits for")
        data = {"name": form["name"], "value": _value(form.get("value", ""))}
    elif verb in ("cancel", "terminate"):
        data = {"reason": form.get("reason") or f"{verb} on the page"}
    await system_of(request).submit(f"run.{verb}", id, data)
    return RedirectResponse(path_of("runs", id), status_code=303)


def _value(text: str) -> Any:
    """What somebody typed: JSON where it is, otherwise text; nothing typed is `true`."""
    if not text.strip():
        return True
    try:
        return parse_json(text.encode())
    except BatutaError:
        return text


async def redrive(request: Request) -> Response:
    """The button beside a dead letter."""
    await _form(request)
    await redrive_one(system_of(request), id_of(request))
    return RedirectResponse("/dead", status_code=303)


async def _form(request: Request) -> dict[str, str]:
    """The fields of a plain form."""
    body = (await request.body()).decode("utf-8", "replace")
    return {name: values[-1] for name, values in parse_qs(body, keep_blank_values=True).items()}


def failed(request: Request, status: int, error: Scene) -> Response:
    """An error (`message`, `at`, `hint`) as a page."""
    scene = {"status": status, "message": error["message"], "hint": error["hint"]}
    return page(request, "error.html", scene | {"where": error["at"]}, status)


def routes() -> list[BaseRoute]:
    """The routes of the pages; they come after those of the API."""
    return [
        Route("/", runs),
        Route("/find", find),
        Route("/events", events),
        Route("/events/{seq:path}", event),
        Route("/workflows", workflows_page),
        Route("/schedules", schedules_page),
        Route("/dead", dead_page),
        Route("/why/{id:path}", why),
        Route("/live/runs", _live("runs", _runs)),
        Route("/live/events", _live("events", _events)),
        Route("/live/run/{id:path}", _live("run", _run)),
        Route("/dead/{id:path}/redrive", redrive, methods=["POST"]),
        Route("/runs/{id:path}/{verb}", act, methods=["POST"]),
        Route("/runs/{id:path}", run),
        Mount("/static", StaticFiles(directory=FOLDER / "static")),
    ]
