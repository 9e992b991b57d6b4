"""A definition made ready to run: states as nodes, with every expression compiled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from batuta.workflow.asl.states.distributed import DistributedMap
from batuta.workflow.asl.states.inline_map import InlineMap
from batuta.workflow.asl.states.node import Node, States
from batuta.workflow.asl.states.parallel import Parallel
from batuta.workflow.asl.states.put_events import PutEvents
from batuta.workflow.asl.states.simple import Choice, Fail, Pass, Succeed, Wait
from batuta.workflow.asl.states.task import Task

Value = Mapping[str, Any]


def _task(name: str, value: Value, language: str) -> Node:
    make = PutEvents if value["Resource"].startswith(PUT_EVENTS) else Task
    return make(name, value, language)


PUT_EVENTS = "arn:aws:states:::events:putEvents"
SIMPLE: dict[str, Callable[[str, Value, str], Node]] = {
    "Choice": Choice, "Fail": Fail, "Pass": Pass, "Succeed": Succeed, "Task": _task, "Wait": Wait,
}  # fmt: skip


def build(definition: Value, language: str = "JSONPath", path: tuple[str, ...] = ()) -> States:
    """The states of a flow.

    Parameters
    ----------
    definition: `{"StartAt": …, "States": {…}}`, found to be without mistakes.
    language: the query language where a state names none.
    path: where the flow stands in its definition.

    Raises `Malformed` for an expression that is none.
    """
    language = definition.get("QueryLanguage", language)
    nodes: dict[str, Node] = {}
    for name, value in definition["States"].items():
        nodes[name] = _node(name, value, language, path)
    return States(definition["StartAt"], nodes)


def _node(name: str, value: Value, of_flow: str, path: tuple[str, ...]) -> Node:
    kind = value["Type"]
    # What a state says of itself does not hold for the states in it.
    language: str = value.get("QueryLanguage", of_flow)
    if kind == "Parallel":
        branches = [
            build(branch, of_flow, (*path, name, str(at)))
            for at, branch in enumerate(value["Branches"])
        ]
        return Parallel(name, value, language, branches)
    if kind == "Map":
        processor = value.get("ItemProcessor") or value["Iterator"]
        states = build(processor, of_flow, (*path, name))
        distributed = processor.get("ProcessorConfig", {}).get("Mode") == "DISTRIBUTED"
        if distributed:
            return DistributedMap(name, value, language, states, (*path, name))
        return InlineMap(name, value, language, states)
    return SIMPLE[kind](name, value, language)
