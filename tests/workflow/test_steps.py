"""Steps in a run: what goes in and out, and what becomes of a failure."""

from __future__ import annotations

import asyncio
import enum
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel
from tests.workflow.harness import HOLD, S, Stage

from batuta import NotRetryable, StepFailed, TimedOut, retry, sh, sleep, step, workflow
from batuta.kernel.world import Failure


class Colour(enum.Enum):
    RED = "red"


@dataclass(frozen=True)
class Line:
    sku: str
    price: Decimal


class Order(BaseModel):
    id: UUID
    lines: list[int]


class Declined(NotRetryable):
    pass


class Busy(ConnectionError):
    pass


class Odd(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")


VALUES = [
    None, True, 7, 10**40, 1.5, "ü\x00", b"\x00\xff", [1, [2]], {"a": {"b": 1}},
    Line("a", Decimal("1.10")), Order(id=UUID(int=7), lines=[1]), Decimal("0.30"),
    datetime(2024, 2, 29, 1, 2, 3, 4, tzinfo=UTC), date(2024, 2, 29), timedelta(days=3, seconds=1),
    UUID(int=1), Colour.RED, (1, "a"), {1, 2}, [Line("b", Decimal(2))],
]  # fmt: skip


@step
def same(value: Any) -> Any:
    return value


@step
def line(value: Line) -> Line:
    assert type(value) is Line
    return value


@step
async def order(value: Order, *, colour: Colour = Colour.RED) -> tuple[Order, Colour]:
    assert type(value) is Order
    return value, colour


@pytest.mark.parametrize("restart", [0, 1])
@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_come_back_as_they_were(value: Any, restart: int) -> None:
    seen: list[Any] = []

    @workflow
    async def flow() -> None:
        seen.append(await same(value))

    Stage(flow, restart_every=restart).run(flow)
    assert seen[-1] == value
    assert type(seen[-1]) is type(value)


def test_signatures_type_what_is_stored() -> None:
    @workflow
    async def flow(value: Order) -> Colour:
        assert type(value) is Order
        back, colour = await order(value, colour=Colour.RED)
        assert back == value
        assert await line(Line("a", Decimal(1))) == Line("a", Decimal(1))
        return colour

    stage = Stage(flow, restart_every=1)
    stage.run(flow, Order(id=UUID(int=3), lines=[]))
    assert stage.result() == "red"
    asked = next(e for e in stage.events() if e.type == "step.asked")
    assert asked.data["args"] == [{"id": str(UUID(int=3)), "lines": []}]
    assert asked.data["kwargs"] == {"colour": "red"}


def test_what_cannot_be_stored_is_refused_at_the_call_with_its_path() -> None:
    @workflow
    async def flow() -> None:
        await same({"a": [1, object()]})

    stage = Stage(flow)
    stage.run(flow)
    assert "value.a[1]" in stage.error()["message"].replace("['a']", ".a")
    assert "step.asked" not in stage.types()


def test_arguments_that_do_not_fit_are_refused_at_the_call() -> None:
    @workflow
    async def flow() -> None:
        await line(Line("a", "free"))  # type: ignore[arg-type]

    stage = Stage(flow)
    stage.run(flow)
    assert "price" in stage.error()["message"]


def test_a_result_that_cannot_be_stored_ends_the_run() -> None:
    @workflow
    async def flow() -> Any:
        return [object()]

    stage = Stage(flow)
    stage.run(flow)
    assert "object" in stage.error()["message"]


# -- retries --------------------------------------------------------------------------------


def failing(*failures: Any) -> dict[str, list[Any]]:
    return {"work": [*failures]}


@step(retry=retry(4, initial="10s", backoff=2, maximum="30s", jitter=0))
def work() -> str:
    return ""


@workflow
async def works() -> str:
    return await work()


@pytest.mark.parametrize("restart", [0, 1, 2])
def test_delays_are_recorded_and_survive_a_restart_with_the_time_that_is_left(
    restart: int,
) -> None:
    stage = Stage(works, script=failing(*[ValueError("x")] * 3, "ok"), restart_every=restart)
    begun = stage.hands.time
    stage.start(works)
    stage.advance(7)
    stage.restart()
    stage.advance(2.9)
    assert stage.attempts("work") == 1
    stage.advance(0.1)
    assert stage.attempts("work") == 2
    stage.play()
    assert stage.result() == "ok"
    failed = [e for e in stage.events() if e.type == "step.failed"]
    assert [e.data["retry_at"] - e.time for e in failed] == [10 * S, 20 * S, 30 * S]
    assert stage.hands.time == begun + 60 * S


@pytest.mark.parametrize(
    ("rule", "error", "attempts"),
    [
        (retry(3), ValueError("x"), 3),
        (retry(1), ValueError("x"), 1),
        (retry(3, on=(ConnectionError,)), ValueError("x"), 1),
        (retry(3, on=(ConnectionError,)), Busy("x"), 3),
        (retry(3, on=(ConnectionError, TimedOut)), Failure("batuta:TimedOut", "late"), 3),
        (retry(3, on=(StepFailed,)), Failure("batuta:HeartbeatLost", "silent"), 3),
        (retry(3, never=(ConnectionError,)), Busy("x"), 1),
        (retry(3, never=(Busy,)), ConnectionError("x"), 3),
        (retry(3), Declined("x"), 1),
        (retry(3), Failure("batuta:ValueTooLarge", "52428800 bytes", retryable=False), 1),
        (None, ValueError("x"), 1),
    ],
)
def test_which_failures_are_tried_again(rule: Any, error: Any, attempts: int) -> None:
    @step(retry=rule)
    def task() -> None: ...

    @workflow
    async def flow() -> None:
        await task()

    stage = Stage(flow, script={"task": [error] * 5})
    stage.run(flow)
    assert stage.attempts("task") == attempts
    assert stage.status() == "failed"


# -- failures in the workflow ---------------------------------------------------------------

FAILURES = [
    (ValueError("no", 3), ValueError),
    (Busy("line 2"), Busy),
    (Declined("card"), Declined),
    (KeyError("k"), KeyError),
    (Odd(1, 2), StepFailed),
    (Failure("gone.module:Lost", "what it said", "Traceback: gone.py:3"), StepFailed),
    (Failure("batuta:TimedOut", "after 10s"), TimedOut),
    (Failure("builtins:eval", "not an exception", args=["1"]), StepFailed),
    (Failure("no colon", "odd"), StepFailed),
]


@pytest.mark.parametrize("restart", [0, 1])
@pytest.mark.parametrize(("failure", "kind"), FAILURES)
def test_a_failure_is_raised_as_the_class_that_it_was(
    failure: Any, kind: type[Exception], restart: int
) -> None:
    caught: list[BaseException] = []

    @workflow
    async def flow() -> None:
        try:
            await same(1)
        except Exception as error:
            caught.append(error)
            await sleep("1s")
            raise

    stage = Stage(flow, script={"same": [failure]}, restart_every=restart)
    stage.run(flow)
    assert type(caught[-1]) is kind
    if kind is not StepFailed and not isinstance(failure, Failure):
        assert caught[-1].args == failure.args


def test_a_failure_keeps_its_traceback_on_the_way() -> None:
    @step
    def deep() -> None:
        raise ValueError("down here")

    @workflow
    async def flow() -> None:
        await deep()

    stage = Stage(flow, restart_every=1)
    stage.run(flow)
    failed = next(e for e in stage.events() if e.type == "step.failed")
    assert 'raise ValueError("down here")' in failed.data["error"]["traceback"]
    error = stage.error()
    assert error["type"] == "builtins:ValueError"
    assert 'raise ValueError("down here")' in error["traceback"]
    assert "await deep()" in error["traceback"]
    assert "batuta/workflow" not in error["traceback"]


def test_a_shell_command_is_a_step() -> None:
    @workflow
    async def flow() -> str:
        return (await sh("make build", cwd="src", secrets=["T"], timeout="5m")).stdout

    stage = Stage(flow, script={"sh make": [HOLD]}, restart_every=1)
    stage.start(flow)
    stage.settle()
    command = next(iter(stage.hands.performing.values()))
    assert command.kind == "shell"
    assert command.timeout_s == 300
    assert command.data == {"command": "make build", "cwd": "src", "secrets": ["T"]}


def test_outside_of_a_workflow_a_step_is_its_function() -> None:
    assert asyncio.run(_plain()) == 3


async def _plain() -> int:
    return int(await same(3))
