"""The states that an execution ran, told without the project's code at hand."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from tests.workflow.asl.stories import RUN, STORIES, Told, double
from tests.workflow.harness import Stage

from batuta.workflow.asl.history import history_of
from batuta.workflow.asl.ran import State, states_of


def names(states: Iterable[State]) -> list[str]:
    found = []
    for each in states:
        found += [each.name, *names(each.states)]
    return found


@pytest.mark.parametrize("tale", STORIES, ids=lambda tale: tale.name)
def test_every_state_that_was_entered_is_shown_though_no_step_is_known(tale: Told) -> None:
    stage = Stage(tale.machine, double, script=tale.script)
    tale.story(stage)
    (events,) = [[*stage.journal.histories([RUN])]]
    known = history_of(stage.runs.definitions, events)
    entered = [each.details["name"] for each in known
               if each.details and each.type.endswith("StateEntered")]  # fmt: skip
    shown = states_of(events, "completed", events[-1].time)
    assert sorted(names(shown)) == sorted(entered)
