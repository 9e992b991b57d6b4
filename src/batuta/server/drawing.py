"""The graph of a run as lines and boxes with coordinates, ready for an SVG."""

from __future__ import annotations

from dataclasses import dataclass

from batuta.common import picture
from batuta.server.words import brief, length
from batuta.workflow.view import GraphNode, RunGraph, RunView, run_graph

LABEL_MAX = 24  # characters
CHARACTER = 7.8  # px, of the page's font
HEIGHT = 46.0
DOT = 8.0
MARGIN = 6.0
OPERATIONS_MAX = 36


@dataclass(frozen=True, slots=True)
class Box:
    """A box and what stands in it; `anchor` is the row of the page that it leads to."""

    x: float
    y: float
    width: float
    height: float
    label: str
    note: str
    title: str
    status: str
    kind: str
    badge: str
    anchor: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """What the page draws; sizes in px."""

    width: float
    height: float
    boxes: list[Box]
    paths: list[str]


def drawing(view: RunView) -> Drawing | None:
    """The graph of a run, None where there is nothing to draw."""
    return draw(run_graph(view, limit=OPERATIONS_MAX))


def draw(graph: RunGraph) -> Drawing | None:
    """A graph with a place for each box, None where there is nothing to draw."""
    if not graph.nodes:
        return None
    known = {node.id: node for node in graph.nodes}
    laid = picture.layout(
        [picture.Node(node.id, *_size(node)) for node in graph.nodes],
        [(edge.source, edge.target) for edge in graph.edges],
        gap=14,
        layer_gap=34,
    )
    return Drawing(
        round(laid.width + 2 * MARGIN, 1),
        round(laid.height + 2 * MARGIN, 1),
        [_box(box, known[box.id]) for box in laid.boxes],
        [_path(line) for line in laid.lines],
    )


def _size(node: GraphNode) -> tuple[float, float]:
    if node.kind == "join":
        return DOT, DOT
    shown = max(len(brief(node.label, LABEL_MAX)) + len(node.badge) + 2, len(_note(node)))
    return max(76.0, shown * CHARACTER + 22), HEIGHT


def _note(node: GraphNode) -> str:
    if node.node is None and not node.count:
        return ""
    took = length(node.took if node.node is None else node.node.duration)
    return f"{node.status} · {took}" if took else node.status


def _box(box: picture.Box, node: GraphNode) -> Box:
    return Box(
        round(box.x + MARGIN, 1), round(box.y + MARGIN, 1), round(box.width, 1),
        round(box.height, 1), brief(node.label, LABEL_MAX), _note(node),
        f"{node.label}: {_note(node)}", node.status, node.kind, node.badge,
        node.anchor or (f"op-{node.id}" if node.node else ""),
    )  # fmt: skip


def _path(line: picture.Line) -> str:
    points = [(round(x + MARGIN, 1), round(y + MARGIN, 1)) for x, y in line.points]
    (x0, y0), rest = points[0], points[1:]
    parts = [f"M{x0} {y0}"]
    for x, y in rest:
        middle = round((x0 + x) / 2, 1)
        parts.append(f"C{middle} {y0} {middle} {y} {x} {y}")
        x0, y0 = x, y
    return "".join(parts)
