"""Payload templates of JSONPath, and the fields of a state in their order."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.workflow.asl.evaluating import template

from batuta.kernel.world import Command
from batuta.simulate.machine import Performance, Result, run
from batuta.workflow.asl.errors import Malformed, StateFailed
from batuta.workflow.asl.machine import StateMachine

F = "arn:aws:lambda:us-east-1:000000000000:function:f"


def execute(input: Any, *results: Any, **state: Any) -> Result:
    """One task whose results come in turn."""
    kind = {"Type": "Task", "Resource": F, "End": True, **state}
    machine = StateMachine("m", json.dumps({"StartAt": "A", "States": {"A": kind}}))
    coming = iter(results)

    def perform(command: Command) -> Performance:
        return Performance(next(coming))

    return run(machine, input, perform)


def test_members_that_end_in_a_dollar_are_paths_or_functions() -> None:
    value = {"a.$": "$.x", "b": {"c.$": "States.MathAdd($.x, 1)", "d": "$.x"}, "e": [{"f.$": "$$"}]}
    found = template(value, {"x": 1})
    assert found["a"] == 1
    assert found["b"] == {"c": 2, "d": "$.x"}
    assert found["e"][0]["f"]["Execution"]["Name"] == "e"


def test_a_path_that_leads_nowhere_names_the_member() -> None:
    with pytest.raises(StateFailed) as caught:
        template({"a": {"b.$": "$.gone"}}, {"x": 1})
    assert caught.value.cause == (
        "The JSONPath '$.gone' specified for the field 'b.$' could not be found in the input "
        "'{\"x\":1}'"
    )


@pytest.mark.parametrize("value", [{"a.$": 1}, {"a.$": "x"}, {"a.$": "$["}, {"a.$": "States.No()"}])
def test_what_is_no_path_is_refused(value: Any) -> None:
    with pytest.raises(Malformed):
        template(value, {})


def test_the_five_fields_go_in_their_order() -> None:
    found = execute(
        {"outer": {"n": 1}, "kept": True}, {"answer": {"x": 42}, "noise": 1},
        InputPath="$.outer", Parameters={"sent.$": "$.n"}, ResultSelector={"got.$": "$.answer.x"},
        ResultPath="$.result", OutputPath="$.result",
    )  # fmt: skip
    assert found.output == {"got": 42}
    scheduled = next(each for each in found.history if each.type == "LambdaFunctionScheduled")
    assert scheduled.details is not None
    assert scheduled.details["input"] == {"sent": 1}


@pytest.mark.parametrize(
    ("fields", "output"),
    [
        ({}, {"r": 1}),
        ({"ResultPath": "$.a"}, {"in": 1, "a": {"r": 1}}),
        ({"ResultPath": "$.a.b"}, {"in": 1, "a": {"b": {"r": 1}}}),
        ({"ResultPath": None}, {"in": 1}),
        ({"OutputPath": None}, {}),
        ({"InputPath": None, "ResultPath": "$.a"}, {"in": 1, "a": {"r": 1}}),
        ({"OutputPath": "$.r"}, 1),
        ({"ResultPath": "$.a", "OutputPath": "$.in"}, 1),
    ],
)
def test_where_the_result_goes(fields: dict[str, Any], output: Any) -> None:
    assert execute({"in": 1}, {"r": 1}, **fields).output == output


def test_a_result_that_has_no_place_fails_the_state() -> None:
    found = execute("text", 1, ResultPath="$.a")
    assert found.error == "States.ResultPathMatchFailure"


def test_variables_are_assigned_from_the_state_as_it_began() -> None:
    flow = {"StartAt": "A", "States": {
        "A": {"Type": "Pass", "Result": {"n": 1}, "Next": "B",
              "Assign": {"x.$": "$.n", "swap.$": "$.n"}},
        "B": {"Type": "Pass", "Next": "C",
              "Assign": {"x.$": "States.MathAdd($x, 1)", "swap.$": "$x"}},
        "C": {"Type": "Pass", "Parameters": {"x.$": "$x", "swap.$": "$swap"}, "End": True},
    }}  # fmt: skip
    found = run(StateMachine("m", json.dumps(flow)), {"n": 1}, lambda command: Performance())
    assert found.output == {"x": 2, "swap": 1}  # all of Assign sees what was before
