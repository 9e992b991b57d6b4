"""Runs and their steps as OpenTelemetry spans, made from the journal when a run ends."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import logging
import os
from collections.abc import Callable
from typing import Any, Protocol

from batuta.kernel.errors import BatutaError
from batuta.server.port import System

ENDINGS = ("run.completed", "run.failed", "run.cancelled", "run.terminated", "run.continued")
ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
log = logging.getLogger("batuta.server.telemetry")


class Exporter(Protocol):
    """As much of OpenTelemetry's `SpanExporter` as is needed."""

    def export(self, spans: Any, /) -> Any:
        """Send spans."""

    def shutdown(self) -> None:
        """Let go."""


def wanted() -> bool:
    """Whether the environment says where spans shall go."""
    return any(os.environ.get(name) for name in ENDPOINTS)


def start(system: System) -> asyncio.Task[None] | None:
    """Export the spans of every run that ends from now on; None where nobody wants them.

    Raises
    ------
    BatutaError: an endpoint is set, but the packages are not installed.
    """
    if not wanted():
        return None
    if importlib.util.find_spec("opentelemetry") is None:
        raise BatutaError(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is not installed",
            hint="pip install 'batuta[otel]', or unset the variable",
        )
    # Heavy and optional: half a second of imports that nobody else shall pay for.
    spans = importlib.import_module("batuta.server.spans")
    exporter, resource = spans.exporter_and_resource(os.environ.get("OTEL_SERVICE_NAME", "batuta"))

    def made(run: str) -> Any:
        return spans.run_spans(system, run, resource)

    return asyncio.create_task(export(system, exporter, made, after=system.journal.head()))


async def export(
    system: System, exporter: Exporter, spans_of: Callable[[str], Any], *, after: int = 0
) -> None:
    """Follow the journal and hand the spans of each run that ended to the exporter.

    A collector that is away loses spans and nothing else: it is said once in the log.
    """
    failing = False
    try:
        async for event in system.follow(after, ENDINGS):
            try:
                spans = await asyncio.to_thread(spans_of, event.subject)
                await asyncio.to_thread(exporter.export, spans)
                failing = False
            except Exception as error:
                if not failing:
                    log.warning("spans cannot be exported: %s", error)
                failing = True
    finally:
        await asyncio.to_thread(exporter.shutdown)
