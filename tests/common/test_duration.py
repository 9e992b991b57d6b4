"""Durations: what users write, exactly."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batuta.common.duration import BadDuration, Duration, nanoseconds, seconds, show


@pytest.mark.parametrize(
    ("text", "expected_s"),
    [
        ("90s", 90),
        ("1m 30s", 90),
        ("2 days", 172_800),
        ("1h30m", 5400),
        ("PT5M", 300),
        ("P1DT2H", 93_600),
        ("P2W", 1_209_600),
        ("pt0.5s", 0.5),
        ("250ms", 0.25),
        ("1 hour and 5 minutes", 3900),
        ("1 day, 2 hours", 93_600),
        (" 7 ", 7),
        ("-5s", -5),
        (dt.timedelta(minutes=2, microseconds=3), 120.000003),
        (3, 3),
        (1.1, 1.1),
        (Decimal("0.000000001"), 1e-9),
    ],
)
def test_reads_what_users_write(text: Duration, expected_s: float) -> None:
    assert nanoseconds(text) == round(expected_s * 1_000_000_000)
    assert seconds(text) == pytest.approx(expected_s)


@pytest.mark.parametrize(
    "text",
    ["", "s", "5 parsecs", "1m 30", "PT", "P", "P1Y", "P1M", "1 month", "1e3s", "--5s", "9" * 90],
)
def test_refuses_with_a_hint(text: str) -> None:
    with pytest.raises(BadDuration) as caught:
        nanoseconds(text)
    assert caught.value.hint


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, None, [], 1e30])
def test_refuses_values_that_are_none(value: object) -> None:
    with pytest.raises(BadDuration):
        nanoseconds(value)  # type: ignore[arg-type]


@given(st.integers(0, 10**18))
def test_nanoseconds_are_exact(nanos: int) -> None:
    assert nanoseconds(f"{nanos}ns") == nanos
    assert nanoseconds(f"{nanos // 10**9}s {nanos % 10**9}ns") == nanos


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0s"),
        (999, "999ns"),
        (1_500, "1.5µs"),
        (250_000_000, "250ms"),
        (999_960_000, "1s"),
        (1.5, "1.5s"),
        (59.96, "1m"),
        (90.0, "1m 30s"),
        (3599.6, "1h"),
        (7200.0, "2h"),
        (276_480.0, "3d 5h"),
        (1_062_720.0, "12d"),
        (86400 * 9.9, "10d"),
        (86400 * 11.7, "12d"),
        (-90.0, "-1m 30s"),
    ],
)
def test_shows_two_units(value: float, text: str) -> None:
    assert show(value) == text


@given(st.integers(1, 10**18))
def test_what_is_shown_is_near(nanos: int) -> None:
    shown = show(nanos)
    assert len(shown) <= 12
    assert nanoseconds(shown) == pytest.approx(nanos, rel=0.06)
