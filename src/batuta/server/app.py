"""The web application: the API and the pages over one system."""

from __future__ import annotations

import asyncio
import logging
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from batuta.kernel.errors import BatutaError
from batuta.server import pages
from batuta.server.guard import Access, Guard
from batuta.server.metrics import Histogram
from batuta.server.openapi import TABLE, describe
from batuta.server.port import System
from batuta.server.reply import BODY_LIMIT, Json, error_body, error_of_http, status_of, wants_page
from batuta.server.stepfunctions import protocol
from batuta.server.stepfunctions.service import Service
from batuta.server.stepfunctions.settings import Settings
from batuta.server.table import routes

log = logging.getLogger("batuta.server")


def app(
    system: System,
    access: Access | None = None,
    *,
    body_limit: int = BODY_LIMIT,
    access_log: bool = False,
    logs: Path | None = None,
    stepfunctions: Settings | None = None,
) -> Starlette:
    """The application.

    Parameters
    ----------
    system: what it shows and drives.
    access: who may ask; by default programs and pages of this machine, without a token.
    body_limit: bytes of a request.
    access_log: whether each request is logged.
    logs: the folder of `real.output.LogFiles`, where what steps print is kept.
    stepfunctions: how the Step Functions API answers.
    """
    table: list[BaseRoute] = [*routes(TABLE), *pages.routes(), *protocol.routes()]
    made = Starlette(
        routes=table,
        middleware=[
            Middleware(Quoted),
            Middleware(Timed),
            Middleware(Guard, access=access or Access(), body_limit=body_limit),
        ],
        exception_handlers={
            BatutaError: refused,
            HTTPException: unrouted,
            Exception: broken,
        },
    )
    made.state.system = system
    made.state.stepfunctions = Service(system, stepfunctions or Settings())
    made.state.requests = Histogram()
    made.state.stopping = asyncio.Event()
    made.state.access_log = access_log
    made.state.logs = logs
    made.state.openapi = describe(own_version())
    return made


def own_version() -> str:
    """The version that is installed."""
    try:
        return version("batuta")
    except PackageNotFoundError:
        return "0"


# -- errors ------------------------------------------------------------------------------------


def refused(request: Request, error: Exception) -> Response:
    """What the user has to know, with the status that fits."""
    assert isinstance(error, BatutaError)
    body = error_body(error.message, error.at, error.hint)
    return _answer(request, status_of(error), body)


def unrouted(request: Request, error: Exception) -> Response:
    """An address or a method that there is not."""
    assert isinstance(error, HTTPException)
    message, hint = error_of_http(error)
    answer = _answer(request, error.status_code, error_body(message, hint=hint))
    answer.headers.update(error.headers or {})
    return answer


def broken(request: Request, error: Exception) -> Response:
    """A bug of ours: said without detail, logged in full; the server goes on."""
    body = error_body(
        "the server met a bug while answering", hint="its log has the traceback; please report it"
    )
    return _answer(request, 500, body)


def _answer(request: Request, status: int, body: dict[str, Any]) -> Response:
    """JSON for programs, a page for people."""
    if wants_page(request):
        return pages.failed(request, status, body["error"])
    return Json(body, status_code=status)


# -- middleware --------------------------------------------------------------------------------


class Quoted:
    """Routes by the path as it was sent, so that an id may hold an encoded slash."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            raw = scope.get("raw_path")
            path = raw.decode("latin-1").partition("?")[0] if raw else quote(scope["path"])
            scope["path"] = path
        await self.app(scope, receive, send)


class Timed:
    """Counts requests and how long they took, by route; streams when they end."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            route = _route_of(scope)
            took = time.perf_counter() - began
            requests: Histogram = scope["app"].state.requests
            requests.observe(scope["method"][:10], route, status, took)
            level = logging.INFO if scope["app"].state.access_log else logging.DEBUG
            log.log(level, "%s %s %s %.1f ms", scope["method"], route, status, took * 1000)


def _route_of(scope: Scope) -> str:
    """The pattern of an address: the address itself would make a sample for each run."""
    return PATTERNS.get(scope.get("endpoint"), "other")


PATTERNS: dict[object, str] = {
    **{route.endpoint: route.path for route in pages.routes() if isinstance(route, Route)},
    **{endpoint.endpoint: endpoint.path for endpoint in TABLE},
    protocol.answer: "/ (stepfunctions)",
}

__all__ = ["Access", "app"]
