"""One state alone, as TestState runs it: every step of its input and output is written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from batuta.workflow.ask import Sleep
from batuta.workflow.asl.build import build
from batuta.workflow.asl.env import Env
from batuta.workflow.asl.errors import (
    EXCEED_TOLERATED_FAILURE_THRESHOLD,
    RUNTIME,
    StateFailed,
)
from batuta.workflow.asl.execution import Execution
from batuta.workflow.asl.machine import StateMachine
from batuta.workflow.asl.recovery import first_match
from batuta.workflow.asl.scope import Scope
from batuta.workflow.asl.states.distributed import DistributedMap, MapRun
from batuta.workflow.asl.states.inline_map import MapFields
from batuta.workflow.asl.states.node import States
from batuta.workflow.asl.states.parallel import Parallel
from batuta.workflow.asl.states.simple import Pass
from batuta.workflow.asl.states.task import Task

NAME = "StateName"
EXCEEDED = "The specified tolerated failure threshold was exceeded"
SECOND = 1_000_000_000
Value = Mapping[str, Any]


class Elsewhere:
    """Where a state goes on: outside of what is tested."""

    type = "Pass"
    retriable = False

    def __init__(self, name: str) -> None:
        self.name = name

    def step(self, execution: Execution, scope: Scope) -> None:
        """Nothing happens there."""


class Nodes(dict[str, Any]):
    """The tested state; every other name is somewhere else."""

    def __missing__(self, name: str) -> Elsewhere:
        return Elsewhere(name)


class Single:
    """A test of one state.

    Parameters
    ----------
    value: the state's fields. language: the query language around it.
    input: the state's. context: what `$$` is; None: that of an execution made for this.
    about: of that execution (`Execution`, `StateMachine`). variables: by name.
    retries: how often each retrier was used before. now: ns since 1970.
    failures: how many items of a Map failed.

    After `begin`, and `succeed` or `fail` where `wanted` is set, `status` is `SUCCEEDED`,
    `FAILED`, `RETRIABLE` or `CAUGHT_ERROR`. Raises `Malformed` for an expression that is none.
    """

    def __init__(
        self,
        value: Value,
        language: str,
        input: Any,
        *,
        about: dict[str, Any],
        context: dict[str, Any] | None = None,
        variables: Mapping[str, Any] | None = None,
        retries: int = 0,
        failures: int | None = None,
        now: int = 0,
    ) -> None:
        made = build({"StartAt": NAME, "States": {NAME: value}}, language)
        self.node = made.nodes[NAME]
        states = States(NAME, Nodes({NAME: self.node}))
        machine = StateMachine(NAME, '{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}')
        self.execution = Execution(machine, states, NAME, about, input)
        self.execution.now = now
        self.scope = self.execution.main
        self.scope.fresh, self.scope.entered_at = False, now
        self.scope.variables = dict(variables or {})
        self.scope.retried = retries
        self.context = context
        self.retries = retries
        self.failures = failures
        self.seen: dict[str, Any] = {"input": input}
        if variables:
            self.seen["variables"] = dict(variables)
        self.wanted: Any = None
        self.status = ""
        self.output: Any = None
        self.next: str | None = None
        self.error: str | None = None
        self.cause: str | None = None
        self.node.env = self._env  # type: ignore[method-assign]
        self._root: Any = None

    @property
    def jsonpath(self) -> bool:
        """Whether the state's query language is JSONPath."""
        return not self.node.jsonata

    def _env(self, execution: Execution, scope: Scope) -> Env:
        given = self.context
        env = type(self.node).env(self.node, execution, scope)
        if given is None:
            return env
        return Env(env.input, lambda: given, scope.variables, execution.draw, execution.now)

    def _see(self, name: str, value: Any) -> None:
        if self.jsonpath:
            self.seen[name] = value

    # -- beginning -------------------------------------------------------------------------

    def begin(self) -> None:
        """Evaluate the input; `wanted` is the input of a task, a Map or a Parallel."""
        node = self.node
        try:
            if isinstance(node, Task):
                self._begin_task(node)
            elif isinstance(node, MapFields):
                self._begin_map(node)
            elif isinstance(node, Parallel):
                self._begin_parallel(node)
            else:
                self._run()
        except StateFailed as failed:
            self.fail(failed.error, failed.cause)

    def _begin_task(self, node: Task) -> None:
        env = self._env(self.execution, self.scope)
        root = node.effective(env)
        self._see("afterInputPath", root)
        input = root if node.parameters is None else node.parameters(root, env)
        if self.jsonpath:
            self.seen["afterParameters"] = input
        elif node.parameters is not None:
            self.seen["afterArguments"] = input
        self.wanted = {"resource": node.value["Resource"], "input": input}

    def _begin_map(self, node: MapFields) -> None:
        env = self._env(self.execution, self.scope)
        root = node.effective(env)
        self._see("afterInputPath", root)
        if "ItemReader" not in node.value:
            items = node.items_of(env, root)
            self._see("afterItemsPath", items)
        self.seen["maxConcurrency"] = node.at_once(env, root)
        if isinstance(node, DistributedMap):
            run = MapRun("", "", root, 0)
            node.tolerated(run, root, env)
            if run.tolerated_count is not None:
                self.seen["toleratedFailureCount"] = run.tolerated_count
            if run.tolerated_percentage is not None:
                self.seen["toleratedFailurePercentage"] = run.tolerated_percentage
        self.wanted = {"input": root}

    def _begin_parallel(self, node: Parallel) -> None:
        env = self._env(self.execution, self.scope)
        root = node.effective(env)
        self.wanted = {"input": root if node.parameters is None else node.parameters(root, env)}

    def _run(self) -> None:
        """A state that needs nothing from the world; a Wait does not wait."""
        node, execution, scope = self.node, self.execution, self.scope
        self._watch_simple()
        if node.type == "Fail":
            execution.fail = self._failed  # type: ignore[method-assign]
        node.run(execution, scope)
        for key, ask in list(execution.wanted.items()):
            if isinstance(ask, Sleep):
                del execution.wanted[key]
                execution.resolve(key, None)
        if not self.status:
            self._left()

    def _watch_simple(self) -> None:
        """Have the evaluators of a simple state tell what they give."""
        node = self.node
        if isinstance(node, Pass) and node.has_result:
            self._see("result", node.result)
            self._see("afterResultSelector", node.result)
            return
        if not self.jsonpath:
            return
        env = self._env(self.execution, self.scope)
        root = self.seen["afterInputPath"] = node.effective(env)
        node.input_path = lambda _root, _env: root
        node.plain = False
        if isinstance(node, Pass):
            result = root if node.parameters is None else node.parameters(root, env)
            node.parameters = lambda _root, _env: result
            self.seen["afterParameters"] = self.seen["afterResultSelector"] = result

    def _failed(self, scope: Scope, error: str | None, cause: str | None) -> None:
        self.fail(error, cause)

    # -- the outcome -----------------------------------------------------------------------

    def succeed(self, result: Any) -> None:
        """The task, or all that a Map or a Parallel began, gave this."""
        node = self.node
        self.wanted = None
        if isinstance(node, MapFields) and self._exceeded(result):
            self.fail(EXCEED_TOLERATED_FAILURE_THRESHOLD, EXCEEDED)
            return
        if isinstance(node, Task):
            self._see("result", result)
        env = self._env(self.execution, self.scope)
        selector: Callable[[Any, Env], Any] | None = None
        if isinstance(node, Task | Parallel):
            selector = node.selector
        elif isinstance(node, MapFields):
            selector = node.result_selector
        try:
            if selector is not None:
                result = selector(result, env)
            self._see("afterResultSelector", result)
            env.result = result
            node.leave(self.execution, self.scope, env, result, node.next)
        except StateFailed as failed:
            self.fail(failed.error, failed.cause)
            return
        self._left(result)

    def _exceeded(self, result: Any) -> bool:
        count = self.seen.get("toleratedFailureCount")
        share = self.seen.get("toleratedFailurePercentage")
        failures = self.failures or 0
        if count is not None and failures > count:
            return True
        total = len(result) if isinstance(result, list) else 0
        return share is not None and failures * 100 > share * max(total, 1)

    def _left(self, result: Any = None) -> None:
        """The state was left: what it puts out, and where it goes on."""
        self.status = "SUCCEEDED"
        went = self.scope.node
        if isinstance(went, Elsewhere):
            self.next, self.output = went.name, self.scope.input
        else:
            self.output = self.execution.result
        if self.jsonpath and self.node.type in ("Pass", "Task", "Parallel", "Map"):
            self._see_result_path(self.seen.get("afterResultSelector", result))

    def _see_result_path(self, result: Any) -> None:
        node, input = self.node, self.scope_input
        if node.drops_result:
            self.seen["afterResultPath"] = input
        elif node.result_path is not None:
            self.seen["afterResultPath"] = node.result_path(input, result)
        else:
            self.seen["afterResultPath"] = result

    @property
    def scope_input(self) -> Any:
        """The state's input, as it came."""
        return self.seen["input"]

    def fail(self, error: str | None, cause: str | None) -> None:
        """The state failed: tried again, caught, or for good."""
        node, scope = self.node, self.scope
        self.wanted = None
        self.error, self.cause = error, cause
        self.status = "FAILED"
        if error == RUNTIME or node.type == "Fail":
            return
        details = self.seen.setdefault("errorDetails", {})
        at = first_match(node.retriers, error, node.type)
        if at is not None:
            scope.retries = {at: self.retries}
            delay = node.retriers[at].delay(scope, at, self.execution.draw)
            details["retryIndex"] = at
            if delay is not None:
                seconds = delay / SECOND
                whole = int(seconds) if seconds == int(seconds) else seconds
                details["retryBackoffIntervalSeconds"] = whole
                self.status = "RETRIABLE"
                return
        self._catch(details)
        if not details:
            del self.seen["errorDetails"]

    def _catch(self, details: dict[str, Any]) -> None:
        node, scope = self.node, self.scope
        scope.retried = self.retries
        at = first_match(node.catchers, self.error, node.type)
        if at is None:
            return
        details.pop("retryIndex", None)
        details["catchIndex"] = at
        env = self._env(self.execution, scope)
        env.error_output = {"Error": self.error, "Cause": self.cause}
        try:
            self.output, _ = node.catchers[at].output(env)
        except StateFailed as failed:
            self.error, self.cause = failed.error, failed.cause
            return
        self.status, self.next = "CAUGHT_ERROR", node.catchers[at].next
