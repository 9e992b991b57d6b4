"""Values to JSON and back: nothing lost, nothing shared, culprits named."""

from __future__ import annotations

import collections
import datetime as dt
import enum
import json
import math
import pickle
import sys
import types
import typing
import uuid
import zoneinfo
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, NewType, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.common import samples
from tests.common.samples import (
    Animal,
    Box,
    Colour,
    Dog,
    Item,
    Level,
    Mood,
    Odd,
    Options,
    Order,
    Payment,
    Point,
    Positive,
    Rights,
)

from batuta.common.codec import Misfit, Unfitting, Unstorable, codec_of

UTC = dt.UTC
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
UserId = NewType("UserId", int)
T = TypeVar("T")


def there_and_back(annotation: Any, value: Any) -> Any:
    codec = codec_of(annotation)
    encoded = codec.encode(value)
    text = json.dumps(encoded, allow_nan=False)
    back = codec.decode(json.loads(text))
    assert back == value
    assert type(back) is type(value)
    return encoded


TEXT = st.text(max_size=5)
FLOATS = st.floats(allow_nan=False)
EARLY, LATE = dt.datetime(1950, 1, 1), dt.datetime(2090, 1, 1)  # noqa: DTZ001
TIMES = st.timezones().flatmap(lambda zone: st.datetimes(EARLY, LATE, timezones=st.just(zone)))
ITEMS = st.builds(Item, TEXT, st.decimals(allow_nan=False), st.integers())

TYPED: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (None, st.none()),
    (bool, st.booleans()),
    (int, st.integers()),
    (float, FLOATS),
    (str, TEXT),
    (bytes, st.binary()),
    (Decimal, st.decimals(allow_nan=False)),
    (uuid.UUID, st.uuids()),
    (dt.datetime, st.datetimes()),
    (dt.datetime, TIMES),
    (dt.date, st.dates()),
    (dt.time, st.times()),
    (dt.timedelta, st.timedeltas()),
    (Path, st.just(Path("/a/b"))),
    (PurePosixPath, st.just(PurePosixPath("a/b"))),
    (zoneinfo.ZoneInfo, st.just(BERLIN)),
    (Colour, st.sampled_from(Colour)),
    (Level, st.sampled_from(Level)),
    (Mood, st.sampled_from(Mood)),
    (Odd, st.sampled_from(Odd)),
    (Rights, st.sampled_from([Rights(0), Rights.READ, Rights.READ | Rights.WRITE])),
    (Literal["a", 1, True, None, Colour.RED], st.sampled_from(["a", 1, True, None, Colour.RED])),
    (list[int], st.lists(st.integers())),
    (list[Decimal], st.lists(st.decimals(allow_nan=False))),
    (set[str], st.sets(TEXT)),
    (frozenset[float], st.frozensets(FLOATS)),
    (tuple[int, ...], st.lists(st.integers()).map(tuple)),
    (tuple[int, str], st.tuples(st.integers(), TEXT)),
    (tuple[()], st.just(())),
    (collections.deque[int], st.lists(st.integers()).map(collections.deque)),
    (Sequence[dt.date], st.lists(st.dates())),
    (dict[str, Decimal], st.dictionaries(TEXT, st.decimals(allow_nan=False))),
    (dict[int, str], st.dictionaries(st.integers(), TEXT)),
    (dict[uuid.UUID, int], st.dictionaries(st.uuids(), st.integers())),
    (dict[Level, int], st.dictionaries(st.sampled_from(Level), st.integers())),
    (dict[tuple[int, int], str], st.dictionaries(st.tuples(st.integers(), st.integers()), TEXT)),
    (dict[int | str, int], st.dictionaries(st.integers() | TEXT, st.integers())),
    (Mapping[str, list[int]], st.dictionaries(TEXT, st.lists(st.integers()))),
    (collections.Counter[str], st.just(collections.Counter("aab"))),
    (int | None, st.none() | st.integers()),
    (int | str | bool | float | None, st.integers() | TEXT | st.booleans() | FLOATS | st.none()),
    (str | Decimal | dt.date, TEXT | st.decimals(allow_nan=False) | st.dates()),
    (str | Mood | bytes, TEXT | st.sampled_from(Mood) | st.binary()),
    (dt.date | dt.datetime, st.dates() | st.datetimes()),
    (list[int] | list[str] | tuple[int, ...], st.sampled_from([[1], ["a"], (1,), []])),
    (Item | Point | dict[str, int], st.sampled_from([Point(1), {"$type": 3}, {}]) | ITEMS),
    (Options, st.sampled_from([{"name": "a"}, {"name": "b", "level": Level.HIGH}])),
    (Point, st.builds(Point, st.integers(), FLOATS)),
    (Item, ITEMS),
    (Order, st.builds(Order, id=TEXT, items=st.lists(ITEMS, max_size=2), at=st.none() | TIMES)),
    (Box[Decimal], st.builds(Box, st.decimals(allow_nan=False), st.just([]))),
    (Payment, st.builds(Payment, theAmount=st.decimals(-9, 9, places=2), at=st.dates())),
    (Animal, st.builds(Dog, TEXT, st.just(("sit",))) | st.builds(Animal, TEXT)),
    (Annotated[UserId, "meta", []], st.integers()),
    (T, st.integers() | st.decimals(allow_nan=False)),
]


@pytest.mark.parametrize(
    ("annotation", "values"), TYPED, ids=[str(annotation)[:40] for annotation, _ in TYPED]
)
def test_typed_values_come_back(annotation: Any, values: st.SearchStrategy[Any]) -> None:
    @settings(max_examples=25)
    @given(values)
    def holds(value: Any) -> None:
        there_and_back(annotation, value)
        there_and_back(list[annotation], [value])
        there_and_back(Any, value if type(value) not in LOSSY else list(value))

    holds()


LOSSY = (collections.deque, collections.Counter)  # without an annotation: no such type

HASHABLE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    FLOATS,
    TEXT,
    st.binary(),
    st.decimals(allow_nan=False),
    st.uuids(),
    st.dates(),
    st.datetimes(),
    TIMES,
    st.timedeltas(),
    st.sampled_from(Colour),
    ITEMS,
)
VALUES = st.recursive(
    HASHABLE,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(TEXT | st.just("$type"), inner, max_size=3),
        st.dictionaries(HASHABLE, inner, max_size=3),
        st.tuples(inner, inner),
        st.sets(HASHABLE, max_size=3),
        st.frozensets(HASHABLE, max_size=3),
        st.builds(Order, id=TEXT, items=st.just([]), note=inner),
    ),
    max_leaves=12,
)


@given(VALUES)
def test_untyped_values_come_back(value: Any) -> None:
    there_and_back(Any, value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
)


@given(JSON.filter(lambda value: not any(w in json.dumps(value) for w in ("Infinity", "$type"))))
def test_plain_json_stays_as_it_is(value: Any) -> None:
    assert codec_of(Any).encode(value) == value


def containers(value: Any) -> set[int]:
    if isinstance(value, dict):
        return {id(value)}.union(*(containers(one) for one in value.values()))
    if isinstance(value, list):
        return {id(value)}.union(*map(containers, value))
    return set()


@given(JSON)
def test_nothing_is_shared(value: Any) -> None:
    for annotation in (Any, dict | list | Any, object):
        codec = codec_of(annotation)
        encoded = codec.encode(value)
        assert not containers(value) & containers(encoded)
        assert not containers(encoded) & containers(codec.decode(encoded))


def test_nothing_typed_is_shared() -> None:
    for annotation, value in (
        (list[int], [1]),
        (dict[str, list[str]], {"a": ["b"]}),
        (dict, {"a": []}),
    ):
        encoded = codec_of(annotation).encode(value)
        assert not containers(value) & containers(encoded)
        assert not containers(encoded) & containers(codec_of(annotation).decode(encoded))


@pytest.mark.parametrize("annotation", [float, Any, list[float], float | str])
def test_numbers_that_json_lacks(annotation: Any) -> None:
    codec = codec_of(annotation)
    for value in (math.inf, -math.inf, math.nan):
        wrapped = [value] if annotation == list[float] else value
        back = codec.decode(json.loads(json.dumps(codec.encode(wrapped), allow_nan=False)))
        assert repr(back) == repr(wrapped)


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (Decimal, Decimal("1.20"), "1.20"),
        (Any, Decimal("1.20"), {"$type": "decimal", "v": "1.20"}),
        (dt.timedelta, dt.timedelta(days=-1, microseconds=5), "-PT86399.999995S"),
        (dt.datetime, dt.datetime(2026, 1, 2, tzinfo=BERLIN),
         "2026-01-02T00:00:00+01:00[Europe/Berlin]"),
        (Colour, Colour.RED, "red"),
        (Odd, Odd.PAIR, "PAIR"),
        (Level | None, Level.HIGH, 2),
        (str | Decimal, "x", "x"),
        (str | Decimal, Decimal(1), "1"),
        (Item, Item("a", Decimal(1)), {"sku": "a", "price": "1", "count": 1}),
        (Any, Item("a", Decimal(1)), {"$type": "tests.common.samples:Item",
                                      "v": {"sku": "a", "price": "1", "count": 1}}),
        (Any, {"$type": 1}, {"$type": "dict", "v": [["$type", 1]]}),
        (dict[Level, int], {Level.LOW: 3}, {"1": 3}),
        (set[int], {3, 1, 2}, [1, 2, 3]),
    ],
)  # fmt: skip
def test_how_it_is_written(annotation: Any, value: Any, expected: Any) -> None:
    if annotation == str | Decimal and isinstance(value, Decimal):
        expected = {"$type": "decimal", "v": "1"}
    assert there_and_back(annotation, value) == expected


@pytest.mark.parametrize(
    ("annotation", "given_json", "value"),
    [
        (float, 1, 1.0),
        (Decimal, 3, Decimal(3)),
        (Decimal, 12.5, Decimal("12.5")),
        (dt.timedelta, "90s", dt.timedelta(seconds=90)),
        (dt.timedelta, 1.5, dt.timedelta(seconds=1.5)),
        (dt.datetime, "2026-01-31T10:00:00Z", dt.datetime(2026, 1, 31, 10, tzinfo=UTC)),
        (Item | Animal, {"name": "x"}, Animal("x")),
        (dict[tuple[int, int] | str, int], {"a": 1}, {"a": 1}),
        (Item, {"sku": "a", "price": "1", "gone": 1}, Item("a", Decimal(1))),
    ],
)
def test_what_people_write_is_understood(annotation: Any, given_json: Any, value: Any) -> None:
    assert codec_of(annotation).decode(given_json) == value


def test_repeated_hour_keeps_its_side() -> None:
    for fold in (0, 1):
        value = dt.datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=fold)
        codec = codec_of(dt.datetime)
        back = codec.decode(codec.encode(value))
        assert back.fold == fold
        assert back.utcoffset() == value.utcoffset()
        assert back.tzinfo is BERLIN


def test_fields_without_a_constructor_argument_are_kept() -> None:
    order = Order(id="a", items=[])
    order.total = 7
    codec = codec_of(Order)
    assert codec.decode(codec.encode(order)).total == 7


@pytest.mark.parametrize(
    ("annotation", "value", "path"),
    [
        (Any, {"order": {"items": [1, 2, {"callback": print}]}}, "order.items[2].callback"),
        (Any, [(1, {2: lambda: 0})], "[0][1][2]"),
        (Order, Order(id="1", items=[Item("a", 1.5)]), "items[0].price"),  # type: ignore[arg-type]
        (Order, Order(id="1", items=[], note={"f": open}), "note.f"),
        (dict[str, list[int]], {"a": [1, "2"]}, "a[1]"),
        (tuple[int, str], (1, 2), "[1]"),
        (Options, {"name": 1}, "name"),
        (Options, {}, "name"),
        (Options, {"name": "a", "x": 1}, "x"),
        (int, True, "the value"),
        (int, 1.0, "the value"),
        (str, 1, "the value"),
        (bool, 1, "the value"),
        (float, "1", "the value"),
        (float, 10**400, "the value"),
        (None, 0, "the value"),
        (dt.date, dt.datetime(2026, 1, 1), "the value"),  # noqa: DTZ001
        (Decimal, 1, "the value"),
        (Colour, "red", "the value"),
        (Literal[1], True, "the value"),
        (int | None, "x", "the value"),
        (int | str, 1.5, "the value"),
        (Item | Point, 3, "the value"),
        (Item | Point, Item("a", None), "price"),  # type: ignore[arg-type]
        (Animal, Item("a", Decimal(1)), "the value"),
        (Callable[[], int], print, "the value"),
        (Any, (n for n in [1]), "the value"),
        (Any, object(), "the value"),
        (Any, Order, "the value"),
    ],
)  # fmt: skip
def test_the_culprit_is_named(annotation: Any, value: Any, path: str) -> None:
    with pytest.raises(Unstorable) as caught:
        codec_of(annotation).encode(value)
    assert caught.value.place == path
    assert f"`{path}`" in str(caught.value)


@pytest.mark.parametrize(
    ("annotation", "value", "path"),
    [
        (int, "1", "the value"),
        (int, True, "the value"),
        (bool, 1, "the value"),
        (str, None, "the value"),
        (float, "1", "the value"),
        (None, 1, "the value"),
        (Decimal, "one", "the value"),
        (dt.datetime, "yesterday", "the value"),
        (dt.datetime, "2026-01-01T00:00:00[Europe/Berlin]", "the value"),
        (dt.timedelta, "5 parsecs", "the value"),
        (bytes, "ä", "the value"),
        (uuid.UUID, "x", "the value"),
        (Colour, "green", "the value"),
        (Colour, ["red"], "the value"),
        (Rights, 99, "the value"),
        (Literal["a"], "b", "the value"),
        (list[int], [1, "2"], "[1]"),
        (list[int], {}, "the value"),
        (set[Any], [[1]], "the value"),
        (tuple[int, int], [1], "the value"),
        (dict[int, int], {"a": 1}, "a"),
        (dict[str, int], {"a": "b"}, "a"),
        (dict[str, int], [], "the value"),
        (Order, {"id": "a", "items": [{"sku": "x", "price": []}]}, "items[0].price"),
        (Order, {"id": "a"}, "items"),
        (Order, [], "the value"),
        (Positive, {"value": -1}, "the value"),
        (Payment, {"theAmount": "x", "at": "2026-01-01"}, "theAmount"),
        (Options, {}, "name"),
        (Item | Point, {"z": 1}, "the value"),
        (int | str, [], "the value"),
        (Any, {"$type": "decimal", "v": "x"}, "the value"),
        (Any, {"$type": "float", "v": "1"}, "the value"),
        (Any, {"$type": "set", "v": [[]]}, "the value"),
        (Any, {"$type": "dict", "v": [[1]]}, "the value"),
        (Any, {"$type": "dict", "v": [[[], 1]]}, "the value"),
        (Any, {"a": [{"$type": "nobody:Knows", "v": {}}]}, "a[0]"),
        (Any, {"$type": "os:popen", "v": "x"}, "the value"),
        (Any, {"$type": "subprocess:Popen", "v": "x"}, "the value"),
        (Any, {"$type": "list"}, "the value"),
        (Animal, {"$type": "tests.common.samples:Item", "v": {}}, "the value"),
    ],
)
def test_what_does_not_fit_is_named(annotation: Any, value: Any, path: str) -> None:
    with pytest.raises(Unfitting) as caught:
        codec_of(annotation).decode(value)
    assert caught.value.place == path


def test_cycles_and_depth_are_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    order = Order(id="a", items=[])
    order.parent = order
    hidden = Order(id="b", items=[])
    hidden.note = {"again": [hidden]}
    for annotation, value in ((Any, loop), (Order, order), (Any, order), (Order, hidden)):
        with pytest.raises(Unstorable, match="nested deeper than 200") as caught:
            codec_of(annotation).encode(value)
        assert len(str(caught.value)) < 500
        assert codec_of(annotation).encode(Order(id="c", items=[]) if annotation is Order else 1)
    deep: Any = 1
    for _ in range(150):
        deep = [deep]
    there_and_back(Any, deep)
    for _ in range(100):
        deep = {"a": deep}
    with pytest.raises(Unfitting, match="200"):
        codec_of(Any).decode(deep)


def test_chains_may_be_long() -> None:
    order = Order(id="0", items=[])
    for number in range(90):
        order = Order(id=str(number), items=[], parent=order)
    there_and_back(Order, order)


def test_local_classes_need_an_annotation() -> None:
    @dataclass
    class Local:
        a: Decimal

    there_and_back(Local, Local(Decimal(1)))
    with pytest.raises(Unstorable) as caught:
        codec_of(Any).encode(Local(Decimal(1)))
    assert "top of its module" in str(caught.value)


def test_codecs_are_made_once() -> None:
    assert codec_of(list[Order]) is codec_of(list[Order])
    assert codec_of(Literal[1]) is not codec_of(Literal[True])


def test_order_of_a_union_means_nothing() -> None:
    value = Dog("a")
    assert codec_of(Dog | Item).encode(value) == codec_of(Item | Dog).encode(value)


def test_a_set_is_written_in_one_order() -> None:
    assert codec_of(Any).encode({"b", "a"}) == {"$type": "set", "v": ["a", "b"]}
    assert codec_of(set[Any]).encode({1, "a"}) == codec_of(set[Any]).encode({"a", 1})


def test_pydantic_is_never_imported() -> None:
    assert "pydantic" in sys.modules  # by the samples, else this test would prove nothing
    modules = {name: one for name, one in sys.modules.items() if name != "pydantic"}
    before, sys.modules["pydantic"] = sys.modules["pydantic"], types.ModuleType("pydantic")
    try:
        sys.modules.pop("pydantic")
        with pytest.raises(Unstorable):
            codec_of(Any).encode(samples.Payment(theAmount=Decimal(1), at=dt.date(2026, 1, 1)))
        assert "pydantic" not in sys.modules
    finally:
        sys.modules["pydantic"] = before
    assert modules.keys() <= sys.modules.keys()


def test_attrs_classes() -> None:
    attrs = pytest.importorskip("attrs")
    fields = {"_a": attrs.field(type=Decimal), "b": attrs.field(default=1)}
    made = attrs.make_class("Made", fields)
    there_and_back(made, made(a=Decimal("1.5")))


@pytest.mark.parametrize("error", [Unstorable("a", "int", "hint"), Unfitting("a", "x", "y")])
def test_errors_survive_a_process(error: Misfit) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert str(back) == str(error)
    assert vars(back) == vars(error)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax of type aliases is younger")
def test_type_aliases() -> None:
    alias = vars(typing)["TypeAliasType"]
    there_and_back(alias("Numbers", list[Decimal]), [Decimal(1)])


def test_enum_with_aliases() -> None:
    class Way(enum.Enum):
        LEFT = "l"
        PORT = "l"  # noqa: PIE796

    there_and_back(Way, Way.PORT)
