"""The states that an execution of a state machine ran, as `batuta show` shows them."""

from __future__ import annotations

from collections.abc import Sequence

from batuta.cli.client import Row
from batuta.cli.look import SIGNS, error_text
from batuta.cli.out import Node, Out, brief, clean, span
from batuta.kernel.event import Event
from batuta.workflow.asl.ran import states_of

SHOWN_MAX = 100


def rows_of(journal: Sequence[Event], view: Row) -> list[Row]:
    """The states that the events of a run tell of, as `State.as_json` has them."""
    return [each.as_json() for each in states_of(journal, view["status"], view["ended"])]


def states_tree(states: Sequence[Row], out: Out, at: int, *, width: int | None) -> Node:
    """The states as a tree.

    Parameters
    ----------
    at: the present time, ns. width: of values; None: nothing is cut or left out.
    """
    return Node(out.paint("states", "bold"), (), _nodes(states, out, at, width))


def _nodes(states: Sequence[Row], out: Out, at: int, width: int | None) -> list[Node]:
    shown = states if width is None else states[:SHOWN_MAX]
    nodes = [_node(each, out, at, width) for each in shown]
    more = len(states) - len(shown)
    if more:
        nodes.append(Node(out.paint(f"and {more:,} more (--full shows them)", "grey")))
    return nodes


def _node(state: Row, out: Out, at: int, width: int | None) -> Node:
    sign, colour = SIGNS.get(state["status"], ("?", ""))
    took = span((state["ended"] or at) - state["started"])
    word = "" if state["status"] == "completed" else "for " if not state["ended"] else "after "
    item = "" if state["index"] is None else f" [{state['index']}]"
    parts = [out.paint(sign, colour), clean(state["name"]) + item]
    said = "" if state["status"] == "completed" else f"{state['status']} "
    parts += [out.paint(state["type"], "grey"), said + out.paint(f"{word}{took}", "grey")]
    facts = [("in", brief(state["input"], width))]
    facts += [
        (f"try {number}", error_text({"type": each["error"], "message": each["cause"]}, width))
        for number, each in enumerate(state["failures"], 1)
    ]
    if state["status"] == "completed":
        facts.append(("out", brief(state["output"], width)))
    room = max(len(name) for name, _ in facts)
    notes = [f"{out.paint(name.ljust(room), 'grey')} {text}" for name, text in facts]
    return Node(" ".join(parts), notes, _nodes(state["states"], out, at, width))
