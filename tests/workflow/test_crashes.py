"""Every story ends the same, event by event, whenever the server is killed and started again."""

from __future__ import annotations

from typing import Any

import pytest
from tests.workflow.harness import Stage
from tests.workflow.stories import STORIES, Told


def told(tale: Told, **options: Any) -> Stage:
    stage = Stage(*tale.things, script=tale.script, **options)
    tale.story(stage)
    return stage


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, list[tuple[Any, ...]]]:
    return {tale.name: told(tale).whole() for tale in STORIES}


@pytest.mark.parametrize("tale", STORIES, ids=lambda tale: tale.name)
def test_how_it_ends(tale: Told) -> None:
    stage = told(tale)
    for run, expected in tale.ends.items():
        last = stage.last(run)
        error = last.data.get("error", {}).get("type")
        found = last.data.get("result", error or last.type.removeprefix("run."))
        assert found == expected
    unfinished = list(stage.journal.records("run", statuses=("running", "sleeping", "parked")))
    assert unfinished == []
    assert not stage.runs.runs
    assert not stage.hands.performing


@pytest.mark.parametrize("every", [1, 2, 3, 5])
@pytest.mark.parametrize("tale", STORIES, ids=lambda tale: tale.name)
def test_a_crash_behind_every_kth_turn_changes_nothing(
    tale: Told, every: int, undisturbed: dict[str, list[tuple[Any, ...]]]
) -> None:
    stage = told(tale, restart_every=every)
    assert stage.whole() == undisturbed[tale.name]
    assert stage.restarts or len(stage.whole()) < 3 * every


@pytest.mark.parametrize("idle_max", [0, 1])
@pytest.mark.parametrize("tale", STORIES, ids=lambda tale: tale.name)
def test_runs_that_leave_memory_when_they_rest_come_back_as_they_were(
    tale: Told, idle_max: int, undisturbed: dict[str, list[tuple[Any, ...]]]
) -> None:
    assert told(tale, idle_max=idle_max).whole() == undisturbed[tale.name]


@pytest.mark.parametrize("tale", STORIES, ids=lambda tale: tale.name)
def test_every_event_has_a_cause_but_those_of_people_and_clocks(tale: Told) -> None:
    stage = told(tale)
    starters = {"run.started", "signal.received", "run.cancel_asked", "schedule.fired"}
    for event in stage.journal.read(limit=100_000):
        if event.cause_seq is None:
            assert event.type in starters or event.type in ("parcel", "other")
        else:
            assert 0 < event.cause_seq < event.seq


@pytest.mark.parametrize("tale", STORIES, ids=lambda tale: tale.name)
def test_no_outcome_is_recorded_twice(tale: Told) -> None:
    seen: set[tuple[str, str | None]] = set()
    for event in told(tale, restart_every=1).journal.read(limit=100_000):
        if event.type in ("step.completed", "step.failed", "step.asked"):
            assert (event.type, event.command) not in seen
            seen.add((event.type, event.command))
