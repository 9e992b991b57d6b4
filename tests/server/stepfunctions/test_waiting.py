"""Executions that wait for people: they take no place of others, and can be stopped."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

from tests.server.stepfunctions.serving import Served, machine, served

WAITING = 1_200
"""More than the steps that a server performs at once."""


def flow(**state: Any) -> str:
    return json.dumps({"StartAt": "A", "States": {"A": {"End": True, **state}}})


def ask(server: Served, type: str, subject: str, data: dict[str, Any]) -> Any:
    work = server.system.submit(type, subject, data)
    return asyncio.run_coroutine_threadsafe(work, server.loop).result(10)


def test_more_activities_than_places_wait_and_others_work_all_the_same(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        client = server.client()
        arn = client.create_activity(name="people")["activityArn"]
        waiting = machine(client, "waiting", flow(Type="Task", Resource=arn))
        for number in range(WAITING):
            client.start_execution(stateMachineArn=waiting, name=f"e{number}", input="{}")
        shell = flow(Type="Task", Resource="arn:batuta:shell", Parameters={"command": "echo works"})
        begun = client.start_execution(stateMachineArn=machine(client, "shell", shell), name="e")
        until = time.monotonic() + 10
        while True:
            told = client.describe_execution(executionArn=begun["executionArn"])
            if told["status"] != "RUNNING" or time.monotonic() > until:
                break
            time.sleep(0.02)
        assert told["status"] == "SUCCEEDED", told
        stats = server.system.stats()
        assert stats["queue_running.activities"] == WAITING


def test_a_cancelled_execution_is_aborted_in_its_history(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        client = server.client()
        arn = machine(client, "m", flow(Type="Wait", Seconds=600))
        begun = client.start_execution(stateMachineArn=arn, name="e", input="{}")
        ask(server, "run.cancel", "m:e", {"reason": "a test"})
        time.sleep(0.1)
        told = client.describe_execution(executionArn=begun["executionArn"])
        assert told["status"] == "ABORTED"
        history = client.get_execution_history(executionArn=begun["executionArn"])["events"]
        assert [each["type"] for each in history][-1] == "ExecutionAborted"
