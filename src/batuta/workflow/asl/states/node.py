"""What all states share: being entered, their input and output, failing, being left."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from batuta.workflow.asl.context import context_of
from batuta.workflow.asl.env import STATE_WORK, Env
from batuta.workflow.asl.errors import QUERY_EVALUATION_ERROR, RUNTIME, StateFailed
from batuta.workflow.asl.recovery import Catcher, Retrier, first_match
from batuta.workflow.asl.size import within
from batuta.workflow.asl.template import Evaluator, jsonata, payload, query, result_path

if TYPE_CHECKING:
    from batuta.workflow.asl.execution import Execution
    from batuta.workflow.asl.scope import Join, Scope

Value = Mapping[str, Any]
NUMBER = re.compile(r"-?\d+(\.\d+)?")
FIELD = re.compile(r"specified for the field '([^']+)'")


class States:
    """The states of one flow: of a machine, a branch, an item processor."""

    __slots__ = ("first", "nodes")

    def __init__(self, start: str, nodes: dict[str, Node]) -> None:
        self.nodes = nodes
        self.first = nodes[start]


class Node:
    """One state, made ready to run.

    Parameters
    ----------
    name: the state's. value: its fields. language: `JSONPath` or `JSONata`.
    """

    retriable = False

    def __init__(self, name: str, value: Value, language: str) -> None:
        self.name = name
        self.value = value
        self.type: str = value["Type"]
        self.jsonata = language == "JSONata"
        self.language = language
        self.next: str | None = value.get("Next")
        self.entered_type = f"{self.type}StateEntered"
        self.exited_type = f"{self.type}StateExited"
        self.input_path = self._path("InputPath")
        self.output_path = self._path("OutputPath")
        self.assign = self._template("Assign")
        self.output = jsonata("Output", value["Output"]) if "Output" in value else None
        self.retriers = [Retrier(each) for each in value.get("Retry") or ()]
        self.catchers = [Catcher(each, self.jsonata) for each in value.get("Catch") or ()]
        where = value.get("ResultPath", "$")
        self.drops_result = where is None
        self.result_path = (
            None if self.jsonata or where is None or where == "$" else result_path(where)
        )
        self.joins = self.result_path is not None or self.type in ("Map", "Parallel")
        self.plain = not (
            self.input_path or self.output_path or self.assign or self.output
            or self.result_path or self.drops_result
        )  # fmt: skip

    # -- fields ----------------------------------------------------------------------------

    def _path(self, field: str) -> Evaluator | None:
        """A path field; None where it changes nothing."""
        if self.jsonata or field not in self.value:
            return None
        path = self.value[field]
        if path is None:
            return _nothing
        return None if path == "$" else query(field, path)

    def template(self, field: str, value: Any) -> Evaluator:
        """A template of this state's query language."""
        return jsonata(field, value) if self.jsonata else payload(field, value)

    def _template(self, *fields: str) -> Evaluator | None:
        for field in fields:
            if field in self.value:
                return self.template(field, self.value[field])
        return None

    def env(self, execution: Execution, scope: Scope) -> Env:
        """The surroundings of this state's expressions."""
        return Env(
            scope.input, lambda: context_of(execution, scope), scope.variables,
            execution.draw, execution.now, execution.allowance,
        )  # fmt: skip

    def effective(self, env: Env) -> Any:
        """The input after InputPath."""
        return env.input if self.input_path is None else self.input_path(env.input, env)

    # -- life ------------------------------------------------------------------------------

    def step(self, execution: Execution, scope: Scope) -> None:
        """Enter the state, then run it; between the two, others that are ready have their turn."""
        if scope.fresh:
            scope.fresh = False
            execution.events += 1
            at = execution.events
            if execution.recorder is not None:
                details = {"name": self.name, "input": scope.input}
                execution.recorder(at, scope.last, self.entered_type, execution.now, details)
            scope.before = scope.last
            scope.last = scope.entered = at
            scope.entered_at = execution.now
            if execution.ready:
                execution.ready.append(scope)
                return
        try:
            execution.allowance.spend(STATE_WORK)
            self.run(execution, scope)
        except StateFailed as failed:
            self.failed(execution, scope, failed)

    def run(self, execution: Execution, scope: Scope) -> None:
        """Do what the state is for. Raises `StateFailed`."""
        raise NotImplementedError

    def leave(
        self, execution: Execution, scope: Scope, env: Env, result: Any, onward: str | None
    ) -> None:
        """Put the result into the output, assign variables, go on. Raises `StateFailed`."""
        assigned: Any = None
        if self.jsonata:
            output = result if self.output is None else self.output(None, env)
            if self.assign is not None:
                assigned = self.assign(None, env)
        else:
            if self.assign is not None:
                assigned = self.assign(result, env)
            output = result
            if self.drops_result:
                output = env.input
            elif self.result_path is not None:
                output = self.result_path(env.input, result)
            if self.joins:
                within(output, "ResultPath", env.allowance)
            if self.output_path is not None:
                output = self.output_path(output, env)
        self.exit(execution, scope, output, assigned, onward)

    def exit(
        self,
        execution: Execution,
        scope: Scope,
        output: Any,
        assigned: Any,
        onward: str | None,
    ) -> None:
        """The state is left with this output."""
        execution.events += 1
        at = execution.events
        if execution.recorder is not None:
            details = {"name": self.name, "output": output}
            if assigned:
                details["assignedVariables"] = assigned
            execution.recorder(at, scope.last, self.exited_type, execution.now, details)
        scope.last = at
        if assigned:
            scope.variables = {**scope.variables, **assigned}
        if onward is None:
            execution.finish(scope, output)
            return
        if scope.retries is not None:
            scope.retries, scope.retried = None, 0
            scope.redo = None
        scope.token = None
        scope.node = scope.states.nodes[onward]
        scope.input = output
        scope.fresh = True
        execution.transitions += 1
        execution.ready.append(scope)

    # -- failing ---------------------------------------------------------------------------

    def failed(self, execution: Execution, scope: Scope, failed: StateFailed) -> None:
        """One of its expressions, or its input, is wrong."""
        cause = (
            f"An error occurred while executing the state '{self.name}' (entered at the event id "
            f"#{scope.entered}). {failed.cause}"
        )
        if failed.error == QUERY_EVALUATION_ERROR:
            details = {"cause": cause, "error": failed.error, "state": self.name}
            location = failed.location or _location(failed.cause)
            if location is not None:
                details["location"] = location
            if failed.location is None or FIELD.search(failed.cause or ""):
                scope.last = scope.before  # the expression itself failed, not what it gave
            execution.note(scope, "EvaluationFailed", details)
        self.recover(execution, scope, failed.error, cause)

    def recover(
        self, execution: Execution, scope: Scope, error: str | None, cause: str | None
    ) -> None:
        """After a failure: try again, go on with a catcher, or fail the line of control."""
        if error == RUNTIME:
            execution.fail(scope, error, cause)
            return
        at = first_match(self.retriers, error, self.type)
        if at is not None:
            delay = self.retriers[at].delay(scope, at, execution.draw)
            if delay is not None:
                execution.sleep(scope, delay, again)
                return
        self.note_failed(execution, scope)
        at = first_match(self.catchers, error, self.type)
        if at is None:
            execution.fail(scope, error, cause)
            return
        catcher = self.catchers[at]
        env = self.env(execution, scope)
        env.error_output = {"Error": error, "Cause": cause}
        try:
            output, assigned = catcher.output(env)
        except StateFailed as failed:
            text = (
                f"An error occurred while executing the state '{self.name}' (entered at the "
                f"event id #{scope.entered}). {failed.cause}"
            )
            execution.fail(scope, failed.error, text)
            return
        scope.redo = None
        self.exit(execution, scope, output, assigned, catcher.next)

    def note_failed(self, execution: Execution, scope: Scope) -> None:
        """Write into the history that the state failed, where its type has such an event."""

    def resume(self, execution: Execution, join: Join) -> None:
        """A redrive has taken up what had not ended: begin what never began."""
        raise NotImplementedError

    def child_ended(self, execution: Execution, join: Join, child: Scope, output: Any) -> None:
        """A line of control that this state began has ended."""
        raise NotImplementedError

    def child_failed(
        self, execution: Execution, join: Join, child: Scope, error: str | None, cause: str | None
    ) -> None:
        """A line of control that this state began has failed."""
        raise NotImplementedError


def again(execution: Execution, scope: Scope, value: Any, failure: Any) -> None:
    """A retrier's delay has passed: do it again."""
    scope.redo = None
    execution.ready.append(scope)


def number(
    field: str, value: Value, jsonata_language: bool
) -> Callable[[Any, Env], tuple[Any, str | None]] | None:
    """A numeric field, `X` or `XPath`: gives the value and the path it came from.

    In JSONata the field may be an expression.
    """
    if field in value:
        constant = value[field]
        if jsonata_language and isinstance(constant, str):
            evaluate = jsonata(field, constant)
            return lambda root, env: (evaluate(root, env), None)
        return lambda root, env: (constant, None)
    path = value.get(field + "Path")
    if path is None or jsonata_language:
        return None
    find = query(field + "Path", path)
    return lambda root, env: (_numeric(find(root, env)), path)


def _numeric(value: Any) -> Any:
    """A path may lead to a number that is written as text."""
    if isinstance(value, str) and NUMBER.fullmatch(value):
        return float(value) if "." in value else int(value)
    return value


def _nothing(root: Any, env: Env) -> Any:
    return {}


def _location(cause: str | None) -> str | None:
    found = FIELD.search(cause or "")
    return found.group(1) if found else None
