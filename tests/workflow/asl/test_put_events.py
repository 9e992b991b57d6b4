"""`events:putEvents`: what becomes of the entries, and that each is written once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from batuta.simulate.machine import Performance, run
from batuta.workflow.ask import Emit
from batuta.workflow.asl.machine import StateMachine
from batuta.workflow.asl.states.put_events import event_of

PAID = {"Source": "shop", "DetailType": "Order Paid", "Detail": {"order": 7}}
MALFORMED = {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}


def machine(*entries: Any) -> StateMachine:
    state = {"Type": "Task", "Resource": "arn:aws:states:::events:putEvents", "End": True,
             "Parameters": {"Entries": list(entries)}}  # fmt: skip
    return StateMachine("m", json.dumps({"StartAt": "Put", "States": {"Put": state}}))


def unasked(command: Any) -> Performance:
    raise AssertionError(f"the world was asked for {command}")


def test_an_entry_is_an_event_of_its_type_source_and_detail() -> None:
    event = event_of({**PAID, "Resources": ["order/7", "other"]}, "m:1")
    assert isinstance(event, Emit)
    assert (event.type, event.source, event.subject) == ("Order Paid", "shop", "order/7")
    assert event.data == {"order": 7}


def test_detail_may_be_json_text_and_the_run_stands_in_for_the_subject() -> None:
    event = event_of({**PAID, "Detail": '{"order": 7}'}, "m:1")
    assert isinstance(event, Emit)
    assert (event.subject, event.data) == ("m:1", {"order": 7})


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ({**PAID, "Detail": '"text"'}, "MalformedDetail"),
        ({**PAID, "Detail": "{"}, "MalformedDetail"),
        ({**PAID, "Detail": None}, "InvalidArgument"),
        ({**PAID, "Source": ""}, "InvalidArgument"),
        ({"Source": "shop", "Detail": {}}, "InvalidArgument"),
        ({**PAID, "DetailType": "run.started"}, "InvalidArgument"),
        ("entry", "InvalidArgument"),
    ],
)
def test_a_wrong_entry_is_refused_in_the_services_words(entry: Any, code: str) -> None:
    found = event_of(entry, "m:1")
    assert isinstance(found, dict)
    assert found["ErrorCode"] == code


def test_a_task_tells_the_ids_and_asks_no_world() -> None:
    found = run(machine(PAID, PAID), {}, unasked)
    assert found.status == "SUCCEEDED"
    assert found.output["FailedEntryCount"] == 0
    ids = [each["EventId"] for each in found.output["Entries"]]
    assert len(set(ids)) == 2


def test_a_failed_entry_fails_the_task_and_the_others_are_written_all_the_same() -> None:
    found = run(machine(PAID, {**PAID, "Detail": "[]"}), {}, unasked)
    assert (found.status, found.error) == ("FAILED", "EventBridge.FailedEntry")
    told = json.loads(found.cause or "")
    assert told["Entries"][1] == MALFORMED
    assert "EventId" in told["Entries"][0]


def test_no_entries_is_an_error_that_says_so() -> None:
    found = run(machine(), {}, unasked)
    assert found.error == "States.Runtime"
    assert "a list of 1 to 10 events" in (found.cause or "")
