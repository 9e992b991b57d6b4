"""Map, distributed: a child execution for each item or batch, items from a list or a reader."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from json import dumps
from typing import TYPE_CHECKING, Any, cast

from batuta.workflow.ask import Call, ChildCall
from batuta.workflow.asl.context import context_of
from batuta.workflow.asl.env import Env
from batuta.workflow.asl.errors import (
    EXCEED_TOLERATED_FAILURE_THRESHOLD,
    ITEM_READER_FAILED,
    QUERY_EVALUATION_ERROR,
    RESULT_WRITER_FAILED,
    RUNTIME,
    StateFailed,
)
from batuta.workflow.asl.scope import Join
from batuta.workflow.asl.states.inline_map import MapFields
from batuta.workflow.asl.states.node import States, Value, number
from batuta.workflow.asl.states.task import TaskStep, error_of

if TYPE_CHECKING:
    from batuta.workflow.asl.execution import Execution
    from batuta.workflow.asl.scope import Scope

AT_ONCE = 1000
PAGE = 1000
"""How many items a reader gives at a time; so many are in memory beside those that run."""


class MapRun:
    """A distributed Map that is under way: its counts, limits, and the items that are left.

    Parameters
    ----------
    arn: what the API knows it by. key: of its asking. root: what its selector sees as `$`.
    """

    def __init__(self, arn: str, key: str, root: Any, at_once: int) -> None:
        self.arn = arn
        self.key = key
        self.root = root
        self.at_once = at_once
        self.tolerated_count: int | None = None
        self.tolerated_percentage: float | None = None
        self.items: deque[Any] = deque()
        self.cursor: Any = None
        self.reading = False
        self.read = 0
        self.taken = 0
        self.begun = 0
        self.running: dict[int, Any] = {}
        self.results: dict[int, Any] = {}
        self.failures: dict[int, tuple[str | None, str | None]] = {}
        self.inputs: dict[int, Any] = {}
        self.retry: list[int] = []
        self.started = 0
        self.stopped = 0
        self.status = "RUNNING"
        self.details: Any = None

    @property
    def exceeded(self) -> bool:
        """Whether more failed than is tolerated."""
        failed = len(self.failures)
        if not failed:
            return False
        if self.tolerated_count is None and self.tolerated_percentage is None:
            return True
        if self.tolerated_count is not None and failed > self.tolerated_count:
            return True
        share = 100.0 * failed / max(self.begun, 1)
        return self.tolerated_percentage is not None and share > self.tolerated_percentage


class Batcher:
    """ItemBatcher: several items for one child execution."""

    def __init__(self, value: Value, node: MapFields) -> None:
        self.most = number("MaxItemsPerBatch", value, node.jsonata)
        self.bytes = number("MaxInputBytesPerBatch", value, node.jsonata)
        self.input = None
        if "BatchInput" in value:
            self.input = node.template("BatchInput", value["BatchInput"])


class DistributedMap(MapFields):
    """Begins child executions, so many at once, and gathers what they put out."""

    def __init__(
        self, name: str, value: Value, language: str, states: States, path: tuple[str, ...]
    ) -> None:
        super().__init__(name, value, language, states)
        self.path = path
        processor = value.get("ItemProcessor") or value["Iterator"]
        config = processor.get("ProcessorConfig", {})
        self.execution_type: str = config.get("ExecutionType", "STANDARD")
        self.label: str = value.get("Label") or name
        self.count = number("ToleratedFailureCount", value, self.jsonata)
        self.percentage = number("ToleratedFailurePercentage", value, self.jsonata)
        self.reader = value.get("ItemReader")
        self.reader_input = self._source(self.reader)
        config = (self.reader or {}).get("ReaderConfig", {})
        self.max_items = number("MaxItems", config, self.jsonata)
        self.writer = value.get("ResultWriter")
        self.writer_input = self._source(self.writer)
        self.batcher = Batcher(value["ItemBatcher"], self) if "ItemBatcher" in value else None

    def _source(self, value: Value | None) -> Callable[[Any, Env], Any] | None:
        for field in ("Arguments", "Parameters"):
            if value is not None and field in value:
                return self.template(field, value[field])
        return None

    # -- beginning -------------------------------------------------------------------------

    def run(self, execution: Execution, scope: Scope) -> None:
        env = self.env(execution, scope)
        root = self.effective(env)
        items = None if self.reader is not None else self.items_of(env, root)
        at_once = self.at_once(env, root) or AT_ONCE
        length = 0 if items is None else len(items)
        if self.batcher is not None and items is not None:
            length = len(items)
        execution.note(scope, "MapStateStarted", {"length": length})
        key = scope.key()
        machine, _, name = execution.run.partition(":")
        arn = execution.workflow.place.map_run(machine, self.label, f"{name}/{key}")
        run = MapRun(arn, key, root, at_once)
        run.started = execution.now
        self.tolerated(run, root, env)
        execution.map_runs[arn] = run
        join = scope.below = Join(self, scope, 0)
        join.state = run
        execution.note(scope, "MapRunStarted", {"mapRunArn": arn})
        if items is not None:
            run.items.extend(items)
            run.read = len(items)
            self._fill(execution, join)
            return
        run.reading = True
        self._read(execution, join, env)

    def tolerated(self, run: MapRun, root: Any, env: Env) -> None:
        if self.count is not None:
            count = self._amount("ToleratedFailureCount", self.count, root, env, "integer")
            if count < 0:
                raise StateFailed(RUNTIME, "ToleratedFailureCount cannot be negative.")
            run.tolerated_count = int(count)
        if self.percentage is not None:
            share = self._amount("ToleratedFailurePercentage", self.percentage, root, env, "float")
            if not 0 <= share <= 100:
                text = "ToleratedFailurePercentage must be between 0 and 100."
                raise StateFailed(RUNTIME, text)
            run.tolerated_percentage = share

    def _amount(self, field: str, evaluate: Any, root: Any, env: Env, kind: str) -> float:
        value, path = evaluate(root, env)
        wanted: tuple[type, ...] = (int,) if kind == "integer" else (int, float)
        if isinstance(value, bool) or not isinstance(value, wanted):
            shown = value if isinstance(value, str) else dumps(value, separators=(",", ":"))
            if path is None:
                text = f"{field} is not a valid {kind}: {shown}"
                raise StateFailed(QUERY_EVALUATION_ERROR, text, field)
            article = f'{field}Path field refers to value "{shown}" which is not a valid {kind}'
            raise StateFailed(RUNTIME, f"The {article}: {path}")
        return cast(float, value)

    # -- items -----------------------------------------------------------------------------

    def _read(self, execution: Execution, join: Join, env: Env | None = None) -> None:
        """Ask the reader for the next page of items."""
        run: MapRun = join.state
        scope = join.scope
        env = env or self.env(execution, scope)
        assert self.reader is not None
        try:
            limit = self._max_items(run, env)
        except StateFailed as failed:
            self._broke(execution, join, failed.error, failed.cause)
            return
        source = None if self.reader_input is None else self.reader_input(run.root, env)
        reader = {
            "Resource": self.reader["Resource"],
            "ReaderConfig": self.reader.get("ReaderConfig", {}),
            "Parameters": source,
        }
        page = PAGE if limit is None else min(PAGE, limit - run.read)
        call: Call[Any] = Call(cast(Any, TaskStep("items", self.name)), (), {})
        call.data = {"reader": reader, "cursor": run.cursor, "limit": page}
        run.reading = True
        execution.ask(scope, call, self._page)

    def _max_items(self, run: MapRun, env: Env) -> int | None:
        if self.max_items is None:
            return None
        value, _ = self.max_items(run.root, env)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise StateFailed(ITEM_READER_FAILED, "field MaxItems must be positive")
        return min(value, 100_000_000) or None

    def _page(self, execution: Execution, scope: Scope, value: Any, failure: Any) -> None:
        join = scope.below
        assert join is not None
        run: MapRun = join.state
        run.reading = False
        if failure is not None:
            self._broke(execution, join, *error_of(failure))
            return
        run.items.extend(value["items"])
        run.read += len(value["items"])
        run.cursor = value.get("next")
        limit = self._max_items(run, self.env(execution, scope))
        if limit is not None and run.read >= limit:
            run.cursor = None
        self._fill(execution, join)

    def _fill(self, execution: Execution, join: Join) -> None:
        """Begin child executions while there is room; read on where few items are left."""
        run: MapRun = join.state
        try:
            while len(run.running) < run.at_once:
                if run.retry:
                    at = run.retry.pop()
                    self._begin(execution, join, run, at, run.inputs[at])
                    continue
                if not run.items or (self._wants_more(run) and run.reading):
                    break
                at = run.begun
                run.begun += 1
                self._begin(execution, join, run, at, self._next_input(execution, join, run))
        except StateFailed as failed:
            self._broke(execution, join, failed.error, failed.cause, wrong=True)
            return
        if run.cursor is not None and not run.reading and len(run.items) < PAGE // 2:
            self._read(execution, join)
        if not run.running and not run.items and not run.reading:
            self._all_ended(execution, join)

    def _wants_more(self, run: MapRun) -> bool:
        """Whether a batch cannot be filled from what was read so far."""
        return self.batcher is not None and run.cursor is not None

    def _next_input(self, execution: Execution, join: Join, run: MapRun) -> Any:
        scope = join.scope
        env = self.env(execution, scope)
        if self.batcher is None:
            return next(self._selected(execution, scope, run))
        most = _limit(self.batcher.most, run.root, env)
        size = _limit(self.batcher.bytes, run.root, env)
        items: list[Any] = []
        used = 0
        while run.items and (most is None or len(items) < most):
            item = next(self._selected(execution, scope, run))
            if size is not None:
                used += len(dumps(item))
                if items and used > size:
                    run.items.appendleft(item)
                    run.taken -= 1
                    break
            items.append(item)
        batch: dict[str, Any] = {}
        if self.batcher.input is not None:
            batch["BatchInput"] = self.batcher.input(run.root, env)
        batch["Items"] = items
        return batch

    def _selected(self, execution: Execution, scope: Scope, run: MapRun) -> Iterator[Any]:
        item = run.items.popleft()
        at = run.taken
        run.taken += 1
        if self.selector is None:
            yield item
            return
        scope.item = at, item
        env = Env(
            scope.input, lambda: context_of(execution, scope), scope.variables, execution.draw,
            execution.now,
        )  # fmt: skip
        try:
            yield self.selector(run.root, env)
        finally:
            scope.item = None

    # -- children --------------------------------------------------------------------------

    def _begin(self, execution: Execution, join: Join, run: MapRun, at: int, input: Any) -> None:
        child = execution.workflow.child(self, run.arn)
        options = {"machine": child.begun(None)}
        ask: ChildCall[Any] = ChildCall(cast(Any, child), [input], {}, options=options)
        run.running[at] = None
        run.inputs[at] = input
        redone = f"r{execution.redrives}" if execution.redrives else ""
        execution.ask(join.scope, ask, _Ended(self, join, at), f"{run.key}.{at}{redone}")

    def child_answered(
        self, execution: Execution, join: Join, at: int, value: Any, failure: Any
    ) -> None:
        """A child execution has ended."""
        run: MapRun = join.state
        run.running.pop(at, None)
        if failure is None:
            run.results[at] = value
            if self.writer is None:
                run.inputs.pop(at, None)
        else:
            run.failures[at] = error_of(failure)
            if run.exceeded:
                text = "The specified tolerated failure threshold was exceeded"
                self._broke(execution, join, EXCEED_TOLERATED_FAILURE_THRESHOLD, text)
                return
        self._fill(execution, join)

    def changed(self, execution: Execution, run: MapRun, value: Value) -> None:
        """People changed the limits of the map run while it runs."""
        if "maxConcurrency" in value:
            run.at_once = value["maxConcurrency"] or AT_ONCE
        if "toleratedFailureCount" in value:
            run.tolerated_count = value["toleratedFailureCount"]
        if "toleratedFailurePercentage" in value:
            run.tolerated_percentage = value["toleratedFailurePercentage"]
        join = execution.join_of(run)
        if join is not None:
            self._fill(execution, join)

    # -- ends ------------------------------------------------------------------------------

    def _all_ended(self, execution: Execution, join: Join) -> None:
        run: MapRun = join.state
        results = [run.results[at] for at in sorted(run.results)]
        if self.writer is None:
            self._succeeded(execution, join, results)
            return
        env = self.env(execution, join.scope)
        call: Call[Any] = Call(cast(Any, TaskStep("results", self.name)), (), {})
        call.data = {
            "writer": {
                "Resource": self.writer.get("Resource"),
                "WriterConfig": self.writer.get("WriterConfig", {}),
                "Parameters": self.writer_input(run.root, env) if self.writer_input else {},
            },
            "map_run": run.arn,
            "results": [self._told(execution, run, at) for at in range(run.begun)],
        }
        execution.ask(join.scope, call, self._written)

    def _told(self, execution: Execution, run: MapRun, at: int) -> dict[str, Any]:
        """A child execution as the writer's files have it."""
        id = f"{execution.run}/{run.key}.{at}"
        place = execution.workflow.place
        told: dict[str, Any] = {
            "ExecutionArn": place.execution(id, self.execution_type, self.label),
            "Input": dumps(run.inputs.get(at), separators=(",", ":")),
            "Name": id.partition(":")[2],
            "StateMachineArn": f"{place.machine(id.partition(':')[0])}/{self.label}",
        }
        if at in run.results:
            output = dumps(run.results[at], separators=(",", ":"))
            return {**told, "Status": "SUCCEEDED", "Output": output}
        error, cause = run.failures.get(at, (None, None))
        return {**told, "Status": "FAILED", "Error": error, "Cause": cause}

    def _written(self, execution: Execution, scope: Scope, value: Any, failure: Any) -> None:
        join = scope.below
        assert join is not None
        if failure is not None:
            error, cause = error_of(failure)
            self._broke(execution, join, error or RESULT_WRITER_FAILED, cause)
            return
        run: MapRun = join.state
        result = value if isinstance(value, list) else {
            "MapRunArn": run.arn, "ResultWriterDetails": value,
        }  # fmt: skip
        self._succeeded(execution, join, result)

    def _succeeded(self, execution: Execution, join: Join, result: Any) -> None:
        run: MapRun = join.state
        run.status, run.stopped = "SUCCEEDED", execution.now
        scope = join.scope
        scope.below = None
        ended = execution.aside(scope, "MapRunSucceeded")
        execution.aside(scope, "MapStateSucceeded", None, ended)
        # The service refers back to one or the other, by what stood before the state.
        visited = scope.visited = scope.visited or set()
        if self.batcher is None and (scope.before == 0 or self.name in visited):
            scope.last = ended
        visited.add(self.name)
        self.ended(execution, scope, result)

    def _broke(
        self,
        execution: Execution,
        join: Join,
        error: str | None,
        cause: str | None,
        *,
        wrong: bool = False,
    ) -> None:
        """The map run failed: stop what still runs."""
        run: MapRun = join.state
        run.status, run.stopped = "FAILED", execution.now
        scope = join.scope
        run.retry = [*run.running, *run.failures]
        run.running.clear()
        run.failures.clear()
        run.reading = False
        execution.stop_asking(scope)
        scope.below, scope.redo = None, join
        details = {
            name: text for name, text in (("cause", cause), ("error", error)) if text is not None
        }
        execution.note(scope, "MapRunFailed", details)
        if wrong:
            self.failed(execution, scope, StateFailed(error, cause))
        else:
            self.recover(execution, scope, error, cause)

    def resume(self, execution: Execution, join: Join) -> None:
        """A redrive: begin the child executions that had not succeeded, and those left."""
        run: MapRun = join.state
        run.status = "RUNNING"
        if not run.retry:
            run.retry = list(run.running)
            run.running.clear()
        execution.note(join.scope, "MapRunRedriven", {"mapRunArn": run.arn})
        self._fill(execution, join)


class _Ended:
    """What waits for one child execution."""

    __slots__ = ("at", "join", "node")

    def __init__(self, node: DistributedMap, join: Join, at: int) -> None:
        self.node = node
        self.join = join
        self.at = at

    def __call__(self, execution: Execution, scope: Scope, value: Any, failure: Any) -> None:
        if scope.below is self.join:
            self.node.child_answered(execution, self.join, self.at, value, failure)


def _limit(evaluate: Any, root: Any, env: Env) -> int | None:
    if evaluate is None:
        return None
    value, path = evaluate(root, env)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise StateFailed(RUNTIME, f"The batch limit is not a positive integer: {path or value}")
    return value
