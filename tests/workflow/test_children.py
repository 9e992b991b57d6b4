"""Runs within runs and beside them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.workflow.harness import HOLD, Stage

from batuta import (
    BatutaError,
    Cancelled,
    RunFailed,
    continue_as_new,
    gather,
    race,
    signal,
    sleep,
    start,
    step,
    workflow,
)

KILLS = pytest.mark.parametrize(("restart", "idle_max"), [(0, 1000), (1, 1000), (0, 0), (2, 1)])


@step
def work(x: int = 0) -> int:
    return x


@workflow
async def child(x: int) -> int:
    try:
        await sleep("1 day")
    except Cancelled:
        await work(-1)
        raise
    return await work(x)


@workflow
async def broken() -> None:
    await work()
    raise ValueError("inside")


@workflow
async def caller() -> list[Any]:
    try:
        await gather(child(1), broken())
    except RunFailed as failed:
        return [str(failed).partition("\n")[0], failed.failure["type"]]
    return []


@KILLS
def test_a_failed_child_raises_in_its_parent_and_its_sibling_is_cancelled(
    restart: int, idle_max: int
) -> None:
    stage = Stage(caller, child, broken, restart_every=restart, idle_max=idle_max)
    stage.run(caller)
    assert stage.result() == ["run run/1.1 failed: inside", "builtins:ValueError"]
    assert stage.last("run/1.0").type == "run.cancelled"
    assert stage.done("run/1.0") == ["work"]
    assert stage.record("run/1.0").data["parent"] == {"run": "run", "key": "1.0"}


@KILLS
def test_cancelling_reaches_every_generation(restart: int, idle_max: int) -> None:
    @workflow
    async def middle() -> int:
        return await child(1)

    @workflow
    async def top() -> int:
        return await middle()

    stage = Stage(top, middle, child, restart_every=restart, idle_max=idle_max)
    stage.start(top)
    stage.advance(10)
    stage.ask("run.cancel", "run")
    stage.play()
    for run in ("run", "run/1", "run/1/1"):
        assert stage.last(run).type == "run.cancelled"


@KILLS
def test_terminating_reaches_them_as_well(restart: int, idle_max: int) -> None:
    stage = Stage(caller, child, broken, script={"work": [HOLD]}, restart_every=restart,
                  idle_max=idle_max)  # fmt: skip
    stage.start(caller)
    stage.settle()
    stage.ask("run.terminate", "run")
    stage.play()
    for run in ("run", "run/1.0", "run/1.1"):
        assert stage.last(run).type == "run.terminated"
    assert not stage.hands.performing


@KILLS
def test_a_terminated_child_fails_its_parent(restart: int, idle_max: int) -> None:
    @workflow
    async def top() -> str:
        try:
            await child(1)
        except RunFailed as failed:
            return str(failed)
        return ""

    stage = Stage(top, child, restart_every=restart, idle_max=idle_max)
    stage.start(top)
    stage.settle()
    stage.ask("run.terminate", "run/1")
    stage.play()
    assert "terminated" in stage.result()


@KILLS
def test_runs_beside_this_one_go_on_without_it(restart: int, idle_max: int) -> None:
    @workflow
    async def top() -> list[str]:
        first = await start(child, 3, id="beside")
        again = await start(child, 4, id="beside")
        own = await start(child, 5)
        return [first, again, own]

    stage = Stage(top, child, restart_every=restart, idle_max=idle_max)
    stage.start(top)
    stage.settle()
    assert stage.result() == ["beside", "beside", "run/3"]
    stage.play()
    assert stage.result("beside") == 3
    assert stage.result("run/3") == 5
    assert "parent" not in stage.record("beside").data


def test_a_child_whose_workflow_is_not_defined_fails_its_parent_only() -> None:
    @workflow
    async def top() -> str:
        try:
            await child(1)
        except RunFailed as failed:
            return str(failed)
        return ""

    stage = Stage(top)
    stage.run(top)
    assert "no workflow `child`" in stage.result()


@KILLS
def test_a_child_that_goes_on_as_a_new_run_is_still_the_child(restart: int, idle_max: int) -> None:
    @workflow
    async def turns(n: int) -> int:
        await work(n)
        if n < 3:
            continue_as_new(n + 1)
        return n

    @workflow
    async def top() -> int:
        return await turns(1)

    stage = Stage(top, turns, restart_every=restart, idle_max=idle_max)
    stage.run(top)
    assert stage.result() == 3


def test_a_child_of_an_id_that_is_taken() -> None:
    @workflow
    async def top() -> str:
        call = child(1)
        call.id = "taken"
        try:
            await call
        except RunFailed as failed:
            return str(failed)
        return ""

    stage = Stage(top, child)
    stage.start(child, 1, id="taken")
    stage.run(top)
    assert "there is a run `taken` already" in stage.result()


def test_a_child_result_of_another_type_parks_the_parent() -> None:
    def made(kind: Any) -> tuple[Any, Any]:
        async def small() -> Any:
            return 7

        small.__annotations__["return"] = kind
        inner = workflow(small)

        async def top() -> Any:
            x = await inner()
            await signal("go")
            return x

        return workflow(top), inner

    stage = Stage(*made(int))
    stage.start(stage.definitions.workflows["top"])
    stage.settle()
    stage.restart(*made(list[str]))
    stage.signal("go")
    assert stage.status() == "parked"


def test_losing_children_are_cancelled_once() -> None:
    @workflow
    async def top() -> int:
        index, _ = await race(child(1), sleep("1h"))
        return index

    stage = Stage(top, child)
    stage.run(top)
    assert stage.result() == 1
    assert stage.types("run/1.0").count("run.cancel_asked") == 1
    assert not stage.runs.runs


def test_input_is_checked_at_the_call() -> None:
    @workflow
    async def top() -> None:
        try:
            await child("many")  # type: ignore[arg-type]
        except BatutaError as refused:
            raise ValueError("refused") from refused

    stage = Stage(top, child)
    stage.run(top)
    assert stage.error()["message"] == "refused"
    assert "child.asked" not in stage.types()
