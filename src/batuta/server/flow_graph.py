"""The graph of a state machine's execution: all its states, and what became of each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from batuta.kernel.errors import BatutaError
from batuta.kernel.event import Event
from batuta.workflow.asl.ran import State, states_of
from batuta.workflow.view import GraphEdge, GraphNode, RunGraph, RunView

STATES_MAX = 80


def flow_graph(view: RunView, journal: Sequence[Event]) -> RunGraph | None:
    """The states of the machine that a run is an execution of.

    Parameters
    ----------
    journal: all events of the run.

    Returns
    -------
    None for a run of another kind, and for a machine with too many states for a picture.
    """
    started = next((each for each in journal if each.type == "run.started"), None)
    machine = None if started is None else started.data.get("machine")
    if not machine or "definition" not in machine:
        return None
    try:
        ran = states_of(journal, view.status, view.ended)
    except BatutaError:
        return None  # its definition cannot be run, and the page says why
    flow: dict[str, Any] = json.loads(machine["definition"])
    for step in machine.get("path", ()):
        flow = _inner(flow, step)
    known: dict[str, list[State]] = {}
    for state in _all(ran):
        known.setdefault(state.name, []).append(state)
    graph = RunGraph()
    _flow(graph, flow, known)
    return graph if len(graph.nodes) <= STATES_MAX else None


def _inner(flow: dict[str, Any], step: str) -> dict[str, Any]:
    """The flow inside a Map of a flow; a flow that a number chooses is a Parallel's branch."""
    if "Branches" in flow:
        branch: dict[str, Any] = flow["Branches"][int(step)]
        return branch
    state: dict[str, Any] = flow["States"][step]
    return state if "Branches" in state else next(iter(_flows(state)))


def _all(states: Sequence[State]) -> Iterator[State]:
    for state in states:
        yield state
        yield from _all(state.states)


def _flows(state: dict[str, Any]) -> list[dict[str, Any]]:
    """What runs inside a state."""
    item = state.get("ItemProcessor") or state.get("Iterator")
    return [*state.get("Branches", ()), *([item] if item else [])]


def _flow(graph: RunGraph, flow: dict[str, Any], known: dict[str, list[State]]) -> list[str]:
    """Add a flow; the boxes that it ends with."""
    ends: list[str] = []
    for name, state in flow["States"].items():
        graph.nodes.append(_box(name, state, known.get(name, ())))
        last = name
        inner = _flows(state)
        if inner:
            last = f"{name}>"
            status = graph.nodes[-1].status
            graph.nodes.append(GraphNode(last, "", "join", status))
        for each in inner:
            graph.edges.append(GraphEdge(name, each["StartAt"]))
            graph.edges += [GraphEdge(end, last) for end in _flow(graph, each, known)]
        onward = dict.fromkeys(_after(state))
        graph.edges += [GraphEdge(last, after) for after in onward]
        if state.get("End") or state["Type"] == "Succeed":
            ends.append(last)
    return ends


def _after(state: dict[str, Any]) -> Iterator[str]:
    """The states that can follow a state."""
    if "Next" in state:
        yield state["Next"]
    for choice in state.get("Choices", ()):
        yield choice["Next"]
    if "Default" in state:
        yield state["Default"]
    for catch in state.get("Catch", ()):
        yield catch["Next"]


def _box(name: str, state: dict[str, Any], entered: Sequence[State]) -> GraphNode:
    if not entered:
        return GraphNode(name, name, state["Type"].lower(), "unknown")
    open_ = [each for each in entered if each.status == "running"]
    last = open_[-1] if open_ else entered[-1]
    tries = len(last.tries) + (last.status == "completed")
    times = len(entered) if len(entered) > 1 else tries
    badge = f"×{times}" if times > 1 else ""
    return GraphNode(name, name, state["Type"].lower(), last.status, badge, count=len(entered))
