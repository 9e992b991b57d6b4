"""The intrinsic functions: the specification's examples, their errors, and their algebra."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.workflow.asl.evaluating import intrinsic

from batuta.workflow.asl.errors import Malformed, StateFailed
from batuta.workflow.asl.intrinsic import FUNCTIONS, compile_intrinsic

ROOT = {
    "name": "Arnav", "zebra": "stripe", "list": [1, 2, 3, 3, 1, 9], "n": 111, "step": -1,
    "one": {"a": {"a1": 1}, "b": 2}, "two": {"a": {"a3": 1}, "c": 3}, "escaped": '{"a": 1}',
    "deep": {"it's": [0, {"x": "y"}]}, "empty": [],
}  # fmt: skip

GIVES: list[tuple[str, Any]] = [
    ("States.Format('Hello, my name is {}.', $.name)", "Hello, my name is Arnav."),
    ("States.Format('{} {} {}', 1, true, null)", "1 true null"),
    (r"States.Format('it\'s \{\} and {}', 'x')", "it's {} and x"),
    ("States.Format('{}', $.list)", "[1, 2, 3, 3, 1, 9]"),
    ("States.Format('none')", "none"),
    ("States.StringToJson($.escaped)", {"a": 1}),
    ("States.StringToJson('[1, 2.5, null]')", [1, 2.5, None]),
    ("States.StringToJson('')", None),
    ("States.JsonToString($.one)", '{"a":{"a1":1},"b":2}'),
    ("States.JsonToString('x')", '"x"'),
    ("States.Array($.n, 'x', null, 1.5)", [111, "x", None, 1.5]),
    ("States.Array()", []),
    ("States.ArrayPartition($.list, 4)", [[1, 2, 3, 3], [1, 9]]),
    ("States.ArrayContains($.list, 9)", True),
    ("States.ArrayContains($.list, '9')", False),
    ("States.ArrayRange(1, 9, 2)", [1, 3, 5, 7, 9]),
    ("States.ArrayRange(3, 0, -1)", [3, 2, 1, 0]),
    ("States.ArrayRange(1, 0, 1)", []),
    ("States.ArrayGetItem($.list, 5)", 9),
    ("States.ArrayLength($.list)", 6),
    ("States.ArrayLength($.empty)", 0),
    ("States.ArrayUnique($.list)", [1, 2, 3, 9]),
    ("States.Base64Encode('Data to encode')", "RGF0YSB0byBlbmNvZGU="),
    ("States.Base64Decode('RGVjb2RlZCBkYXRh')", "Decoded data"),
    ("States.Hash('input data', 'SHA-1')", "aaff4a450a104cd177d28d18d74485e8cae074b7"),
    ("States.JsonMerge($.one, $.two, false)", {"a": {"a3": 1}, "b": 2, "c": 3}),
    ("States.MathAdd($.n, $.step)", 110),
    ("States.MathAdd(1.5, 1.4)", 3),
    ("States.StringSplit('1,2,3,4', ',')", ["1", "2", "3", "4"]),
    ("States.StringSplit('a.b+c-d=', '.+-=')", ["a", "b", "c", "d"]),
    ("States.StringSplit('a', '')", ["a"]),
    ("States.ArrayGetItem($.deep['it\\'s'], 1)", {"x": "y"}),
    ("States.Format('{}', $$.Execution.Name)", "e"),
    ("States.Format('{}', $word)", "a variable"),
    ("States.MathAdd(States.ArrayLength($.list), States.MathAdd(1, 2))", 9),
    ("States.Array( 1 ,\t2 )", [1, 2]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "wanted"), GIVES, ids=[text for text, _ in GIVES])
def test_what_a_function_gives(text: str, wanted: Any) -> None:
    assert intrinsic(text, ROOT, word="a variable") == wanted


@pytest.mark.parametrize("name", ["MD5", "SHA-1", "SHA-256", "SHA-384", "SHA-512"])
def test_every_hash(name: str) -> None:
    made = hashlib.new(name.replace("-", ""), b"input data").hexdigest()
    assert intrinsic(f"States.Hash('input data', '{name}')") == made


FAILS = [
    "States.Format('{}')", "States.Format('{} {}', 1)", "States.Format(1)",
    "States.StringToJson('{')", "States.StringToJson(1)", "States.ArrayPartition($.list, 0)",
    "States.ArrayPartition('x', 1)", "States.ArrayContains('x', 1)", "States.ArrayRange(1, 9, 0)",
    "States.ArrayRange(1, 2000, 1)", "States.ArrayGetItem($.list, 6)",
    "States.ArrayGetItem($.list, -1)",
    "States.ArrayLength('x')", "States.ArrayUnique(1)", "States.Base64Encode(1)",
    "States.Base64Decode('%')", "States.Hash('x', 'CRC')", "States.Hash('x', 1)",
    "States.JsonMerge($.one, $.two, true)", "States.JsonMerge($.one, 1, false)",
    "States.MathRandom(5, 5)", "States.MathAdd($.name, 1)", "States.StringSplit(1, ',')",
]  # fmt: skip


@pytest.mark.parametrize("text", FAILS)
def test_wrong_arguments_fail_the_state(text: str) -> None:
    with pytest.raises(StateFailed) as caught:
        intrinsic(text, ROOT)
    assert caught.value.error == "States.IntrinsicFailure"
    assert text.partition("(")[0] in (caught.value.cause or "")


REFUSED = [
    "", "States", "States.Nothing()", "States.Format", "States.Format(", "States.Format('a'",
    "States.Format('a') x", "States.Format('a',)", "States.Format(a)", "States.Format('a",
    "States.UUID(1)", "States.MathAdd(1)", "States.MathAdd('1', 2)", "States.Array(1 2)",
    "States.Format('{}', $.a b)", "States.Array($.[)", "states.uuid()",
    "States.Array(" * 11 + ")" * 11,
]  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_call_is_refused(text: str) -> None:
    with pytest.raises(Malformed) as caught:
        compile_intrinsic(text)
    assert 0 <= caught.value.offset <= len(text)


def test_chance_comes_from_the_run() -> None:
    drawn = [intrinsic("States.MathRandom(1, 1000)") for _ in range(3)]
    assert len(set(drawn)) == 1  # the same place has the same luck
    seeded = intrinsic("States.MathRandom(1, 1000, 7)")
    assert seeded == intrinsic("States.MathRandom(1, 1000, 7)")
    assert re.fullmatch(
        r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
        intrinsic("States.UUID()"),
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.text(max_size=50))
def test_base64_goes_there_and_back(text: str) -> None:
    encoded = intrinsic("States.Base64Encode($.x)", {"x": text})
    assert base64.b64decode(encoded).decode() == text
    assert intrinsic("States.Base64Decode($.x)", {"x": encoded}) == text


@given(JSON)
def test_json_goes_there_and_back(value: Any) -> None:
    text = intrinsic("States.JsonToString($.x)", {"x": value})
    assert json.loads(text) == value
    assert intrinsic("States.StringToJson($.x)", {"x": text}) == value


@given(st.lists(JSON, max_size=9), st.integers(1, 5))
def test_parts_of_a_list_are_the_list(items: list[Any], size: int) -> None:
    parts = intrinsic("States.ArrayPartition($.x, $.n)", {"x": items, "n": size})
    assert [each for part in parts for each in part] == items
    assert all(len(part) == size for part in parts[:-1])


@given(st.lists(JSON, max_size=9))
def test_unique_items_are_all_items_once(items: list[Any]) -> None:
    unique = intrinsic("States.ArrayUnique($.x)", {"x": items})
    assert intrinsic("States.ArrayUnique($.x)", {"x": unique}) == unique
    for each in items:
        assert intrinsic("States.ArrayContains($.x, $.y)", {"x": unique, "y": each})


@given(st.sampled_from(sorted(FUNCTIONS)), st.lists(JSON, max_size=4))
def test_any_arguments_give_a_value_or_the_functions_own_error(
    name: str, given_: list[Any]
) -> None:
    root = {f"a{at}": each for at, each in enumerate(given_)}
    text = f"{name}({', '.join(f'$.{member}' for member in root)})"
    try:
        intrinsic(text, root)
    except (Malformed, StateFailed) as wrong:
        assert isinstance(wrong, Malformed) or wrong.error == "States.IntrinsicFailure"  # noqa: PT017


@given(st.text(st.sampled_from("States.Format()'\\{}$, ab1-"), max_size=25))
def test_any_text_is_a_call_or_is_refused(text: str) -> None:
    try:
        compile_intrinsic("States.Format(" + text)
    except Malformed:
        return
