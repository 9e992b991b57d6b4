"""Schedules: at their times, once each, whatever happened in between."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.workflow.harness import S, Stage

from batuta import cron, every, workflow

HOUR = 3600


def scheduled(make: Any, name: str = "report") -> Any:
    async def report(due: datetime) -> str:
        return due.isoformat()

    return make(report)


def runs(stage: Stage) -> list[str]:
    return [record.id.partition("@")[2] for record in stage.journal.records("run")]


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * S


def begun(thing: Any, time: str, **options: Any) -> Stage:
    stage = Stage(thing, **options)
    stage.hands.time = at(time)
    stage.turn()
    return stage


@pytest.mark.parametrize("restart", [0, 1])
def test_it_begins_when_it_is_defined_and_goes_on(restart: int) -> None:
    stage = begun(scheduled(every("1h")), "2024-05-01T10:20:00", restart_every=restart)
    assert runs(stage) == []
    stage.advance(2 * HOUR)
    assert runs(stage) == ["2024-05-01T11:00:00Z", "2024-05-01T12:00:00Z"]
    assert stage.result("report@2024-05-01T11:00:00Z") == "2024-05-01T11:00:00+00:00"
    fired = stage.events("schedule:report")
    assert [e.type for e in fired] == ["schedule.fired"] * 2
    assert stage.events("report@2024-05-01T11:00:00Z")[0].cause_seq == fired[0].seq


@pytest.mark.parametrize(
    ("missed", "expected"),
    [
        ("skip", []),
        ("once", ["2024-05-01T14:00:00Z"]),
        ("all", [f"2024-05-01T{hour}:00:00Z" for hour in (11, 12, 13, 14)]),
    ],
)
def test_what_was_missed_while_nothing_ran(missed: Any, expected: list[str]) -> None:
    stage = begun(scheduled(every("1h", missed=missed)), "2024-05-01T10:20:00")
    stage.hands.time = at("2024-05-01T14:30:00")
    stage.restart()
    assert runs(stage) == expected
    stage.advance(HOUR)
    assert runs(stage) == [*expected, "2024-05-01T15:00:00Z"]


def test_a_little_late_is_not_missed() -> None:
    stage = begun(scheduled(every("1h", missed="skip")), "2024-05-01T10:20:00")
    stage.hands.time = at("2024-05-01T11:00:05")
    stage.restart()
    assert runs(stage) == ["2024-05-01T11:00:00Z"]


def test_wall_clocks_in_the_two_odd_nights() -> None:
    nightly = scheduled(cron("30 2 * * *", timezone="Europe/Berlin"))
    stage = begun(nightly, "2024-03-30T12:00:00")
    stage.advance(48 * HOUR)
    spring = runs(stage)
    assert len(spring) == 2  # the night in which 02:30 does not exist has its run as well
    stage = begun(nightly, "2024-10-26T12:00:00")
    stage.advance(48 * HOUR)
    assert len(runs(stage)) == 2  # and the night in which it exists twice has one


def test_weekdays() -> None:
    stage = begun(scheduled(cron("0 9 * * mon-fri")), "2024-05-03T12:00:00")
    stage.advance(4 * 24 * HOUR)
    assert runs(stage) == ["2024-05-06T09:00:00Z", "2024-05-07T09:00:00Z"]


@pytest.mark.parametrize("how", ["restart", "reload"])
def test_a_changed_expression_begins_anew(how: str) -> None:
    stage = begun(scheduled(every("1 day", missed="all")), "2024-05-01T10:20:00")
    stage.hands.time = at("2024-05-01T13:30:00")
    getattr(stage, how)(scheduled(every("1h", missed="all")))
    assert runs(stage) == []
    stage.advance(HOUR)
    assert runs(stage) == ["2024-05-01T14:00:00Z"]


def test_a_schedule_that_is_taken_away_fires_no_more() -> None:
    stage = begun(scheduled(every("1h")), "2024-05-01T10:20:00")
    stage.reload(workflow(scheduled(every("1h")).workflow.fn))
    stage.advance(5 * HOUR)
    assert runs(stage) == []


def test_more_than_once_a_second() -> None:
    stage = begun(scheduled(every("250ms")), "2024-05-01T10:20:00")
    stage.advance(1)
    assert len(runs(stage)) == 4


def test_a_signature_that_takes_no_time_and_one_that_takes_a_number() -> None:
    @every("1h")
    async def plain() -> str:
        return "ok"

    @every("1h")
    async def odd(n: int) -> None: ...

    stage = Stage(plain, odd)
    stage.hands.time = at("2024-05-01T10:20:00")
    stage.turn()
    stage.advance(HOUR)
    assert stage.result("plain@2024-05-01T11:00:00Z") == "ok"
    assert stage.status("odd@2024-05-01T11:00:00Z") == "failed"
