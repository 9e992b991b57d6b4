"""Spans of runs, made from the journal, in an exporter that keeps them in memory."""

from __future__ import annotations

import asyncio

import pytest
from tests.server.fake import FakeSystem, story

from batuta.kernel.errors import BatutaError
from batuta.kernel.event import Record
from batuta.server import telemetry

pytest.importorskip(
    "opentelemetry.sdk", reason="needs the extra `batuta[otel]`: the spans are not tested"
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import (
    InMemorySpanExporter,
)

from batuta.server import spans as otel


def test_a_run_is_a_trace_of_its_attempts() -> None:
    system = FakeSystem()
    story(system, ok=False)
    spans = otel.run_spans(system, "order-1", Resource({}))
    assert [span.name for span in spans] == [
        "run checkout", "step charge", "step charge", "step reserve", "step notify",
        "step ship", "step refund",
    ]  # fmt: skip
    root, charge = spans[0], spans[1]
    assert root.parent is None
    assert charge.parent == root.context
    assert len({span.context.trace_id for span in spans if span.context}) == 1
    assert len({span.context.span_id for span in spans if span.context}) == len(spans)
    assert [span.status.is_ok for span in spans[:3]] == [False, False, True]
    assert charge.events[0].attributes is not None
    assert charge.events[0].attributes["exception.type"] == "shop:Declined"
    assert root.attributes is not None
    assert root.attributes["batuta.attribute.customer"] == "ada"
    assert otel.run_spans(system, "order-1", Resource({}))[1].context == charge.context
    system.journal.close()


def test_a_child_run_stands_in_the_trace_of_its_parent() -> None:
    system = FakeSystem()
    story(system, "big")
    started = system.event(
        "run.started", "small", workflow="ship", parent={"run": "big", "key": "3"}
    )
    ended = system.event("run.completed", "small", started, result=None)
    record = Record("run", "small", 0, "completed", "ship", 1, 2, data={"parent": {"run": "big"}})
    system.write([started, ended], [record])
    [child] = otel.run_spans(system, "small", Resource({}))
    parent = otel.run_spans(system, "big", Resource({}))[0]
    assert child.context is not None
    assert parent.context is not None
    assert child.context.trace_id == parent.context.trace_id
    assert child.parent is not None
    system.journal.close()


def test_runs_that_end_are_exported_and_a_failing_collector_stops_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Flaky(InMemorySpanExporter):
        broken = True

        def export(self, spans) -> SpanExportResult:  # type: ignore[no-untyped-def]
            if self.broken:
                self.broken = False
                raise OSError("no route")
            return super().export(spans)

    async def main() -> None:
        system = FakeSystem()
        exporter = Flaky()
        assert isinstance(exporter, SpanExporter)
        story(system, "a")

        def made(run: str) -> list[ReadableSpan]:
            return otel.run_spans(system, run, Resource({}))

        task = asyncio.create_task(telemetry.export(system, exporter, made))
        story(system, "b")
        await system.add()
        for _ in range(500):
            if exporter.get_finished_spans():
                break
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        runs = {span.attributes["batuta.run"] for span in exporter.get_finished_spans()}  # type: ignore[index]
        assert runs == {"b"}
        system.journal.close()

    asyncio.run(main())
    assert [record.getMessage() for record in caplog.records] == [
        "spans cannot be exported: no route"
    ]


def test_nothing_starts_unless_an_endpoint_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    system = FakeSystem()
    assert telemetry.start(system) is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BatutaError, match="not installed"):
        telemetry.start(system)
    system.journal.close()
