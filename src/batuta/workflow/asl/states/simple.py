"""Pass, Succeed, Fail, Wait and Choice."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from batuta.workflow.asl.choice import rule
from batuta.workflow.asl.context import EPOCH
from batuta.workflow.asl.env import RULE_WORK, Env
from batuta.workflow.asl.errors import (
    NO_CHOICE_MATCHED,
    QUERY_EVALUATION_ERROR,
    RUNTIME,
    StateFailed,
)
from batuta.workflow.asl.intrinsic import compile_intrinsic
from batuta.workflow.asl.states.node import Node, Value, number
from batuta.workflow.asl.template import Evaluator, jsonata, payload, query

if TYPE_CHECKING:
    from batuta.workflow.asl.execution import Execution
    from batuta.workflow.asl.scope import Scope

SECOND = 1_000_000_000
TIMESTAMP = re.compile(
    r"(\d{4}-\d{2}-\d{2})T(\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(Z|[+-]\d{2}:\d{2})"
)


class Pass(Node):
    """Hands its input on, or a result of its own."""

    def __init__(self, name: str, value: Value, language: str) -> None:
        super().__init__(name, value, language)
        self.parameters = self._template("Parameters")
        self.has_result = "Result" in value
        self.result: Any = value.get("Result")

    def run(self, execution: Execution, scope: Scope) -> None:
        if self.plain and self.parameters is None:
            output = self.result if self.has_result else scope.input
            self.exit(execution, scope, output, None, self.next)
            return
        env = self.env(execution, scope)
        result = self.effective(env)
        if self.has_result:
            result = self.result
        elif self.parameters is not None:
            result = self.parameters(result, env)
        self.leave(execution, scope, env, result, self.next)


class Succeed(Node):
    """Ends its line of control."""

    def run(self, execution: Execution, scope: Scope) -> None:
        if self.plain:
            self.exit(execution, scope, scope.input, None, None)
            return
        env = self.env(execution, scope)
        self.leave(execution, scope, env, self.effective(env), None)


class Fail(Node):
    """Fails its line of control; nothing catches it in its own flow."""

    def __init__(self, name: str, value: Value, language: str) -> None:
        super().__init__(name, value, language)
        self.error = self._text("Error")
        self.cause = self._text("Cause")

    def _text(self, field: str) -> Evaluator | None:
        if field in self.value:
            text = self.value[field]
            return jsonata(field, text) if self.jsonata else lambda root, env: text
        path: str | None = self.value.get(field + "Path")
        if path is None:
            return None
        return (
            compile_intrinsic(path) if path.startswith("States.") else query(field + "Path", path)
        )

    def run(self, execution: Execution, scope: Scope) -> None:
        env = self.env(execution, scope)
        error = None if self.error is None else self._said("Error", self.error(env.input, env))
        cause = None if self.cause is None else self._said("Cause", self.cause(env.input, env))
        execution.fail(scope, error, cause)

    def _said(self, field: str, text: Any) -> str:
        if isinstance(text, str):
            return text
        shown = self.value.get(field + "Path")
        if shown is None:
            raise StateFailed(
                QUERY_EVALUATION_ERROR,
                f"The JSONata expression '{_inner(self.value[field])}' specified for the field "
                f"'{field}' returned an unexpected result type. Expected 'string', but was "
                f"'{kind_of(text)}' for value: {text}",
            )
        raise StateFailed(
            RUNTIME, f"The {field}Path field refers to a value that is not a string: {shown}"
        )


class Wait(Node):
    """Lets time pass."""

    def __init__(self, name: str, value: Value, language: str) -> None:
        super().__init__(name, value, language)
        self.seconds = number("Seconds", value, self.jsonata)
        self.timestamp: Evaluator | None = None
        if "Timestamp" in value:
            text = value["Timestamp"]
            self.timestamp = jsonata("Timestamp", text) if self.jsonata else payload("", text)
        elif "TimestampPath" in value:
            self.timestamp = query("TimestampPath", value["TimestampPath"])

    def run(self, execution: Execution, scope: Scope) -> None:
        env = self.env(execution, scope)
        root = self.effective(env)
        if self.seconds is not None:
            delay = self._delay(root, env)
        else:
            assert self.timestamp is not None
            delay = self._until(self.timestamp(root, env)) - execution.now
        if delay <= 0:
            self.leave(execution, scope, env, root, self.next)
        else:
            execution.sleep(scope, delay, _waited)

    def _delay(self, root: Any, env: Env) -> int:
        assert self.seconds is not None
        path = self.value.get("SecondsPath")
        try:
            value, _ = self.seconds(root, env)
        except StateFailed as missing:
            if path is None or missing.error != RUNTIME:
                raise
            raise StateFailed(
                RUNTIME, f"The SecondsPath parameter does not reference an input value: {path}"
            ) from missing
        if isinstance(value, bool) or not isinstance(value, int):
            if path is not None:
                if value is None:
                    text = f"The SecondsPath parameter does not reference an input value: {path}"
                else:
                    text = (
                        "The SecondsPath parameter cannot be parsed as a long value: "
                        f"{path} == {value}"
                    )
                raise StateFailed(RUNTIME, text)
            raise StateFailed(
                QUERY_EVALUATION_ERROR,
                f"The JSONata expression '{_inner(self.value['Seconds'])}' specified for the field "
                f"'Seconds' returned an unexpected result type. Expected 'integer', but was "
                f"'{kind_of(value)}' for value: {value}",
                "Seconds",
            )
        if value < 0:
            if path is not None:
                text = f"The SecondsPath parameter references a negative value: {path} == {value}"
                raise StateFailed(RUNTIME, text)
            raise StateFailed(
                QUERY_EVALUATION_ERROR, f"The Seconds field is negative: {value}", "Seconds"
            )
        return value * SECOND

    def _until(self, text: Any) -> int:
        found = nanoseconds_of(text)
        if found is not None:
            return found
        path = self.value.get("TimestampPath")
        if path is not None:
            raise StateFailed(
                RUNTIME,
                "The TimestampPath parameter does not reference a valid ISO-8601 extended offset "
                f"date-time format string: {path} == {text}",
            )
        raise StateFailed(
            QUERY_EVALUATION_ERROR if self.jsonata else RUNTIME,
            "The Timestamp field cannot be parsed as an ISO-8601 extended offset date-time format "
            f"string: {text}",
            "Timestamp",
        )


def _waited(execution: Execution, scope: Scope, value: Any, failure: Any) -> None:
    node = scope.node
    env = node.env(execution, scope)
    try:
        node.leave(execution, scope, env, node.effective(env), node.next)
    except StateFailed as failed:
        node.failed(execution, scope, failed)


class Choice(Node):
    """Goes on by the first rule that holds."""

    def __init__(self, name: str, value: Value, language: str) -> None:
        super().__init__(name, value, language)
        self.rules = [
            (rule(each, self.jsonata), each["Next"], _Outcome(each, self.jsonata))
            for each in value["Choices"]
        ]
        self.conditions = RULE_WORK * sum(_conditions(each) for each in value["Choices"])
        self.default: str | None = value.get("Default")

    def run(self, execution: Execution, scope: Scope) -> None:
        env = self.env(execution, scope)
        root = self.effective(env)
        env.allowance.spend(self.conditions)
        for holds, onward, outcome in self.rules:
            if holds(root, env):
                outcome.leave(self, execution, scope, env, root, onward)
                return
        if self.default is None:
            raise StateFailed(
                NO_CHOICE_MATCHED,
                "Failed to transition out of the state. The state does not point to a next state.",
            )
        self.leave(execution, scope, env, root, self.default)


def _conditions(rule: Value) -> int:
    """How many comparisons are in a rule."""
    inner = [*rule.get("And", ()), *rule.get("Or", ()), *([rule["Not"]] if "Not" in rule else ())]
    return sum(map(_conditions, inner)) if inner else 1


class _Outcome:
    """What a rule assigns and puts out instead of the state."""

    def __init__(self, value: Value, in_jsonata: bool) -> None:
        make = jsonata if in_jsonata else payload
        self.assign = make("Assign", value["Assign"]) if "Assign" in value else None
        self.output = jsonata("Output", value["Output"]) if "Output" in value else None

    def leave(
        self, node: Choice, execution: Execution, scope: Scope, env: Env, root: Any, onward: str
    ) -> None:
        output = root if self.output is None else self.output(None, env)
        assigned = None if self.assign is None else self.assign(root, env)
        if node.output_path is not None:
            output = node.output_path(output, env)
        node.exit(execution, scope, output, assigned, onward)


def nanoseconds_of(text: Any) -> int | None:
    """A timestamp (RFC 3339 with `T` and an offset) in ns since 1970; None where it is none."""
    found = TIMESTAMP.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    date, time, fraction, zone = found.groups()
    try:
        moment = datetime.fromisoformat(f"{date}T{time}{'+00:00' if zone == 'Z' else zone}")
    except ValueError:
        return None
    whole = (moment - EPOCH) // timedelta(seconds=1)
    return whole * SECOND + int((fraction or "0").ljust(9, "0"))


def kind_of(value: Any) -> str:
    """What a value is in JSON's words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _inner(text: Any) -> str:
    """A JSONata expression without its delimiters."""
    return str(text).removeprefix("{%").removesuffix("%}").strip()
