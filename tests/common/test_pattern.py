"""Conditions on events: what they hold for, and that they survive being stored."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batuta.common.pattern import (
    BadPattern,
    Predicate,
    compile_where,
    field,
    from_json,
)

EVENT = {
    "type": "order.paid",
    "data": {"total": 120, "currency": "EUR", "items": [{"id": "a1"}, {"id": "b2"}], "note": None},
}


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (field("data.total") > 100, True),
        (field("data.total") >= 120, True),
        (field("data.total") < 120, False),
        (field("data.total") <= 120.0, True),
        (field("data.total") == 120.0, True),
        (field("data.total") != 120, False),
        (field("data.total") == True, False),  # noqa: E712
        (field("data.total") > "100", False),
        (field("data.currency").in_(["EUR", "USD"]), True),
        (field("data.currency").startswith("E"), True),
        (field("data.currency").endswith("E"), False),
        (field("data.total").startswith("1"), False),
        (field("type").matches("order.*"), True),
        (field("data.items.1.id") == "b2", True),
        (field("data.items[0].id") == "a1", True),
        (field("data.items.7.id") == "a1", False),
        (field("data.note").exists(), True),
        (field("data.none").exists(), False),
        (field("data.none") != 3, False),
        (~(field("data.none") == 3), True),
        ((field("data.total") > 100) & (field("data.currency") == "EUR"), True),
        ((field("data.total") > 500) | (field("data.currency") == "USD"), False),
        (field("data", "total") > 1, True),
    ],
)
def test_fields(where: Predicate, expected: bool) -> None:
    assert where.test(EVENT) is expected
    assert from_json(json.loads(json.dumps(where.to_json()))) == where


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ({}, True),
        ({"type": ["order.paid", "order.sent"]}, True),
        ({"type": "order.paid"}, True),
        ({"type": ["order.sent"]}, False),
        ({"data": {"total": [{"numeric": [">", 100, "<=", 120]}]}}, True),
        ({"data": {"total": [{"numeric": ["=", 5]}]}}, False),
        ({"data": {"currency": [{"prefix": "E"}], "total": [120]}}, True),
        ({"data": {"currency": [{"suffix": "D"}]}}, False),
        ({"data": {"currency": [{"equals-ignore-case": "eur"}]}}, True),
        ({"data": {"currency": [{"wildcard": "E*R"}]}}, True),
        ({"data": {"currency": [{"anything-but": ["USD"]}]}}, True),
        ({"data": {"currency": [{"anything-but": {"prefix": "E"}}]}}, False),
        ({"data": {"missing": [{"anything-but": "x"}]}}, False),
        ({"data": {"missing": [{"exists": False}]}}, True),
        ({"data": {"total": [{"exists": True}]}}, True),
        ({"data": {"note": [None]}}, True),
        ({"data": {"items": {"id": ["b2"]}}}, True),
        ({"$or": [{"type": ["x"]}, {"data": {"total": [120]}}]}, True),
    ],
)
def test_eventbridge(pattern: dict[str, Any], expected: bool) -> None:
    where = compile_where(pattern)
    assert where is not None
    assert where.test(EVENT) is expected
    assert compile_where(where.to_json()) == where


def test_readable() -> None:
    where = (field("data.total") > 100) & ~field("data.test").exists()
    assert repr(where) == "(field('data.total') > 100) & (~(field('data.test').exists()))"
    assert repr(field("a").in_([1])) == "field('a').in_([1])"
    assert repr(field("a.b", "c") == 1) == "field('a.b', 'c') == 1"


@pytest.mark.parametrize(
    "build",
    [
        lambda: 1 < field("a") < 5,
        lambda: (field("a") == 1) and (field("b") == 2),
        lambda: (field("a") == 1) & True,  # type: ignore[operator]
        lambda: field("a..b"),
        lambda: field("a") == object(),
        lambda: field("a") > None,
        lambda: field("a").startswith(3),  # type: ignore[arg-type]
        lambda: compile_where(field("a")),  # type: ignore[arg-type]
        lambda: compile_where({"a": [{"prefixx": "x"}]}),
        lambda: compile_where({"a": [{"numeric": [">"]}]}),
        lambda: compile_where({"a": [{"numeric": ["~", 1]}]}),
        lambda: compile_where({"a": [{"exists": 1}]}),
        lambda: compile_where({"$where": ["==", ["a"]]}),
        lambda: compile_where({"$where": ["evil", ["a"], 1]}),
        lambda: compile_where({"$where": None}),
    ],
)
def test_mistakes_are_refused(build: Any) -> None:
    with pytest.raises(BadPattern):
        build()


def test_nothing_is_nothing() -> None:
    assert compile_where(None) is None


def test_depth_is_limited() -> None:
    pattern: dict[str, Any] = {"a": ["x"]}
    for _ in range(100):
        pattern = {"a": pattern}
    with pytest.raises(BadPattern):
        compile_where(pattern)


VALUES = st.one_of(st.integers(-3, 3), st.text("ab", max_size=2), st.booleans(), st.none())
LEAVES = st.builds(
    lambda name, value, op: {
        "==": field(name) == value,
        "!=": field(name) != value,
        "in": field(name).in_([value]),
        "exists": field(name).exists(),
    }[op],
    st.sampled_from(["a", "b", "c.d"]),
    VALUES,
    st.sampled_from(["==", "!=", "in", "exists"]),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda a, b: a & b, inner, inner),
        st.builds(lambda a, b: a | b, inner, inner),
        st.builds(lambda a: ~a, inner),
    ),
    max_leaves=8,
)
EVENTS = st.fixed_dictionaries(
    {}, optional={"a": VALUES, "b": VALUES, "c": st.fixed_dictionaries({}, optional={"d": VALUES})}
)


@given(TREES, TREES, EVENTS)
def test_the_algebra_of_conditions(a: Predicate, b: Predicate, event: dict[str, Any]) -> None:
    assert (a & b).test(event) == (a.test(event) and b.test(event))
    assert (a | b).test(event) == (a.test(event) or b.test(event))
    assert (~a).test(event) != a.test(event)
    assert (~(a & b)).test(event) == (~a | ~b).test(event)
    assert from_json(json.loads(json.dumps(a.to_json()))) == a
