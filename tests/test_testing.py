"""`batuta.testing`: each kind of mock, and what a run can be asked."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from batuta import step
from batuta.kernel.errors import BatutaError
from batuta.testing import Machine, Unmocked, fails, machine, returns, times_out

pytest_plugins = ["pytester"]

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


def test_an_answer_behind_the_time_limit_comes_too_late() -> None:
    tested = machine(flow(A=task(TimeoutSeconds=60)))
    assert tested.task("A", returns(7, after="59s")).run().output == 7
    for late in (returns(7, after="60s"), fails("Busy", after="2m")):
        run = tested.task("A", late).run()
        assert (run.error, run.took) == ("States.Timeout", timedelta(minutes=1))


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
    assert caught.value.hint == 'give one before the run: `.task("A", …)`'
    assert isinstance(caught.value, AssertionError)


def test_a_state_that_is_not_there_is_refused_with_a_near_one() -> None:
    with pytest.raises(BatutaError, match="has no state `Pya`") as caught:
        machine(flow("Pay", Pay=task())).task("Pya", 1)
    assert caught.value.hint == "did you mean `Pay`?"


def test_mistakes_of_the_definition_are_told_with_their_lines() -> None:
    with pytest.raises(BatutaError, match=r"MISSING_TRANSITION_TARGET|definition.asl.json:\d+"):
        machine(flow(A=task("Nowhere")))


def test_a_state_that_was_never_entered_says_where_the_run_went() -> None:
    rule = {"Variable": "$.b", "IsPresent": True, "Next": "B"}
    choice = {"Type": "Choice", "Choices": [rule], "Default": "C"}
    run = machine(flow(A=choice, B={"Type": "Succeed"}, C={"Type": "Succeed"})).run()
    with pytest.raises(BatutaError, match="was not entered") as caught:
        run.state("B")
    assert caught.value.hint == "it went A → C"
    assert "SUCCEEDED: A → C" in repr(run)
    assert not run.visited("B")


@pytest.mark.parametrize("ask", ["visited", "state", "states", "calls_of", "retries", "written"])
def test_a_question_about_a_state_that_is_not_there_is_refused(ask: str) -> None:
    run = machine(flow("Pay", Pay={"Type": "Succeed"})).run()
    with pytest.raises(BatutaError, match="has no state `Pya`") as caught:
        getattr(run, ask)("Pya")
    assert caught.value.hint == "did you mean `Pay`?"


def test_a_state_that_asks_for_nothing_takes_no_answer() -> None:
    each = {"Type": "Map", "End": True, "ItemProcessor": flow("I", I=task())}
    tested = machine(flow("W", W={"Type": "Wait", "Seconds": 1, "Next": "Each"}, Each=each))
    with pytest.raises(BatutaError, match="`W` is a Wait: it asks for nothing"):
        tested.task("W", 1)
    with pytest.raises(BatutaError, match="`Each` is a Map") as caught:
        tested.task("Each", [1])
    assert caught.value.hint == "its items come from its input"


def test_resources_and_functions_that_no_task_has_are_refused() -> None:
    tested = machine(flow(A=task(resource=LAMBDA + "charge")))
    with pytest.raises(BatutaError, match="no task with the resource") as caught:
        tested.task(LAMBDA + "chrage", 1)
    assert caught.value.hint == f"did you mean `{LAMBDA}charge`?"
    with pytest.raises(BatutaError, match="no task that calls `lambda:chrage`") as caught:
        tested.task("lambda:chrage", 1)
    assert caught.value.hint == "did you mean `lambda:charge`?"


def test_a_function_that_the_input_names_can_be_answered() -> None:
    invoke = task(None, "arn:aws:states:::lambda:invoke", Parameters={"FunctionName.$": "$.f"})
    run = machine(flow(A=invoke)).task("lambda:g", 7).run({"f": LAMBDA + "g:live"})
    assert run.output == 7


def test_answers_of_a_resource_are_given_in_turn_to_all_of_its_tasks() -> None:
    tested = machine(flow(A=task("B"), B=task("C"), C=task())).task(LAMBDA + "f", 1, 2, 3)
    assert [each.output for each in tested.run().states()] == [1, 2, 3]


def test_a_state_goes_before_its_resource() -> None:
    tested = machine(flow(A=task("B"), B=task())).task(LAMBDA + "f", "any").task("B", "own")
    assert [each.output for each in tested.run().states()] == ["any", "own"]


def test_a_function_may_fail_for_some_inputs() -> None:
    each = {
        "Type": "Map", "End": True, "ItemProcessor": flow("I", I=task(Catch=[
            {"ErrorEquals": ["Odd"], "Next": "No", "ResultPath": None}]), No={"Type": "Succeed"}),
    }  # fmt: skip
    tested = machine(flow("Each", Each=each))
    run = tested.task("I", lambda item: fails("Odd") if item % 2 else item * 10).run([1, 2, 3])
    assert run.output == [1, 20, 3]
    assert run.path.count("No") == 2


def test_attempts_are_counted_in_each_item() -> None:
    each = {"Type": "Map", "End": True, "ItemProcessor": flow("I", I=task(Retry=RETRY))}

    def busy_at_first(item: int, attempt: int) -> Any:
        return returns(item, after="1s") if attempt > item else fails("Busy")

    run = machine(flow("Each", Each=each)).task("I", busy_at_first).run([0, 1, 2])
    assert (run.output, run.retries("I")) == ([0, 1, 2], 3)
    assert run.took == timedelta(seconds=31)
    assert [each.after.seconds for each in run.calls if each.input == 2] == [0, 10, 30]


def test_functions_are_called_with_what_they_take() -> None:
    three = flow(A=task("B"), B=task("C"), C=task("D"), D=task())
    tested = machine(three).task("A", lambda: "none").task("B", lambda x, y="kept": [x, y])
    run = tested.task("C", len).task("D", lambda *all: [*all]).run({})
    assert [each.output for each in run.states()] == ["none", ["none", "kept"], 2, [2]]


def test_what_an_answers_function_raises_is_the_tests_failure() -> None:
    def wrong(input: Any) -> None:
        raise AssertionError("the input is not what it should be")

    tested = machine(flow(A=task(Retry=RETRY, Catch=[{"ErrorEquals": ["States.ALL"], "Next": "B"}]),
                          B={"Type": "Succeed"}))  # fmt: skip
    with pytest.raises(AssertionError, match="not what it should be"):
        tested.task("A", wrong).run()


def test_an_answer_that_is_no_json_is_refused() -> None:
    tested = machine(flow(A=task()))
    with pytest.raises(BatutaError, match=r"the answer of `A` is no JSON: .*datetime"):
        tested.task("A", {"at": datetime(2026, 1, 1, tzinfo=UTC)})
    with pytest.raises(BatutaError, match="the answer of `A` is no JSON"):
        tested.task("A", lambda: {1, 2}).run()
    with pytest.raises(BatutaError, match=r"the input is no JSON: .*datetime"):
        tested.task("A", 1).run({"at": datetime(2026, 1, 1, tzinfo=UTC)})
    with pytest.raises(BatutaError, match="negative"):
        returns(1, after="-1s")
    with pytest.raises(BatutaError, match="heartbeats every `0`"):
        returns(1, beats=0)


def test_runs_do_not_see_each_other() -> None:
    tested = machine(flow(A=task("B"), B=task())).task("A", {"n": [1]}).task("B", lambda it: it)
    first, second = tested.run(), tested.run()
    first.output["n"].append(2)
    assert (first.calls, second.output) == (second.calls, {"n": [1]})
    assert tested.run().output == {"n": [1]}


# -- activities, steps, other machines -----------------------------------------------------------

ACTIVITY = "arn:aws:states:us-east-1:000000000000:activity:approve"


def test_an_activity_is_answered_by_a_worker() -> None:
    tested = machine(flow(A=task(resource=ACTIVITY, HeartbeatSeconds=60)))
    run = tested.task(ACTIVITY, returns("yes", after="2 days", beats="30s")).run()
    assert (run.output, run.took) == ("yes", 2 * DAYS)
    assert [each.type for each in run.history][2:5] == [
        "ActivityScheduled", "ActivityStarted", "ActivitySucceeded",
    ]  # fmt: skip
    silent = tested.task(ACTIVITY, returns("yes", after="2 days")).run()
    assert (silent.error, silent.took) == ("States.Timeout", timedelta(minutes=1))


def test_heartbeats_that_come_too_seldom_are_missed() -> None:
    tested = machine(flow(A=task(resource=ACTIVITY, HeartbeatSeconds=60)))
    run = tested.task("A", returns(1, after="10 minutes", beats="90s")).run()
    assert (run.error, run.took) == ("States.Timeout", timedelta(minutes=1))
    exact = tested.task("A", returns(1, after="10 minutes", beats="60s")).run()
    assert exact.error == "States.Timeout"


def test_a_loop_without_an_end_is_an_error() -> None:
    rule = {"Variable": "$.status", "StringEquals": "done", "Next": "Done"}
    check = {"Type": "Choice", "Choices": [rule], "Default": "Wait"}
    polling = machine(flow("Poll", Poll=task("Check"), Check=check, Done={"Type": "Succeed"},
                           Wait={"Type": "Wait", "Seconds": 60, "Next": "Poll"}))  # fmt: skip
    with pytest.raises(BatutaError, match=r"has passed 1,000 states and is in `\w+`: it loops"):
        polling.task("Poll", {"status": "running"}).run(transitions_max=1000)
    with pytest.raises(BatutaError, match="has passed 100,000 states"):
        polling.run()
    ends = polling.task("Poll", *[{"status": "running"}] * 9, {"status": "done"}).run()
    assert ends.took == timedelta(minutes=9)


def test_a_task_that_only_beats_is_ended_by_its_timeout() -> None:
    limits: dict[str, Any] = {"HeartbeatSeconds": 60, "TimeoutSeconds": 3600}
    tested = machine(flow(A=task(resource=ACTIVITY, **limits))).task("A", times_out(beats="10s"))
    assert tested.run().took == timedelta(hours=1)
    waits = task(resource=SQS + ".waitForTaskToken", Parameters={"QueueUrl": "q"}, **limits)
    tested = machine(flow(A=waits)).task("A", times_out(beats="10s"))
    assert (tested.run().error, tested.run().took) == ("States.Timeout", timedelta(hours=1))


def test_a_task_without_limits_that_says_nothing_is_waited_for() -> None:
    run = machine(flow(A=task())).task("A", times_out()).run()
    assert (run.status, run.output, run.took) == ("RUNNING", None, timedelta(0))


def test_a_machine_runs_out_of_its_own_time() -> None:
    late = {**flow(A={"Type": "Wait", "Seconds": 100, "End": True}), "TimeoutSeconds": 60}
    run = machine(late).run()
    assert (run.status, run.succeeded, run.took) == ("TIMED_OUT", False, timedelta(minutes=1))
    assert run.history[-1].type == "ExecutionTimedOut"


class Declined(Exception):
    """No money."""


@step
def charge(order: str, total: int) -> dict[str, int]:
    if total > 100:
        raise Declined(f"{order} is too dear")
    return {"charged": total}


@step
async def pack(parcel: dict[str, int]) -> list[int]:
    return [*parcel.values()]


def test_the_projects_own_steps_may_answer() -> None:
    caught = [{"ErrorEquals": ["Declined"], "Next": "No"}]
    tested = machine(flow(
        A=task("B", "arn:batuta:step:charge", Catch=caught), B=task(None, "arn:batuta:step:pack"),
        No={"Type": "Pass", "End": True},
    )).task("A", charge).task("B", returns(pack, after="1 h"))  # fmt: skip
    run = tested.run({"order": "o-1", "total": 5})
    assert (run.output, run.took) == ([5], timedelta(hours=1))
    declined = tested.run({"order": "o-2", "total": 500})
    assert declined.output == {"Error": "Declined", "Cause": "o-2 is too dear"}


NESTED = "arn:aws:states:::states:startExecution"


def starts(pattern: str, **more: Any) -> dict[str, Any]:
    arn = "arn:aws:states:us-east-1:000000000000:stateMachine:inner"
    return task(
        resource=NESTED + pattern, Parameters={"StateMachineArn": arn, "Input.$": "$"}, **more
    )


def inner() -> Machine:
    waits = {"Type": "Wait", "Seconds": 3600, "Next": "Double"}
    return machine(flow("Wait", Wait=waits, Double=task()), name="inner")


def test_a_nested_machine_is_run_with_its_own_mocks_on_the_same_clock() -> None:
    begun = inner().task("Double", lambda x: x["n"] * 2)
    outer = machine(flow(A=starts(".sync:2", ResultSelector={"got.$": "$.Output"})))
    run = outer.task("A", begun).run({"n": 21})
    assert (run.output, run.took) == ({"got": 42}, timedelta(hours=1))
    (child,) = run.children("A")
    assert (child.path, child.input, child.output) == (["Wait", "Double"], {"n": 21}, 42)
    assert child.history[0].time == run.state("A").started
    late = machine(flow(A=starts(".sync:2", TimeoutSeconds=60))).task("A", begun).run({"n": 1})
    assert (late.error, late.took) == ("States.Timeout", timedelta(minutes=1))
    assert [each.type for each in late.history][-3:-1] == ["TaskSubmitted", "TaskTimedOut"]
    text = machine(flow(A=starts(".sync"))).task("A", begun).run({"n": 1}).output
    assert (text["Status"], text["Output"], text["Input"]) == ("SUCCEEDED", "2", '{"n":1}')
    at_once = machine(flow(A=starts(""))).task("A", begun).run({"n": 1})
    assert at_once.took == timedelta(0)
    assert at_once.output.keys() == {"ExecutionArn", "StartDate"}


def test_a_nested_machine_that_fails_fails_its_task() -> None:
    outer = machine(flow(A=starts(".sync:2"))).task("A", inner().task("Double", fails("Odd", "x")))
    run = outer.run({"n": 1})
    assert run.error == "States.TaskFailed"
    told = json.loads(run.cause or "")
    assert (told["Status"], told["Error"], told["Cause"]) == ("FAILED", "Odd", "x")
    with pytest.raises(BatutaError, match="`A` begins no execution"):
        machine(flow(A=task())).task("A", inner()).run()
    with pytest.raises(BatutaError, match="`A` waits for its token"):
        machine(flow(A=starts(".waitForTaskToken"))).task("A", inner()).run()


# -- distributed Maps ----------------------------------------------------------------------------


def distributed(states: dict[str, Any], **more: Any) -> dict[str, Any]:
    config = {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
    return {"Type": "Map", "End": True, "ItemProcessor": {**states, "ProcessorConfig": config},
            **more}  # fmt: skip


READER = {
    "Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": {"InputType": "JSON"},
    "Parameters": {"Bucket": "b", "Key": "k"},
}  # fmt: skip
WRITER = {
    "Resource": "arn:aws:states:::s3:putObject",
    "Parameters": {"Bucket": "results", "Prefix": "nightly"},
}


def test_child_executions_have_paths_of_their_own() -> None:
    each = distributed(flow("I", I=task("W"), W={"Type": "Wait", "Seconds": 9, "End": True}))
    run = machine(flow("Each", Each=each)).task("I", lambda x: x + 1, 0).run([1, 2])
    assert (run.path, run.output) == (["Each"], [2, 0])
    assert [child.path for child in run.children("Each")] == [["I", "W"], ["I", "W"]]
    assert [child.input for child in run.children()] == [1, 2]
    assert run.children()[0].took == timedelta(seconds=9)
    assert run.children()[1].calls_of("I") == [2]
    assert run.visited("W")
    assert [each.output for each in run.states("I")] == [2, 0]
    assert run.transitions == 1 + 2 * 2


def test_what_a_result_writer_got_is_kept() -> None:
    tolerant = {"ToleratedFailureCount": 1, "ItemReader": READER, "ResultWriter": WRITER}
    tested = machine(flow("Each", Each=distributed(flow("I", I=task()), **tolerant)))
    run = tested.task("Each", [1, 2]).task("I", 10, fails("Odd", "two")).run()
    written = run.written("Each")
    assert [each["Status"] for each in written] == ["SUCCEEDED", "FAILED"]
    assert (written[0]["Output"], written[1]["Error"]) == ("10", "Odd")
    details = run.output["ResultWriterDetails"]
    assert details["Bucket"] == "results"
    assert details["Key"].startswith("nightly/")


def test_items_may_be_a_function_limited_and_unreadable() -> None:
    reader = {**READER, "ReaderConfig": {"InputType": "JSON", "MaxItems": 2}}
    tested = machine(flow("Each", Each=distributed(flow("I", I=task()), ItemReader=reader)))
    assert tested.task("I", lambda x: x).task("Each", lambda: [1, 2, 3]).run().output == [1, 2]
    failed = tested.task("Each", fails("States.ItemReaderFailed", "no such key")).run()
    assert (failed.error, failed.cause) == ("States.ItemReaderFailed", "no such key")
    with pytest.raises(BatutaError, match="the items of the Map `Each` are no list"):
        tested.task("Each", {"a": 1}).run()
    with pytest.raises(Unmocked, match="the items of the Map `Each` have no answer"):
        machine(flow("Each", Each=distributed(flow("I", I=task()), ItemReader=reader))).run()


def test_children_of_a_map_that_fails_are_stopped() -> None:
    caught = [{"ErrorEquals": ["States.ALL"], "Next": "Late"}]
    each = distributed(flow("I", I=task("J"), J=task()), Catch=caught)
    late = {"Type": "Wait", "Seconds": 86_400, "End": True}
    tested = machine(flow("Each", Each=each, Late=late)).task("J", 1)
    run = tested.task("I", lambda x: fails("Odd") if x == 2 else returns(x, after="1h")).run([1, 2])
    assert run.path == ["Each", "Late"]
    assert [child.status for child in run.children()] == ["ABORTED", "FAILED"]
    assert run.calls_of("J") == []
    assert run.children()[0].history[-1].type == "ExecutionAborted"


# -- how it reads, how fast it is ----------------------------------------------------------------


def test_a_path_that_differs_is_shown_as_a_list(pytester: pytest.Pytester) -> None:
    definition = flow(A=task("B"), B=task("C"), C={"Type": "Succeed"})
    pytester.makepyfile(f"""
        from batuta.testing import machine

        def test_path():
            run = machine({definition!r}).task("A", 1).task("B", 2).run()
            assert run.path == ["A", "C"]

        def test_end():
            run = machine({definition!r}).task("A", 1).task("B", 2).run()
            assert not run.succeeded
    """)
    done = pytester.runpytest("-p", "no:cacheprovider")
    shown = done.stdout.str()
    assert "AssertionError: assert ['A', 'B', 'C'] == ['A', 'C']" in shown
    assert "At index 1 diff: 'B' != 'C'" in shown
    assert "<Run SUCCEEDED: A → B → C, 0:00:00>.succeeded" in shown


def test_five_states_take_less_than_a_millisecond() -> None:
    steps = {f"S{at}": task(f"S{at + 1}") for at in range(3)}
    wait = {"Type": "Wait", "Seconds": 30 * 86_400, "Next": "End"}
    tested = machine(flow("S0", **steps, S3=wait, End={"Type": "Succeed"})).task(LAMBDA + "f", {})
    tested.run()
    best = min(_seconds(tested) for _ in range(5))
    assert best / 200 < 0.001


def _seconds(tested: Machine) -> float:
    began = time.perf_counter()
    for _ in range(200):
        assert tested.run().took == 30 * DAYS
    return time.perf_counter() - began


def test_it_is_imported_without_what_only_a_server_needs() -> None:
    code = "import sys, batuta.testing; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"asyncio", "httpx", "starlette", "boto3", "sqlite3", "multiprocessing", "jinja2"}
    assert heavy & {*done.stdout.split()} == set()
