"""An execution of a state machine: all its states as a graph, and what became of each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from batuta.kernel.errors import BatutaError
from batuta.kernel.event import Event
from batuta.workflow.asl.ran import State, states_of
from batuta.workflow.view import GraphEdge, GraphNode, RunGraph, RunView

STATES_MAX = 80


@dataclass(frozen=True, slots=True)
class Entered:
    """A state that was entered, as a row: `depth` inside of other states, `id` on the page."""

    depth: int
    state: State
    id: str


@dataclass(frozen=True, slots=True)
class Ran:
    """An execution of a state machine.

    Parameters
    ----------
    rows: the states that were entered, the inner ones behind the one around them.
    graph: all states of the machine; None where they are too many for a picture.
    """

    rows: list[Entered]
    graph: RunGraph | None


def ran(view: RunView, journal: Sequence[Event]) -> Ran | None:
    """What became of the states of the machine that a run is an execution of.

    Parameters
    ----------
    journal: all events of the run.

    Returns
    -------
    None for a run of another kind.
    """
    started = next((each for each in journal if each.type == "run.started"), None)
    machine = None if started is None else started.data.get("machine")
    if not machine or "definition" not in machine:
        return None
    try:
        states = states_of(journal, view.status, view.ended)
    except BatutaError:
        return None  # its definition cannot be run, and the page says why
    rows = [Entered(depth, state, f"state-{number}")
            for number, (depth, state) in enumerate(_all(states), 1)]  # fmt: skip
    flow: dict[str, Any] = json.loads(machine["definition"])
    for step in machine.get("path", ()):
        flow = _inner(flow, step)
    known: dict[str, list[Entered]] = {}
    for row in rows:
        known.setdefault(row.state.name, []).append(row)
    graph = RunGraph()
    _flow(graph, flow, known)
    return Ran(rows, graph if len(graph.nodes) <= STATES_MAX else None)


def _inner(flow: dict[str, Any], step: str) -> dict[str, Any]:
    """The flow inside a Map of a flow; a flow that a number chooses is a Parallel's branch."""
    if "Branches" in flow:
        branch: dict[str, Any] = flow["Branches"][int(step)]
        return branch
    state: dict[str, Any] = flow["States"][step]
    return state if "Branches" in state else next(iter(_flows(state)))


def _all(states: Sequence[State], depth: int = 0) -> Iterator[tuple[int, State]]:
    for state in states:
        yield depth, state
        yield from _all(state.states, depth + 1)


def _flows(state: dict[str, Any]) -> list[dict[str, Any]]:
    """What runs inside a state."""
    item = state.get("ItemProcessor") or state.get("Iterator")
    return [*state.get("Branches", ()), *([item] if item else [])]


def _flow(graph: RunGraph, flow: dict[str, Any], known: dict[str, list[Entered]]) -> list[str]:
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


def _box(name: str, state: dict[str, Any], entered: Sequence[Entered]) -> GraphNode:
    kind = state["Type"].lower()
    if not entered:
        return GraphNode(name, name, kind, "unknown")
    open_ = [each for each in entered if each.state.status == "running"]
    row = open_[-1] if open_ else entered[-1]
    last = row.state
    tries = len(last.tries) + (last.status == "completed")
    times = len(entered) if len(entered) > 1 else tries
    took = None if last.ended is None else last.ended - last.started
    return GraphNode(
        name, name, kind, last.status, f"×{times}" if times > 1 else "", None, len(entered), took,
        row.id,
    )  # fmt: skip
