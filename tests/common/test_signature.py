"""Calls as JSON: bound as Python binds, typed as the signature types, problems collected."""

from __future__ import annotations

import functools
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.common import samples
from tests.common.samples import Item, Level, Order, charge, only_names, simple, unresolved

from batuta.common.codec import (
    SignatureCodec,
    Uncallable,
    Unfitting,
    Unresolved,
    Unstorable,
    check_call,
    signature_codec,
)
from batuta.kernel.errors import BatutaError

ORDER = Order(id="1", items=[Item("a", Decimal("1.20"))])


def line_of(name: str) -> int:
    lines = Path(samples.__file__).read_text(encoding="utf-8").splitlines()
    return 1 + next(i for i, line in enumerate(lines) if f"def {name}(" in line)


def there_and_back(codec: SignatureCodec, *args: Any, **kwargs: Any) -> None:
    stored = json.loads(json.dumps(codec.encode_call(args, kwargs)))
    assert codec.decode_call(*stored) == (args, kwargs)


def test_calls_come_back() -> None:
    codec = signature_codec(charge)
    there_and_back(codec, ORDER, 5)
    there_and_back(codec, ORDER, 5)  # by the plan that was made
    there_and_back(codec, ORDER, amount=5)
    there_and_back(codec, order=ORDER, amount=5, note="x")
    there_and_back(codec, ORDER, 5, 1.5, 2.5, note="x", level=Level.HIGH)
    there_and_back(signature_codec(simple), 1, "b")
    there_and_back(signature_codec(simple), 1, "b", 2.0)
    there_and_back(signature_codec(only_names), mode="fast", where=Path("/x"))
    there_and_back(signature_codec(lambda: None))


def test_results_come_back() -> None:
    codec = signature_codec(charge)
    item = Item("a", Decimal(1))
    assert codec.decode_result(codec.encode_result(item)) == item
    with pytest.raises(Unstorable) as caught:
        codec.encode_result(None)
    assert "`charge()` is of type NoneType, declared is Item" in str(caught.value)
    assert caught.value.at == codec.at
    with pytest.raises(Unfitting, match=r"`charge\(\)\.sku`"):
        codec.decode_result({"sku": 1, "price": "1"})


SPREAD = st.integers(0, 3)


@given(
    st.lists(st.integers(), max_size=4), st.dictionaries(st.sampled_from("abcdex"), st.integers())
)
def test_binds_exactly_as_python_does(args: list[int], kwargs: dict[str, int]) -> None:
    def plain(a: int, b: int = 1, *, c: int, d: int = 2) -> None: ...
    def names(a: int, /, b: int, **rest: int) -> None: ...
    def many(a: int, *rest: int, c: int = 1) -> None: ...
    def one(a: int) -> None: ...

    for fn in (plain, names, many, one):
        codec = signature_codec(fn)
        try:
            fn(*args, **kwargs)
        except TypeError:
            with pytest.raises(Uncallable):
                codec.encode_call(args, kwargs)
            with pytest.raises(Uncallable):
                codec.decode_call(args, kwargs)
        else:
            assert codec.encode_call(args, kwargs) == (args, kwargs)


@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        ((), {}, "simple() lacks its argument `a`"),
        ((1, "b", 1.0, 2), {}, "simple() takes 3 positional arguments, 4 are given"),
        ((1, "b"), {"z": 1}, "simple() has no parameter `z`"),
        ((1, "b"), {"a": 1}, "simple() gets its argument `a` twice"),
    ],
)
def test_a_misfit_names_function_and_place(args: Any, kwargs: Any, text: str) -> None:
    with pytest.raises(Uncallable) as caught:
        signature_codec(simple).encode_call(args, kwargs)
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, BatutaError)
    assert text in str(caught.value)
    assert f"samples.py:{line_of('simple')}" in str(caught.value)
    assert "simple(a: int, b: str, c: float = 1.0) -> bool" in str(caught.value)


@pytest.mark.parametrize(
    ("args", "kwargs", "path"),
    [
        ((ORDER, "5"), {}, "amount"),
        ((Order(id="1", items=[3]), 5), {}, "order.items[0]"),  # type: ignore[list-item]
        ((ORDER, 5, 1.0, "x"), {}, "extra[1]"),
        ((ORDER, 5), {"note": 1}, "note"),
        ((ORDER, 5), {"level": "x"}, "level"),
    ],
)
def test_the_culprit_is_named_with_its_parameter(args: Any, kwargs: Any, path: str) -> None:
    codec = signature_codec(charge)
    for _ in range(2):
        with pytest.raises(Unstorable) as caught:
            codec.encode_call(args, kwargs)
        assert caught.value.place == path
        assert str(caught.value.at).endswith(f"samples.py:{line_of('charge')}")


def test_what_is_stored_and_no_longer_fits() -> None:
    with pytest.raises(Unfitting) as caught:
        signature_codec(simple).decode_call([1, 2], {})
    assert caught.value.place == "b"
    with pytest.raises(Unfitting):
        signature_codec(only_names).decode_call([], {"mode": "other"})


def test_fast_ways_agree_with_the_general_one() -> None:
    codec = signature_codec(simple)
    assert codec.encode_call((1, "b", 2), {}) == ([1, "b", 2.0], {})
    assert codec.encode_call((1,), {"b": "x"}) == ([1], {"b": "x"})


def test_problems_of_input_are_collected() -> None:
    problems = check_call(
        charge,
        [{"id": 3, "items": []}, "x"],
        {"note": None},
    )
    assert [problem.message for problem in problems] == [
        "`order.id` should be a text, it is 3",
        "`amount` should be a whole number, it is 'x'",
        "`note` should be a text, it is null",
    ]
    assert all(problem.source and problem.source.line for problem in problems)
    missing = check_call(charge, [], {"zz": 1, "amount": 1})
    assert [problem.message for problem in missing] == ["charge() lacks its argument `order`"]
    both = check_call(simple, [], {"x": 1})
    assert len(both) == 3
    assert check_call(charge, [{"id": "3", "items": []}, 5], {}) == []
    assert len(check_call(simple, {}, {})) == 1


def test_unknown_fields_are_refused_in_input_only() -> None:
    stored = {"id": "1", "items": [], "gone": 1}
    assert signature_codec(charge).decode_call([stored, 5], {})[0][0] == Order(id="1", items=[])
    (problem,) = check_call(charge, [stored, 5], {})
    assert "`order.gone`" in problem.message
    assert "items" in str(problem.hint)


def test_an_annotation_that_names_nothing() -> None:
    codec = signature_codec(unresolved)
    with pytest.raises(Unresolved) as caught:
        codec.encode_call((1,), {})
    assert str(caught.value.at).endswith(f"samples.py:{line_of('unresolved')}")
    assert "Missing" in str(caught.value)


def test_local_names_stand_for_anything_or_what_is_closed_over() -> None:
    class Local:
        pass

    class Closed(Item):
        pass

    def step(a: Local, b: Closed) -> int:
        return len(str(Closed))

    codec = signature_codec(step).resolve()
    assert codec.codecs["a"].name == "Any"
    assert codec.codecs["b"].name.endswith("Closed")
    assert codec.result.name == "int"


def test_wrapped_functions_are_seen_through() -> None:
    @functools.wraps(simple)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return simple(*args, **kwargs)

    there_and_back(signature_codec(wrapper), 1, "b")
    with pytest.raises(Unstorable):
        signature_codec(wrapper).encode_call(("x", "b"), {})


def test_methods_and_callables() -> None:
    class Service:
        def call(self, a: int) -> int:
            return a

        def __call__(self, a: int) -> int:
            return a

    for target in (Service().call, Service()):
        there_and_back(signature_codec(target), 3)
        with pytest.raises(Unstorable):
            signature_codec(target).encode_call(("3",), {})
