"""Retry and Catch: who is asked, how often, after how long."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batuta.kernel.world import Command, Failure
from batuta.simulate.machine import Performance, Result, run
from batuta.workflow.asl.machine import StateMachine

F = "arn:aws:lambda:us-east-1:000000000000:function:f"
S = 1_000_000_000


def execute(errors: list[str | None], *, name: str = "e", **state: Any) -> tuple[Result, list[int]]:
    """A task that fails with these in turn (None: it succeeds); and when it was asked, in s."""
    asked: list[int] = []
    flow = {"StartAt": "A", "States": {
        "A": {"Type": "Task", "Resource": F, "Next": "Done", **state},
        "Done": {"Type": "Succeed"}, "Caught": {"Type": "Succeed"}, "Other": {"Type": "Succeed"},
    }}  # fmt: skip
    coming = iter(errors)

    def perform(command: Command) -> Performance:
        asked.append(command.cause.time)
        error = next(coming, None)
        return Performance("ok") if error is None else Performance(failure=Failure(error, "why"))

    result = run(StateMachine("m", json.dumps(flow)), {"in": 1}, perform, name=name)
    return result, [(at - asked[0]) for at in asked]


def retrier(*errors: str, **more: Any) -> dict[str, Any]:
    return {"ErrorEquals": list(errors) or ["States.ALL"], **more}


def test_the_waits_grow_by_the_rate() -> None:
    given_ = retrier(IntervalSeconds=2, BackoffRate=3, MaxAttempts=3)
    result, at = execute(["E"] * 3, Retry=[given_])
    assert result.status == "SUCCEEDED"
    assert at == [0, 2 * S, 8 * S, 26 * S]


def test_what_is_not_said_is_one_second_twice_as_long_each_time_three_times() -> None:
    result, at = execute(["E"] * 9, Retry=[retrier()])
    assert (result.status, result.error) == ("FAILED", "E")
    assert at == [0, 1 * S, 3 * S, 7 * S]


def test_no_wait_is_longer_than_the_most() -> None:
    given_ = retrier(IntervalSeconds=10, BackoffRate=10, MaxDelaySeconds=15, MaxAttempts=4)
    _, at = execute(["E"] * 4, Retry=[given_])
    assert at == [0, 10 * S, 25 * S, 40 * S, 55 * S]


def test_no_attempts_is_no_retry() -> None:
    result, at = execute(["E"], Retry=[retrier("E", MaxAttempts=0), retrier()])
    assert (result.error, at) == ("E", [0])


def test_each_retrier_counts_for_itself_and_the_first_that_fits_is_asked() -> None:
    given_ = [retrier("A", MaxAttempts=1), retrier("States.ALL", MaxAttempts=2, IntervalSeconds=5)]
    result, at = execute(["A", "B", "B", "A"], Retry=given_)
    assert result.error == "A"  # its retrier is used up; the one behind it is not asked
    assert len(at) == 4


@given(
    st.integers(1, 100), st.floats(1, 5), st.integers(1, 6), st.none() | st.integers(1, 300),
    st.integers(),
)  # fmt: skip
def test_full_jitter_waits_at_most_as_long_and_the_same_run_the_same(
    interval: int, rate: float, attempts: int, most: int | None, name: int
) -> None:
    given_ = retrier(IntervalSeconds=interval, BackoffRate=rate, MaxAttempts=attempts)
    if most is not None:
        given_["MaxDelaySeconds"] = most
    _, plain = execute(["E"] * attempts, Retry=[given_])
    given_["JitterStrategy"] = "FULL"
    _, jittered = execute(["E"] * attempts, Retry=[given_], name=f"e{name}")
    assert len(jittered) == len(plain) == attempts + 1
    for (a, b), (c, d) in zip(_pairs(jittered), _pairs(plain), strict=True):
        assert 0 <= b - a <= d - c
    assert execute(["E"] * attempts, Retry=[given_], name=f"e{name}")[1] == jittered


def _pairs(at: list[int]) -> list[tuple[int, int]]:
    return list(pairwise(at))


@pytest.mark.parametrize(
    ("error", "equals", "caught"),
    [
        ("E", ["E"], True), ("E", ["F"], False), ("E", ["F", "E"], True),
        ("E", ["States.ALL"], True), ("E", ["States.TaskFailed"], True),
        ("States.Timeout", ["States.TaskFailed"], False),
        ("States.Timeout", ["States.Timeout"], True), ("States.Runtime", ["States.ALL"], False),
        ("States.DataLimitExceeded", ["States.ALL"], False),
        ("States.DataLimitExceeded", ["States.DataLimitExceeded"], True),
        ("States.Permissions", ["States.Permissions"], True),
    ],
)  # fmt: skip
def test_which_errors_a_catcher_takes(error: str, equals: list[str], caught: bool) -> None:
    result, _ = execute([error], Catch=[{"ErrorEquals": equals, "Next": "Caught"}])
    assert (result.path[-1] == "Caught") is caught


def test_the_first_catcher_that_fits_gets_the_error_where_it_says() -> None:
    catchers = [
        {"ErrorEquals": ["F"], "Next": "Other"},
        {"ErrorEquals": ["E"], "ResultPath": "$.error", "Next": "Caught"},
        {"ErrorEquals": ["States.ALL"], "Next": "Other"},
    ]
    result, _ = execute(["E"], Catch=catchers)
    assert result.path == ["A", "Caught"]
    assert result.output == {"in": 1, "error": {"Error": "E", "Cause": "why"}}


def test_what_was_retried_in_vain_is_caught() -> None:
    catcher = {"ErrorEquals": ["States.ALL"], "Next": "Caught"}
    result, at = execute(["E"] * 3, Retry=[retrier(MaxAttempts=2)], Catch=[catcher])
    assert (result.path, len(at)) == (["A", "Caught"], 3)
