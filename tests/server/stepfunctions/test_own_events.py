"""Events of a state machine arrive in the journal, with the execution as their cause."""

from __future__ import annotations

import json
import time
from pathlib import Path

from tests.server.stepfunctions.serving import machine, served

ENTRY = {"Source": "shop", "DetailType": "order.lost", "Detail": {"order": 7}, "Resources": ["o-7"]}


def test_an_event_is_in_the_journal_once_behind_its_execution(tmp_path: Path) -> None:
    state = {"Type": "Task", "Resource": "arn:aws:states:::events:putEvents", "End": True,
             "Parameters": {"Entries": [ENTRY]}}  # fmt: skip
    with served(tmp_path) as server:
        client = server.client()
        arn = machine(client, "m", json.dumps({"StartAt": "A", "States": {"A": state}}))
        begun = client.start_execution(stateMachineArn=arn, name="e", input="{}")
        until = time.monotonic() + 10
        while True:
            told = client.describe_execution(executionArn=begun["executionArn"])
            if told["status"] != "RUNNING" or time.monotonic() > until:
                break
            time.sleep(0.02)
        assert told["status"] == "SUCCEEDED", told
        journal = server.system.journal
        found = [each for each in journal.read(0) if each.type == "order.lost"]
    (event,) = found
    assert (event.subject, event.data["source"], event.data["data"]) == (
        "o-7",
        "shop",
        {"order": 7},
    )
    assert json.loads(told["output"])["Entries"] == [{"EventId": event.data["id"]}]
