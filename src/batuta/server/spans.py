"""The history of a run as OpenTelemetry spans; needs the packages of `batuta[otel]`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from batuta.server.port import System
from batuta.workflow.view import Attempt, Node, RunView, run_view

PARENTS_MAX = 50


def exporter_and_resource(service: str) -> tuple[SpanExporter, Resource]:
    """Where spans go, as the environment says (`OTEL_EXPORTER_OTLP_…`), and who sends them."""
    return OTLPSpanExporter(), Resource.create({"service.name": service})


def run_spans(system: System, run: str, resource: Resource) -> list[ReadableSpan]:
    """The spans of one run: itself, and one for each attempt, wait and child below it."""
    view = run_view(system.journal.histories([run]))
    return list(spans_of(view, root_of(system, view), resource))


def root_of(system: System, view: RunView) -> str:
    """The run that all of this began with, so that children share its trace."""
    root, parent = view.id, view.parent
    for _ in range(PARENTS_MAX):
        if not parent:
            break
        root = str(parent["run"])
        record = system.journal.record("run", root)
        parent = record.data.get("parent") if record else None
    return root


def spans_of(view: RunView, root: str, resource: Resource) -> Iterator[ReadableSpan]:
    """The spans of a run's view."""
    parent = view.parent
    above = _number(f"{parent['run']}/{parent['key']}", 8) if parent else None
    own = _number(view.id, 8)
    facts = {
        "batuta.run": view.id, "batuta.workflow": view.workflow, "batuta.status": view.status,
        "code.filepath": (view.definition or "").rpartition(":")[0],
        **{f"batuta.attribute.{name}": value for name, value in view.attributes.items()},
    }  # fmt: skip
    trace = _Trace(_number(root, 16), resource)
    failed = view.status in ("failed", "terminated")
    yield trace.span(
        f"run {view.workflow}", own, above, (view.started, view.ended or view.last), facts,
        view.error, failed,
    )  # fmt: skip
    for _, node in view.walk():
        if node.kind in ("parallel", "branch"):
            continue
        yield from _node_spans(trace, view, node, own)


def _node_spans(trace: _Trace, view: RunView, node: Node, own: int) -> Iterator[ReadableSpan]:
    facts = {"batuta.run": view.id, "batuta.key": node.key, "batuta.kind": node.kind}
    if node.child:
        facts["batuta.child"] = node.child
    if not node.attempts:
        id = _number(f"{view.id}/{node.key}", 8)
        times = (node.started, node.ended or view.last)
        failed = node.status in ("failed", "expired")
        yield trace.span(f"{node.kind} {node.name}", id, own, times, facts, node.error, failed)
    for attempt in node.attempts:
        yield _attempt_span(trace, view, node, attempt, own, facts)


def _attempt_span(
    trace: _Trace, view: RunView, node: Node, attempt: Attempt, own: int, facts: dict[str, Any]
) -> ReadableSpan:
    command = attempt.command or f"{view.id}/{node.key}.{attempt.number}"
    times = (attempt.started or attempt.asked, attempt.ended or view.last)
    more = {
        **facts, "batuta.attempt": attempt.number, "batuta.command": command,
        "batuta.waited_ms": (times[0] - attempt.asked) / 1e6,
    }  # fmt: skip
    failed = attempt.outcome == "failed"
    id = _number(command, 8)
    return trace.span(f"step {node.name}", id, own, times, more, attempt.error, failed)


def _number(text: str, size: int) -> int:
    """An id out of a name: the same run has the same trace, however often it is exported."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:size], "big") or 1


class _Trace:
    """Makes the spans of one trace."""

    def __init__(self, id: int, resource: Resource) -> None:
        self.id = id
        self.resource = resource

    def span(
        self,
        name: str,
        id: int,
        parent: int | None,
        times: tuple[int, int],
        attributes: dict[str, Any],
        error: dict[str, Any] | None,
        failed: bool,
    ) -> ReadableSpan:
        def context(span: int) -> SpanContext:
            return SpanContext(self.id, span, is_remote=False, trace_flags=TraceFlags(1))

        message = str((error or {}).get("message", ""))
        happened = []
        if error:
            facts = {
                "exception.type": str(error.get("type", "")),
                "exception.message": message,
                "exception.stacktrace": str(error.get("traceback", "")),
            }
            happened = [Event("exception", facts, timestamp=times[1])]
        return ReadableSpan(
            name=name, context=context(id), parent=context(parent) if parent else None,
            resource=self.resource, attributes=attributes, events=happened,
            kind=SpanKind.INTERNAL, start_time=times[0], end_time=max(times),
            status=Status(StatusCode.ERROR, message) if failed else Status(StatusCode.UNSET),
        )  # fmt: skip
