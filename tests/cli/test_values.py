"""Values as they are typed."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from batuta.cli.usage import UsageError
from batuta.cli.values import attributes, call_values, json_value, loose_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("true", True),
        ("null", None),
        ("Ada", "Ada"),
        ('"Ada"', "Ada"),
        ("order-1", "order-1"),
        ("", ""),
        ('{"a": [1]}', {"a": [1]}),
    ],
)
def test_json_or_text(text: str, value: object) -> None:
    assert loose_value(text, "x") == value


def test_what_looks_like_json_has_to_be_some() -> None:
    with pytest.raises(UsageError) as caught:
        loose_value('{"a": 1,}', "argument 1")
    assert caught.value.message.startswith("argument 1 is not JSON: ")
    assert caught.value.message.endswith(" at column 9") or "column 8" in caught.value.message
    assert caught.value.hint == "put the whole value between single quotes for the shell"


def test_text_where_json_is_needed() -> None:
    with pytest.raises(UsageError) as caught:
        json_value("Ada", "--data")
    assert str(caught.value) == (
        "--data is not JSON: Expecting value at column 1\n"
        "  hint: a text needs its quotes: '\"Ada\"'"
    )


def test_nesting_without_end() -> None:
    with pytest.raises(UsageError):
        json_value("[" * 200_000, "--data")


def test_files_and_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.json").write_text('{"a":\n 1}')
    assert loose_value(f"@{tmp_path}/a.json", "x") == {"a": 1}
    monkeypatch.setattr("sys.stdin", io.StringIO("[1]"))
    assert json_value("-", "x") == [1]
    with pytest.raises(UsageError) as caught:
        json_value(f"@{tmp_path}/b.json", "x")
    assert caught.value.message == (
        f"x cannot be read from `{tmp_path}/b.json`: No such file or directory"
    )


def test_arguments_by_place_and_by_name() -> None:
    assert call_values(["1", "Ada", "b=true", 'c="x=y"']) == ([1, "Ada"], {"b": True, "c": "x=y"})


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a=1", "2"], "`2` follows an argument with a name"),
        (["a=1", "a=2"], "argument `a` is given twice"),
    ],
)
def test_arguments_in_the_wrong_order(texts: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        call_values(texts)
    assert caught.value.message == message


def test_attributes() -> None:
    assert attributes(["a=1", "b=x", "c=true"]) == {"a": 1, "b": "x", "c": True}
    for text in ("a", "=1", "a=[1]", "a=null"):
        with pytest.raises(UsageError):
            attributes([text])
