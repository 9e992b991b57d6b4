"""Map, inline: the same states for each item, as lines of control of the same execution."""

from __future__ import annotations

from json import dumps
from typing import TYPE_CHECKING, Any

from batuta.workflow.asl.env import ITEM_WORK, Env
from batuta.workflow.asl.errors import QUERY_EVALUATION_ERROR, RUNTIME, StateFailed
from batuta.workflow.asl.paths import unexpected
from batuta.workflow.asl.scope import Join, Scope
from batuta.workflow.asl.states.node import Node, States, Value, number
from batuta.workflow.asl.states.simple import kind_of
from batuta.workflow.asl.template import jsonata, query

if TYPE_CHECKING:
    from batuta.workflow.asl.execution import Execution


class MapFields(Node):
    """What inline and distributed Map states share: items, selector, limits."""

    retriable = True

    def __init__(self, name: str, value: Value, language: str, states: States) -> None:
        super().__init__(name, value, language)
        self.states = states
        self.selector = self._template("ItemSelector", "Parameters")
        self.result_selector = None if self.jsonata else self._template("ResultSelector")
        self.items = jsonata("Items", value["Items"]) if "Items" in value else None
        path = value.get("ItemsPath", "$")
        self.items_path = None if self.jsonata or path == "$" else query("ItemsPath", path)
        self.concurrency = number("MaxConcurrency", value, self.jsonata)

    def items_of(self, env: Env, root: Any) -> list[Any]:
        """The items. Raises `StateFailed` for something else than a list."""
        if self.items is not None:
            items = self.items(None, env)
            if not isinstance(items, list):
                raise self._unexpected(items)
            return items
        items = root if self.items_path is None else self.items_path(root, env)
        if isinstance(items, list):
            return items
        if self.jsonata:
            text = (
                f"Map state input must be an array but was: {dumps(items, separators=(',', ':'))}"
            )
            raise StateFailed(QUERY_EVALUATION_ERROR, text)
        where = self.value.get("ItemsPath", "$")
        if where.startswith("$$"):
            where = where[1:]  # the service shows a path into the context object so
        raise StateFailed(RUNTIME, f'Reference path "{where}" must point to array.')

    def _unexpected(self, items: Any) -> StateFailed:
        shown = dumps(items, separators=(",", ":"))
        return unexpected("Items", self.value["Items"], "array", kind_of(items), shown)

    def at_once(self, env: Env, root: Any) -> int:
        """How many items at once; 0: as many as there are."""
        if self.concurrency is None:
            return 0
        value, path = self.concurrency(root, env)
        if isinstance(value, bool) or not isinstance(value, int):
            shown = value if isinstance(value, str) else dumps(value, separators=(",", ":"))
            raise StateFailed(
                RUNTIME if path else QUERY_EVALUATION_ERROR,
                f'The MaxConcurrencyPath field refers to value "{shown}" which is not a valid '
                f"integer: {path}"
                if path
                else f"MaxConcurrency is not an integer: {shown}",
            )
        if value < 0:
            raise StateFailed(RUNTIME, "MaxConcurrency cannot be negative.")
        return value

    def ended(self, execution: Execution, scope: Scope, result: Any) -> None:
        """All items are done: put the results into the output."""
        env = self.env(execution, scope)
        try:
            if self.result_selector is not None:
                result = self.result_selector(result, env)
            env.result = result
            self.leave(execution, scope, env, result, self.next)
        except StateFailed as failed:
            self.failed(execution, scope, failed)

    def note_failed(self, execution: Execution, scope: Scope) -> None:
        execution.note(scope, "MapStateFailed")


class Items:
    """Where an inline Map stands: its items, the next one to begin, and what they see."""

    __slots__ = ("at_once", "items", "key", "next", "root")

    def __init__(self, items: list[Any], at_once: int, root: Any, key: str) -> None:
        self.items = items
        self.at_once = at_once or len(items)
        self.root = root
        self.key = key
        self.next = 0


class InlineMap(MapFields):
    """A line of control for each item, so many at once."""

    def run(self, execution: Execution, scope: Scope) -> None:
        env = self.env(execution, scope)
        root = self.effective(env)
        items = self.items_of(env, root)
        at_once = self.at_once(env, root)
        execution.allowance.spend(ITEM_WORK * len(items))
        execution.note(scope, "MapStateStarted", {"length": len(items)})
        join = scope.below = Join(self, scope, len(items))
        join.state = Items(items, at_once, root, scope.key())
        if not items:
            self._all_ended(execution, join)
            return
        self._fill(execution, join)

    def _fill(self, execution: Execution, join: Join) -> None:
        """Begin items while there is room."""
        state: Items = join.state
        while state.next < len(state.items) and len(join.children) < state.at_once:
            self._begin(execution, join, state, state.next)
            if join.scope.below is not join:
                return  # an item could not even begin, and the state failed by it
            state.next += 1

    def _begin(self, execution: Execution, join: Join, state: Items, at: int) -> None:
        scope = join.scope
        item = state.items[at]
        child = Scope(
            self.states, item, scope.variables, f"{state.key}.{at}.", scope.last, join, at
        )
        child.item = at, item
        execution.note(child, "MapIterationStarted", {"index": at, "name": self.name})
        join.children[at] = child
        if self.selector is not None:
            scope.item = child.item
            try:
                child.input = self.selector(state.root, self.env(execution, scope))
            except StateFailed as failed:
                scope.below = None
                self.failed(execution, scope, failed)
                return
            finally:
                scope.item = None
        execution.ready.append(child)

    def child_ended(self, execution: Execution, join: Join, child: Scope, output: Any) -> None:
        join.results[child.index] = output
        del join.children[child.index]
        join.left -= 1
        details = {"index": child.index, "name": self.name}
        at = execution.aside(child, "MapIterationSucceeded", details)
        if join.left:
            join.scope.last = child.last
            self._fill(execution, join)
            return
        join.scope.last = at
        self._all_ended(execution, join)

    def _all_ended(self, execution: Execution, join: Join) -> None:
        scope = join.scope
        scope.below = None
        execution.aside(scope, "MapStateSucceeded")
        self.ended(execution, scope, join.results)

    def child_failed(
        self, execution: Execution, join: Join, child: Scope, error: str | None, cause: str | None
    ) -> None:
        scope = join.scope
        scope.last = child.last
        join.children.pop(child.index, None)
        details = {"index": child.index, "name": self.name}
        execution.aside(child, "MapIterationFailed", details)
        join.stopped.append(child)
        execution.stop(join, noted=True, note="MapIterationAborted")
        self.recover(execution, scope, error, cause)

    def resume(self, execution: Execution, join: Join) -> None:
        """A redrive has taken up the items that had not ended: begin those that never began."""
        self._fill(execution, join)
