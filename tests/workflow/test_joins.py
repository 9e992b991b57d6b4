"""gather, race, timeout and saga: who is cancelled, in which order, and what remains."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from tests.workflow.harness import HOLD, Stage

from batuta import (
    Cancelled,
    TimedOut,
    UndoFailed,
    gather,
    race,
    saga,
    signal,
    sleep,
    step,
    timeout,
    workflow,
)
from batuta.kernel.world import Outcome

KILLS = pytest.mark.parametrize("restart", [0, 1, 3])


@step
def a(x: int = 0) -> int:
    return x


@step
def b(x: int = 0) -> int:
    return x


@step
def bad() -> int:
    raise ValueError("bad")


@step
def back(what: str) -> str:
    return what


@step
def back_bad(what: str) -> str:
    raise ConnectionError(what)


@step
def unmake(thing: str) -> None: ...


@step(undo=unmake)
def make(thing: str) -> str:
    return thing


def play(body: Any, script: Any = None, restart: int = 0, **options: Any) -> Stage:
    flow = workflow(body)
    stage = Stage(flow, script=script, restart_every=restart, **options)
    stage.run(flow)
    return stage


def undone(stage: Stage) -> list[Any]:
    return [e.data["args"][0] for e in stage.events() if e.data.get("undoes")]


@KILLS
def test_the_first_failure_cancels_the_others(restart: int) -> None:
    ended: list[str] = []

    async def flow() -> None:
        async def other() -> None:
            try:
                await a()
            except Cancelled:
                ended.append("other")
                raise

        await gather(other(), b(), bad())

    stage = play(flow, {"a": [HOLD], "b": [HOLD]}, restart)
    assert stage.error()["type"] == "builtins:ValueError"
    assert ended
    assert [e.data["key"] for e in stage.events() if e.type == "step.cancelled"] == ["1.0.1", "1.1"]
    assert not stage.hands.performing


@KILLS
def test_results_keep_the_order_of_the_parts(restart: int) -> None:
    async def flow() -> list[int]:
        async def later() -> int:
            await sleep("5s")
            return 9

        first, second, third = await gather(later(), a(1), gather(b(2), a(3)))
        return [first, second, *third]

    assert play(flow, restart=restart).result() == [9, 1, 2, 3]


def test_a_thousand_parts() -> None:
    async def flow() -> int:
        return sum(await gather(*[a(x) for x in range(1000)]))

    assert play(flow).result() == 499_500


@KILLS
def test_a_race_ends_with_the_first(restart: int) -> None:
    async def flow() -> list[Any]:
        return list(await race(sleep("1h"), a(4), sleep("2h")))

    stage = play(flow, restart=restart)
    assert stage.result() == [1, 4]
    assert [e.data["key"] for e in stage.events() if e.type == "wait.cancelled"] == ["1.0", "1.2"]


def test_a_race_is_lost_by_a_failure() -> None:
    async def flow() -> None:
        await race(bad(), a())

    assert play(flow, {"a": [HOLD]}).error()["type"] == "builtins:ValueError"


@KILLS
def test_a_step_that_is_about_to_begin_when_the_race_ends_never_begins(restart: int) -> None:
    async def flow() -> int:
        async def two() -> None:
            await a()
            await b()

        index, _ = await race(two(), sleep("10s"))
        return index

    run = workflow(flow)
    stage = Stage(run, script={"a": [HOLD]}, restart_every=restart)
    stage.start(run)
    stage.settle()
    stage.hands.time += 10_000_000_000
    stage.finish("a", 1)  # in the very turn in which the time is up
    stage.play()
    assert stage.result() == 1
    assert [e for e in stage.types() if e == "run.parked"] == []


def test_two_outcomes_in_one_turn() -> None:
    async def flow() -> int:
        index, _ = await race(a(), b())
        await sleep("1s")
        return index

    run = workflow(flow)
    stage = Stage(run, script={"a": [HOLD], "b": [HOLD]})
    stage.start(run)
    stage.settle()
    commands = list(stage.hands.performing)
    stage.hands.performing.clear()
    stage.turn([Outcome(commands[1], 5), Outcome(commands[0], 6)])
    before = stage.types()
    stage.restart()
    stage.play()
    assert stage.result() == 1
    assert before == stage.types()[: len(before)]


@KILLS
def test_nested_time_limits_and_their_cleanup(restart: int) -> None:
    async def flow() -> list[str]:
        told = []

        async def inner() -> None:
            try:
                await timeout(a(), "20s")
            finally:
                told.append(await back("inner"))

        try:
            await timeout(inner(), "10s")
        except TimedOut:
            told.append("outer")
        try:
            await timeout(timeout(a(), "5s"), "1h")
        except TimedOut:
            told.append("second")
        return told

    stage = play(flow, {"a": [HOLD, HOLD]}, restart)
    assert stage.result() == ["inner", "outer", "second"]


def test_a_time_limit_that_is_met_leaves_no_timer() -> None:
    async def flow() -> int:
        return await timeout(a(3), "10 days")

    stage = play(flow)
    assert stage.result() == 3
    assert stage.types().count("wait.cancelled") == 1


def test_nothing_to_wait_for() -> None:
    async def none() -> int:
        return len(await gather())

    assert play(none).result() == 0

    async def nobody() -> None:
        await race()

    assert "at least one" in play(nobody).error()["message"]


# -- what may not be awaited ----------------------------------------------------------------


def test_asyncio_is_refused_with_what_to_use_instead() -> None:
    async def naps() -> None:
        await asyncio.sleep(1)

    async def zero() -> None:
        await asyncio.sleep(0)

    async def bare() -> None:
        future: asyncio.Future[int] = asyncio.Future(loop=loop)
        await future

    loop = asyncio.new_event_loop()
    try:
        assert "batuta.sleep" in play(zero).error()["message"]
        assert "step" in play(bare).error()["message"]
        assert play(naps).error()["message"]
    finally:
        loop.close()


def test_a_call_is_awaited_once() -> None:
    async def twice() -> None:
        call = a()
        await call
        await call

    assert "twice" in play(twice).error()["message"]

    async def both() -> None:
        call = a()
        await gather(call, call)

    assert "twice" in play(both).error()["message"]


def test_a_workflow_that_never_waits_and_one_that_fails_at_once() -> None:
    async def quick() -> int:
        return 3

    async def dies() -> None:
        raise RuntimeError("at once")

    async def leaves() -> None:
        raise SystemExit(3)

    assert play(quick).result() == 3
    assert play(dies).error()["message"] == "at once"
    assert play(leaves).error()["type"] == "builtins:SystemExit"


def test_a_workflow_that_swallows_every_refusal_is_ended() -> None:
    async def stubborn() -> None:
        while True:
            with suppress(Exception):
                await a()

    assert play(stubborn, operations_max=50).error()["type"] == "batuta:TooManyOperations"


def test_a_run_of_too_many_operations_fails_and_says_what_to_do() -> None:
    async def long() -> None:
        for _ in range(20_000):
            await a()

    stage = play(long, operations_max=300)
    assert stage.error()["type"] == "batuta:TooManyOperations"
    assert "continue_as_new" in str(stage.error()) or "300" in stage.error()["message"]
    assert stage.attempts("a") <= 301


# -- sagas ----------------------------------------------------------------------------------


@KILLS
def test_compensation_runs_last_first(restart: int) -> None:
    async def flow() -> None:
        async with saga() as undo:
            undo(back, "registered")
            await make("one")
            await gather(make("two"), make("three"))
            await bad()

    stage = play(flow, restart=restart)
    assert stage.error()["type"] == "builtins:ValueError"
    assert undone(stage) == ["three", "two", "one", "registered"]


@KILLS
def test_a_failing_compensation_does_not_keep_the_others(restart: int) -> None:
    async def flow() -> None:
        async with saga() as undo:
            undo(back, "last")
            undo(back_bad, "broken")
            undo(back, "first")
            raise RuntimeError("why")

    stage = play(flow, restart=restart)
    error = stage.error()
    assert error["type"] == "batuta:UndoFailed"
    assert "back_bad" in error["message"]
    assert "why" in error["traceback"]
    assert undone(stage) == ["first", "broken", "last"]


def test_sagas_within_sagas() -> None:
    async def flow() -> str:
        async with saga():
            await make("outer")
            try:
                async with saga():
                    await make("inner")
                    await bad()
            except ValueError:
                pass
        return "on"

    stage = play(flow)
    assert stage.result() == "on"
    assert undone(stage) == ["inner"]


@KILLS
def test_cancelled_in_the_middle(restart: int) -> None:
    async def flow() -> None:
        async with saga():
            await make("one")
            await signal("never")

    run = workflow(flow)
    stage = Stage(run, script={"unmake": [HOLD]}, restart_every=restart)
    stage.start(run)
    stage.settle()
    stage.ask("run.cancel", "run", reason="enough")
    stage.settle()
    stage.ask("run.cancel", "run", reason="really")
    stage.settle()
    assert stage.status() == "running"
    stage.finish("unmake", None)
    assert stage.last().type == "run.cancelled"
    assert undone(stage) == ["one"]


@KILLS
def test_a_cancel_that_comes_during_compensation_is_told_afterwards(restart: int) -> None:
    async def flow() -> str:
        try:
            async with saga():
                await make("one")
                await bad()
        except ValueError:
            pass
        await sleep("1h")
        return "went on"

    run = workflow(flow)
    stage = Stage(run, script={"unmake": [HOLD]}, restart_every=restart)
    stage.start(run)
    stage.settle()
    stage.ask("run.cancel", "run", reason="enough")
    stage.finish("unmake", None)
    stage.play()
    assert stage.last().type == "run.cancelled"


def test_undo_failed_is_an_error_that_a_workflow_can_catch() -> None:
    async def flow() -> str:
        try:
            async with saga() as undo:
                undo(back_bad, "x")
                await bad()
        except UndoFailed as failed:
            return type(failed.__cause__).__name__
        return "no"

    assert play(flow).result() == "ValueError"
