"""Executions through boto3: start, describe, list, history, stop, redrive, synchronous start."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.server.stepfunctions.serving import PASS, machine, refused, served

from batuta.workflow.asl.machine import StateMachine
from batuta.workflow.model import Definitions

WAIT = json.dumps(
    {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 3600, "Next": "P"},
                                "P": {"Type": "Pass", "End": True}}}
)  # fmt: skip
FAIL = json.dumps(
    {"StartAt": "P", "States": {"P": {"Type": "Pass", "Next": "F"},
                                "F": {"Type": "Fail", "Error": "E", "Cause": "because"}}}
)  # fmt: skip
FIVE = json.dumps(
    {"StartAt": "S0", "States": {
        **{f"S{n}": {"Type": "Pass", "Next": f"S{n + 1}"} for n in range(4)},
        "S4": {"Type": "Pass", "Result": {"é": 1}, "End": True}}}
)  # fmt: skip


OF_EXECUTIONS = (
    "describe_execution", "get_execution_history", "stop_execution",
    "describe_state_machine_for_execution", "redrive_execution", "list_map_runs",
)  # fmt: skip


def start(client: Any, arn: str, **more: Any) -> str:
    execution: str = client.start_execution(stateMachineArn=arn, **more)["executionArn"]
    return execution


def ended(client: Any, execution: str, within_s: float = 10.0) -> dict[str, Any]:
    """The description of an execution that has ended."""
    until = time.monotonic() + within_s
    while True:
        found: dict[str, Any] = client.describe_execution(executionArn=execution)
        if found["status"] != "RUNNING":
            return found
        assert time.monotonic() < until, found
        time.sleep(0.005)


def test_an_execution_goes_from_input_to_output(client: Any) -> None:
    arn = machine(client, "five", FIVE)
    execution = start(client, arn, name="first", input='{"a": 1}')
    assert execution == "arn:aws:states:us-east-1:000000000000:execution:five:first"
    found = ended(client, execution)
    assert (found["status"], found["stateMachineArn"]) == ("SUCCEEDED", arn)
    assert (found["input"], found["output"]) == ('{"a": 1}', '{"é": 1}')
    assert found["redriveStatus"] == "NOT_REDRIVABLE"
    assert found["startDate"] <= found["stopDate"]
    bare = client.describe_execution(executionArn=execution, includedData="METADATA_ONLY")
    assert "input" not in bare
    assert "output" not in bare


def test_a_history_has_every_state_and_goes_both_ways(client: Any) -> None:
    arn = machine(client, "told", FIVE)
    execution = start(client, arn, input="{}")
    ended(client, execution)
    whole = client.get_execution_history(executionArn=execution)["events"]
    assert [event["type"] for event in whole] == [
        "ExecutionStarted", *["PassStateEntered", "PassStateExited"] * 5, "ExecutionSucceeded",
    ]  # fmt: skip
    assert whole[1]["stateEnteredEventDetails"] == {
        "name": "S0", "input": "{}", "inputDetails": {"truncated": False},
    }  # fmt: skip
    for backwards in (False, True):
        pages: list[Any] = []
        asked: dict[str, Any] = {"executionArn": execution, "reverseOrder": backwards}
        while True:
            page = client.get_execution_history(maxResults=5, **asked)
            pages += page["events"]
            if "nextToken" not in page:
                break
            asked["nextToken"] = page["nextToken"]
        assert pages == (whole[::-1] if backwards else whole)
    bare = client.get_execution_history(executionArn=execution, includeExecutionData=False)
    assert "input" not in bare["events"][1]["stateEnteredEventDetails"]


def test_a_name_means_one_execution(client: Any) -> None:
    arn = machine(client, "named", WAIT)
    first = client.start_execution(stateMachineArn=arn, name="n", input='{"a": 1}')
    again = client.start_execution(stateMachineArn=arn, name="n", input='{ "a":1 }')
    assert (again["executionArn"], again["startDate"]) == (
        first["executionArn"], first["startDate"],
    )  # fmt: skip
    taken = f"ExecutionAlreadyExists: Execution Already Exists: '{first['executionArn']}'"
    assert refused(client.start_execution, stateMachineArn=arn, name="n") == taken
    client.stop_execution(executionArn=first["executionArn"])
    same = refused(client.start_execution, stateMachineArn=arn, name="n", input='{"a": 1}')
    assert same == taken, "it has ended"


def test_what_cannot_be_started_is_refused(client: Any) -> None:
    arn = machine(client, "refusing", publish=True)
    bad = refused(client.start_execution, stateMachineArn=arn, input="{")
    assert bad.startswith("InvalidExecutionInput: Invalid State Machine Execution Input: '")
    bad = refused(client.start_execution, stateMachineArn=arn, name="a b")
    assert bad == "InvalidName: Invalid Name: 'a b'"
    for missing in (f"{arn}:9", f"{arn}:live", f"{arn}x"):
        bad = refused(client.start_execution, stateMachineArn=missing)
        assert bad == f"StateMachineDoesNotExist: State Machine Does Not Exist: '{missing}'"


def test_a_stopped_execution_is_aborted_and_can_be_redriven(client: Any) -> None:
    arn = machine(client, "stopped", WAIT)
    execution = start(client, arn)
    first = client.stop_execution(executionArn=execution, error="E", cause="why")
    found = ended(client, execution)
    assert (found["status"], found["error"], found["cause"]) == ("ABORTED", "E", "why")
    assert found["redriveStatus"] == "REDRIVABLE"
    assert client.stop_execution(executionArn=execution)["stopDate"] == first["stopDate"]
    last = client.get_execution_history(executionArn=execution)["events"][-1]
    assert last["executionAbortedEventDetails"] == {"error": "E", "cause": "why"}
    client.redrive_execution(executionArn=execution, clientToken="t")
    client.redrive_execution(executionArn=execution, clientToken="t")
    found = client.describe_execution(executionArn=execution)
    assert (found["status"], found["redriveCount"]) == ("RUNNING", 1)
    listed = client.list_executions(stateMachineArn=arn, redriveFilter="REDRIVEN")["executions"]
    assert [one["executionArn"] for one in listed] == [execution]
    again = refused(client.redrive_execution, executionArn=execution)
    assert again == "ExecutionNotRedrivable: Execution is RUNNING and cannot be redriven"


def test_a_failed_execution_says_why(client: Any) -> None:
    execution = start(client, machine(client, "failing", FAIL))
    found = ended(client, execution)
    assert (found["status"], found["error"], found["cause"]) == ("FAILED", "E", "because")
    assert "output" not in found


def test_executions_are_listed_newest_first_by_what_was_started(client: Any) -> None:
    arn = machine(client, "listed", publish=True)
    alias = client.create_state_machine_alias(
        name="live",
        routingConfiguration=[{"stateMachineVersionArn": f"{arn}:1", "weight": 100}],
    )["stateMachineAliasArn"]
    executions = [start(client, each) for each in (arn, f"{arn}:1", alias)]
    for execution in executions:
        ended(client, execution)

    def listed(**asked: Any) -> list[str]:
        found = client.list_executions(**asked)["executions"]
        return [one["executionArn"] for one in found]

    assert listed(stateMachineArn=arn) == executions[::-1]
    assert listed(stateMachineArn=f"{arn}:1") == executions[:0:-1]
    assert listed(stateMachineArn=alias) == executions[2:]
    assert listed(stateMachineArn=arn, statusFilter="RUNNING") == []
    assert len(listed(stateMachineArn=arn, statusFilter="SUCCEEDED", maxResults=2)) == 2
    found = client.describe_execution(executionArn=executions[2])
    assert (found["stateMachineAliasArn"], found["stateMachineVersionArn"]) == (alias, f"{arn}:1")
    both = refused(client.list_executions)
    assert both.endswith("Must provide a StateMachine ARN or MapRun ARN")


def test_an_alias_starts_its_versions_by_weight(client: Any) -> None:
    arn = machine(client, "weighed", PASS, publish=True)
    client.update_state_machine(stateMachineArn=arn, definition=FAIL, publish=True)
    alias = client.create_state_machine_alias(
        name="live",
        routingConfiguration=[
            {"stateMachineVersionArn": f"{arn}:1", "weight": 50},
            {"stateMachineVersionArn": f"{arn}:2", "weight": 50},
        ],
    )["stateMachineAliasArn"]
    seen = {ended(client, start(client, alias))["stateMachineVersionArn"] for _ in range(40)}
    assert seen == {f"{arn}:1", f"{arn}:2"}


def test_an_execution_goes_on_with_the_definition_that_it_began_with(client: Any) -> None:
    arn = machine(client, "kept", WAIT)
    execution = start(client, arn)
    client.update_state_machine(stateMachineArn=arn, definition=PASS)
    found = client.describe_state_machine_for_execution(executionArn=execution)
    assert found["definition"] == WAIT
    client.delete_state_machine(stateMachineArn=arn)
    assert client.describe_execution(executionArn=execution)["status"] == "RUNNING"


def test_express_executions_are_answered_at_once_or_not_at_all(client: Any) -> None:
    arn = machine(client, "express", FIVE, type="EXPRESS")
    found = client.start_sync_execution(stateMachineArn=arn, name="n", input="{}")
    assert (found["status"], found["output"], found["name"]) == ("SUCCEEDED", '{"é": 1}', "n")
    assert found["billingDetails"]["billedMemoryUsedInMB"] == 64
    again = client.start_sync_execution(stateMachineArn=arn, name="n")
    assert again["executionArn"] != found["executionArn"], "names are no ids here"
    started = start(client, arn)
    for ask in (client.describe_execution, client.get_execution_history, client.stop_execution):
        assert refused(ask, executionArn=started) == (
            "InvalidArn: Invalid Arn: 'Resource type not valid in this context: express'"
        )
    unsupported = "StateMachineTypeNotSupported: This operation is not supported by this type of"
    assert refused(client.list_executions, stateMachineArn=arn).startswith(unsupported)
    standard = machine(client, "unsynced")
    assert refused(client.start_sync_execution, stateMachineArn=standard).startswith(unsupported)
    failing = machine(client, "expressly", FAIL, type="EXPRESS")
    found = client.start_sync_execution(stateMachineArn=failing)
    assert (found["status"], found["error"], found["cause"]) == ("FAILED", "E", "because")


@pytest.mark.parametrize(
    ("arn", "code"),
    [
        ("arn:aws:states:us-east-1:000000000000:execution:none:none", "ExecutionDoesNotExist"),
        ("arn:aws:states:us-east-1:000000000000:execution:none", "InvalidArn"),
        ("arn:aws:states:us-east-1:000000000000:stateMachine:none", "InvalidArn"),
        ("none", "InvalidArn"),
    ],
)
def test_executions_that_are_not_there(client: Any, arn: str, code: str) -> None:
    for name in OF_EXECUTIONS:
        assert refused(getattr(client, name), executionArn=arn).startswith(code)


def test_tokens_that_are_none(client: Any) -> None:
    for token in ("nonsense", "YQ"):
        assert refused(client.send_task_heartbeat, taskToken=token).startswith("InvalidToken")
    bad = refused(client.send_task_success, taskToken="x", output="{")
    assert bad.startswith("InvalidOutput: Invalid Output: '")


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    database = str(tmp_path / "journal.db")
    with served(tmp_path, database=database) as server:
        client = server.client()
        arn = machine(client, "durable", WAIT, publish=True)
        execution = start(client, f"{arn}:1")
    with served(tmp_path, database=database) as server:
        client = server.client()
        assert client.describe_state_machine(stateMachineArn=f"{arn}:1")["definition"] == WAIT
        assert client.describe_execution(executionArn=execution)["status"] == "RUNNING"
        client.stop_execution(executionArn=execution)
        assert ended(client, execution)["status"] == "ABORTED"


def test_a_five_state_execution_is_fast(client: Any) -> None:
    arn = machine(client, "fast", FIVE)
    took = []
    for _ in range(60):
        began = time.perf_counter()
        ended(client, start(client, arn))
        took.append(time.perf_counter() - began)
    assert sorted(took)[30] < 0.010


def test_a_run_that_was_started_by_a_plain_id_is_an_execution_of_that_name(tmp_path: Path) -> None:
    with served(tmp_path, Definitions.of(StateMachine("m", PASS))) as server:
        client = server.client()
        arn = "arn:aws:states:us-east-1:000000000000:stateMachine:m"
        body = {"workflow": "m", "args": [{}]}
        told = [
            httpx.post(f"{server.url}/api/runs", json={**body, "id": id}).json()
            for id in ("order-7", "m:order-7")
        ]
        assert [each["id"] for each in told] == ["m:order-7", "m:order-7"]
        assert told[1]["created"] is False
        (found,) = client.list_executions(stateMachineArn=arn)["executions"]
        assert found["name"] == "order-7"
        assert client.describe_execution(executionArn=found["executionArn"])["name"] == "order-7"
