"""Retry rules: how long, how often, and for which failures."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batuta.common.failure import bases_of, name_of
from batuta.common.retry import NO_RETRY, BadRetry, retry

SECOND = 1_000_000_000


class Declined(ValueError):
    """A failure of a user's own."""


def allows(rule: Any, error: type[BaseException], attempt: int = 1) -> bool:
    return bool(rule.allows(name_of(error), bases_of(error), attempt))


def test_waits_double_up_to_the_longest() -> None:
    rule = retry(10, initial="1s", backoff=2.0, maximum="10s", jitter=0)
    assert [rule.delay(n, 0.5) // SECOND for n in range(1, 7)] == [1, 2, 4, 8, 10, 10]


def test_jitter_only_shortens() -> None:
    rule = retry(initial="10s", jitter=0.1)
    assert rule.delay(1, 0.0) == 10 * SECOND
    assert rule.delay(1, 0.5) == round(9.5 * SECOND)


@given(
    st.integers(1, 10**6),
    st.floats(0, 1, exclude_max=True),
    st.floats(0, 1000),
    st.floats(1, 100),
    st.floats(0, 1),
)
def test_never_longer_than_the_longest(
    attempt: int, u: float, initial: float, backoff: float, jitter: float
) -> None:
    rule = retry(None, initial=initial, backoff=backoff, maximum=2000, jitter=jitter)
    assert 0 <= rule.delay(attempt, u) <= 2000 * SECOND
    assert rule.delay(attempt + 1, u) >= rule.delay(attempt, u)


def test_ten_thousand_attempts_do_not_overflow() -> None:
    assert retry(None, maximum="1m", jitter=0).delay(10_000, 0.9) == 60 * SECOND


def test_attempts_run_out() -> None:
    assert [allows(retry(3), OSError, n) for n in (1, 2, 3)] == [True, True, False]
    assert not allows(NO_RETRY, OSError)
    assert allows(retry(None), OSError, 10**9)


def test_classes_derived_from_a_named_one_count() -> None:
    rule = retry(on=(OSError,))
    assert allows(rule, ConnectionResetError)
    assert not allows(rule, ValueError)
    assert allows(retry(on=(BaseException,)), ValueError)


def test_never_wins() -> None:
    rule = retry(on=(Exception,), never=(Declined,))
    assert allows(rule, ValueError)
    assert not allows(rule, Declined)


@pytest.mark.parametrize(
    "name", ["Declined", name_of(Declined), "ValueError", "builtins:ValueError"]
)
def test_names_do_as_well_as_classes(name: str) -> None:
    assert allows(retry(on=(name,)), Declined)
    assert not allows(retry(on=(name,)), KeyError)
    assert not allows(retry(never=name), Declined)


@pytest.mark.parametrize(
    "options",
    [
        {"attempts": 0},
        {"attempts": True},
        {"initial": "-1s"},
        {"initial": "2h"},
        {"backoff": 0.5},
        {"backoff": float("nan")},
        {"jitter": 1.5},
        {"on": (int,)},
        {"never": ("",)},
    ],
)
def test_nonsense_is_refused_with_a_hint(options: dict[str, Any]) -> None:
    with pytest.raises(BadRetry) as caught:
        retry(**options)
    assert caught.value.hint


def test_a_rule_is_a_value() -> None:
    assert retry(4, on=(OSError,)) == retry(4, on=["builtins:OSError"])
    assert hash(retry(4)) == hash(retry(4))
