"""Schedules against a brute-force scan of real time, and the days on which clocks are set."""

from __future__ import annotations

import datetime as dt
from typing import Literal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batuta.common.cron import Cron, Every, latest, missed
from batuta.common.cronfields import BadCron, parse

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 3600 * SECOND
UTC = dt.UTC


def ns(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


def local(time: int, zone: str = "UTC") -> str:
    return dt.datetime.fromtimestamp(time // SECOND, ZoneInfo(zone)).strftime(
        "%Y-%m-%d %H:%M:%S %z"
    )


def upcoming(expression: str, zone: str, after: str, count: int) -> list[str]:
    cron = Cron(expression, zone)
    return [local(time, zone) for time in cron.between(ns(after), ns("2090-01-01"), count)]


def scanned(expression: str, zone: str, start: int, end: int) -> list[int]:
    """Minute by minute through real time, as cronie's main loop goes."""
    fields = parse(expression)
    info = ZoneInfo(zone)

    def matches(wall: dt.datetime) -> bool:
        return (
            wall.minute in fields.minutes
            and wall.hour in fields.hours
            and wall.month in fields.months
            and wall.day in fields.days_of(wall.year, wall.month)
        )

    found = []
    newest: dt.datetime | None = None  # the latest wall time that was seen
    for time in range(start // MINUTE * MINUTE - 200 * MINUTE, end + 1, MINUTE):
        wall = dt.datetime.fromtimestamp(time // SECOND, info).replace(tzinfo=None)
        if fields.follows_real_time:
            fires = matches(wall)
        else:
            fires = (newest is None or wall > newest) and matches(wall)
            while newest is not None and newest + dt.timedelta(minutes=1) < wall:
                newest += dt.timedelta(minutes=1)
                fires = fires or matches(newest)
        newest = wall if newest is None or wall > newest else newest
        if fires and start < time <= end:
            found.append(time)
    return found


def number(low: int, high: int) -> st.SearchStrategy[str]:
    return st.integers(low, high).map(str)


def one_field(low: int, high: int) -> st.SearchStrategy[str]:
    plain = number(low, high)
    ranges = st.tuples(st.integers(low, high), st.integers(low, high)).map(
        lambda pair: f"{min(pair)}-{max(pair)}"
    )
    stepped = st.tuples(st.just("*") | ranges, st.integers(1, 20)).map(lambda p: f"{p[0]}/{p[1]}")
    lists = st.lists(plain, min_size=1, max_size=3).map(",".join)
    return st.one_of(st.just("*"), plain, ranges, stepped, lists)


EXPRESSIONS = st.tuples(
    one_field(0, 59),
    one_field(0, 4) | one_field(0, 23),
    one_field(1, 31),
    one_field(1, 12),
    one_field(0, 7),
).map(" ".join)

CHANGES = [
    ("Europe/Berlin", "2026-03-29T01:00"),
    ("Europe/Berlin", "2026-10-25T01:00"),
    ("America/New_York", "2026-03-08T07:00"),
    ("America/New_York", "2026-11-01T06:00"),
    ("Australia/Lord_Howe", "2026-04-04T15:00"),
    ("Australia/Lord_Howe", "2026-10-03T15:30"),
    ("America/Havana", "2026-03-08T05:00"),
    ("America/Havana", "2026-11-01T05:00"),
    ("UTC", "2028-02-29T00:00"),
    ("Asia/Kathmandu", "2027-03-01T00:00"),
]


@settings(max_examples=60)
@given(EXPRESSIONS, st.sampled_from(CHANGES), st.integers(-600, 600))
def test_agrees_with_a_scan(expression: str, change: tuple[str, str], shift: int) -> None:
    zone, moment = change
    start = ns(moment) + shift * MINUTE
    end = start + 14 * HOUR
    assert Cron(expression, zone).between(start, end, 10_000) == scanned(
        expression, zone, start, end
    )


BERLIN, HOWE, HAVANA, APIA = (
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "America/Havana",
    "Pacific/Apia",
)
DAILY = [
    ("30 2 * * *", BERLIN, "2026-03-28T12:00", ["29 03:00 +0200", "30 02:30 +0200"]),
    ("0,30 2 * * *", BERLIN, "2026-03-28T12:00", ["29 03:00 +0200", "30 02:00 +0200"]),
    ("*/30 2 * * *", BERLIN, "2026-03-28T12:00", ["30 02:00 +0200", "30 02:30 +0200"]),
    ("30 2 * * *", BERLIN, "2026-10-24T12:00", ["25 02:30 +0200", "26 02:30 +0100"]),
    (
        "*/30 2 * * *",
        BERLIN,
        "2026-10-24T22:00",
        ["25 02:00 +0200", "25 02:30 +0200", "25 02:00 +0100", "25 02:30 +0100"],
    ),
    ("15 2 * * *", HOWE, "2026-10-03T00:00", ["04 02:30 +1100", "05 02:15 +1100"]),
    ("45 1 * * *", HOWE, "2026-04-04T00:00", ["05 01:45 +1100", "06 01:45 +1030"]),
    ("0 0 * * *", HAVANA, "2026-03-07T12:00", ["08 01:00 -0400", "09 00:00 -0400"]),
    ("0 12 * * *", APIA, "2011-12-30T00:00", ["31 00:00 +1400", "31 12:00 +1400"]),
]


@pytest.mark.parametrize(("expression", "zone", "after", "expected"), DAILY)
def test_days_on_which_clocks_are_set(
    expression: str, zone: str, after: str, expected: list[str]
) -> None:
    found = upcoming(expression, zone, after, len(expected))
    assert [time[8:16] + time[19:] for time in found] == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 0 29 2 *", ["2028-02-29", "2032-02-29"]),
        ("0 0 L * *", ["2026-01-31", "2026-02-28"]),
        ("0 0 l-2 2 *", ["2026-02-26", "2027-02-26"]),
        ("0 0 15w * *", ["2026-01-15", "2026-02-16"]),
        ("0 0 1w 2,3 *", ["2026-02-02", "2026-03-02"]),
        ("0 0 LW * *", ["2026-01-30", "2026-02-27"]),
        ("0 0 * * fri#2", ["2026-01-09", "2026-02-13"]),
        ("0 0 * * 5L", ["2026-01-30", "2026-02-27"]),
        ("0 0 13 * 5", ["2026-01-02", "2026-01-09"]),
        ("0 0 13 * *", ["2026-01-13", "2026-02-13"]),
        ("0 0 */2 * mon", ["2026-01-05", "2026-01-19"]),
        ("0 0 ? * sat-sun", ["2026-01-03", "2026-01-04"]),
        ("0 0 * jan,MAR fri-mon/3", ["2026-01-02", "2026-01-05"]),
        ("0 0 * * 7", ["2026-01-04", "2026-01-11"]),
        ("@monthly", ["2026-02-01", "2026-03-01"]),
        ("@yearly", ["2027-01-01", "2028-01-01"]),
    ],
)
def test_days(expression: str, expected: list[str]) -> None:
    assert [day[:10] for day in upcoming(expression, "UTC", "2026-01-01T00:00", 2)] == expected


def test_seconds_stand_before_the_others() -> None:
    assert [t[11:19] for t in upcoming("*/20 30 9 * * *", "UTC", "2026-01-01T00:00", 4)] == [
        "09:30:00", "09:30:20", "09:30:40", "09:30:00",
    ]  # fmt: skip


def test_no_such_day_is_no_time() -> None:
    assert Cron("0 0 31 2 *").next(0) is None


@pytest.mark.parametrize(
    "expression",
    ["", "* * * *", "* * * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *",
     "* * * * 8", "5-1 * * * *", "*/0 * * * *", "*/x * * * *", "a * * * *", "1,,2 * * * *",
     "* * * foo *", "* * * * fri#6", "* * 32w * *", "@fortnightly", "@every 5m",
     "@reboot", "² * * * *"],
)  # fmt: skip
def test_mistakes_get_a_hint(expression: str) -> None:
    with pytest.raises(BadCron) as caught:
        Cron(expression)
    assert caught.value.hint


@pytest.mark.parametrize("zone", ["Europe/Berln", "../etc", "", "/etc/passwd"])
def test_unknown_zones_get_a_hint(zone: str) -> None:
    with pytest.raises(BadCron) as caught:
        Cron("* * * * *", zone)
    assert caught.value.hint


@given(st.integers(-(10**18), 10**18), st.integers(10**6, 10**15), st.integers(-(10**18), 10**18))
def test_every(anchor: int, interval: int, after: int) -> None:
    found = Every(interval, anchor).next(after)
    assert found is not None
    assert found > after
    assert (found - anchor) % interval == 0
    assert found >= anchor
    assert found == anchor or found - interval <= after


def test_every_needs_an_interval() -> None:
    with pytest.raises(BadCron):
        Every(0)


@given(EXPRESSIONS, st.integers(0, 3000))
def test_the_last_missed_one(expression: str, minutes: int) -> None:
    schedule = Cron(expression, "Europe/Berlin")
    start = ns("2026-03-28T00:00")
    end = start + minutes * MINUTE
    everything = schedule.between(start, end, 10_000)
    assert missed(schedule, start, end, "all", 10_000) == everything
    assert missed(schedule, start, end, "once") == everything[-1:]
    assert missed(schedule, start, end, "skip") == []


def test_the_last_of_many_is_found_quickly() -> None:
    schedule = Cron("* * * * * *")
    now = ns("2026-03-28T00:00")
    assert latest(schedule, 0, now) == now
    assert latest(schedule, now, now) is None
    assert missed(Every(1_000_000), 0, now, "once") == [now]


@pytest.mark.parametrize("policy", ["all", "once"])
def test_all_are_limited_from_the_earliest(policy: Literal["all", "once"]) -> None:
    found = missed(Every(MINUTE), 0, HOUR, policy, 5)
    assert found == ([n * MINUTE for n in range(1, 6)] if policy == "all" else [HOUR])


def test_schedules_are_values() -> None:
    assert Cron("* * * * *") == Cron("* * * * *")
    assert (
        len({Cron("* * * * *"), Cron("* * * * *", "Europe/Berlin"), Every(MINUTE), Every(MINUTE)})
        == 3
    )
    assert repr(Cron("@daily")) == "Cron('@daily', 'UTC')"
    assert Cron("@daily") != Every(MINUTE) != 3
