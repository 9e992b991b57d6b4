"""Data without measure: little text that makes much out of little is stopped, and says so."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batuta.common.path import DEPTH_MAX as FILTERS_MAX
from batuta.common.path import WORK_MAX, PathTooLong, compile_path
from batuta.real import expressions
from batuta.testing import machine
from batuta.workflow.asl import intrinsic, jsonata, paths, source
from batuta.workflow.asl.choice import matches
from batuta.workflow.asl.env import TURN_NS, Env
from batuta.workflow.asl.errors import StateFailed
from batuta.workflow.asl.execution import TRANSITIONS_AT_ONCE
from batuta.workflow.asl.jsonata import GUARD, Expression
from batuta.workflow.asl.size import DEPTH_MAX, VALUE_MAX, Scale, TooMuch

STOPPED_S = 4.0
"""Many times what it takes, for machines that are slow today; without limits it is minutes."""


def deep(levels: int) -> Any:
    made: Any = {}
    for at in range(levels):
        made = {"d": made, "e": [at]}
    return made


def flow(language: str = "JSONPath", /, **states: Any) -> dict[str, Any]:
    return {"StartAt": next(iter(states)), "QueryLanguage": language, "States": states}


def repeated(times: int, language: str = "JSONPath", **state: Any) -> dict[str, Any]:
    """So many states that do the same, one behind the other."""
    states: dict[str, Any] = {
        f"S{at}": {"Type": "Pass", "Next": f"S{at + 1}", **state} for at in range(times)
    }
    return flow(language, **states, **{f"S{times}": {"Type": "Succeed"}})


# -- paths ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [
    "$..*..*..*..*", "$..*..*..*..*..*..*", "$..[?(@..e)]..[?(@..e)]..[?(@..e)]",
    "$" + "['d','d','d','d']" * 12, "$" + "..d" * 40,
])  # fmt: skip
def test_a_path_looks_at_so_many_values_and_no_more(text: str) -> None:
    began = time.perf_counter()
    with pytest.raises(PathTooLong, match="more than 1,000,000 values"):
        compile_path(text).find(deep(150))
    assert time.perf_counter() - began < STOPPED_S


def test_a_path_may_look_at_all_of_a_large_value() -> None:
    root = {"items": [{"n": at} for at in range(WORK_MAX // 10)]}
    assert len(compile_path("$..n").find(root)) == WORK_MAX // 10
    assert len(compile_path("$.items[?(@.n >= 50)]").find(root)) == WORK_MAX // 10 - 50


def test_a_path_that_is_stopped_fails_its_execution() -> None:
    state = {"Type": "Pass", "InputPath": "$..*..*..*..*", "End": True}
    found = machine(flow(A=state)).run(deep(150))
    assert found.error == "States.Runtime"
    assert "The JSONPath '$..*..*..*..*' was stopped: it looks at more than" in (found.cause or "")


def test_a_cause_holds_the_beginning_of_a_large_input_only() -> None:
    state = {"Type": "Pass", "Parameters": {"x.$": "$.gone"}, "End": True}
    found = machine(flow(A=state)).run({"text": "x" * 1_000_000})
    assert "could not be found in the input" in (found.cause or "")
    assert len(found.cause or "") < 11_000


# -- values --------------------------------------------------------------------------------------


def test_a_value_weighs_about_what_its_json_does() -> None:
    weigh = Scale().weigh
    assert weigh("x" * 1000) == 1008
    assert weigh([1, 2.5, True, None]) == 40
    assert weigh({"name": "abc", "list": []}) > len('{"name":"abc","list":[]}')
    shared = ["x" * 1000] * 10
    assert weigh([shared] * 10) > 100_000  # as often as it stands there
    scale = Scale()
    assert scale.weigh([shared] * 10_000, 1 << 30) > 100_000_000
    assert scale.visited < 11_000  # and is looked at once
    nested: Any = 1
    for _ in range(DEPTH_MAX + 1):
        nested = [nested]
    with pytest.raises(TooMuch, match="nested more than 200 deep"):
        weigh(nested)


TWICE = {"a.$": "$", "b.$": "$"}
BOTH = "{% [[$states.input], [$states.input]] %}"


def chain(times: int, **of: Any) -> dict[str, Any]:
    """So many states; in what each has, `@` is its number."""
    states: dict[str, Any] = {}
    for at in range(times):
        text = json.dumps({"Next": f"S{at + 1}", **of}).replace("@", str(at))
        states[f"S{at}"] = json.loads(text)
    return flow(**states, **{f"S{times}": {"Type": "Succeed"}})


COPY = [flow(**{f"P@.{branch}": {"Type": "Pass", "End": True}}) for branch in range(4)]
GROWING = {
    "Parameters": repeated(40, Parameters=TWICE),
    "ResultPath": chain(40, Type="Pass", ResultPath="$.c@"),
    "Assign": repeated(40, Assign={"v.$": "$", "w": TWICE}, Parameters=TWICE),
    "Parallel": chain(20, Type="Parallel", Branches=COPY),
    "Output": repeated(40, "JSONata", Output=[BOTH, BOTH]),
}


@pytest.mark.parametrize("name", GROWING)
def test_data_that_doubles_with_each_state_is_stopped(name: str) -> None:
    began = time.perf_counter()
    found = machine(GROWING[name]).run({"text": "x" * 200_000})
    assert time.perf_counter() - began < STOPPED_S
    assert found.error == "States.DataLimitExceeded"
    assert f"has more than {VALUE_MAX:,} bytes as JSON" in (found.cause or "")


def test_an_expression_apart_doubles_data_up_to_the_same_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(GUARD, "evaluate", expressions.APART.evaluate)
    test_data_that_doubles_with_each_state_is_stopped("Output")


def test_data_that_is_nested_deeper_with_each_state_is_stopped() -> None:
    found = machine(repeated(300, Parameters={"a.$": "$"})).run({})
    assert found.error == "States.DataLimitExceeded"
    assert "nested more than 200 deep" in (found.cause or "")


def test_a_pattern_of_many_stars_takes_no_longer() -> None:
    began = time.perf_counter()
    assert not matches("a" * 100_000, "*a" * 50 + "b")
    assert matches("a" * 100_000 + "b", "*a" * 50 + "*b")
    assert time.perf_counter() - began < 1
    rules = [{"Variable": "$.x", "IsPresent": True, "Next": "End"} for _ in range(5000)]
    choice = {"Type": "Choice", "Default": "Again", "Choices": rules}
    states = {"Again": {"Type": "Pass", "Next": "Choice"}, "End": {"Type": "Succeed"}}
    found = machine(flow(Choice=choice, **states)).run({})
    assert found.error == "States.Runtime"
    assert time.perf_counter() - began < 2 * STOPPED_S


@given(st.text("ab", max_size=6), st.lists(st.sampled_from(["a", "b", "ab", "*"]), max_size=6))
def test_a_pattern_matches_what_its_regular_expression_does(text: str, parts: list[str]) -> None:
    wanted = "".join(".*" if part == "*" else part for part in parts)
    assert matches(text, "".join(parts)) == (re.fullmatch(wanted, text) is not None)


# -- intrinsic functions -------------------------------------------------------------------------

WIDE = {"a": [{"b": {"c": [at]}} for at in range(20_000)], "text": "[" * 100_000, "n": 10**9}
CALLS = {
    "a range": ("States.ArrayRange(1, 100000000, 1)", "more than 1000 items"),
    "a range of the input's": ("States.ArrayRange(1, $.n, 1)", "more than 1000 items"),
    "a text of many": (
        "States.Format('" + "{}" * 1000 + "'" + ", $.a" * 1000 + ")", "more than 1,000,000 bytes",
    ),
    "JSON of many": (
        "States.JsonToString(States.Array(" + ", ".join(["$.a"] * 1000) + "))", "more than 16,777",
    ),
    "many in many": (
        "States.ArrayContains(States.Array(" + ", ".join(["$"] * 1000) + "), 1)", "more than 16,777"
    ),
    "Base64 of a large text": ("States.Base64Encode($.text)", "more than 10000 characters"),
    "brackets": ("States.StringToJson($.text)", "nested too deeply"),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_an_intrinsic_function_is_given_and_gives_so_much(name: str) -> None:
    text, said = CALLS[name]
    made = machine(flow(A={"Type": "Pass", "Parameters": {"x.$": text}, "End": True}))
    began = time.perf_counter()
    found = made.run(WIDE)
    assert time.perf_counter() - began < STOPPED_S
    assert found.error == "States.IntrinsicFailure"
    assert said in (found.cause or "")


# -- JSONata -------------------------------------------------------------------------------------

ORDINARY = [
    "$states.input.price * 1.2", "'order ' & $states.input.id", "{'id': $states.input.id}",
    "$states.input.items[price > 10].sku", "$sum($states.input.items.price)",
    "$states.input.a = 'x' and $exists($states.input.b) ? 1 : 2", "[$states.input.a, 1]",
    "$count($states.input.items) > 0", "$uppercase($states.input.name)", "$now()",
]  # fmt: skip
APART = [
    "[1..3]", "function($x){$x}", "\u03bb($x){$x}", "($a := [1,1]; $b := [$a,$a]; [$b,$b])",
    "$distinct($states.input)", "$states.input ~> |$|{'a': 1}|", "$states.input.**",
    "$states.input.items.($ & $states.input.text)", "$states.input.items.{'all': $states.input}",
    "$states.input.items.[$states.input]", "$states.input.items.$states.input",
    "$states.input.items{id: $states.input}", "$states.input.items^(price)",
    "$join($states.input.items, $states.input.text)", " & ".join(["$states.input.text"] * 120),
]  # fmt: skip


def test_what_may_grow_is_evaluated_apart_and_the_rest_is_not() -> None:
    assert [text for text in ORDINARY if Expression("Output", text).grows] == []
    assert [text for text in APART if not Expression("Output", text).grows] == []


def test_on_a_large_value_any_expression_is_evaluated_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def apart(text: str, *rest: Any) -> tuple[str, Any, int]:
        asked.append(text)
        return "value", 1, 0

    monkeypatch.setattr(GUARD, "evaluate", apart)
    small = Expression("Output", "$states.input.a")
    small(None, Env({"a": "x" * 1000}, dict, {}, int, 0))
    assert asked == []
    small(None, Env({"a": "x" * 300_000}, dict, {}, int, 0))
    assert asked == ["$states.input.a"]


def test_numbers_that_are_none_are_an_error() -> None:
    with pytest.raises(StateFailed, match="D1001: Number out of range"):
        Expression("Output", "$power(10, 308) * 10")(None, Env({}, dict, {}, int, 0))


def test_the_expressions_of_a_map_take_so_long_altogether(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes 0.4 s: a thousand of them would keep everything else waiting for minutes."""
    asked: list[str] = []

    def slow(text: str, *rest: Any) -> tuple[str, Any, int]:
        asked.append(text)
        return "value", 7, TURN_NS * 2 // 5

    monkeypatch.setattr(GUARD, "evaluate", slow)
    item = {"Type": "Pass", "Output": "{% $sum([1..9]) %}", "End": True}
    each = {"Type": "Map", "Items": list(range(1000)), "ItemProcessor": flow("JSONata", A=item)}
    made = machine(flow("JSONata", Each={**each, "End": True}))
    found = made.run({})
    assert len(asked) == 3
    assert found.error == "States.QueryEvaluationError"
    assert "have taken 0.7 s since it last waited for anything" in (found.cause or "")
    # Where it waits between them, each has its time.
    waits = {
        f"W{at}": {"Type": "Wait", "Seconds": 1, "Output": "{% $sum([1..9]) %}",
                   "Next": f"W{at + 1}"} for at in range(10)
    }  # fmt: skip
    assert machine(flow("JSONata", **waits, W10={"Type": "Succeed"})).run({}).status == "SUCCEEDED"


LOOP = {
    "Again": {"Type": "Choice", "Default": "Do", "Choices": [
        {"Variable": "$.never", "IsPresent": True, "Next": "End"}]},
    "End": {"Type": "Succeed"},
}  # fmt: skip
BUSY: dict[str, dict[str, Any]] = {
    "values": {"Parameters": {"list.$": "$.list[0:]"}},
    "paths": {"Parameters": {"list.$": "$.list", "x.$": "$..n"}},
    "functions": {"Parameters": {"list.$": "$.list", "x.$": "States.JsonToString($.list)"}},
    "JSONata": {"QueryLanguage": "JSONata", "Output": "{% {'list': $states.input.list} %}"},
}


@pytest.mark.parametrize("name", BUSY)
def test_a_loop_that_is_busy_ends_as_soon_as_one_that_is_not(name: str) -> None:
    do = {"Type": "Pass", "Next": "Again", **BUSY[name]}
    began = time.perf_counter()
    found = machine(flow(Do=do, **LOOP)).run({"list": [{"n": at} for at in range(1000)]})
    assert time.perf_counter() - began < 2 * STOPPED_S
    assert found.error == "States.Runtime"
    assert "does too much at once" in (found.cause or "")


def test_a_large_map_of_what_is_large_is_not_too_much() -> None:
    config = {"text": "x" * 1000, "list": [{"n": at} for at in range(500)]}
    item = {
        "Type": "Pass",
        "End": True,
        "Parameters": {
            "n.$": "$.n",
            "config.$": "$.config",
            "said.$": "States.Format('item {}', $.n)",
        },
    }
    each = {
        "Type": "Map", "ItemsPath": "$.items", "End": True, "ResultPath": "$.made",
        "ItemSelector": {"n.$": "$$.Map.Item.Value", "config.$": "$.config"},
        "ItemProcessor": {"StartAt": "A", "States": {"A": item}},
    }  # fmt: skip
    found = machine(flow(Each=each)).run({"items": list(range(10_000)), "config": config})
    assert found.error == "States.DataLimitExceeded"  # ten thousand copies of the configuration
    item["Parameters"] = {"n.$": "$.n", "said.$": "States.Format('item {}', $.n)"}
    found = machine(flow(Each=each)).run({"items": list(range(10_000)), "config": config})
    assert found.status == "SUCCEEDED"


def test_the_limits_are_documented(root: Path) -> None:
    text = (root / "docs/state-machines.md").read_text(encoding="utf-8")
    limits = text.partition("## Limits")[2].partition("\n## ")[0]
    for number in (
        VALUE_MAX, WORK_MAX, TRANSITIONS_AT_ONCE, source.TEXT_MAX, intrinsic.FORMAT_MAX,
        intrinsic.TEXT_MAX, paths.SHOWN_MAX, jsonata.SEQUENCE, jsonata.PAD_MAX,
    ):  # fmt: skip
        assert f"{number:,}" in limits, number
    for words in (
        f"nested {source.DEPTH_MAX} deep", f"nested {DEPTH_MAX} deep", f"nested {FILTERS_MAX} deep",
        f"{intrinsic.DEPTH_MAX} deep", f"{intrinsic.RANGE_MAX} items", f"{jsonata.TIME_MS} ms",
        f"{jsonata.DEPTH} calls deep", f"{jsonata.TEXT_MAX} characters", f"{TURN_NS / 1e9:g} s of",
        f"{jsonata.DATA_MAX >> 10} KiB", f"{expressions.MEMORY >> 30} GiB",
    ):  # fmt: skip
        assert words in limits, words


def each(states: dict[str, Any], count: int) -> dict[str, Any]:
    processor = {"StartAt": next(iter(states)), "States": states}
    return {"Type": "Map", "ItemProcessor": processor, "Items": f"{{% [1..{count}] %}}"}


def test_maps_in_maps_begin_so_many_items_and_no_more() -> None:
    inner = each({"A": {"Type": "Pass", "End": True}}, 10_000)
    outer = each({"Inner": {**inner, "End": True}}, 10_000)
    began = time.perf_counter()
    found = machine(flow("JSONata", Outer={**outer, "End": True})).run({})
    assert time.perf_counter() - began < 2 * STOPPED_S
    assert found.error == "States.Runtime"


def test_a_map_of_many_whose_first_item_fails_is_stopped_at_once() -> None:
    states = each({"Fail": {"Type": "Fail", "Error": "Mine"}}, 50_000)
    began = time.perf_counter()
    found = machine(flow("JSONata", Each={**states, "End": True})).run({})
    assert found.error == "Mine"
    assert time.perf_counter() - began < 2 * STOPPED_S
