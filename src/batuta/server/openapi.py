"""The API: its table of addresses, and the OpenAPI 3.1 description made from it."""

from __future__ import annotations

import re
from typing import Any

from batuta.server import api_events, api_rest, api_runs, cloudevents
from batuta.server.reply import LIMIT_MAX
from batuta.server.schemas import COUNT, SCHEMAS, TEXT, Schema, many, ref
from batuta.server.table import Endpoint, Parameter

JSON = "application/json"
LIMIT = Parameter("limit", "How many at most.", {**COUNT, "minimum": 1, "maximum": LIMIT_MAX})
AFTER = Parameter("after", "Events with a greater seq.", COUNT)
LAST_ID = Parameter("Last-Event-ID", "Where a stream goes on; wins over `after`.", COUNT, "header")
ATTRIBUTES: Schema = {
    "type": "object",
    "patternProperties": {r"^attribute\..+": TEXT},
    "additionalProperties": False,
}
FILTERS = (
    Parameter("status", "One or several, with commas.", TEXT),
    Parameter("workflow", "The workflow's name.", TEXT),
    Parameter("text", "A part of the id or of the workflow's name.", TEXT),
    Parameter("attribute", "Search attributes, as `attribute.NAME=VALUE`.", ATTRIBUTES),
    Parameter("cursor", "`next` of the page before.", TEXT),
    LIMIT,
)
EVENT_FILTERS = (
    Parameter("type", "One or several, with commas; one that ends in `*` matches by its"
              " beginning.", TEXT),
    Parameter("subject", "The subject, exactly.", TEXT),
    AFTER,
    Parameter("before", "Events with a smaller seq.", COUNT),
    LIMIT,
    Parameter("newest", "`true`: the newest first.", TEXT),
    Parameter("follow", "`true`: a stream of server-sent events that goes on.", TEXT),
    LAST_ID,
)  # fmt: skip
EVENT_BODY: dict[str, Schema] = {
    JSON: ref("PlainEvent"),
    cloudevents.STRUCTURED: ref("CloudEvent"),
    cloudevents.BATCH: many(ref("CloudEvent")),
    "*/*": {"description": "the data of an event whose attributes are the headers `ce-…`"},
}
RUN = "/api/runs/{id}"

TABLE: list[Endpoint] = [
    Endpoint("POST", "/api/runs", api_runs.start_run, "Started", body="Start", status=201,
             errors=(200, 404, 422)),
    Endpoint("POST", "/api/runs:batch", api_runs.start_runs, "Results", body="Starts"),
    Endpoint("GET", "/api/runs", api_runs.list_runs, "Runs", FILTERS),
    Endpoint("GET", RUN, api_runs.get_run, "Run", errors=(404,)),
    Endpoint("GET", RUN + "/history", api_runs.get_history, "Events", (AFTER, LIMIT),
             errors=(404,)),
    Endpoint("GET", RUN + "/output", api_runs.get_output, "Output", errors=(404,)),
    Endpoint("GET", RUN + "/query/{name}", api_runs.query_run, "Result",
             (Parameter("args", "The arguments, a list in JSON.", TEXT),), errors=(404, 409)),
    Endpoint("POST", RUN + "/signal", api_runs.signal_run, "Answer", body="Signal", status=202,
             errors=(404, 409)),
    Endpoint("POST", RUN + "/cancel", api_runs.cancel_run, "Answer", body="Reason", status=202,
             errors=(404, 409)),
    Endpoint("POST", RUN + "/terminate", api_runs.terminate_run, "Answer", body="Reason",
             status=202, errors=(404, 409)),
    Endpoint("POST", RUN + "/retry", api_runs.retry_run, "Answer", body="Nothing", status=202,
             errors=(404, 409)),
    Endpoint("POST", RUN + "/undo", api_runs.undo_run, "Answer", body="Nothing", status=202,
             errors=(404, 409)),
    Endpoint("POST", RUN + "/fork", api_runs.fork_run, "Answer", body="Fork", status=202,
             errors=(404, 409)),
    Endpoint("GET", "/api/events", api_events.list_events,
             {JSON: ref("Events"), "text/event-stream": TEXT}, EVENT_FILTERS),
    Endpoint("POST", "/api/events", api_events.send_events, "Sent", body=EVENT_BODY, status=202,
             errors=(422,)),
    Endpoint("GET", "/api/events/{seq}", api_events.get_event, "EventInFull", errors=(404,)),
    Endpoint("GET", "/api/why/{id}", api_events.get_why, "Why", (LIMIT,), errors=(404,)),
    Endpoint("GET", "/api/workflows", api_rest.list_workflows, "Workflows"),
    Endpoint("GET", "/api/schedules", api_rest.list_schedules, "Schedules"),
    Endpoint("GET", "/api/dead", api_rest.list_dead, "DeadLetters", (LIMIT,)),
    Endpoint("POST", "/api/dead/{id}/redrive", api_rest.redrive, "Answer", body="Nothing",
             status=202, errors=(404, 409)),
    Endpoint("GET", "/api/stats", api_rest.get_stats, "Stats"),
    Endpoint("GET", "/healthz", api_rest.healthz, "Health", errors=(503,)),
    Endpoint("GET", "/metrics", api_rest.get_metrics, {"text/plain": TEXT}),
    Endpoint("GET", "/openapi.json", api_rest.get_openapi, "OpenApi"),
]  # fmt: skip

MEANINGS = {
    200: "It was there already.", 400: "The request cannot be understood.",
    401: "A token is needed.", 403: "The request comes from a page of another site.",
    404: "There is no such thing.", 409: "It does not fit the present state.",
    413: "The request is too large.", 421: "The server has another name.",
    422: "What was sent does not fit.", 503: "The journal cannot be read or written now.",
}  # fmt: skip
ALWAYS = (400, 401, 403, 413, 421, 503)


def describe(version: str) -> dict[str, Any]:
    """The OpenAPI description of the table."""
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in TABLE:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Batuta",
            "version": version,
            "description": "Durable workflows, events and schedules over one journal.",
        },
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}, {}],
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    text = " ".join((endpoint.endpoint.__doc__ or "").split())
    out: dict[str, Any] = {
        "operationId": endpoint.endpoint.__name__,
        "summary": text.partition(". ")[0].rstrip("."),
        "description": text,
        "parameters": _parameters(endpoint),
        "responses": _responses(endpoint),
    }
    if endpoint.body is not None:
        required = endpoint.body not in ("Nothing", "Reason")
        out["requestBody"] = {"required": required, "content": _content(endpoint.body)}
    return out


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": TEXT,
         "description": "Percent-encoded; it may hold any printable character."}
        for name in re.findall(r"{(\w+)}", endpoint.path)
    ]  # fmt: skip
    for parameter in endpoint.parameters:
        one: dict[str, Any] = {
            "name": parameter.name, "in": parameter.place, "schema": parameter.schema,
            "description": parameter.text,
        }  # fmt: skip
        if parameter.schema.get("type") == "object":
            one |= {"style": "form", "explode": True}  # each property is a parameter of its own
        found.append(one)
    return found


def _responses(endpoint: Endpoint) -> dict[str, Any]:
    good = {"description": "Done.", "content": _content(endpoint.answer)}
    found: dict[str, Any] = {str(endpoint.status): good}
    for status in sorted({*endpoint.errors, *ALWAYS}):
        content = _content(endpoint.answer if status == 200 else "Error")
        if endpoint.path == "/healthz" and status == 503:
            content = _content("Health")
        found[str(status)] = {"description": MEANINGS[status], "content": content}
    return found


def _content(form: str | dict[str, Schema]) -> dict[str, Any]:
    forms = {JSON: ref(form)} if isinstance(form, str) else form
    return {media: {"schema": schema} for media, schema in forms.items()}
