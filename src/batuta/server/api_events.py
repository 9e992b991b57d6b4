"""The API of events: read, follow, send, and ask why."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from batuta.kernel.errors import BatutaError, NotFound
from batuta.server import cloudevents
from batuta.server.api_runs import event_json
from batuta.server.live import event_stream
from batuta.server.reply import (
    LIMIT_MAX,
    Json,
    error_body,
    id_of,
    number_of,
    status_of,
    system_of,
    words_of,
)
from batuta.workflow.view import sentence, why_chain

SEQ_MAX = 2**63 - 1


async def list_events(request: Request) -> Response:
    """Events in the order of the journal; with `follow=true` a stream (SSE) that goes on."""
    types = tuple(words_of(request, "type"))
    subject = request.query_params.get("subject") or None
    after = number_of(request, "after", 0, most=SEQ_MAX)
    if request.query_params.get("follow", "").lower() in ("1", "true", "yes"):
        return event_stream(request, after, types, subject)
    limit = number_of(request, "limit", 100, least=1, most=LIMIT_MAX)
    newest = request.query_params.get("newest", "").lower() in ("1", "true", "yes")
    before = number_of(request, "before", 0, most=SEQ_MAX) or None
    events = await run_in_threadpool(
        system_of(request).journal.read, after, limit + 1, before=before, types=types,
        subject=subject, newest_first=newest,
    )  # fmt: skip
    more = events[limit - 1].seq if len(events) > limit else None
    return Json({"events": [event_json(event) for event in events[:limit]], "next": more})


def get_event(request: Request) -> Json:
    """One event, what it says, and the events that it caused."""
    journal = system_of(request).journal
    text = id_of(request, "seq")
    known = text.isascii() and text.isdigit() and len(text) < 19
    event = journal.event(int(text)) if known else None
    if event is None:
        raise NotFound(f"there is no event `{text[:40]}`", hint="events have numbers from 1 on")
    followed = [found.seq for found in journal.consequences(event.seq)]
    links = [{"kind": link.kind, "to": getattr(link.to, "seq", link.to)} for link in event.links]
    cause = journal.event(event.cause_seq) if event.cause_seq else None
    return Json(
        {**event_json(event), "sentence": sentence(event, cause), "consequences": followed,
         "links": links}
    )  # fmt: skip


async def send_events(request: Request) -> Json:
    """Send events: CloudEvents structured, batched or binary, or a plain object with `type`."""
    events = cloudevents.parse(dict(request.headers), await request.body())
    system = system_of(request)
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != cloudevents.BATCH:
        [event] = events
        return Json(await system.submit("event.send", event.pop("subject"), event), status_code=202)
    results: list[dict[str, Any]] = []
    for event in events:
        try:
            results.append(await system.submit("event.send", event.pop("subject"), event))
        except BatutaError as error:
            failed = error_body(error.message, error.at, error.hint)
            results.append({**failed, "status": status_of(error)})
    return Json({"results": results}, status_code=202)


def get_why(request: Request) -> Json:
    """The chain of causes of a run, a command, an event (`#42`) or a delivery, newest first."""
    limit = number_of(request, "limit", 200, least=1, most=LIMIT_MAX)
    chain = why_chain(system_of(request).journal, id_of(request), limit=limit)
    return Json({"chain": [asdict(line) for line in chain]})
