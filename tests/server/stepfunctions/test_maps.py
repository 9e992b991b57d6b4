"""Map runs through boto3: what a distributed Map has begun."""

from __future__ import annotations

import json
from typing import Any

from tests.server.stepfunctions.serving import machine, refused
from tests.server.stepfunctions.test_executions import ended, start

from batuta.workflow.asl.arn import DEFAULT


def mapped(inner: dict[str, Any], **more: Any) -> str:
    """A machine with one distributed Map over its input."""
    processor = {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
        "StartAt": "I", "States": {"I": inner},
    }  # fmt: skip
    state = {"Type": "Map", "ItemProcessor": processor, "Label": "Each", "End": True, **more}
    return json.dumps({"StartAt": "M", "States": {"M": state}})


def test_a_map_run_is_listed_and_described(client: Any) -> None:
    arn = machine(client, "mapping", mapped({"Type": "Pass", "End": True}))
    execution = start(client, arn, input="[1, 2, 3]")
    assert ended(client, execution)["output"] == "[1, 2, 3]"
    (listed,) = client.list_map_runs(executionArn=execution)["mapRuns"]
    assert (listed["executionArn"], listed["stateMachineArn"]) == (execution, arn)
    assert listed["mapRunArn"].startswith(f"{DEFAULT.states}mapRun:mapping/Each:")
    found = client.describe_map_run(mapRunArn=listed["mapRunArn"])
    assert (found["status"], found["executionArn"]) == ("SUCCEEDED", execution)
    assert found["itemCounts"]["succeeded"] == found["executionCounts"]["total"] == 3
    children = client.list_executions(mapRunArn=listed["mapRunArn"])["executions"]
    assert len(children) == 3
    assert {one["mapRunArn"] for one in children} == {listed["mapRunArn"]}
    child = client.describe_execution(executionArn=children[0]["executionArn"])
    assert child["stateMachineArn"] == f"{arn}/Each"
    own = client.list_executions(stateMachineArn=arn)["executions"]
    assert [one["executionArn"] for one in own] == [execution], "children are the map run's"
    done = refused(client.update_map_run, mapRunArn=listed["mapRunArn"], maxConcurrency=2)
    assert done.startswith("ValidationException")


def test_a_running_map_run_gets_other_limits(client: Any) -> None:
    inner = {"Type": "Wait", "Seconds": 3600, "End": True}
    arn = machine(client, "limited", mapped(inner, MaxConcurrency=1))
    execution = start(client, arn, input="[1, 2, 3]")
    (listed,) = client.list_map_runs(executionArn=execution)["mapRuns"]
    map_run = listed["mapRunArn"]
    assert "stopDate" not in listed
    found = client.describe_map_run(mapRunArn=map_run)
    assert (found["status"], found["maxConcurrency"]) == ("RUNNING", 1)
    assert (found["itemCounts"]["running"], found["itemCounts"]["pending"]) == (1, 2)
    client.update_map_run(mapRunArn=map_run, maxConcurrency=2, toleratedFailureCount=1)
    found = client.describe_map_run(mapRunArn=map_run)
    assert (found["maxConcurrency"], found["toleratedFailureCount"]) == (2, 1)
    assert found["itemCounts"]["running"] == 2
    client.stop_execution(executionArn=execution)
    assert client.describe_map_run(mapRunArn=map_run)["status"] == "ABORTED"


def test_map_runs_that_are_not_there(client: Any) -> None:
    for arn in (f"{DEFAULT.states}mapRun:none/Each:none/1", f"{DEFAULT.states}mapRun:none"):
        gone = refused(client.describe_map_run, mapRunArn=arn)
        assert gone == f"ResourceNotFound: Resource not found: '{arn}'"
        assert refused(client.update_map_run, mapRunArn=arn, maxConcurrency=1) == gone
    assert refused(client.describe_map_run, mapRunArn="none").startswith("InvalidArn")
