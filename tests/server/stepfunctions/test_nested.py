"""Executions that are begun by others: in this very server, without HTTP and without boto3."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from tests.server.stepfunctions.serving import Served, machine, served

from batuta.server.stepfunctions.inside import Inside
from batuta.server.stepfunctions.service import Service
from batuta.server.stepfunctions.settings import Settings
from batuta.workflow.asl.registry import ServiceError

START = "arn:aws:states:::states:startExecution"


def flow(**state: Any) -> str:
    return json.dumps({"StartAt": "A", "States": {"A": {"End": True, **state}}})


def nesting(target: str, pattern: str = "", **more: Any) -> str:
    """A machine that starts another one."""
    parameters = {"StateMachineArn": target, "Input": {"order": 7}, **more}
    return flow(Type="Task", Resource=START + pattern, Parameters=parameters)


def outcome(client: Any, arn: str, name: str = "e") -> dict[str, Any]:
    begun = client.start_execution(stateMachineArn=arn, name=name, input="{}")
    until = time.monotonic() + 10
    while True:
        told: dict[str, Any] = client.describe_execution(executionArn=begun["executionArn"])
        if told["status"] != "RUNNING" or time.monotonic() > until:
            return told
        time.sleep(0.02)


def test_a_nested_execution_is_waited_for_and_its_output_is_json(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        client = server.client()
        inner = machine(client, "inner", flow(Type="Pass"))
        told = outcome(client, machine(client, "outer", nesting(inner, ".sync:2", Name="n")))
        output = json.loads(told["output"])
        assert (output["Status"], output["Output"]) == ("SUCCEEDED", {"order": 7})
        assert output["ExecutionArn"].endswith(":execution:inner:n")


def test_a_nested_execution_that_fails_fails_the_task(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        client = server.client()
        failing = json.dumps({"StartAt": "F", "States": {"F": {"Type": "Fail", "Error": "Gone"}}})
        inner = machine(client, "inner", failing)
        told = outcome(client, machine(client, "outer", nesting(inner, ".sync")))
        assert told["error"] == "States.TaskFailed"
        assert json.loads(told["cause"])["Error"] == "Gone"


def test_a_nested_execution_is_stopped_with_the_one_that_waits_for_it(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        client = server.client()
        inner = machine(client, "inner", flow(Type="Wait", Seconds=600))
        outer = machine(client, "outer", nesting(inner, ".sync", Name="n"))
        begun = client.start_execution(stateMachineArn=outer, name="e", input="{}")
        nested = begun["executionArn"].replace(":outer:e", ":inner:n")
        assert until(client, nested, "RUNNING")
        client.stop_execution(executionArn=begun["executionArn"])
        assert until(client, nested, "ABORTED")


def until(client: Any, arn: str, status: str) -> bool:
    for _ in range(500):
        try:
            if client.describe_execution(executionArn=arn)["status"] == status:
                return True
        except client.exceptions.ExecutionDoesNotExist:
            pass
        time.sleep(0.02)
    return False


def inside(server: Served, asked: dict[str, Any], by: str) -> Any:
    states = Inside(Service(server.system, Settings()))
    work = asyncio.run_coroutine_threadsafe(states.start(asked, by), server.loop)
    return work.result(10)


def test_one_command_begins_one_execution_also_when_it_has_ended(tmp_path: Path) -> None:
    """A server that was killed behind the start asks again; the execution may have ended since."""
    with served(tmp_path) as server:
        client = server.client()
        inner = machine(client, "inner", flow(Type="Pass"))
        asked = {"stateMachineArn": inner, "name": "n", "input": "{}"}
        first = inside(server, asked, "command-1")
        assert until(client, first["executionArn"], "SUCCEEDED")
        assert inside(server, asked, "command-1") == first
        with pytest.raises(ServiceError, match="Execution Already Exists"):
            inside(server, asked, "command-2")
