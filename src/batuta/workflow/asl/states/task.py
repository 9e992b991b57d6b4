"""Task: something done in the world: a step, a function, a service's call, an activity."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import lru_cache
from json import dumps
from typing import TYPE_CHECKING, Any, cast

from batuta.common.retry import NO_RETRY, Retry
from batuta.kernel.errors import TimedOut
from batuta.workflow.ask import Call, SignalWait
from batuta.workflow.asl.arn import token_of
from batuta.workflow.asl.env import Env
from batuta.workflow.asl.errors import (
    DATA_LIMIT_EXCEEDED,
    QUERY_EVALUATION_ERROR,
    RUNTIME,
    TASK_FAILED,
    TIMEOUT,
    StateFailed,
)
from batuta.workflow.asl.resource import Resource, parse
from batuta.workflow.asl.states.node import Node, Value, number
from batuta.workflow.asl.template import payload

if TYPE_CHECKING:
    from batuta.workflow.asl.execution import Execution, Recorded, Then
    from batuta.workflow.asl.scope import Scope

SECOND = 1_000_000_000
DATA_LIMIT = 262_144
TIMEOUTS = ("batuta:TimedOut", "batuta:HeartbeatLost")


class PlainCodec:
    """A task's result is JSON as it stands."""

    @staticmethod
    def decode_result(value: Any) -> Any:
        return value

    decode = encode_result = decode_result


PLAIN = PlainCodec()


class TaskStep:
    """What the kernel wants to know of a task; for it, a step like others."""

    __slots__ = (
        "codec", "heartbeat_s", "kind", "mode", "name", "priority", "queue", "repeatable", "retry",
        "timeout_s", "undo",
    )  # fmt: skip

    def __init__(
        self,
        kind: str,
        name: str,
        timeout_s: float | None = None,
        heartbeat_s: float | None = None,
        repeatable: bool = False,
        queue: str | None = None,
    ) -> None:
        self.kind = kind
        self.name = name
        self.timeout_s = timeout_s
        self.heartbeat_s = heartbeat_s
        self.repeatable = repeatable
        self.mode = "builtin"
        self.codec = PLAIN
        self.retry: Retry = NO_RETRY
        self.undo = None
        self.queue = queue
        self.priority = 0


class JsonCodec:
    """A Python step's codec, but for its result, which stays JSON in the execution."""

    def __init__(self, codec: Any) -> None:
        self.decode_call = codec.decode_call
        self.encode_result = codec.encode_result

    @staticmethod
    def decode_result(value: Any) -> Any:
        return value


class Limits:
    """A task's time limits, evaluated: whole seconds, or None."""

    __slots__ = ("heartbeat", "timeout")

    def __init__(self, timeout: Any, heartbeat: Any) -> None:
        self.timeout: int | None = timeout
        self.heartbeat: int | None = heartbeat

    def told(self) -> dict[str, Any]:
        """As the history has them."""
        found: dict[str, Any] = {}
        if self.timeout is not None:
            found["timeoutInSeconds"] = self.timeout
        if self.heartbeat is not None:
            found["heartbeatInSeconds"] = self.heartbeat
        return found


class Task(Node):
    """Asks a world for something and goes on with the answer."""

    retriable = True

    def __init__(self, name: str, value: Value, language: str) -> None:
        super().__init__(name, value, language)
        self.resource: Resource = parse(value["Resource"])
        self.parameters = self._template("Arguments" if self.jsonata else "Parameters")
        self.selector = None if self.jsonata else self._template("ResultSelector")
        self.credentials = None
        if "Credentials" in value:
            self.credentials = (
                self._template("Credentials")
                if self.jsonata
                else payload("Credentials", value["Credentials"])
            )
        self.timeout = number("TimeoutSeconds", value, self.jsonata)
        self.heartbeat = number("HeartbeatSeconds", value, self.jsonata)
        self.waits = self.resource.pattern == "waitForTaskToken"
        self.words = {
            "resource": self.resource.resource, "resourceType": self.resource.resource_type,
        }  # fmt: skip
        self.queue = queue_of(self.resource)
        self.steps: dict[bool, TaskStep] = {
            express: TaskStep(self.resource.kind, name, repeatable=express, queue=self.queue)
            for express in (False, True)
        }

    # -- asking ----------------------------------------------------------------------------

    def run(self, execution: Execution, scope: Scope) -> None:
        env = self.env(execution, scope)
        waiting = None
        if self.waits:
            waiting = scope.key()
            scope.token = token_of(execution.run, waiting)
        root = self.effective(env)
        input = root if self.parameters is None else self.parameters(root, env)
        limits = self._limits(root, env)
        credentials = None if self.credentials is None else self.credentials(root, env)
        data: dict[str, Any] = {"resource": self.value["Resource"], "input": input}
        if scope.token is not None:
            data["token"] = scope.token
        if credentials is not None:
            data["credentials"] = credentials
        step = self._step(execution, input, limits, data)
        self._scheduled(execution, scope, input, limits, credentials)
        then: Then = answered
        if waiting is not None:
            then = _Submitted(self, waiting, limits, execution.now)
        self.call(execution, scope, step, data, then)

    def call(
        self, execution: Execution, scope: Scope, step: Any, data: dict[str, Any], then: Then
    ) -> None:
        """Ask the world for it."""
        call: Call[Any] = Call(cast(Any, step), (), {})
        call.data = data
        execution.ask(scope, call, then)

    def _step(self, execution: Execution, input: Any, limits: Limits, data: dict[str, Any]) -> Any:
        express = execution.workflow.express
        if self.resource.kind == "function":
            return self._function(execution, input, limits, data)
        data["execution"] = execution.about["Execution"]["Id"]
        if limits.timeout is None and limits.heartbeat is None:
            return self.steps[express]
        heartbeat = None if self.waits else limits.heartbeat
        kind, timeout = self.resource.kind, limits.timeout
        return TaskStep(kind, self.name, timeout, heartbeat, express, self.queue)

    def _function(
        self, execution: Execution, input: Any, limits: Limits, data: dict[str, Any]
    ) -> Any:
        """A step of the project's: its arguments are the members of the input, by name."""
        step = execution.workflow.steps.get(self.resource.action)
        if step is None:
            known = ", ".join(sorted(execution.workflow.steps)) or "none"
            text = f"There is no step `{self.resource.action}`; the project's steps are: {known}."
            raise StateFailed(RUNTIME, text)
        del data["input"], data["resource"]
        data |= arguments_of(step.fn, input)
        step = step.returning(JsonCodec(step.codec))
        if self.retriers:
            step.retry = NO_RETRY  # the state's own Retry stands in its place
        if limits.timeout is not None:
            step.timeout_s = limits.timeout
        if limits.heartbeat is not None:
            step.heartbeat_s = limits.heartbeat
        return step

    def _limits(self, root: Any, env: Env) -> Limits:
        return Limits(
            self._whole("TimeoutSeconds", self.timeout, root, env),
            self._whole("HeartbeatSeconds", self.heartbeat, root, env),
        )

    def _whole(self, field: str, evaluate: Any, root: Any, env: Env) -> int | None:
        if evaluate is None:
            return None
        value, path = evaluate(root, env)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            shown = dumps(value, separators=(",", ":"))
            if path is not None:
                text = f"The {field}Path field refers to value {shown} which is not a valid integer"
                raise StateFailed(RUNTIME, f"{text}: {path}")
            text = f"{field} must be a positive integer, but was: {shown}"
            raise StateFailed(QUERY_EVALUATION_ERROR, text, field)
        return value

    def _scheduled(
        self,
        execution: Execution,
        scope: Scope,
        input: Any,
        limits: Limits,
        credentials: Mapping[str, Any] | None,
    ) -> None:
        """Tell the history that the task was asked for."""
        if execution.recorder is None:
            execution.events += 1 if self.resource.family == "activity" else 2
            scope.last = execution.events
            return
        told: dict[str, Any] = limits.told()
        if credentials is not None:
            told["taskCredentials"] = {"roleArn": credentials.get("RoleArn")}
        family = self.resource.family
        if family == "task":
            told |= {**self.words, "region": execution.workflow.place.region, "parameters": input}
            execution.note(scope, "TaskScheduled", told)
            execution.note(scope, "TaskStarted", dict(self.words))
            return
        told |= {"resource": self.value["Resource"], "input": input}
        if family == "lambda":
            execution.note(scope, "LambdaFunctionScheduled", told)
            execution.note(scope, "LambdaFunctionStarted")
        else:
            execution.note(scope, "ActivityScheduled", told)

    # -- the answer ------------------------------------------------------------------------

    def succeeded(self, execution: Execution, scope: Scope, result: Any) -> None:
        """The task is done: its result becomes the state's output."""
        if (
            execution.workflow.quotas
            and len(dumps(result, ensure_ascii=False).encode()) > DATA_LIMIT
        ):
            text = (
                f"The state/task '{self.value['Resource']}' returned a result with a size "
                "exceeding the maximum number of bytes service limit."
            )
            self.broke(execution, scope, DATA_LIMIT_EXCEEDED, text)
            return
        self._note_end(execution, scope, "Succeeded", {"output": result})
        env = self.env(execution, scope)
        try:
            if self.selector is not None:
                result = self.selector(result, env)
            env.result = result
            self.leave(execution, scope, env, result, self.next)
        except StateFailed as failed:
            self.failed(execution, scope, failed)

    def broke(
        self, execution: Execution, scope: Scope, error: str | None, cause: str | None
    ) -> None:
        """The task failed."""
        told = {name: text for name, text in (("error", error), ("cause", cause)) if text}
        how = "TimedOut" if error == TIMEOUT else "Failed"
        self._note_end(execution, scope, how, told)
        self.recover(execution, scope, error, cause)

    def _note_end(self, execution: Execution, scope: Scope, how: str, told: dict[str, Any]) -> None:
        if execution.recorder is None:
            execution.events += 1
            scope.last = execution.events
            return
        family = self.resource.family
        if family == "task":
            execution.note(scope, f"Task{how}", {**told, **self.words})
        else:
            word = "LambdaFunction" if family == "lambda" else "Activity"
            execution.note(scope, f"{word}{how}", told)

    def started(self, execution: Execution, scope: Scope) -> None:
        """An activity's worker has taken it, which is known only when it has ended."""
        data = {} if execution.cause is None else execution.cause.data
        if "worker" in data:
            worker = data["worker"]
            execution.note(scope, "ActivityStarted", {"workerName": worker} if worker else None)

    def submitted(self, execution: Execution, scope: Scope, output: Any) -> None:
        """A job was begun, or a message with a token was sent."""
        execution.note(scope, "TaskSubmitted", {"output": output, **self.words})


def answered(execution: Execution, scope: Scope, value: Any, failure: Any) -> None:
    """The outcome of a task's command."""
    node = scope.node
    assert isinstance(node, Task)
    if node.resource.family == "activity":
        node.started(execution, scope)
    if failure is not None:
        detail = failure.failure.get("detail") or {}
        if "submitted" in detail:
            node.submitted(execution, scope, detail["submitted"])
        error, cause = error_of(failure)
        if node.resource.family == "activity" and error == RUNTIME:
            node.failed(execution, scope, StateFailed(RUNTIME, cause))
            return
        node.broke(execution, scope, error, cause)
        return
    if node.resource.pattern.startswith("sync") and _is_job(value):
        node.submitted(execution, scope, value["submitted"])
        value = value["output"]
    node.succeeded(execution, scope, value)


class _Submitted:
    """After a call with a task token: wait for what comes back by the token."""

    __slots__ = ("asked", "key", "limits", "node")

    def __init__(self, node: Task, key: str, limits: Limits, asked: int) -> None:
        self.node = node
        self.key = key
        self.limits = limits
        self.asked = asked

    def __call__(self, execution: Execution, scope: Scope, value: Any, failure: Any) -> None:
        if failure is not None:
            self.node.broke(execution, scope, *error_of(failure))
            return
        self.node.submitted(execution, scope, value)
        self.wait(execution, scope)

    def wait(self, execution: Execution, scope: Scope) -> None:
        """Wait for the token's outcome, as long as the limits allow."""
        within = None
        if self.limits.timeout is not None:
            within = self.asked + self.limits.timeout * SECOND - execution.now
        if self.limits.heartbeat is not None:
            heartbeat = self.limits.heartbeat * SECOND
            within = heartbeat if within is None else min(within, heartbeat)
        if within is not None and within <= 0:
            self.node.broke(execution, scope, TIMEOUT, None)
            return
        ask: SignalWait[Any] = SignalWait(f"task:{scope.token}", PLAIN, within)
        execution.ask(scope, ask, self.heard, self.key)

    def heard(self, execution: Execution, scope: Scope, value: Any, failure: Any) -> None:
        """Something came by the token: the outcome, or a sign of life."""
        if isinstance(failure, TimedOut):
            self.node.broke(execution, scope, TIMEOUT, None)
        elif "beat" in value:
            self.key = scope.key()
            self.wait(execution, scope)
        elif "ok" in value:
            self.node.succeeded(execution, scope, value["ok"])
        else:
            self.node.broke(execution, scope, value.get("error"), value.get("cause"))


def queue_of(resource: Resource) -> str | None:
    """The queue of a task that waits for somebody else, maybe for days: it shall take no place of
    those that work. A project may limit these queues like its own."""
    if resource.kind == "activity":
        return "activities"
    return "jobs" if resource.pattern.startswith("sync") else None


def error_of(failure: Recorded) -> tuple[str | None, str | None]:
    """Error name and cause of a recorded failure: exceptions go by their class's name."""
    recorded = failure.failure
    kind: str = recorded.get("type") or ""
    message: str | None = recorded.get("message") or None
    if kind in TIMEOUTS:
        return TIMEOUT, None
    module, colon, name = kind.partition(":")
    if not colon or not module.replace(".", "").replace("_", "").isalnum():
        return kind or None, message
    return name or TASK_FAILED, message


def arguments_of(fn: Any, input: Any) -> dict[str, Any]:
    """How a function is called with a task's input: an object's members by name where they are
    its parameters, else the whole input as its one argument."""
    names, wanted = _parameters(fn)
    if not names:
        return {"args": []}
    if isinstance(input, dict) and wanted <= input.keys() <= names:
        return {"args": [], "kwargs": input}
    return {"args": [input]}


@lru_cache(maxsize=1000)
def _parameters(fn: Any) -> tuple[frozenset[str], frozenset[str]]:
    """The names of a function's parameters, and of those that it cannot be called without."""
    parameters = inspect.signature(fn).parameters
    wanted = (
        name for name, each in parameters.items()
        if each.default is each.empty
        and each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    )  # fmt: skip
    return frozenset(parameters), frozenset(wanted)


def _is_job(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"submitted", "output"}
