"""AWS JSON 1.0 over HTTP: one address, the action in a header, errors with a type."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from json import JSONDecodeError, dumps, loads
from typing import Any
from uuid import uuid4

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from batuta.kernel.errors import BatutaError, JournalError
from batuta.server.reply import encode
from batuta.server.stepfunctions.constraints import checked
from batuta.server.stepfunctions.service import Action, Service
from batuta.server.stepfunctions.shapes import ACTIONS
from batuta.server.stepfunctions.signature import Signed, verify
from batuta.server.stepfunctions.table import TABLE
from batuta.workflow.asl.registry import ServiceError

log = logging.getLogger("batuta.server.stepfunctions")

TARGET = "AWSStepFunctions."
MEDIA = "application/x-amz-json-1.0"
INTERNAL = ServiceError("InternalFailure", "The server met a bug while answering; its log has it.")


def routes() -> list[Route]:
    """The one address of the service, beside the page that stands there."""
    return [Route("/", answer, methods=["POST"])]


async def answer(request: Request) -> Response:
    """Answer one action, or say in the service's form why not."""
    if "x-amz-target" not in request.headers:
        raise HTTPException(405, headers={"allow": "GET"})
    service: Service = request.app.state.stepfunctions
    try:
        body = await request.body()
        signed_by(request, body, service.settings.credentials)
        name, action = action_of(request)
        asked = checked(_parsed(body), ACTIONS[name], service.settings.strict)
        return reply(await action(service, asked, request))
    except ServiceError as refused:
        return failed(refused, 400)
    except JournalError as trouble:
        return failed(ServiceError("ServiceUnavailable", trouble.message), 503)
    except BatutaError as wrong:
        return failed(ServiceError("ValidationException", wrong.message), 400)
    except Exception:  # a bug of ours: told without detail, logged in full; the server goes on
        log.exception("an action of Step Functions met a bug")
        return failed(INTERNAL, 500)


def action_of(request: Request) -> tuple[str, Action]:
    """What is asked for. Raises `ServiceError`."""
    target = request.headers.get("x-amz-target", "")
    name = target.removeprefix(TARGET)
    action = TABLE.get(name)
    if action is None or not target.startswith(TARGET):
        raise ServiceError("UnknownOperationException", f"there is no action `{target[:100]}`")
    return name, action


def signed_by(request: Request, body: bytes, credentials: Mapping[str, str]) -> str | None:
    """The access key that a request is signed with; None where no signatures are asked for.
    Raises `ServiceError`."""
    if not credentials:
        return None
    headers: dict[str, list[str]] = {}
    for name, value in request.headers.items():
        headers.setdefault(name, []).append(value)
    path = request.scope.get("raw_path", b"/").decode("latin-1").partition("?")[0]
    signed = Signed(request.method, path, request.url.query, headers, body)
    return verify(signed, credentials, datetime.now(UTC))


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        value = loads(body or b"{}")
    except (JSONDecodeError, UnicodeDecodeError, RecursionError) as wrong:
        raise ServiceError("SerializationException", f"the body is not JSON: {wrong}") from wrong
    if not isinstance(value, dict):
        raise ServiceError("SerializationException", "the body is not a JSON object")
    return value


def reply(content: dict[str, Any]) -> Response:
    """An answer."""
    headers = {"x-amzn-requestid": str(uuid4())}
    return Response(encode(content), 200, headers, MEDIA)


def failed(error: ServiceError, status: int) -> Response:
    """An error in the service's form."""
    headers = {"x-amzn-requestid": str(uuid4())}
    body = dumps({"__type": error.code, "message": error.message}).encode()
    return Response(body, status, headers, MEDIA)
