"""Time, signals, events and questions: what a run waits for and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from tests.workflow.harness import S, Stage

from batuta import (
    TimedOut,
    continue_as_new,
    event,
    field,
    gather,
    now,
    query,
    saga,
    signal,
    sleep,
    step,
    workflow,
)
from batuta.kernel.errors import BatutaError, Conflict, NotFound

KILLS = pytest.mark.parametrize("restart", [0, 1])


@dataclass(frozen=True)
class Answer:
    yes: bool
    by: str = "nobody"


@step
def one() -> int:
    return 1


@KILLS
@pytest.mark.parametrize(
    ("length", "ns"),
    [("1ms", 10**6), (0.25, S // 4), ("90 days", 90 * 86400 * S), ("3650 days", None), (0, 0)],
)
def test_sleep_is_never_short(length: Any, ns: int | None, restart: int) -> None:
    @workflow
    async def flow() -> float:
        begun = now()
        await sleep(length)
        return (now() - begun).total_seconds()

    stage = Stage(flow, restart_every=restart)
    stage.run(flow)
    timer = next(e for e in stage.events() if e.type == "timer.set")
    fired = next(e for e in stage.events() if e.type == "timer.fired")
    assert fired.time >= timer.data["due"]
    assert ns is None or timer.data["due"] == timer.time + ns
    assert stage.result() > 3e8 or ns is not None


@pytest.mark.parametrize("length", ["soon", None, "3 fortnights"])
def test_a_length_that_is_none_is_refused_at_the_call(length: Any) -> None:
    @workflow
    async def flow() -> None:
        await sleep(length)

    stage = Stage(flow)
    stage.run(flow)
    assert stage.types() == ["run.started", "run.failed"]


@KILLS
def test_signals_are_typed_and_kept_until_they_are_awaited(restart: int) -> None:
    @workflow
    async def flow() -> list[Any]:
        await sleep("1 min")
        first = await signal("ok", Answer)
        second = await signal("ok", Answer)
        assert isinstance(first, Answer)
        return [first.yes, first.by, second.by]

    stage = Stage(flow, restart_every=restart)
    stage.start(flow)
    stage.signal("ok", {"yes": True, "by": "ada"})
    stage.signal("other", 1)
    stage.advance(100)
    stage.signal("ok", {"yes": False})
    stage.play()
    assert stage.result() == [True, "ada", "nobody"]


@KILLS
def test_a_signal_of_the_wrong_type_is_the_workflows_to_handle(restart: int) -> None:
    @workflow
    async def flow() -> str:
        while True:
            try:
                return (await signal("ok", Answer)).by
            except BatutaError:
                await one()

    stage = Stage(flow, restart_every=restart)
    stage.start(flow)
    stage.signal("ok", 7)
    stage.signal("ok", {"yes": True, "by": "eve"})
    stage.play()
    assert stage.result() == "eve"


@KILLS
def test_a_time_limit_on_a_signal(restart: int) -> None:
    @workflow
    async def flow() -> str:
        try:
            return str(await signal("ok", str, within="1h"))
        except TimedOut as late:
            return str(late)

    stage = Stage(flow, restart_every=restart)
    stage.start(flow)
    stage.advance(3599)
    assert stage.types()[-1] == "wait.set"
    stage.advance(1)
    assert stage.result() == "signal ok did not come in time"
    with pytest.raises(Conflict, match="completed"):
        stage.signal("ok", "late")


@KILLS
def test_two_that_wait_for_one_name_are_served_in_order(restart: int) -> None:
    @workflow
    async def flow() -> list[int]:
        return list(await gather(signal("n", int), signal("n", int)))

    stage = Stage(flow, restart_every=restart)
    stage.start(flow)
    stage.signal("n", 1)
    stage.signal("n", 2)
    assert stage.result() == [1, 2]


@KILLS
@pytest.mark.parametrize("idle_max", [0, 1000])
def test_events_by_subject_condition_and_limit(restart: int, idle_max: int) -> None:
    @workflow
    async def flow(subject: str) -> Any:
        try:
            met = await event("parcel", subject=subject, where=field("data.n") > 1, within="1 day")
        except TimedOut:
            return "late"
        return [met.type, met.subject, met.id, met.data["n"], met.time.year]

    stage = Stage(flow, restart_every=restart, idle_max=idle_max)
    stage.send("parcel", "a", {"n": 9})  # before anybody waits
    for name in ("a", "b", "c"):
        stage.start(flow, name, id=name)
    stage.advance(100)
    stage.send("parcel", "a", {"n": 1})
    stage.send("parcels", "a", {"n": 5})
    stage.send("parcel", "a", {"n": 2}, id="e2")
    stage.send("parcel", "a", {"n": 3})
    stage.send("parcel", "b", {"n": 4}, id="e4")
    stage.play()
    assert stage.result("a") == ["parcel", "a", "e2", 2, 2023]
    assert stage.result("b")[2] == "e4"
    assert stage.result("c") == "late"
    assert stage.types("a").count("wait.met") == 1


def test_two_events_of_one_turn_meet_a_wait_once() -> None:
    @workflow
    async def flow() -> Any:
        return (await event("x")).data

    stage = Stage(flow)
    stage.start(flow)
    sent = [stage.message("event.send", "", type="x", data=n, id=f"e{n}") for n in (1, 2)]
    stage.turn(messages=sent)
    stage.play()
    assert stage.result() == 1
    assert stage.types().count("wait.met") == 1


@KILLS
@pytest.mark.parametrize("idle_max", [0, 1000])
def test_questions_to_running_sleeping_and_ended_runs(restart: int, idle_max: int) -> None:
    @workflow
    async def flow() -> None:
        state = ["begun"]
        query("state", lambda suffix="": state[-1] + suffix)
        await one()
        state.append("slept")
        await sleep("1 day")
        state.append("ended")

    stage = Stage(flow, restart_every=restart, idle_max=idle_max)
    stage.start(flow)
    assert stage.query("state") == "begun"
    stage.advance(100)
    assert stage.query("state", "!") == "slept!"
    stage.play()
    assert stage.query("state") == "ended"


# -- continue as new ------------------------------------------------------------------------


@KILLS
def test_a_run_that_goes_on_as_a_new_one_hands_its_signals_on(restart: int) -> None:
    @workflow
    async def flow(seen: list[int]) -> list[int]:
        seen = [*seen, await signal("n", int)]
        if len(seen) < 3:
            await one()
            continue_as_new(seen)
        return seen

    stage = Stage(flow, restart_every=restart)
    stage.start(flow, [])
    stage.turn(messages=[stage.message("run.signal", "run", name="n", value=n) for n in (1, 2)])
    stage.play()
    stage.signal("n", 3)  # by the id that people know
    assert stage.result("run~3") == [1, 2, 3]
    assert [stage.status(id) for id in ("run", "run~2", "run~3")] == [
        "continued", "continued", "completed",
    ]  # fmt: skip


def test_a_saga_is_not_left_behind() -> None:
    @workflow
    async def flow() -> None:
        async with saga():
            continue_as_new()

    stage = Stage(flow)
    stage.run(flow)
    assert "inside a saga" in stage.error()["message"]


def test_arguments_of_the_next_run_are_checked() -> None:
    @workflow
    async def flow(n: int) -> None:
        continue_as_new("many")

    stage = Stage(flow)
    stage.run(flow, 1)
    assert "int" in stage.error()["message"]


# -- deadlines ------------------------------------------------------------------------------


@KILLS
@pytest.mark.parametrize("idle_max", [0, 1000])
def test_a_deadline_cancels_with_cleanup_and_ends_as_timed_out(restart: int, idle_max: int) -> None:
    @workflow(deadline="1 day")
    async def flow() -> None:
        try:
            await signal("never")
        finally:
            await one()

    stage = Stage(flow, restart_every=restart, idle_max=idle_max)
    stage.run(flow)
    assert stage.error()["type"] == "batuta:TimedOut"
    assert stage.done() == ["one"]
    assert stage.last().time - stage.events()[0].time == 86400 * S


def test_nobody_is_there() -> None:
    stage = Stage()
    with pytest.raises(NotFound, match="no run"):
        stage.signal("x")
    with pytest.raises(NotFound, match="no workflow"):
        stage.ask("run.start", "r", workflow="gone")
