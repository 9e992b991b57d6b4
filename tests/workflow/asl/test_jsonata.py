"""JSONata: what Step Functions adds to it, what it takes away, and what errors say."""

from __future__ import annotations

import hashlib
import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.workflow.asl.evaluating import NOW, expression, jsonata_template

from batuta.workflow.asl.errors import Malformed, StateFailed
from batuta.workflow.asl.jsonata import compile_jsonata, mentions

GIVES: list[tuple[str, Any]] = [
    ("1", 1), ("'a'", "a"), ("null", None), ("true", True), ("1 + 1", 2), ("1 / 2", 0.5),
    ("2 * 1.5", 3),
    ("$states.input.n", 5), ("$states.input", {"n": 5, "list": [1], "none": None}),
    ("$states.input.none", None), ("$states.input.list", [1]), ("$states.input.list[0]", 1),
    ("$states.context.Execution.Name", "e"), ("$v", [7]), ("$v[0] + $states.input.n", 12),
    ("$partition([1..5], 2)", [[1, 2], [3, 4], [5]]), ("$range(0, 6, 3)", [0, 3, 6]),
    ("$hash('x', 'SHA-256')", hashlib.sha256(b"x").hexdigest()),
    ("$parse('{\"a\": [1, null]}')", {"a": [1, None]}),
    ("$parse('5') + 1", 6), ("$pad('x', 3, '-')", "x--"), ("$pad('x', -3, '-')", "--x"),
    ("$millis()", NOW // 1_000_000), ("$now()", "2023-11-14T22:13:20.123Z"),
    ("$exists($states.input.gone)", False), ("{'a': $states.input.gone}", {}),
    ("9007199254740991", 9_007_199_254_740_991), ("$states.input.n > 4 ? 'big' : 'small'", "big"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "wanted"), GIVES, ids=[text for text, _ in GIVES])
def test_what_an_expression_gives(text: str, wanted: Any) -> None:
    found = expression(text, {"n": 5, "list": [1], "none": None}, v=[7])
    assert found == wanted
    assert type(found) is type(wanted)


FAILS = [
    ("$states.input.gone", "returned nothing (undefined)."),
    ("$gone", "returned nothing (undefined)."),
    ("function($x){$x}", "returned an unsupported result type."),
    ("$sum", "returned an unsupported result type."),
    ("$eval('1')", "$eval is not supported"),
    ("'a' + 1", "T2001"),
    ("$nothing()", "T1006: Attempted to invoke a non-function"),
    ("$error('mine')", "mine"),
    ("$parse('{')", "threw an error during evaluation"),
    ("$pad('x', 10000000)", "1,000,000 are the most"),
    ("$hash('x', 'CRC')", "threw an error during evaluation"),
]


@pytest.mark.parametrize(("text", "said"), FAILS, ids=[text for text, _ in FAILS])
def test_what_fails_names_the_expression_and_its_field(text: str, said: str) -> None:
    with pytest.raises(StateFailed) as caught:
        expression(text, {})
    assert caught.value.error == "States.QueryEvaluationError"
    cause = caught.value.cause or ""
    assert cause.startswith(f"The JSONata expression '{text}' specified for the field 'Output' ")
    assert said in cause


@pytest.mark.parametrize(
    ("text", "offset"), [("1 +", 3), ("(1", 2), ("$a[", 3), ("{", 1), ("'a", 2), ("a b", 2)]
)
def test_what_is_no_expression_is_refused(text: str, offset: int) -> None:
    with pytest.raises(Malformed) as caught:
        compile_jsonata("Output", text)
    assert abs(caught.value.offset - offset) <= 2


def test_chance_comes_from_the_run() -> None:
    assert expression("$random()") == expression("$random()")
    assert 0 <= expression("$random()") < 1
    assert expression("$random(7)") == expression("$random(7)")
    first, second = expression("[$uuid(), $uuid()]")
    assert first != second
    assert re.fullmatch(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", first)


def test_variables_are_told_from_text() -> None:
    assert mentions("$a & '$b' & \"$c\" & $d.e /* $f */") == {"a", "d"}


def test_a_template_evaluates_what_is_between_its_signs_only() -> None:
    value = {"a": "{% $states.input.x %}", "b": ["{% 1 + 1 %}", "$c"], "d": {"e": "{%%"}, "n": None}
    found = jsonata_template(value, {"x": {"y": 1}})
    assert found == {"a": {"y": 1}, "b": [2, "$c"], "d": {"e": "{%%"}, "n": None}


def test_an_error_in_a_template_names_the_member() -> None:
    with pytest.raises(StateFailed) as caught:
        jsonata_template({"a": [{"b": "{% $gone %}"}]})
    assert caught.value.location == "Output/a[0]/b"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(max_size=5)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, min_size=2, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(JSON)
def test_what_comes_in_goes_out(value: Any) -> None:
    found = expression("$states.input", value)
    assert found == value
    assert expression("{'x': $states.input}.x", value) == (value if value is not None else None)


@given(st.integers(-1000, 1000), st.integers(-1000, 1000))
def test_whole_numbers_stay_whole(a: int, b: int) -> None:
    assert expression("$a + $b", None, a=a, b=b) == a + b
    assert type(expression("$a * $b", None, a=a, b=b)) is int
    if b:
        assert math.isclose(expression("$a / $b", None, a=a, b=b), a / b)


@given(st.text(st.sampled_from("$ab.()[]{}'\"+-*/%&=<>,:;?12 ~|^@#"), max_size=25))
def test_any_text_is_an_expression_or_is_refused(text: str) -> None:
    try:
        expression(text, {"a": [1, {"b": 2}]})
    except (Malformed, StateFailed):
        return
