"""A state machine ends the same, event by event, after whichever of its events it is killed."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from tests.workflow.asl.stories import RUN, STORIES, Told, double
from tests.workflow.harness import Stage

from batuta.workflow.asl.history import history_of


def told(tale: Told, **options: Any) -> Stage:
    stage = Stage(tale.machine, double, script=tale.script, **options)
    tale.story(stage)
    return stage


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, list[tuple[Any, ...]]]:
    return {tale.name: told(tale).whole() for tale in STORIES}


@pytest.mark.parametrize("tale", STORIES, ids=lambda tale: tale.name)
def test_how_it_ends(tale: Told) -> None:
    stage = told(tale)
    last = stage.last(RUN)
    found = last.data["error"]["type"] if "error" in last.data else last.data["result"]
    assert found == tale.end
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
    assert stage.restarts or stage.turns < every


@pytest.mark.parametrize("idle_max", [0, 1])
@pytest.mark.parametrize("tale", STORIES, ids=lambda tale: tale.name)
def test_executions_that_leave_memory_when_they_rest_come_back_as_they_were(
    tale: Told, idle_max: int, undisturbed: dict[str, list[tuple[Any, ...]]]
) -> None:
    assert told(tale, idle_max=idle_max).whole() == undisturbed[tale.name]


@pytest.mark.parametrize("tale", STORIES, ids=lambda tale: tale.name)
def test_every_event_has_a_cause(tale: Told) -> None:
    stage = told(tale)
    starters = {"run.started", "signal.received", "run.terminated", "run.retried"}
    for event in stage.journal.read(limit=100_000):
        if event.cause_seq is None:
            assert event.type in starters
        else:
            assert 0 < event.cause_seq < event.seq


@pytest.mark.parametrize("tale", STORIES, ids=lambda tale: tale.name)
def test_the_history_is_the_same_for_every_reader_and_well_formed(tale: Told) -> None:
    stage = told(tale)
    history = history_of(stage.definitions, stage.events(RUN))
    assert history == history_of(stage.definitions, stage.events(RUN))
    assert [each.id for each in history] == list(range(1, len(history) + 1))
    assert all(each.prev < each.id for each in history)
    assert all(before.time <= after.time for before, after in pairwise(history))
    assert history[0].type == "ExecutionStarted"
    assert history[-1].type in ("ExecutionSucceeded", "ExecutionFailed")


def test_while_it_runs_its_history_tells_how_far_it_came() -> None:
    tale = STORIES[0]
    stage = Stage(tale.machine, double, script=tale.script)
    stage.start(tale.machine, {}, id=RUN)
    stage.advance(100)
    last = history_of(stage.definitions, stage.events(RUN))[-1]
    assert (last.type, last.details) == (
        "WaitStateEntered", {"name": "Pause", "input": {"paid": {"sum": 12}}},
    )  # fmt: skip


def test_a_redrive_asks_for_nothing_again_that_had_succeeded() -> None:
    tale = next(each for each in STORIES if each.name == "redrive")
    stage = told(tale)
    assert stage.done(RUN) == ["A", "A2", "B2"]
    kinds = [each.type for each in history_of(stage.definitions, stage.events(RUN))]
    assert kinds.count("ExecutionFailed") == kinds.count("ExecutionRedriven") == 1
