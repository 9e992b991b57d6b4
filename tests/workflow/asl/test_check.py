"""Mistakes in definitions, each with its rule, its line and its column, in JSON and in YAML."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batuta.workflow.asl.files import machine_in

MISTAKES: list[tuple[str, str, int, int, str]] = [
    ('{\n "States": {}\n}', "SCHEMA_VALIDATION_FAILED", 1, 1, "StartAt"),
    (
        '{\n "StartAt": "B",\n "States": {"A": {"Type": "Pass", "End": true}}\n}',
        "MISSING_TRANSITION_TARGET", 2, 2, "B",
    ),
    (
        '{"StartAt": "A", "States": {\n  "A": {"Type": "Pass", "Next": "Nowhere"}\n}}',
        "MISSING_TRANSITION_TARGET", 2, 25, "Nowhere",
    ),
    (
        ('{"StartAt": "A", "States": {\n  "A": {"Type": "Pass", "End": true},\n'
        '  "B": {"Type": "Pass", "End": true}\n}}'),
        "UNREACHABLE_STATE", 3, 3, "B",
    ),
    (
        '{"StartAt": "A", "States": {\n  "A": {"Type": "Oops", "End": true}\n}}',
        "SCHEMA_VALIDATION_FAILED", 2, 9, "Oops",
    ),
    (
        ('{"StartAt": "A", "States": {"A": {\n  "Type": "Pass",\n  "InputPath": "$.",\n'
        '  "End": true\n}}}'),
        "INVALID_PATH", 3, 3, "InputPath",
    ),
    (
        ('{"StartAt": "A", "QueryLanguage": "JSONata", "States": {"A": {"Type": "Pass",\n'
        '  "Output": {"x": "{% 1 + %}"}, "End": true\n}}}'),
        "INVALID_JSONATA", 2, 14, "JSONata",
    ),
    (
        ('{"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "arn:batuta:oops",\n'
        ' "End": true}}}'),
        "INVALID_RESOURCE", 1, 51, "oops",
    ),
    (
        '{"StartAt": "A", "States": {"A": {"Type": "Wait", "Seconds": -1,\n "End": true}}}',
        "SCHEMA_VALIDATION_FAILED", 1, 51, "Seconds",
    ),
    ('{"StartAt": "A",\n "States": {"A": {]}}', "INVALID_DEFINITION", 2, 19, ""),
    ('{"StartAt": "A", "StartAt": "B", "States": {}}', "INVALID_DEFINITION", 1, 18, "StartAt"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "rule", "line", "column", "said"), MISTAKES, ids=[f"{m[1]}-{m[4]}" for m in MISTAKES]
)
def test_a_mistake_has_its_rule_and_its_place(
    text: str, rule: str, line: int, column: int, said: str
) -> None:
    _, problems = machine_in("m", text, "m.asl.json")
    found = [each for each in problems if each.rule == rule]
    assert found, problems
    source = found[0].source
    assert source is not None
    assert (source.file, source.line, source.column) == ("m.asl.json", line, column)
    assert said in found[0].message


YAML = """\
StartAt: A
States:
  A:
    Type: Pass
    Next: Nowhere
  B:
    Type: Wait
    Seconds: [1]
    End: true
"""


def test_yaml_has_lines_too() -> None:
    made, problems = machine_in("m", YAML, "m.asl.yaml")
    assert made is None
    places = {(each.rule, each.source.line if each.source else 0) for each in problems}
    assert ("MISSING_TRANSITION_TARGET", 5) in places
    assert ("SCHEMA_VALIDATION_FAILED", 8) in places


def test_all_mistakes_are_told_at_once() -> None:
    flow = {"StartAt": "X", "States": {name: {"Type": "Pass", "Next": "Y"} for name in "ABC"}}
    _, problems = machine_in("m", json.dumps(flow), "m.asl.json")
    assert sum(each.rule == "MISSING_TRANSITION_TARGET" for each in problems) == 4


F = "arn:aws:lambda:us-east-1:000000000000:function:f"
VALID: dict[str, Any] = {
    "StartAt": "Task", "States": {
        "Task": {"Type": "Task", "Resource": F, "Next": "Choice", "TimeoutSeconds": 5,
                 "Retry": [{"ErrorEquals": ["States.ALL"], "MaxAttempts": 2}],
                 "Catch": [{"ErrorEquals": ["E"], "Next": "Fail"}]},
        "Choice": {"Type": "Choice", "Default": "Wait",
                   "Choices": [{"Variable": "$.a", "IsPresent": True, "Next": "Both"}]},
        "Wait": {"Type": "Wait", "Seconds": 1, "Next": "Each"},
        "Both": {"Type": "Parallel", "Next": "Each", "Branches": [
            {"StartAt": "One", "States": {"One": {"Type": "Pass", "End": True}}}]},
        "Each": {"Type": "Map", "End": True, "ItemsPath": "$.items", "ItemProcessor": {
            "StartAt": "Item", "States": {"Item": {"Type": "Succeed"}}}},
        "Fail": {"Type": "Fail", "Error": "E"},
    },
}  # fmt: skip


def test_the_valid_one_is_valid() -> None:
    made, problems = machine_in("m", json.dumps(VALID), "m.asl.json")
    assert (made is not None, problems) == (True, [])


def _places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [at] if at else []
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for name, each in inner:
        found += _places(each, (*at, name)) if isinstance(each, dict | list) else [(*at, name)]
    return found


PLACES = _places(VALID)
OPTIONAL = {0, "TimeoutSeconds", "Retry", "Catch", "MaxAttempts", "Default", "ItemsPath", "Error"}


def _changed(place: tuple[Any, ...], value: Any, *, drop: bool) -> str:
    broken = copy.deepcopy(VALID)
    here = broken
    for name in place[:-1]:
        here = here[name]
    if drop:
        del here[place[-1]]
    else:
        here[place[-1]] = value
    return json.dumps(broken, indent=1)


@given(st.sampled_from(PLACES), st.sampled_from([None, -1, [], {}, "\x00", [[]], {"a": 1}]))
def test_a_wrong_value_anywhere_is_told_with_a_place_in_the_text(
    place: tuple[Any, ...], value: Any
) -> None:
    text = _changed(place, value, drop=False)
    made, problems = machine_in("m", text, "m.asl.json")
    assert made is not None or problems
    for each in problems:
        assert each.source is not None
        assert 1 <= each.source.line <= text.count("\n") + 1


@given(st.sampled_from([place for place in PLACES if place[-1] not in OPTIONAL]))
def test_what_is_left_out_is_missed(place: tuple[Any, ...]) -> None:
    _, problems = machine_in("m", _changed(place, None, drop=True), "m.asl.json")
    assert problems, place


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_a_machine_or_problems(data: bytes, is_yaml: bool) -> None:
    text = data.decode("utf-8", "replace")
    made, problems = machine_in("m", text, "m.asl.yaml" if is_yaml else "m.asl.json")
    assert made is not None or problems


@given(st.integers(0, 600), st.integers(0, 600), st.sampled_from(['"', "{", "]", ",", "\\", "0"]))
def test_a_definition_with_a_hole_or_a_stray_sign_is_told(
    start: int, length: int, sign: str
) -> None:
    text = json.dumps(VALID, indent=1)
    for broken in (text[:start] + text[start + length :], text[:start] + sign + text[start:]):
        made, problems = machine_in("m", broken, "m.asl.json")
        assert made is not None or problems
