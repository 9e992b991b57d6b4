"""Exceptions become data: type, bases, message, traceback, arguments."""

from __future__ import annotations

import json
from typing import Any

import pytest

from batuta.common.failure import bases_by_name, bases_of, clip, failure_of, name_of
from batuta.kernel.errors import BatutaError, NotRetryable, TimedOut


class Mute(Exception):
    """Cannot even say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("mute")


class Deep(NotRetryable):
    class Inner(ValueError):
        """A class in a class."""


def caught(error: Exception) -> Exception:
    try:
        raise error
    except Exception as found:
        return found


def test_names() -> None:
    assert name_of(ValueError) == "builtins:ValueError"
    assert name_of(Deep.Inner) == f"{__name__}:Deep.Inner"
    assert name_of(BatutaError) == "batuta:BatutaError"
    assert bases_of(ConnectionResetError()) == [
        "builtins:ConnectionError",
        "builtins:OSError",
        "builtins:Exception",
    ]
    assert bases_by_name("batuta:TimedOut") == bases_of(TimedOut)
    assert bases_by_name("batuta:Nothing") == []


def test_only_what_says_so_is_not_retryable() -> None:
    assert failure_of(ValueError("x")).retryable
    assert not failure_of(Deep("x")).retryable


@pytest.mark.parametrize(
    ("args", "kept"),
    [
        ((), []),
        (
            ("text", 1, None, 2.5, True, [1, {"a": []}]),
            ["text", 1, None, 2.5, True, [1, {"a": []}]],
        ),
        (((1, 2),), None),
        ((object(),), None),
        (({1: 2},), None),
        ((float("nan"),), None),
        (("x" * 100_000,), None),
    ],
)
def test_arguments_are_kept_where_json_gives_them_back(args: tuple[Any, ...], kept: Any) -> None:
    assert failure_of(ValueError(*args)).args == kept


def test_arguments_without_end() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert failure_of(ValueError(loop)).args is None


def test_an_exception_that_cannot_be_printed() -> None:
    failure = failure_of(caught(Mute()))
    assert failure.message == "(its __str__ failed: RuntimeError)"
    assert "Mute" in failure.traceback


def test_causes_and_groups_are_kept() -> None:
    def both() -> None:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ExceptionGroup("several", [caught(ValueError("one"))]) from error

    with pytest.raises(ExceptionGroup) as found:
        both()
    text = failure_of(found.value).traceback
    assert "KeyError: 'inner'" in text
    assert "direct cause" in text
    assert "ValueError: one" in text
    assert 'raise ExceptionGroup("several"' in text


def test_batutas_own_frames_are_left_out() -> None:
    with pytest.raises(TypeError) as found:
        clip(None)  # type: ignore[arg-type]
    text = failure_of(found.value).traceback
    assert "batuta/common" not in text
    assert "clip(None)" in text


def test_every_text_can_be_stored() -> None:
    failure = failure_of(ValueError("\ud800" + "x" * 200_000))
    assert len(failure.message) < 66_000
    assert "characters left out" in failure.message
    json.dumps(failure.message).encode()
    failure.message.encode()
