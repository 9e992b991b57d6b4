"""TestState: one state is run alone, with a mocked result or in earnest."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from json import JSONDecodeError, dumps, loads
from typing import Any
from uuid import uuid4

from starlette.requests import Request

from batuta.server.stepfunctions.definition import check_state
from batuta.server.stepfunctions.errors import validation
from batuta.server.stepfunctions.mocks import check_mock
from batuta.server.stepfunctions.service import Answer, Asked, Service
from batuta.server.stepfunctions.starting import end_of
from batuta.workflow.asl.context import timestamp
from batuta.workflow.asl.registry import ServiceError
from batuta.workflow.asl.single import Single

MANY = ("Map", "Parallel")
MOCKED = ("Task", *MANY)
JSON_TEXTS = ("input", "afterInputPath", "afterParameters", "afterArguments", "result",
              "afterResultSelector", "afterResultPath", "afterItemsPath", "afterItemSelector",
              "variables")  # fmt: skip
Value = Mapping[str, Any]


async def try_state(service: Service, asked: Asked, request: Request) -> Answer:
    """Run one state and tell what became of its input at each step."""
    value, language = state_of(asked)
    check_request(asked, value)
    input = _json(asked.get("input", "{}"), "input")
    test = Single(
        value, language, input, about=_about(service, asked, input),
        context=_object(asked, "context"), variables=_object(asked, "variables"),
        retries=asked.get("stateConfiguration", {}).get("retrierRetryCount", 0),
        failures=asked.get("stateConfiguration", {}).get("mapIterationFailureCount"),
        now=time.time_ns(),
    )  # fmt: skip
    test.begin()
    if test.wanted is not None:
        await _answered(service, asked, value, test)
    return told(test, asked.get("inspectionLevel", "INFO"))


async def _answered(service: Service, asked: Asked, value: Value, test: Single) -> None:
    mock = asked.get("mock", {})
    if "errorOutput" in mock:
        test.fail(mock["errorOutput"].get("error"), mock["errorOutput"].get("cause"))
    elif "result" in mock:
        test.succeed(_json(mock["result"], "mock"))
    else:
        await perform(service, asked, value, test)


async def perform(service: Service, asked: Asked, value: Value, test: Single) -> None:
    """Have the task done in earnest, by an execution of its own."""
    state = {"Type": "Task", "Resource": value["Resource"], "End": True}
    text = dumps({"StartAt": "Task", "States": {"Task": state}})
    name = f"TestState-{uuid4()}"
    machine = {
        "definition": text, "type": "EXPRESS", "name": name, "execution": name,
        "role": asked.get("roleArn", ""), "arn": service.place.machine(name),
    }  # fmt: skip
    data = {"workflow": name, "args": [test.wanted["input"]], "kwargs": {}, "machine": machine}
    run = f"{name}:{name}"
    begun = await service.system.submit("run.start", run, data)
    end = await end_of(service, run, begun.get("seq", 0))
    if end.type == "run.completed":
        test.succeed(end.data.get("result"))
    else:
        error = end.data.get("error") or {"type": "States.Runtime", "message": end.type}
        test.fail(error["type"] or None, error["message"] or None)


# -- what is asked -------------------------------------------------------------------------------


def state_of(asked: Asked) -> tuple[Value, str]:
    """The state that is tested, and the query language around it. Raises `ServiceError`."""
    try:
        definition = loads(asked["definition"])
    except (JSONDecodeError, RecursionError) as wrong:
        raise ServiceError(
            "InvalidDefinition",
            f"Invalid State Machine Definition: 'INVALID_JSON_DESCRIPTION: {wrong}'",
        ) from None
    if not isinstance(definition, dict):
        raise ServiceError(
            "InvalidDefinition", "Invalid State Machine Definition: 'It is not a JSON object'"
        )
    name = asked.get("stateName")
    if "States" not in definition:
        check_state(definition)
        return definition, "JSONPath"
    if name is None:
        raise validation("State name must be specified when the definition is a state machine")
    check_state(definition)
    found = next((each for each in _states(definition, "JSONPath") if each[0] == name), None)
    if found is None:
        raise validation(f"State '{name}' was not found in the definition")
    return found[1], found[2]


def _states(flow: Value, language: str) -> Iterator[tuple[str, Value, str]]:
    """All states of a flow and of the flows in it."""
    language = flow.get("QueryLanguage", language)
    for name, state in flow.get("States", {}).items():
        yield name, state, language
        own = state.get("QueryLanguage", language)
        for field in ("ItemProcessor", "Iterator"):
            if field in state:
                yield from _states(state[field], own)
        for branch in state.get("Branches", ()):
            yield from _states(branch, own)


def check_request(asked: Asked, value: Value) -> None:
    """Raises `ServiceError` where state, mock and configuration do not go together."""
    mock, kind = asked.get("mock"), value["Type"]
    if mock is not None and "result" in mock and "errorOutput" in mock:
        raise validation(
            "A test mock should have only one of the following fields: [result, errorOutput]."
        )
    if mock is None:
        if kind in MANY:
            raise ServiceError(
                "InvalidDefinition",
                "TestState API does not support Map or Parallel states. Supported state types "
                "include: [Task, Wait, Pass, Succeed, Fail, Choice]",
            )
        if kind == "Task" and "roleArn" not in asked:
            raise validation("RoleArn must be specified when testing a Task state")
        return
    if kind not in MOCKED:
        raise validation(f"State type '{kind}' is not supported when a mock is specified")
    if "result" in mock:
        _check_result(asked, value, _json(mock["result"], "mock"))


def _check_result(asked: Asked, value: Value, result: Any) -> None:
    if value["Type"] == "Task":
        mode = asked["mock"].get("fieldValidationMode", "STRICT")
        check_mock(value["Resource"], result, mode)
        return
    distributed = "ResultWriter" in value
    if not isinstance(result, list) and not distributed:
        raise validation("Mocked result must be an array.")
    if value["Type"] == "Parallel" and len(result) != len(value["Branches"]):
        raise validation(
            "Mocked result must contain the same number of items as number of Parallel branches."
        )
    failures = asked.get("stateConfiguration", {}).get("mapIterationFailureCount", 0)
    if isinstance(result, list) and failures > len(result):
        raise validation(
            "Map iteration failure count must be less than or equal to the number of Map iterations"
        )


def _json(text: str, what: str) -> Any:
    try:
        return loads(text)
    except (JSONDecodeError, RecursionError) as wrong:
        if what == "input":
            raise ServiceError(
                "InvalidExecutionInput", f"Invalid State Machine Execution Input: '{wrong}'"
            ) from None
        raise validation(f"The {what} is not valid JSON: {wrong}") from None


def _object(asked: Asked, name: str) -> dict[str, Any] | None:
    if name not in asked:
        return None
    value = _json(asked[name], name)
    if not isinstance(value, dict):
        raise validation(f"The {name} must be a JSON object")
    return value


def _about(service: Service, asked: Asked, input: Any) -> dict[str, Any]:
    """The context object of an execution that is there for this test alone."""
    machine, name = str(uuid4()), str(uuid4())
    return {
        "Execution": {
            "Id": service.place.execution(f"{machine}:{name}", "EXPRESS"), "Input": input,
            "Name": name, "RoleArn": asked.get("roleArn"),
            "StartTime": timestamp(time.time_ns()),
        },
        "StateMachine": {"Id": service.place.machine(machine), "Name": machine},
    }  # fmt: skip


# -- what is answered ----------------------------------------------------------------------------


def told(test: Single, level: str) -> Answer:
    """The answer, with what was seen on the way where that is asked for."""
    answer: Answer = {"status": test.status}
    if test.status in ("SUCCEEDED", "CAUGHT_ERROR"):
        answer["output"] = dumps(test.output, ensure_ascii=False)
    optional = {"error": test.error, "cause": test.cause, "nextState": test.next}
    answer |= {name: text for name, text in optional.items() if text is not None}
    if level != "INFO":
        answer["inspectionData"] = {
            name: dumps(value, ensure_ascii=False) if name in JSON_TEXTS else value
            for name, value in test.seen.items()
        }
    return answer
