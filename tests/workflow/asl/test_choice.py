"""Choice rules: every operator with what it compares, and what it does not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.workflow.asl.evaluating import holds

from batuta.workflow.asl.errors import StateFailed

ROOT = {
    "s": "m", "n": 5, "f": 5.0, "t": "2024-03-01T12:00:00Z", "yes": True, "no": False, "null": None,
    "list": [1], "object": {"a": 1}, "log": "sales.2024.log", "star": "a*b",
}  # fmt: skip


def is_(variable: str, **operator: Any) -> dict[str, Any]:
    return {"Variable": f"$.{variable}", **operator}


RULES: list[tuple[dict[str, Any], bool]] = [
    (is_("s", StringEquals="m"), True), (is_("s", StringEquals="M"), False),
    (is_("n", StringEquals="5"), False),
    (is_("s", StringLessThan="n"), True), (is_("s", StringLessThan="m"), False),
    (is_("s", StringGreaterThan="a"), True), (is_("s", StringLessThanEquals="m"), True),
    (is_("s", StringGreaterThanEquals="m"), True),
    (is_("n", NumericEquals=5), True), (is_("f", NumericEquals=5), True),
    (is_("s", NumericEquals=5), False), (is_("yes", NumericEquals=1), False),
    (is_("n", NumericLessThan=5.5), True), (is_("n", NumericGreaterThan=5), False),
    (is_("n", NumericLessThanEquals=5), True), (is_("n", NumericGreaterThanEquals=6), False),
    (is_("yes", BooleanEquals=True), True), (is_("no", BooleanEquals=True), False),
    (is_("n", BooleanEquals=True), False),
    (is_("t", TimestampEquals="2024-03-01T13:00:00+01:00"), True),
    (is_("t", TimestampLessThan="2024-03-01T12:00:00.5Z"), True),
    (is_("t", TimestampGreaterThan="2024-02-29T23:59:59Z"), True),
    (is_("t", TimestampLessThanEquals="2024-03-01T12:00:00Z"), True),
    (is_("t", TimestampGreaterThanEquals="2024-03-02T00:00:00Z"), False),
    (is_("s", TimestampEquals="2024-03-01T12:00:00Z"), False),
    (is_("log", StringMatches="*.log"), True), (is_("log", StringMatches="sales.*.log"), True),
    (is_("log", StringMatches="sales"), False), (is_("star", StringMatches="a\\*b"), True),
    (is_("log", StringMatches="sales\\*log"), False), (is_("n", StringMatches="*"), False),
    (is_("null", IsNull=True), True), (is_("s", IsNull=True), False),
    (is_("s", IsNull=False), True),
    (is_("s", IsPresent=True), True), (is_("gone", IsPresent=True), False),
    (is_("gone", IsPresent=False), True), (is_("null", IsPresent=True), True),
    (is_("n", IsNumeric=True), True), (is_("yes", IsNumeric=True), False),
    (is_("s", IsString=True), True), (is_("n", IsString=True), False),
    (is_("no", IsBoolean=True), True), (is_("n", IsBoolean=False), True),
    (is_("t", IsTimestamp=True), True), (is_("s", IsTimestamp=True), False),
    (is_("n", NumericEqualsPath="$.f"), True), (is_("s", StringEqualsPath="$.log"), False),
    (is_("n", NumericLessThanPath="$.f"), False), (is_("yes", BooleanEqualsPath="$.no"), False),
    (is_("t", TimestampEqualsPath="$.t"), True),
    ({"Not": is_("n", NumericEquals=5)}, False),
    ({"And": [is_("n", NumericEquals=5), is_("s", StringEquals="m")]}, True),
    ({"And": [is_("n", NumericEquals=5), is_("s", StringEquals="x")]}, False),
    ({"Or": [is_("n", NumericEquals=6), {"Not": is_("s", StringEquals="x")}]}, True),
    ({"Or": [is_("n", NumericEquals=6), is_("s", StringEquals="x")]}, False),
    ({"Condition": "{% $states.input.n > 4 and $states.input.s = 'm' %}"}, True),
    ({"Condition": "{% $exists($states.input.gone) %}"}, False),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "wanted"), RULES, ids=[str(rule) for rule, _ in RULES])
def test_whether_a_rule_holds(rule: dict[str, Any], wanted: bool) -> None:
    assert holds(rule, ROOT) is wanted


def test_variables_and_the_context_are_compared_too() -> None:
    assert holds({"Variable": "$v.a", "NumericEquals": 1}, None, v={"a": 1})
    assert holds({"Variable": "$$.State.RetryCount", "NumericEquals": 2})
    assert not holds({"Variable": "$w", "IsPresent": True}, None, v=1)


def test_a_value_that_is_not_there_fails_the_state() -> None:
    with pytest.raises(StateFailed) as caught:
        holds(is_("gone", StringEquals="x"), ROOT)
    assert caught.value.error == "States.Runtime"
    assert "references an invalid value" in (caught.value.cause or "")


@pytest.mark.parametrize("text", ["{% 1 %}", "{% 'true' %}", "{% null %}", "{% [true] %}"])
def test_a_condition_is_true_or_false(text: str) -> None:
    with pytest.raises(StateFailed) as caught:
        holds({"Condition": text}, {})
    assert caught.value.error == "States.QueryEvaluationError"
    assert "Expected 'boolean'" in (caught.value.cause or "")


NUMBERS = st.integers(-5, 5) | st.floats(-5, 5)


@given(NUMBERS, NUMBERS)
def test_numbers_are_in_order(a: float, b: float) -> None:
    found = {
        name: holds({"Variable": "$.a", f"Numeric{name}": b}, {"a": a})
        for name in ("LessThan", "Equals", "GreaterThan", "LessThanEquals", "GreaterThanEquals")
    }
    assert [found["LessThan"], found["Equals"], found["GreaterThan"]].count(True) == 1
    assert found["LessThanEquals"] == (found["LessThan"] or found["Equals"])
    assert found["GreaterThanEquals"] != found["LessThan"]


@given(st.text(st.sampled_from("ab*\\"), max_size=6))
def test_a_text_matches_itself_and_a_star(text: str) -> None:
    quoted = text.replace("\\", "\\\\").replace("*", "\\*")
    assert holds({"Variable": "$.s", "StringMatches": quoted}, {"s": text})
    assert holds({"Variable": "$.s", "StringMatches": "*"}, {"s": text})
    assert not holds({"Variable": "$.s", "StringMatches": quoted + "x"}, {"s": text})
