"""Read-only views of runs for pages, API and command line: lists, timeline and graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from batuta.kernel.errors import BatutaError
from batuta.kernel.event import Record
from batuta.kernel.journal import Journal
from batuta.workflow.runview import (
    ENDED,
    OPEN,
    Attempt,
    Node,
    RunView,
    Signal,
    describe_open,
    run_view,
)
from batuta.workflow.why import WhyLine, find_event, sentence, why_chain

__all__ = [
    "ENDED", "OPEN", "Attempt", "GraphEdge", "GraphNode", "Node", "Page", "RunGraph", "RunRow",
    "RunView", "Signal", "Span", "Timeline", "TimelineRow", "WhyLine", "as_json", "describe_open",
    "find_event", "run_graph", "run_view", "search", "sentence", "timeline", "why_chain",
]  # fmt: skip


# -- lists of runs -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as one line of a list; times in ns, `reason` is the text beside the status."""

    id: str
    workflow: str
    status: str
    reason: str
    started: int
    ended: int | None
    wake: int | None
    definition: str | None
    attributes: Mapping[str, Any]
    result: Any = None
    parent: Mapping[str, Any] | None = None

    @property
    def duration(self) -> int | None:
        """From start to end, in ns; None while it goes on."""
        return None if self.ended is None else self.ended - self.started


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list; `next` is the cursor behind its last row, None at the end."""

    rows: list[RunRow]
    next: str | None


def search(
    journal: Journal,
    *,
    statuses: Sequence[str] = (),
    workflow: str | None = None,
    text: str | None = None,
    attributes: Mapping[str, str | int | float | bool] | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page:
    """Runs, the newest first, that match all of these.

    Raises
    ------
    BatutaError: the cursor is none that an earlier page gave.
    """
    records = list(
        journal.records(
            "run", statuses=statuses, name=workflow or None, text=text or None,
            attributes=attributes or None, newest_first=True, after=_position(cursor),
            limit=limit + 1,
        )
    )  # fmt: skip
    more = len(records) > limit
    rows = records[:limit]
    return Page([run_row(r) for r in rows], f"{rows[-1].time}~{rows[-1].id}" if more else None)


def _position(cursor: str | None) -> tuple[int, str] | None:
    if not cursor:
        return None
    time, tilde, id = cursor.partition("~")
    if not (tilde and time.isascii() and time.isdigit() and len(time) < 20):
        raise BatutaError(
            f"`{cursor[:40]}` is no cursor", hint="use `next` of the page before, or leave it out"
        )
    return int(time), id


def run_row(record: Record) -> RunRow:
    """What a list says about a run."""
    data = record.data
    return RunRow(
        record.id, record.name, record.status, _row_reason(record), record.time, record.ended,
        record.wake, data.get("definition"), record.attributes, data.get("result"),
        data.get("parent"),
    )  # fmt: skip


def _row_reason(record: Record) -> str:
    error = record.data.get("error")
    if isinstance(error, Mapping):
        error = error.get("message")
    waits = record.data.get("waits") or []
    reason = error or record.data.get("reason") or ", ".join(_wait_text(wait) for wait in waits[:3])
    return str(reason)


def _wait_text(wait: Any) -> str:
    if isinstance(wait, Mapping):
        return f"waits for {wait.get('kind', 'event')} `{wait.get('name', '')}`"
    return f"waits for {wait}"


# -- timeline ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Span:
    """A bar: when (ns) and how it ended."""

    started: int
    ended: int
    outcome: str
    number: int = 1


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """One operation with its bars, one per attempt."""

    node: Node
    depth: int
    spans: list[Span]


@dataclass(frozen=True, slots=True)
class Timeline:
    """Rows between two instants (ns)."""

    started: int
    ended: int
    rows: list[TimelineRow]

    def share(self, instant: int) -> float:
        """Where an instant lies between start (0.0) and end (1.0)."""
        length = self.ended - self.started
        return min(1.0, max(0.0, (instant - self.started) / length)) if length > 0 else 0.0


def timeline(
    view: RunView, now: int | None = None, *, offset: int = 0, limit: int | None = None
) -> Timeline:
    """The operations of a run as rows with bars.

    Parameters
    ----------
    now: where the bars of open operations end, ns; the newest event by default.
    offset, limit: which rows, where not all of them are wanted.
    """
    end = view.ended or max(view.last, now or 0)
    rows: list[TimelineRow] = []
    for at, (depth, node) in enumerate(view.walk()):
        if limit is not None and at >= offset + limit:
            break
        if at >= offset:
            rows.append(TimelineRow(node, depth, _spans(node, end)))
    return Timeline(view.started, end, rows)


def _spans(node: Node, end: int) -> list[Span]:
    if not node.attempts:
        return [Span(node.started, node.ended or max(end, node.started), node.status)]
    return [
        Span(a.started or a.asked, a.ended or max(end, a.asked), a.outcome, a.number)
        for a in node.attempts
    ]


# -- graph ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GraphNode:
    """A box: `badge` is a short mark (`×3` attempts), `node` what it stands for, None for a
    place where branches meet and for a box that stands for many (`count`). `took`: ns, where
    there is no node that says it; `anchor`: where the page tells more."""

    id: str
    label: str
    kind: str
    status: str
    badge: str = ""
    node: Node | None = None
    count: int = 0
    took: int | None = None
    anchor: str = ""


@dataclass(frozen=True, slots=True)
class GraphEdge:
    """An arrow from one box to another."""

    source: str
    target: str


@dataclass(slots=True)
class RunGraph:
    """Boxes and arrows, in the order of the run."""

    nodes: list[GraphNode] = field(default_factory=list)
    edges: list[GraphEdge] = field(default_factory=list)


def run_graph(view: RunView, *, limit: int = 60) -> RunGraph:
    """A run as a graph: operations one after another, branches side by side.

    Parameters
    ----------
    limit: so many operations of a sequence at most; the middle of a longer one is one box.
    """
    graph = RunGraph()
    _chain(graph, view.steps, [], limit)
    return graph


def _chain(graph: RunGraph, nodes: list[Node], sources: list[str], limit: int) -> list[str]:
    """Add a sequence behind `sources`; the boxes that it ends with."""
    head, hidden, tail = _elided(nodes, limit)
    for node in head:
        sources = _add(graph, node, sources, limit)
    if hidden:
        sources = _connect(graph, _bundle(hidden), sources)
    for node in tail:
        sources = _add(graph, node, sources, limit)
    return sources


def _elided(nodes: list[Node], limit: int) -> tuple[list[Node], list[Node], list[Node]]:
    if len(nodes) <= limit:
        return nodes, [], []
    half = max(1, limit // 2)
    return nodes[:half], nodes[half:-half], nodes[-half:]


def _add(graph: RunGraph, node: Node, sources: list[str], limit: int) -> list[str]:
    if node.kind == "parallel":
        return _parallel(graph, node, sources, max(4, limit // 3))
    if node.kind == "branch":
        return _chain(graph, node.children, sources, limit)
    tries = len(node.attempts)
    badge = f"×{tries}" if tries > 1 else "undo" if node.undoes else ""
    box = GraphNode(node.key, node.name, node.kind, node.status, badge, node)
    return _connect(graph, box, sources)


def _parallel(graph: RunGraph, node: Node, sources: list[str], limit: int) -> list[str]:
    if len(sources) > 1:
        sources = _connect(graph, GraphNode(f"{node.key}<", "", "join", "completed"), sources)
    ends: list[str] = []
    head, hidden, tail = _elided(node.children, limit)
    for branch in head:
        ends += _add(graph, branch, sources, limit)
    if hidden:
        ends += _connect(graph, _bundle(hidden), sources)
    for branch in tail:
        ends += _add(graph, branch, sources, limit)
    return ends or sources


def _connect(graph: RunGraph, box: GraphNode, sources: list[str]) -> list[str]:
    graph.nodes.append(box)
    graph.edges += [GraphEdge(source, box.id) for source in sources]
    return [box.id]


def _bundle(hidden: list[Node]) -> GraphNode:
    statuses = {node.status for node in hidden}
    worst = ("failed", "running", "retrying", "waiting", "completed", "cancelled", "expired")
    status = next((s for s in worst if s in statuses), "completed")
    id = f"{hidden[0].key}…{hidden[-1].key}"
    return GraphNode(id, f"{len(hidden):,} more", "many", status, count=len(hidden))


# -- JSON ----------------------------------------------------------------------------------------


def as_json(view: RunView) -> dict[str, Any]:
    """The view as JSON-able data, with durations in ns."""
    out = {name: getattr(view, name) for name in _RUN_FIELDS}
    out["duration"] = view.duration
    out["signals"] = [asdict(signal) for signal in view.signals]
    out["steps"] = [_node_json(node) for node in view.steps]
    return out


_RUN_FIELDS = (
    "id", "workflow", "status", "reason", "started", "ended", "deadline", "definition", "source",
    "input", "result", "error", "attributes", "priority", "parent", "trigger", "forked",
    "continued_as", "cancel_reason", "retries", "patches", "seq", "end_seq",
)  # fmt: skip
_NODE_FIELDS = (
    "key", "kind", "name", "status", "seq", "end_seq", "started", "ended", "duration", "input",
    "output", "error", "undoes", "due", "child", "retry_at",
)  # fmt: skip


def _node_json(node: Node) -> dict[str, Any]:
    out: dict[str, Any] = {name: getattr(node, name) for name in _NODE_FIELDS}
    out["attempts"] = [asdict(attempt) for attempt in node.attempts]
    out["children"] = [_node_json(child) for child in node.children]
    return out
