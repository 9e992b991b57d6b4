"""`batuta.testing`: each kind of mock, and what a run can be asked."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from batuta.kernel.errors import BatutaError
from batuta.testing import Unmocked, fails, machine, returns, times_out

LAMBDA = "arn:aws:lambda:us-east-1:000000000000:function:"
SQS = "arn:aws:states:::sqs:sendMessage"
DAYS = timedelta(days=1)


def flow(start: str = "A", **states: Any) -> dict[str, Any]:
    return {"StartAt": start, "States": states}


def task(then: str | None = None, resource: str = LAMBDA + "f", **more: Any) -> dict[str, Any]:
    onward = {"End": True} if then is None else {"Next": then}
    return {"Type": "Task", "Resource": resource, **onward, **more}


RETRY = [{"ErrorEquals": ["Busy"], "IntervalSeconds": 10, "MaxAttempts": 3, "BackoffRate": 2}]


def test_answers_are_given_in_turn_and_the_last_one_again() -> None:
    tested = machine(flow(A=task(Retry=RETRY))).task("A", fails("Busy"), fails("Busy"), 7)
    run = tested.run({"x": 1})
    assert run.output == 7
    assert run.retries("A") == 2
    assert run.calls_of("A") == [{"x": 1}] * 3
    assert [each["error"] for each in run.state("A").tries] == ["Busy", "Busy"]
    assert run.took == timedelta(seconds=30)


def test_an_answer_may_be_a_function_of_the_input_and_the_attempt() -> None:
    doubled = machine(flow(A=task("B"), B=task())).task("A", lambda input: input * 2)
    run = doubled.task("B", lambda input, attempt: [input, attempt]).run(21)
    assert run.output == [42, 1]


def test_days_of_waiting_pass_at_once() -> None:
    tested = machine(flow(A={"Type": "Wait", "Seconds": 30 * 86_400, "Next": "B"}, B=task()))
    run = tested.task("B", returns("late", after="2 days")).run()
    assert (run.output, run.took) == ("late", 32 * DAYS)
    assert (run.state("A").ended or 0) - run.state("A").started == 30 * 86_400 * 10**9


def test_a_task_that_says_nothing_times_out() -> None:
    run = machine(flow(A=task(TimeoutSeconds=60))).task("A", times_out()).run()
    assert (run.error, run.took) == ("States.Timeout", timedelta(minutes=1))


def test_a_task_that_says_nothing_for_ever_leaves_the_run_waiting() -> None:
    waits = task(resource=SQS + ".waitForTaskToken", Parameters={"QueueUrl": "q"})
    run = machine(flow(A=waits)).task("A", times_out()).run()
    assert run.status == "RUNNING"
    assert run.state("A").status == "running"


def test_a_token_comes_back_after_days_of_heartbeats() -> None:
    waits = task(resource=SQS + ".waitForTaskToken", HeartbeatSeconds=3600,
                 Parameters={"QueueUrl": "q", "MessageBody.$": "$$.Task.Token"})  # fmt: skip
    tested = machine(flow(A=waits))
    run = tested.task("A", returns("done", after="3 days", beats="50 minutes")).run()
    assert (run.output, run.took) == ("done", 3 * DAYS)
    silent = tested.task("A", returns("done", after="3 days")).run()
    assert (silent.error, silent.took) == ("States.Timeout", timedelta(hours=1))
    refused = tested.task("A", fails("Denied", "no", after="1 minute")).run()
    assert (refused.error, refused.cause) == ("Denied", "no")


def test_tasks_are_found_by_resource_and_by_function() -> None:
    invoke = task(None, "arn:aws:states:::lambda:invoke", Parameters={"FunctionName": "g"})
    tested = machine(flow(A=task("B"), B=invoke)).task(LAMBDA + "f", "by its ARN")
    run = tested.task("lambda:g", "by its name").run()
    assert (run.state("A").output, run.output) == ("by its ARN", "by its name")


def test_tasks_in_branches_and_items_are_mocked_by_their_names() -> None:
    each = {"Type": "Map", "End": True, "ItemProcessor": flow("I", I=task())}
    both = {
        "Type": "Parallel",
        "Next": "Each",
        "Branches": [flow("L", L=task()), flow("R", R=task())],
    }
    run = machine(flow("Both", Both=both, Each=each)).task("L", 1).task("R", 2) \
        .task("I", lambda item: item * 10).run()  # fmt: skip
    assert run.output == [10, 20]
    assert [each.index for each in run.states("I")] == [0, 1]


def test_a_distributed_map_reads_the_items_that_the_test_says() -> None:
    processor = {
        **flow("I", I=task()),
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
    }
    each = {"Type": "Map", "End": True, "ItemProcessor": processor, "ItemReader": {
        "Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": {"InputType": "JSON"},
        "Parameters": {"Bucket": "b", "Key": "k"}}}  # fmt: skip
    run = machine(flow("Each", Each=each)).task("Each", [1, 2, 3]).task("I", lambda x: x + 1).run()
    assert run.output == [2, 3, 4]


def test_a_python_step_is_called_with_the_tasks_input() -> None:
    tested = machine(flow(A=task(resource="arn:batuta:step:charge")))
    run = tested.task("A", lambda order: order["sum"]).run({"sum": 5})
    assert (run.output, run.calls_of("A")) == (5, [{"sum": 5}])


def test_the_clock_begins_where_the_test_says() -> None:
    run = machine(flow(A={"Type": "Wait", "Timestamp": "2026-12-24T00:00:00Z", "End": True})).run(
        at=datetime(2026, 12, 1, tzinfo=UTC)
    )
    assert run.took == 23 * DAYS


def test_events_of_the_machine_are_seen() -> None:
    entry = {"Source": "shop", "DetailType": "paid", "Detail": {"order": 7}}
    put = task(resource="arn:aws:states:::events:putEvents", Parameters={"Entries": [entry]})
    run = machine(flow(A=put)).run()
    assert [(each.type, each.data) for each in run.events] == [("paid", {"order": 7})]


def test_a_task_without_an_answer_says_where_it_is(tmp_path: Path) -> None:
    file = tmp_path / "order.asl.json"
    file.write_text(json.dumps(flow(A=task()), indent=1), "utf-8")
    with pytest.raises(Unmocked) as caught:
        machine(file).run()
    assert str(caught.value.at) == f"{file}:4"
    assert caught.value.hint == 'give it one: `.task("A", …)`'
    assert isinstance(caught.value, AssertionError)


def test_a_state_that_is_not_there_is_refused_with_a_near_one() -> None:
    with pytest.raises(BatutaError, match="has no state `Pya`") as caught:
        machine(flow("Pay", Pay=task())).task("Pya", 1)
    assert caught.value.hint == "did you mean `Pay`?"


def test_mistakes_of_the_definition_are_told_with_their_lines() -> None:
    with pytest.raises(BatutaError, match=r"MISSING_TRANSITION_TARGET|definition.asl.json:\d+"):
        machine(flow(A=task("Nowhere")))


def test_a_state_that_was_never_entered_says_where_the_run_went() -> None:
    run = machine(flow(A={"Type": "Pass", "End": True})).run()
    with pytest.raises(BatutaError, match="was not entered") as caught:
        run.state("B")
    assert caught.value.hint == "it went A"
    assert "SUCCEEDED: A" in repr(run)


MOCKS = {
    "StateMachines": {"order": {"TestCases": {"Busy": {"A": "BusyTwice"}}}},
    "MockedResponses": {"BusyTwice": {
        "0-1": {"Throw": {"Error": "Busy", "Cause": "try again"}}, "2": {"Return": {"ok": True}},
    }},
}  # fmt: skip


def test_a_mock_configuration_file_of_step_functions_local_is_read(tmp_path: Path) -> None:
    file = tmp_path / "MockConfigFile.json"
    file.write_text(json.dumps(MOCKS), "utf-8")
    tested = machine(flow(A=task(Retry=RETRY)), name="order").mocks(file, "Busy")
    run = tested.run()
    assert (run.output, run.retries("A")) == ({"ok": True}, 2)
    with pytest.raises(BatutaError, match="no test case `Calm`"):
        tested.mocks(file, "Calm")
