"""JSONPath in the dialect of Amazon States Language: what paths find, and how they are refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batuta.common.path import (
    PathMismatch,
    PathMissing,
    PathSyntax,
    bracketed,
    compile_path,
    put,
)

STORE = {
    "book": [
        {"title": "a", "price": 8.95, "tags": ["x", "y"], "isbn": "1"},
        {"title": "b", "price": 12, "tags": []},
        {"title": "c", "price": 22.99, "isbn": "2", "in stock": True},
    ],
    "bicycle": {"color": "red", "price": 19.95},
    "odd": {"a.b": 1, "$": 2, "ü": 3, "it's": 4, "": 5},
    "nothing": None,
}

FINDS: list[tuple[str, Any]] = [
    ("$", STORE),
    ("$.bicycle.color", "red"),
    ("$['bicycle']['color']", "red"),
    ('$["bicycle"].color', "red"),
    ("$.book[0].title", "a"),
    ("$.book[-1].title", "c"),
    ("$.nothing", None),
    ("$.odd['a.b']", 1),
    ("$.odd['$']", 2),
    ("$.odd.ü", 3),
    (r"$.odd['it\'s']", 4),
    ("$.odd['']", 5),
    ("$.book[*].title", ["a", "b", "c"]),
    ("$.book[0:2].title", ["a", "b"]),
    ("$.book[1:].title", ["b", "c"]),
    ("$.book[-2:].title", ["b", "c"]),
    ("$.book[::2].title", ["a", "c"]),
    ("$.book[0,2].title", ["a", "c"]),
    ("$.bicycle['color','price']", ["red", 19.95]),
    ("$.bicycle.*", ["red", 19.95]),
    ("$..isbn", ["1", "2"]),
    ("$.book..tags[0]", ["x"]),
    ("$.book[?(@.isbn)].title", ["a", "c"]),
    ("$.book[?(!@.isbn)].title", ["b"]),
    ("$.book[?(@.price < 10)].title", ["a"]),
    ("$.book[?(@.price >= 12)].title", ["b", "c"]),
    ("$.book[?(@.title == 'b')].price", [12]),
    ("$.book[?(@.title != 'b')].title", ["a", "c"]),
    ("$.book[?(@.price > 10 && @.isbn)].title", ["c"]),
    ("$.book[?(@.price > 20 || @.title == 'a')].title", ["a", "c"]),
    ("$.book[?((@.price > 20 || @.title == 'a') && @.isbn == '1')].title", ["a"]),
    ("$.book[?(@['in stock'] == true)].title", ["c"]),
    ("$.book[?(@.tags[0] == 'x')].title", ["a"]),
    ("$.book[?(@.price == '12')].title", []),  # a text is no number
    ("$.book[7:].title", []),
    ("$..nowhere", []),
]  # fmt: skip


@pytest.mark.parametrize(("text", "wanted"), FINDS, ids=[text for text, _ in FINDS])
def test_what_a_path_finds(text: str, wanted: Any) -> None:
    before = copy.deepcopy(STORE)
    assert compile_path(text).find(STORE) == wanted
    assert before == STORE


@pytest.mark.parametrize(
    ("text", "definite"),
    [
        ("$", True), ("$.a.b", True), ("$['a'][0]", True), ("$.a[-1]", True), ("$.a[*]", False),
        ("$..a", False), ("$.a[0:1]", False), ("$.a[0,1]", False), ("$.a[?(@.b)]", False),
        ("$.*", False),
    ],
)  # fmt: skip
def test_a_definite_path_names_one_value(text: str, definite: bool) -> None:
    assert compile_path(text).definite is definite


@pytest.mark.parametrize(
    ("text", "name", "before", "last"),
    [
        ("$.a", "a", "$", True), ("$.bicycle.wheel", "wheel", "$['bicycle']", True),
        ("$.bicycle.wheel.size", "wheel", "$['bicycle']", False),
        ("$.book[3]", 3, "$['book']", True),
        ("$.book[-4]", -4, "$['book']", True), ("$.nothing.at", "at", "$['nothing']", True),
        ("$.book.title", "title", "$['book']", True),
    ],
)  # fmt: skip
def test_a_definite_path_that_leads_nowhere_says_where_it_ends(
    text: str, name: str | int, before: str, last: bool
) -> None:
    with pytest.raises(PathMissing) as caught:
        compile_path(text).find(STORE)
    assert (caught.value.name, caught.value.before, caught.value.last) == (name, before, last)


REFUSED = [
    ("a", 0), ("", 0), ("$a", 1), ("$.", 2), ("$.a.", 4), ("$[", 2), ("$['a", 4), ("$[0", 3),
    ("$['a'", 5), ("$.a b", 3), ("$[?(@.a]", 7), ("$[?()]", 4), ("$[?(@.a ==)]", 10), ("$[::0]", 5),
    ("$[1 2]", 4), ("$.a[?(1)]", 7), ("$..", 3), ("$.a[?(@.b =~ /x/)]", 10), ("$[0,]", 4),
]  # fmt: skip


@pytest.mark.parametrize(("text", "offset"), REFUSED, ids=[text for text, _ in REFUSED])
def test_what_is_no_path_is_refused_with_its_place(text: str, offset: int) -> None:
    with pytest.raises(PathSyntax) as caught:
        compile_path(text)
    assert caught.value.offset == offset


@pytest.mark.parametrize("text", ["$[?(" + "(" * 99 + "@" + ")" * 99 + ")]", "$" + "[?(@" * 99])
def test_filters_are_nested_so_deep_and_no_deeper(text: str) -> None:
    with pytest.raises(PathSyntax, match="nested more than 50 deep"):
        compile_path(text)


# -- putting -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("root", "text", "value", "wanted"),
    [
        ({"a": 1}, "$", 2, 2),
        ({"a": 1}, "$.b", 2, {"a": 1, "b": 2}),
        ({"a": 1}, "$.b.c", 2, {"a": 1, "b": {"c": 2}}),
        ({"a": {"b": 1}}, "$.a.c", 2, {"a": {"b": 1, "c": 2}}),
        ({"a": None}, "$.a.c", 2, {"a": {"c": 2}}),
        ({"a": [1, 2]}, "$.a[1]", 3, {"a": [1, 3]}),
    ],
)
def test_a_value_is_put_where_the_path_leads(root: Any, text: str, value: Any, wanted: Any) -> None:
    before = copy.deepcopy(root)
    assert put(root, compile_path(text), value) == wanted
    assert root == before


@pytest.mark.parametrize(
    ("root", "text"),
    [
        ({"a": 1}, "$.a.b"), ([1], "$.a"), ("x", "$.a"), ({"a": [1]}, "$.a[1]"), ({}, "$.a[0]"),
        ({"a": [1]}, "$.a[-1]"), ({"a": [1]}, "$.a[*]"),
    ],
)  # fmt: skip
def test_what_is_in_the_way_is_not_overwritten(root: Any, text: str) -> None:
    with pytest.raises(PathMismatch):
        put(root, compile_path(text), 1)


# -- the algebra -------------------------------------------------------------------------------

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="'\\"), max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(NAMES, VALUES, max_size=3), st.lists(NAMES, min_size=1, max_size=4), VALUES)
def test_what_was_put_is_found_and_the_rest_is_untouched(
    root: Any, names: list[str], value: Any
) -> None:
    path = compile_path(bracketed(tuple(names)))
    try:
        made = put(root, path, value)
    except PathMismatch:
        return
    assert path.find(made) == value
    for name, each in root.items():
        if name != names[0]:
            assert made[name] == each


@given(st.lists(NAMES | st.integers(-3, 3), max_size=5))
def test_a_bracketed_path_is_read_as_it_was(names: list[str | int]) -> None:
    assert compile_path(bracketed(tuple(names))).names == tuple(names)


@given(st.text(st.sampled_from("$@.[]()?*'\"ab01:,<=>!&| -~\\"), max_size=30))
def test_any_text_is_a_path_or_is_refused(text: str) -> None:
    for candidate in (text, "$" + text, f"$[?({text})]"):
        try:
            path = compile_path(candidate)
        except PathSyntax:
            continue
        try:
            path.find(STORE)
        except PathMissing:
            assert path.definite
