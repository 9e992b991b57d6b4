"""The recorded executions, on virtual time: outcome and whole history as the service had them.

`pure` cases need the interpreter alone; `lambda`, `services`, `activity` and `s3` ones get the
recorded answers of their tasks (stubs.py); children of `distributed` maps run like any execution.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from tests.conformance.asl.calls import Replay
from tests.conformance.asl.cases import CASES, cases_of, known, parametrized
from tests.conformance.asl.stubs import Stubs

from batuta.simulate.machine import Result, run
from batuta.workflow.asl.history import HistoryEvent
from batuta.workflow.asl.machine import StateMachine

NAMES = ("RandomNumberGenerated",)
"""What the recordings put in the place of values that differ each time."""


class Recording(Replay):
    """Compares strictly, but for JSON text, whose spaces the recorder did not always keep."""

    def _compare_texts(self, expected: str, actual: Any, at: str) -> str | None:
        expected = expected.replace("<<task_token>:", "<task_token:")
        if expected[:1] in ("{", "[") and isinstance(actual, str):
            wanted = self._json(expected)
            if wanted is not None:
                return self.compare(wanted, actual, at)
        return super()._compare_texts(expected, actual, at)

    @staticmethod
    def _json(text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            return None


def execute(case: dict[str, Any]) -> Result:
    """The case's execution, to its end."""
    about = {"type": case["type"], "role": "arn:aws:iam::000000000000:role/snf_role_arn"}
    machine = StateMachine("machine-1", json.dumps(case["definition"]), about)
    return run(machine, case["input"], Stubs(case), name="execution-1")


def judge(case: dict[str, Any]) -> tuple[str | None, str | None]:
    """What is wrong with the outcome, and with the history."""
    names = requested(case)
    strict = {**case, "localstack_ignores": [], "wildcards": [*case["wildcards"], *NAMES, *names]}
    replay = Recording(None, strict)
    result = execute(case)
    outcome = case["expected"]["outcome"]
    history = case["expected"].get("history")
    wrong = None
    if outcome is not None:
        wrong = replay.compare(outcome, told(result))
    if not history:
        return wrong, None
    return wrong, compare_histories(Recording(None, strict), history, result.history)


def requested(case: dict[str, Any]) -> list[str]:
    """Words of the recording that stand for names in the request: they match anything."""
    start = next(iter(case["expected"].get("history") or ()), None)
    if start is None:
        return []
    found: list[str] = []
    waiting = [(start["details"].get("input"), case["input"])]
    while waiting:
        recorded, asked = waiting.pop()
        if isinstance(recorded, dict) and isinstance(asked, dict):
            waiting += [(recorded[name], asked.get(name)) for name in recorded]
        elif isinstance(recorded, list) and isinstance(asked, list):
            waiting += list(zip(recorded, asked, strict=False))
        elif recorded != asked and isinstance(recorded, str) and recorded:
            found.append(recorded)
    return found


def told(result: Result) -> dict[str, Any]:
    """The outcome in the cases' form."""
    found: dict[str, Any] = {"status": result.status}
    if result.status == "SUCCEEDED":
        found["output"] = result.output
    for name in ("error", "cause"):
        value = getattr(result, name)
        if value is not None:
            found[name] = value
    if result.status == "TIMED_OUT":
        found["error"] = "States.Timeout"
    return found


def compare_histories(
    replay: Replay, expected: list[dict[str, Any]], found: list[HistoryEvent]
) -> str | None:
    """The first difference. The recorder put 0 for the ids of events of concurrent branches, and
    left out how their states ended: what it kept of them has to be there, in any order."""
    loose = any(event["id"] == 0 for event in expected)
    if not loose and len(expected) != len(found):
        kinds = Counter(each.type for each in found)
        kinds.subtract(Counter(event["type"] for event in expected))
        more, fewer = dict(+kinds), dict(-kinds)
        return f"{len(expected)} events are wanted, {len(found)} came: {more} {fewer}"
    rest = {each.id: each for each in found}
    for event in expected:
        if event["id"] != 0:
            ours = rest.pop(event["id"], None)
            problem = "is missing" if ours is None else _differ(replay, event, ours, strict=True)
        else:
            fit = (
                id for id, each in rest.items() if not _differ(replay, event, each, strict=False)
            )
            match = next(fit, None)
            problem = "is missing" if match is None else None
            rest.pop(match or 0, None)
        if problem:
            return f"event {event['id']} {event['type']}: {problem}"
    return None


def _differ(
    replay: Replay, event: dict[str, Any], ours: HistoryEvent, *, strict: bool
) -> str | None:
    if event["type"] != ours.type:
        return f"{ours.type} came"
    if strict and event["prev"] != ours.prev:
        return f"the one before is {event['prev']}, {ours.prev} came"
    details = event.get("details")
    if details is None:
        return None if not ours.details else f"no details are wanted: {ours.details}"
    return replay.compare(details, ours.details or {})


@pytest.mark.parametrize("case", parametrized("execution", "known_failures.txt"))
def test_an_execution_goes_as_it_went_in_the_service(case: dict[str, Any]) -> None:
    outcome, history = judge(case)
    assert outcome is None, outcome
    assert history is None, history


@pytest.mark.skipif(not CASES.is_dir(), reason=f"NO CASES: {CASES} is missing")
def test_the_rates(record_property: Callable[[str, object], None]) -> None:
    failing = known("known_failures.txt")
    cases = cases_of("execution")
    wrong = sum(judge(case)[0] is not None for case in cases if case["id"] in failing)
    outcomes = 100 * (1 - wrong / len(cases))
    whole = 100 * (1 - len(failing) / len(cases))
    record_property("outcomes_percent", outcomes)
    record_property("histories_percent", whole)
    assert outcomes >= 99.5
    assert whole >= 99.0
