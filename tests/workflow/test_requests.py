"""What people ask of runs: start, cancel, terminate, retry, undo, fork; and code that changed."""

from __future__ import annotations

from typing import Any

import pytest
from tests.workflow.harness import HOLD, Stage, raised

from batuta import (
    Cancelled,
    gather,
    patched,
    retry,
    saga,
    set_attributes,
    signal,
    sleep,
    step,
    workflow,
)
from batuta.kernel.errors import Conflict, NotFound
from batuta.kernel.world import Outcome

KILLS = pytest.mark.parametrize("restart", [0, 1])


@step
def one(x: int = 1) -> int:
    return x


@step
def two(x: int = 2) -> int:
    return x


@step
def three(x: int = 3) -> int:
    return x


@step
def unmake(thing: str) -> None: ...


@step(undo=unmake)
def make(thing: str) -> str:
    return thing


# -- start ----------------------------------------------------------------------------------


@workflow
async def quick() -> int:
    return 1


@workflow
async def naps() -> str:
    await sleep("1 day")
    return "rested"


@KILLS
@pytest.mark.parametrize("flow", [quick, naps])
def test_a_second_start_with_one_id_is_the_same_run(flow: Any, restart: int) -> None:
    stage = Stage(quick, naps, restart_every=restart)
    twice = [stage.message("run.start", "run", workflow=flow.name) for _ in range(2)]
    stage.turn(messages=twice)
    first, second = (stage.replies[message.id] for message in twice)
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert (first["created"], second["created"]) == (True, False)
    again = stage.ask("run.start", "run", workflow=flow.name)
    assert again["created"] is False
    stage.play()
    last = stage.ask("run.start", "run", workflow=flow.name)
    assert last == {"id": "run", "created": False, "status": "completed"}
    assert stage.types().count("run.started") == 1


def test_a_start_before_the_commit_of_the_end() -> None:
    stage = Stage(quick)
    stage.loop.turn((), [stage.message("run.start", "run", workflow="quick")])
    stage.loop.turn((), [stage.message("run.start", "run", workflow="quick")])
    stage.turn()
    assert stage.types() == ["run.started", "run.completed"]


def test_input_that_does_not_fit_any_more_ends_the_run() -> None:
    @workflow
    async def flow(n: int) -> None: ...

    stage = Stage(flow)
    stage.ask("run.start", "run", workflow="flow", args=["text"])
    assert "whole number" in stage.error()["message"]


# -- cancel and terminate -------------------------------------------------------------------


@KILLS
def test_a_workflow_may_swallow_its_cancellation(restart: int) -> None:
    @workflow
    async def flow() -> str:
        try:
            await sleep("1 day")
        except Cancelled:
            await one()
        return "anyway"

    stage = Stage(flow, restart_every=restart)
    stage.start(flow)
    stage.ask("run.cancel", "run")
    stage.settle()
    assert stage.result() == "anyway"


@KILLS
def test_cancelled_steps_are_stopped_and_their_outcome_ignored(restart: int) -> None:
    @workflow
    async def flow() -> None:
        await one()

    stage = Stage(flow, script={"one": [HOLD]}, restart_every=restart)
    stage.start(flow)
    stage.settle()
    stage.ask("run.cancel", "run", reason="enough")
    assert stage.last().data == {"reason": "enough"}
    assert stage.hands.cancelled == ["run/1.1"]
    assert stage.ask("run.cancel", "run") == {"id": "run", "status": "cancelled"}


@KILLS
@pytest.mark.parametrize("idle_max", [0, 1000])
def test_terminate_asks_nobody(restart: int, idle_max: int) -> None:
    @workflow
    async def flow() -> None:
        async with saga():
            await make("x")
            await signal("never")

    stage = Stage(flow, restart_every=restart, idle_max=idle_max)
    stage.start(flow)
    stage.settle()
    stage.ask("run.terminate", "run", reason="now")
    stage.play()
    assert stage.last().type == "run.terminated"
    assert stage.done() == ["make"]
    assert not stage.runs.runs
    assert not stage.runs.asleep


# -- retry ----------------------------------------------------------------------------------


@workflow
async def line() -> int:
    a = await one()
    b = await two()
    return a + b + await three()


@KILLS
def test_a_failed_run_goes_on_where_it_failed(restart: int) -> None:
    stage = Stage(line, script={"two": [ValueError("x"), 2]}, restart_every=restart)
    stage.run(line)
    assert stage.status() == "failed"
    stage.ask("run.retry", "run")
    stage.play()
    assert stage.result() == 6
    assert stage.done() == ["one", "two", "three"]
    assert stage.attempts("two") == 2
    assert len(set(stage.hands.performed)) == 4


@KILLS
def test_it_fails_again_and_is_retried_again(restart: int) -> None:
    script = {"two": [ValueError("x"), ValueError("y"), 2]}
    stage = Stage(line, script=script, restart_every=restart)
    stage.run(line)
    for _ in range(2):
        stage.ask("run.retry", "run")
        stage.play()
    assert stage.result() == 6
    assert stage.attempts("one") == 1


@KILLS
def test_branches_beside_the_failed_one_are_kept(restart: int) -> None:
    @workflow
    async def flow() -> list[int]:
        return list(await gather(one(), two(), three()))

    script: dict[str, list[Any]] = {"one": [1], "two": [HOLD, 2], "three": [HOLD]}
    stage = Stage(flow, script=script, restart_every=restart)
    stage.start(flow)
    stage.settle()
    stage.finish("two", ValueError("x"))
    assert stage.status() == "failed"
    stage.ask("run.retry", "run")
    stage.settle()
    stage.finish("three", 33)
    assert stage.result() == [1, 2, 33]
    assert stage.attempts("one") == 1
    assert stage.attempts("three") == 1


def test_outcomes_and_signals_of_the_failing_turn_are_kept() -> None:
    @workflow
    async def flow() -> list[Any]:
        numbers = await gather(one(), two())
        return [*numbers, await signal("s")]

    stage = Stage(flow, script={"one": [HOLD], "two": [HOLD, 2]})
    stage.start(flow)
    stage.settle()
    first, second = stage.hands.performing
    stage.hands.performing.clear()
    stage.turn(
        [raised(second, ValueError("x")), Outcome(first, 11)],
        [stage.message("run.signal", "run", name="s", value="kept")],
    )
    assert stage.status() == "failed"
    stage.ask("run.retry", "run")
    stage.settle()
    if "run/1.0.1" in stage.hands.performing:  # its outcome was not recorded: the same id again
        stage.finish("one", 11)
    stage.play()
    assert stage.result() == [11, 2, "kept"]
    assert stage.attempts("one") == 1
    assert stage.runs.restore(stage.events()) is None  # the whole history still folds to its end


def test_a_failure_of_the_workflow_itself_is_retried_with_its_code_put_right() -> None:
    def flow(message: str | None) -> Any:
        async def body() -> int:
            x = await one()
            if message:
                raise ValueError(message)
            return x

        return workflow(name="flow")(body)

    stage = Stage(flow("bug"))
    stage.run(flow("bug"))
    assert stage.error()["message"] == "bug"
    stage.reload(flow(None))
    stage.ask("run.retry", "run")
    stage.play()
    assert stage.result() == 1
    assert stage.attempts("one") == 1


def test_a_caught_failure_is_not_where_it_failed() -> None:
    @workflow
    async def flow() -> None:
        try:
            await one()
        except ValueError:
            await two()
        await three()

    script: dict[str, list[Any]] = {"one": [ValueError("caught")], "three": [ValueError("x"), 3]}
    stage = Stage(flow, script=script)
    stage.run(flow)
    stage.ask("run.retry", "run")
    stage.play()
    assert stage.last().type == "run.completed"
    assert [stage.attempts(name) for name in ("one", "two", "three")] == [1, 1, 2]


def test_a_compensated_run_is_not_retried() -> None:
    @workflow
    async def flow() -> None:
        async with saga():
            await make("x")
            await one()

    stage = Stage(flow, script={"one": [ValueError("x")]})
    stage.run(flow)
    with pytest.raises(Conflict, match="compensated"):
        stage.ask("run.retry", "run")
    other = Stage(quick)
    other.run(quick)
    with pytest.raises(Conflict, match="completed"):
        other.ask("run.retry", "run")


@KILLS
def test_a_failed_child_is_retried_with_its_parent(restart: int) -> None:
    @workflow
    async def parent() -> int:
        return await line() + 1

    stage = Stage(parent, line, script={"two": [ValueError("x"), 2]}, restart_every=restart)
    stage.run(parent)
    assert stage.status() == "failed"
    stage.ask("run.retry", "run")
    stage.play()
    assert stage.result() == 7
    assert stage.attempts("one") == 1


@KILLS
def test_a_child_that_was_undone_begins_anew_and_a_cancelled_one_too(restart: int) -> None:
    @workflow
    async def buys() -> str:
        async with saga():
            await make("x")
            await two()
        return "bought"

    @workflow
    async def parent() -> list[str]:
        return list(await gather(buys(), naps()))

    script = {"two": [ValueError("x"), 2]}
    stage = Stage(parent, buys, naps, script=script, restart_every=restart)
    stage.run(parent)
    assert stage.status() == "failed"
    assert stage.status("run/1.1") == "cancelled"
    stage.ask("run.retry", "run")
    stage.play()
    assert stage.result() == ["bought", "rested"]


# -- undo and fork --------------------------------------------------------------------------


@KILLS
def test_a_completed_run_is_undone(restart: int) -> None:
    @workflow
    async def flow() -> str:
        async with saga():
            await make("x")
            await make("y")
        return "done"

    stage = Stage(flow, restart_every=restart)
    stage.run(flow)
    stage.ask("run.undo", "run")
    stage.play()
    assert stage.last().type == "run.cancelled"
    assert [e.data["args"] for e in stage.events() if e.data.get("undoes")] == [["y"], ["x"]]
    with pytest.raises(Conflict, match="cancelled"):
        stage.ask("run.undo", "run")


@KILLS
def test_a_fork_takes_over_what_was_before(restart: int) -> None:
    stage = Stage(line, script={"two": [2, 20]}, restart_every=restart)
    stage.run(line)
    assert stage.ask("run.fork", "run", key="2", id="fork")["id"] == "fork"
    stage.play()
    assert stage.result("fork") == 24
    assert stage.attempts("one") == 2 - 1 + 1  # the copy of its asking, not another try
    assert [c for c in stage.hands.performed if c.startswith("fork/1")] == []
    with pytest.raises(NotFound, match="no operation `9`"):
        stage.ask("run.fork", "run", key="9", id="other")


# -- code that changed ----------------------------------------------------------------------


def flow_of(body: Any) -> Any:
    return workflow(name="flow")(body)


async def _old() -> int:
    x = await one()
    await sleep("1 day")
    return x + await two()


async def _swapped() -> int:
    x = await two()
    await sleep("1 day")
    return x + await one()


async def _other_wait() -> int:
    x = await one()
    await signal("go")
    return x


async def _shorter() -> int:
    return await one()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (_swapped, ("`step one`", "`step two`")),
        (_other_wait, ("`sleep`", "`signal go`")),
        (_shorter, ("`sleep`", "nothing")),
    ],
)
def test_code_that_asks_for_something_else_parks_the_run(body: Any, words: Any) -> None:
    old = flow_of(_old)
    stage = Stage(old)
    stage.start(old)
    stage.settle()
    stage.restart(flow_of(body))
    stage.play()
    assert stage.status() == "parked"
    reason = stage.last().data["reason"]
    for word in words:
        assert word in reason
    assert "patched" in reason
    stage.restart(old)
    assert stage.status() == "parked"
    stage.ask("run.retry", "run")
    stage.play()
    assert stage.result() == 3
    assert stage.attempts("one") == 1


def test_waits_of_another_name_are_noticed() -> None:
    async def waits() -> Any:
        return await signal("a")

    async def waits_otherwise() -> Any:
        return await signal("b")

    stage = Stage(flow_of(waits))
    stage.start(flow_of(waits))
    stage.restart(flow_of(waits_otherwise))
    stage.signal("a", 1)
    assert stage.status() == "parked"
    stage.reload(flow_of(waits))
    stage.ask("run.retry", "run")
    stage.play()
    assert stage.result() == 1


def test_a_workflow_that_is_gone_parks_its_runs() -> None:
    stage = Stage(naps)
    stage.start(naps)
    stage.restart(quick)
    stage.play()
    assert stage.status() == "parked"
    assert "not defined any more" in stage.last().data["reason"]
    stage.restart(naps)
    stage.ask("run.retry", "run")
    stage.play()
    assert stage.result() == "rested"


def test_a_result_of_another_type_parks_the_run() -> None:
    def flow(kind: Any) -> Any:
        def number() -> Any: ...

        number.__annotations__["return"] = kind
        counted = step(number)

        async def body() -> Any:
            x = await counted()
            await sleep("1h")
            return x

        return flow_of(body)

    stage = Stage(flow(int), script={"number": [7]})
    stage.start(flow(int))
    stage.settle()
    stage.restart(flow(dict[str, int]))
    stage.play()
    assert stage.status() == "parked"
    stage.restart(flow(int))
    stage.ask("run.retry", "run")
    stage.play()
    assert stage.result() == 7


async def _patched() -> list[Any]:
    x = await one()
    new = patched("more")
    if new:
        x = await three()
    await sleep("1 day")
    return [new, x]


async def _before_patch() -> list[Any]:
    x = await one()
    await sleep("1 day")
    return [False, x]


@KILLS
def test_old_runs_keep_the_old_way_and_new_ones_take_the_new(restart: int) -> None:
    old, new = flow_of(_before_patch), flow_of(_patched)
    stage = Stage(old, restart_every=restart)
    stage.start(old, id="old")
    stage.settle()
    stage.restart(new)
    stage.start(new, id="new")
    stage.settle()
    stage.restart()
    stage.play()
    assert stage.result("old") == [False, 1]
    assert stage.result("new") == [True, 3]


@KILLS
def test_search_attributes_are_in_the_row(restart: int) -> None:
    @workflow
    async def flow() -> None:
        await set_attributes(a=1, b="x")
        await sleep("1h")
        await set_attributes(b="y")
        await one()

    stage = Stage(flow, restart_every=restart)
    stage.start(flow, options={"attributes": {"c": True}})
    stage.advance(1)
    assert stage.record().attributes == {"a": 1, "b": "x", "c": True}
    stage.play()
    assert stage.record().attributes == {"a": 1, "b": "y", "c": True}


def test_retries_go_on_after_a_retry() -> None:
    @step(retry=retry(2, initial="1s"))
    def flaky() -> int: ...  # type: ignore[empty-body]

    @workflow
    async def flow() -> int:
        return await flaky()

    stage = Stage(flow, script={"flaky": [ValueError("a"), ValueError("b"), ValueError("c"), 4]})
    stage.run(flow)
    stage.ask("run.retry", "run")
    stage.play()
    assert stage.result() == 4
    assert len(set(stage.hands.performed)) == 4
