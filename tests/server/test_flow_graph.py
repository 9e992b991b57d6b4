"""The graph of an execution: every state of the machine, with what became of it."""

from __future__ import annotations

import json
from typing import Any

from batuta.kernel.event import Event
from batuta.server.drawing import draw
from batuta.server.flow_graph import ran
from batuta.workflow.view import run_view

END = {"Type": "Pass", "End": True}
FLOW = {"StartAt": "Fork", "States": {
    "Fork": {"Type": "Parallel", "Next": "Which", "Branches": [
        {"StartAt": "Left", "States": {"Left": END}},
        {"StartAt": "Each", "States": {"Each": {
            "Type": "Map", "End": True,
            "ItemProcessor": {"StartAt": "Item", "States": {"Item": END}},
        }}},
    ]},
    "Which": {"Type": "Choice", "Default": "Small", "Choices": [
        {"Variable": "$[0][0]", "NumericGreaterThan": 5, "Next": "Big"},
    ]},
    "Big": {"Type": "Fail", "Error": "Big"},
    "Small": {"Type": "Wait", "Seconds": 60, "Next": "Fork"},
}}  # fmt: skip


def started(machine: dict[str, Any] | None) -> list[Event]:
    """The beginning of a run."""
    data = {"workflow": "m", "args": [[1, 2]], "kwargs": {}, "machine": machine}
    return [Event("run.started", "m:one", data, None, 1_000, seq=1)]


def test_each_state_has_its_status_and_loops_are_drawn() -> None:
    journal = started({"definition": json.dumps(FLOW)})
    found = ran(run_view(journal), journal)
    assert found is not None
    graph = found.graph
    assert graph is not None
    rows = [(row.depth, row.state.name) for row in found.rows]
    assert rows[:3] == [(0, "Fork"), (1, "Left"), (1, "Each")]
    assert {node.anchor for node in graph.nodes if node.count} <= {row.id for row in found.rows}
    boxes = {node.id: (node.status, node.badge) for node in graph.nodes if node.kind != "join"}
    assert boxes == {
        "Fork": ("completed", ""), "Left": ("completed", ""), "Each": ("completed", ""),
        "Item": ("completed", "×2"), "Which": ("completed", ""), "Big": ("unknown", ""),
        "Small": ("running", ""),
    }  # fmt: skip
    edges = {(edge.source, edge.target) for edge in graph.edges}
    assert {("Fork", "Left"), ("Each>", "Fork>"), ("Fork>", "Which"), ("Small", "Fork")} <= edges
    drawn = draw(graph)
    assert drawn is not None
    assert len(drawn.boxes) == len(graph.nodes)


def test_other_runs_have_no_such_graph() -> None:
    journal = started(None)
    assert ran(run_view(journal), journal) is None
