"""The recorded executions again, through boto3 against a started server, with moto as AWS.

All are started at once and then looked at one by one, so that those that wait do it together.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.asl.cases import CASES, cases_of, known, parametrized
from tests.conformance.asl.functions import as_recorded, write_project
from tests.conformance.asl.surroundings import MOTO_DIFFERS, Surroundings, machine
from tests.conformance.asl.test_executions import (
    NAMES,
    Recording,
    compare_histories,
    requested,
)
from tests.real.cloud import cloud
from tests.server.stepfunctions.serving import served

from batuta.workflow.asl.history import HistoryEvent

KNOWN = "known_failures_server.txt"
WAIT_S = 60.0
QUOTAS = '[stepfunctions]\nquotas = "aws"'
QUIET = ("assignedVariablesDetails", "inputDetails", "outputDetails")
"""Members that the recordings left out."""

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("recorded-executions")]


@dataclass
class Started:
    """All executions, begun.

    Parameters
    ----------
    arns: of the STANDARD ones; answers: of the EXPRESS ones; by the case's id.
    cases: as they were asked.
    """

    client: Any
    folder: Path
    arns: dict[str, str]
    answers: dict[str, dict[str, Any]]
    cases: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    folder = tmp_path_factory.mktemp("recorded")
    with cloud() as address:
        write_project(folder, address, QUOTAS)
        with served(folder) as server:
            client = server.client()
            around = Surroundings(address, client)
            try:
                yield begin(client, folder, around)
            finally:
                around.close()


def begin(client: Any, folder: Path, around: Surroundings) -> Started:
    """Start every recorded execution."""
    found = Started(client, folder, {}, {}, {})
    for number, given in enumerate(cases_of("execution")):
        case = around.prepared(number, given, "definition", "input")
        found.cases[case["id"]] = case
        arn = machine(client, f"case-{number}", case["definition"], case["type"])
        text = json.dumps(case["input"])
        if case["type"] == "EXPRESS":
            answer = client.start_sync_execution(stateMachineArn=arn, input=text)
            found.answers[case["id"]] = answer
        else:
            begun = client.start_execution(stateMachineArn=arn, input=text, name="execution-1")
            found.arns[case["id"]] = begun["executionArn"]
    return found


def ended(started: Started, id: str) -> dict[str, Any]:
    """What the execution has come to."""
    if id in started.answers:
        return started.answers[id]
    until = time.monotonic() + WAIT_S
    while True:
        found: dict[str, Any] = started.client.describe_execution(executionArn=started.arns[id])
        if found["status"] != "RUNNING" or time.monotonic() > until:
            return found
        time.sleep(0.05)


def outcome(found: dict[str, Any]) -> dict[str, Any]:
    """The outcome in the cases' form."""
    told: dict[str, Any] = {
        name: found[name] for name in ("status", "error", "cause") if name in found
    }
    if "output" in found:
        told["output"] = json.loads(found["output"])
    if found["status"] == "TIMED_OUT":
        told["error"] = "States.Timeout"
    return told


def history(started: Started, id: str) -> list[HistoryEvent]:
    """The whole history, page by page."""
    events: list[HistoryEvent] = []
    asked = {"executionArn": started.arns[id], "maxResults": 1000}
    while True:
        page = started.client.get_execution_history(**asked)
        events += [event_of(each) for each in as_recorded(page["events"], started.folder)]
        if "nextToken" not in page:
            return events
        asked["nextToken"] = page["nextToken"]


def event_of(each: dict[str, Any]) -> HistoryEvent:
    """An event as the virtual run has it."""
    found = (value for name, value in each.items() if name.endswith("EventDetails"))
    details = next(found, None)
    if details is not None:
        details = {name: value for name, value in details.items() if name not in QUIET}
        details.pop("roleArn", None)
        for name, text in details.get("assignedVariables", {}).items():
            details["assignedVariables"][name] = json.loads(text)
    return HistoryEvent(each["id"], each["previousEventId"], each["type"], 0, details)


def judge(started: Started, id: str) -> tuple[str | None, str | None]:
    """What is wrong with the outcome, and with the history."""
    case = started.cases[id]
    ignored = [*case["localstack_ignores"], *MOTO_DIFFERS] if case["needs"] != "pure" else []
    wildcards = [*case["wildcards"], *NAMES, *requested(case)]
    about = {**case, "localstack_ignores": ignored, "wildcards": wildcards}
    found = as_recorded(outcome(ended(started, id)), started.folder)
    wanted = case["expected"]["outcome"]
    wrong = None if wanted is None else Recording(None, about).compare(wanted, found)
    recorded = case["expected"].get("history")
    if not recorded or id in started.answers:
        return wrong, None
    return wrong, compare_histories(Recording(None, about), recorded, history(started, id))


@pytest.mark.parametrize("case", parametrized("execution", KNOWN))
def test_an_execution_goes_as_it_went_in_the_service(
    case: dict[str, Any], started: Started
) -> None:
    wrong, history = judge(started, case["id"])
    assert wrong is None, wrong
    assert history is None, history


@pytest.mark.skipif(not CASES.is_dir(), reason=f"NO CASES: {CASES} is missing")
def test_the_rates() -> None:
    failing = known(KNOWN).keys() | known("known_failures.txt").keys()
    cases = cases_of("execution")
    services = [case["id"] for case in cases if case["needs"] in ("services", "s3", "activity")]
    assert len(failing.intersection(services)) <= 0.1 * len(services)
    assert len(failing) <= 0.01 * (len(cases) - len(services)) + 0.1 * len(services)
