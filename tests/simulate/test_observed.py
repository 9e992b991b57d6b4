"""Models out of histories, and executions under models: what was seen is what comes about."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from batuta.simulate.distribution import BadModel
from batuta.simulate.executions import executions, transitions
from batuta.simulate.machine import Result
from batuta.simulate.models import Models, models_of
from batuta.simulate.observed import observed
from batuta.testing import Machine, fails, machine, returns, times_out
from batuta.workflow.asl.machine import StateMachine

SECOND = 1_000_000_000
F = "arn:aws:lambda:us-east-1:000000000000:function:f"
TOKEN = "arn:aws:states:::sqs:sendMessage.waitForTaskToken"
CAUGHT = [{"ErrorEquals": ["States.ALL"], "Next": "No"}]
ENDS = {"Yes": {"Type": "Succeed"}, "No": {"Type": "Succeed"}}


def flow(start: str, **states: Any) -> dict[str, Any]:
    return {"StartAt": start, "States": states}


def task(resource: str = F, **more: Any) -> dict[str, Any]:
    onward = {} if "Next" in more else {"End": True}
    return {"Type": "Task", "Resource": resource, **onward, **more}


def simulated(
    definition: dict[str, Any], models: Models, count: int = 1000, input: Any = None, seed: int = 0
) -> list[Result]:
    made = StateMachine("m", json.dumps(definition))
    return list(executions(made, {} if input is None else input, models, count, seed, {}))


def test_durations_failures_and_results_are_as_they_were() -> None:
    definition = flow("A", A=task(Next="Yes", Catch=CAUGHT), **ENDS)
    tested = machine(definition)
    answers = [returns("x", after="1s"), returns("y", after="3s"), fails("Busy", after="5s")]
    seen = observed(tested.task("A", each).run().history for each in [*answers, answers[0]])
    model = seen["A"]
    assert (model.fail, model.failures) == (0.25, (("batuta:Busy", 1.0),))
    assert (model.values, model.source) == (("x", "y", "x"), "history: 4 attempts")
    again = simulated(definition, Models(seen))
    assert {each.duration for each in again} == {SECOND, 3 * SECOND, 5 * SECOND}
    failed = sum("No" in each.path for each in again)
    assert failed / len(again) == pytest.approx(0.25, abs=0.04)
    outputs = [each.output for each in again if "Yes" in each.path]
    assert outputs.count("x") / len(outputs) == pytest.approx(2 / 3, abs=0.05)


def test_each_attempt_of_a_state_is_seen_also_in_branches_and_children() -> None:
    retry = [{"ErrorEquals": ["Busy"], "IntervalSeconds": 60}]
    both = {"Type": "Parallel", "End": True,
            "Branches": [flow("L", L=task(Retry=retry)), flow("R", R=task())]}  # fmt: skip
    run = machine(flow("Both", Both=both)) \
        .task("L", fails("Busy", after="2s"), returns(1, after="4s")) \
        .task("R", returns(2, after="9s")).run()  # fmt: skip
    seen = observed([run.history])
    assert {name: each.source for name, each in seen.items()} == {
        "L": "history: 2 attempts", "R": "history: 1 attempt",
    }  # fmt: skip
    assert seen["L"].duration.sample(0.5) == 4 * SECOND
    assert seen["L"].fails_after is not None
    assert seen["L"].fails_after.sample(0.5) == 2 * SECOND
    assert seen["R"].duration.sample(0.5) == 9 * SECOND


def test_a_task_token_is_seen_until_it_came_back() -> None:
    waits = task(TOKEN, Parameters={"QueueUrl": "q"}, TimeoutSeconds=7200, Catch=CAUGHT)
    tested: Machine = machine(flow("A", A=waits, No={"Type": "Succeed"}))
    histories = [
        tested.task("A", each).run().history for each in (returns(1, after="1h"), times_out())
    ]
    model = observed(histories)["A"]
    assert model.duration.sample(0.5) == 3600 * SECOND
    assert model.failures == (("batuta:States.Timeout", 1.0),)
    assert model.fails_after is not None
    assert model.fails_after.sample(0.5) == 7200 * SECOND


def test_heartbeats_are_taken_to_come_in_time() -> None:
    models = models_of({"steps": {"A": "2 days"}})
    activity = "arn:aws:states:us-east-1:000000000000:activity:a"
    for waits in (task(TOKEN, Parameters={"QueueUrl": "q"}, HeartbeatSeconds=60),
                  task(activity, HeartbeatSeconds=60)):  # fmt: skip
        (result,) = simulated(flow("A", A=waits), models, 1)
        assert (result.status, result.duration) == ("SUCCEEDED", 2 * 86_400 * SECOND)
    late = task(TOKEN, Parameters={"QueueUrl": "q"}, HeartbeatSeconds=60, TimeoutSeconds=3600)
    (result,) = simulated(flow("A", A=late), models, 1)
    assert (result.error, result.duration) == ("States.Timeout", 3600 * SECOND)


def test_a_failure_without_a_name_is_a_failed_task() -> None:
    (result,) = simulated(flow("A", A=task()), models_of({"steps": {"A": {"fail": 1.0}}}), 1)
    assert (result.error, result.cause) == ("States.TaskFailed", "as its model says")


def lefts(results: Sequence[Result]) -> list[int]:
    """How long the state L took in each execution."""
    found = []
    for each in results:
        times = {
            (event.type, (event.details or {}).get("name")): event.time for event in each.history
        }
        found.append(times["TaskStateExited", "L"] - times["TaskStateEntered", "L"])
    return found


def test_luck_does_not_pass_from_branch_to_branch() -> None:
    models = models_of({"steps": {"L": "uniform(1s, 9s)", "R": "uniform(1s, 9s)"}})

    def both(*branches: dict[str, Any]) -> dict[str, Any]:
        return flow("B", B={"Type": "Parallel", "End": True, "Branches": [*branches]})

    left, right = flow("L", L=task()), flow("R", R=task())
    alone = lefts(simulated(both(left), models, 20))
    assert lefts(simulated(both(left, right, flow("X", X=task())), models, 20)) == alone
    assert len({*alone}) == 20
    assert lefts(simulated(both(left), models, 20, seed=1)) != alone


def test_items_have_luck_of_their_own() -> None:
    each = {"Type": "Map", "End": True, "ItemProcessor": flow("I", I=task())}
    models = models_of({"steps": {"I": {"values": [0, 1], "duration": "1s"}}})
    (result,) = simulated(flow("Each", Each=each), models, 1, [0] * 1000)
    assert sum(result.output) == pytest.approx(500, abs=60)


def test_children_are_paid_for_where_they_are_standard() -> None:
    for type, paid in (("STANDARD", 1 + 3 * 2), ("EXPRESS", 1)):
        config = {"Mode": "DISTRIBUTED", "ExecutionType": type}
        inner = {**flow("I", I=task(Next="J"), J={"Type": "Succeed"}), "ProcessorConfig": config}
        each = {"Type": "Map", "End": True, "ItemProcessor": inner}
        (result,) = simulated(flow("Each", Each=each), Models(), 1, [1, 2, 3])
        assert transitions(result) == paid


def test_values_that_are_no_list_are_refused() -> None:
    refused: list[Any] = [{}, [], "yes"]
    for wrong in refused:
        with pytest.raises(BadModel, match=r"models: steps\.A: `values` is no list"):
            models_of({"steps": {"A": {"values": wrong}}})
