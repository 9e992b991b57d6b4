"""The forms of the API's requests and answers, in JSON Schema."""

from __future__ import annotations

from typing import Any

from batuta.server.api_runs import RUN_STATUSES
from batuta.server.reply import ID_LIMIT

Schema = dict[str, Any]

ANY: Schema = {}
TEXT: Schema = {"type": "string"}
MAYBE_TEXT: Schema = {"type": ["string", "null"]}
ID: Schema = {"type": "string", "maxLength": ID_LIMIT}
COUNT: Schema = {"type": "integer", "minimum": 0}
TIME: Schema = {"type": "integer", "description": "nanoseconds since 1970-01-01 UTC"}
MAYBE_TIME: Schema = {"type": ["integer", "null"], "description": TIME["description"]}
MAYBE_LENGTH: Schema = {"type": ["integer", "null"], "description": "nanoseconds"}
OBJECT: Schema = {"type": "object"}
MAYBE_OBJECT: Schema = {"type": ["object", "null"]}
STATUS: Schema = {"type": "string", "enum": list(RUN_STATUSES)}


def ref(name: str) -> Schema:
    """A reference to a schema by name."""
    return {"$ref": f"#/components/schemas/{name}"}


def many(item: Schema) -> Schema:
    """A list."""
    return {"type": "array", "items": item}


def fields(required: str = "*", **properties: Schema) -> Schema:
    """An object; `required` names fields, or `*` for all of them."""
    names = list(properties) if required == "*" else required.split()
    return {"type": "object", "properties": properties, **({"required": names} if names else {})}


def exactly(required: str = "*", **properties: Schema) -> Schema:
    """An object without any other field."""
    return {**fields(required, **properties), "additionalProperties": False}


FAILURE = fields("message", type=TEXT, message=TEXT, traceback=TEXT)

SCHEMAS: dict[str, Schema] = {
    "Error": fields(error=fields(message=TEXT, at=MAYBE_TEXT, hint=MAYBE_TEXT)),
    "Failure": FAILURE,
    "Start": exactly(
        "workflow", workflow=TEXT, id=ID, args=many(ANY), kwargs=OBJECT,
        priority={"type": "integer"}, attributes=OBJECT,
        deadline={"type": ["string", "number"], "description": "`1 day`, or seconds, from now"},
    ),
    "Started": fields("id created", id=ID, created={"type": "boolean"}, status=TEXT),
    "Starts": exactly("", runs=many(ref("Start"))),
    "Results": fields(results=many(OBJECT)),
    "RunRow": fields(
        id=ID, workflow=TEXT, status=STATUS, reason=TEXT, started=TIME, ended=MAYBE_TIME,
        duration=MAYBE_LENGTH, wake=MAYBE_TIME, definition=MAYBE_TEXT, attributes=OBJECT,
        result=ANY, parent=MAYBE_OBJECT,
    ),
    "Runs": fields(runs=many(ref("RunRow")), next=MAYBE_TEXT),
    "Attempt": fields(
        number=COUNT, command=MAYBE_TEXT, seq=COUNT, asked=TIME, started=MAYBE_TIME,
        ended=MAYBE_TIME, outcome=TEXT, error=MAYBE_OBJECT, retry_at=MAYBE_TIME,
        end_seq=MAYBE_TIME,
    ),
    "Node": fields(
        key=TEXT, kind=TEXT, name=TEXT, status=TEXT, seq=COUNT, started=TIME, ended=MAYBE_TIME,
        duration=MAYBE_LENGTH, input=ANY, output=ANY, error=MAYBE_OBJECT, undoes=ANY,
        due=MAYBE_TIME, child=MAYBE_TEXT, retry_at=MAYBE_TIME, end_seq=MAYBE_TIME,
        attempts=many(ref("Attempt")), children=many(ref("Node")),
    ),
    "Run": fields(
        id=ID, workflow=TEXT, status=STATUS, reason=TEXT, started=TIME, ended=MAYBE_TIME,
        duration=MAYBE_LENGTH, deadline=MAYBE_TIME, definition=MAYBE_TEXT, source=MAYBE_TEXT,
        input=OBJECT, result=ANY, error=MAYBE_OBJECT, attributes=OBJECT,
        priority={"type": "integer"}, parent=MAYBE_OBJECT, trigger=MAYBE_OBJECT,
        forked=MAYBE_OBJECT, continued_as=MAYBE_TEXT, cancel_reason=MAYBE_TEXT, retries=COUNT,
        patches=many(TEXT), seq=COUNT, end_seq=COUNT, signals=many(OBJECT),
        steps=many(ref("Node")),
    ),
    "Event": fields(
        seq=COUNT, time=TIME, type=TEXT, subject=TEXT, cause=MAYBE_TIME, command=MAYBE_TEXT,
        data=ANY,
    ),
    "Events": fields(events=many(ref("Event")), next={"type": ["integer", "null"]}),
    "EventInFull": fields(
        seq=COUNT, time=TIME, type=TEXT, subject=TEXT, cause=MAYBE_TIME, command=MAYBE_TEXT,
        data=ANY, sentence=TEXT, consequences=many(COUNT), links=many(OBJECT),
    ),
    "CloudEvent": fields(
        "specversion id source type", specversion={"const": "1.0"}, id=ID, source=ID,
        type=TEXT, subject=ID, time=TEXT, datacontenttype=TEXT, data=ANY, data_base64=TEXT,
    ),
    "PlainEvent": fields("type", type=TEXT, subject=ID, source=ID, id=ID, data=ANY),
    "Answer": OBJECT,
    "Sent": OBJECT,
    "Signal": exactly("name", name=TEXT, value=ANY),
    "Reason": exactly("", reason=TEXT),
    "Nothing": exactly(""),
    "Fork": exactly("key", key=TEXT, id=ID),
    "Result": fields(result=ANY),
    "Output": fields(text=TEXT, cut={"type": "boolean"}),
    "Why": fields(
        chain=many(
            fields(
                seq={"type": ["integer", "null"]}, time=MAYBE_TIME, type=TEXT, subject=TEXT,
                sentence=TEXT, at=MAYBE_TEXT,
            )
        )
    ),
    "Workflows": fields(
        folder=TEXT, workflows=many(OBJECT), queues=many(OBJECT), problems=many(OBJECT)
    ),
    "Schedules": fields(
        schedules=many(
            fields(
                name=TEXT, expression=TEXT, workflow=TEXT, missed=TEXT, definition=TEXT,
                last=MAYBE_TIME, next=MAYBE_TIME, status=TEXT,
            )
        )
    ),
    "DeadLetters": fields(
        dead=many(
            fields(
                id=ID, rule=TEXT, status=TEXT, time=TIME, ended=MAYBE_TIME, event=ANY, type=ANY,
                subject=ANY, attempt=ANY, error=ANY, run=ANY,
            )
        )
    ),
    "Stats": fields(stats=OBJECT, head=COUNT),
    "Health": fields("status", status=TEXT, head=COUNT, reason=TEXT),
    "OpenApi": OBJECT,
}  # fmt: skip
