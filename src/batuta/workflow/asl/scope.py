"""Where an execution stands: one line of control, and what several lines join into."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batuta.workflow.asl.states.node import Node, States

NOTHING: Mapping[str, Any] = {}


class Scope:
    """One line of control: the execution's own, a branch's, an item's.

    `last`: the history event before the next one. `before`: what `last` was when the state was
    entered; `entered`: the event of that. `retries`: how often each retrier was used in this
    visit. `keys`: the askings that are open. `prefix`: what the keys of its askings begin with.
    `below`: the lines of control that its state has begun; `redo`: those of a state that
    failed, for a redrive.
    """

    __slots__ = (
        "before", "below", "count", "entered", "entered_at", "fresh", "index", "input", "item",
        "join", "keys", "last", "node", "prefix", "redo", "retried", "retries", "states", "token",
        "variables", "visited",
    )  # fmt: skip

    def __init__(
        self,
        states: States,
        input: Any,
        variables: Mapping[str, Any],
        prefix: str,
        last: int,
        join: Join | None = None,
        index: int = 0,
    ) -> None:
        self.states = states
        self.node: Node = states.first
        self.input = input
        self.variables = variables
        self.prefix = prefix
        self.last = last
        self.join = join
        self.index = index
        self.count = 0
        self.fresh = True
        self.before = last
        self.entered = 0
        self.entered_at = 0
        self.retries: dict[int, int] | None = None
        self.retried = 0
        self.token: str | None = None
        self.item: tuple[int, Any] | None = None
        self.keys: dict[str, None] = {}
        self.below: Join | None = None
        self.redo: Join | None = None
        self.visited: set[str] | None = None

    def key(self) -> str:
        """The key of its next asking."""
        self.count += 1
        return f"{self.prefix}{self.count}"


class Join:
    """Lines of control that one state has begun and waits for.

    Parameters
    ----------
    node: the state (a Parallel, a Map). scope: where the state stands.

    `stopped`: children that failed or were aborted when the state failed.
    """

    __slots__ = ("children", "left", "node", "results", "scope", "state", "stopped")

    def __init__(self, node: Any, scope: Scope, results: int) -> None:
        self.node = node
        self.scope = scope
        self.results: list[Any] = [None] * results
        self.left = results
        self.children: dict[int, Scope] = {}
        self.stopped: list[Scope] = []
        self.state: Any = None
