"""Rules: each matching event at least once, in order per subject, until it is done or dead."""

from __future__ import annotations

from typing import Any

import pytest
from tests.workflow.harness import HOLD, Stage

from batuta import Event, continue_as_new, emit, field, on, retry, sleep, step, workflow
from batuta.kernel.errors import Conflict, NotFound

KILLS = pytest.mark.parametrize("restart", [0, 1, 2])


@step
def note(text: str) -> str:
    return text


@on("order.*", where=field("data.n") > 0)
async def slow(got: Event) -> int:
    await note(f"{got.subject}{got.data['n']}")
    await sleep("10s")
    return int(got.data["n"])


def noted(stage: Stage) -> list[str]:
    return [
        e.data["args"][0]
        for e in stage.journal.read(limit=10_000)
        if e.type == "step.asked" and e.data["name"] == "note"
    ]


def statuses(stage: Stage) -> dict[str, str]:
    return {record.id: record.status for record in stage.journal.records("delivery")}


@KILLS
def test_in_order_for_each_subject_and_side_by_side_for_several(restart: int) -> None:
    stage = Stage(slow, restart_every=restart)
    for n in (1, 2, 3):
        stage.send("order.paid", "a", {"n": n}, id=f"a{n}")
    stage.send("order.paid", "b", {"n": 1}, id="b1")
    stage.send("order.paid", "a", {"n": 0}, id="a0")
    stage.send("orders", "a", {"n": 5}, id="a5")
    stage.advance(5)
    assert noted(stage) == ["a1", "b1"]
    stage.play()
    assert noted(stage) == ["a1", "b1", "a2", "a3"]
    assert statuses(stage) == dict.fromkeys(("slow:a1", "slow:a2", "slow:a3", "slow:b1"), "done")


@KILLS
def test_the_same_event_twice_is_dealt_with_once(restart: int) -> None:
    stage = Stage(slow, restart_every=restart)
    stage.send("order.paid", "a", {"n": 1}, id="same")
    stage.send("order.paid", "a", {"n": 1}, id="same")
    stage.play()
    stage.send("order.paid", "a", {"n": 1}, id="same")
    stage.send("order.paid", "a", {"n": 2}, id="next")
    stage.play()
    assert noted(stage) == ["a1", "a2"]
    assert set(statuses(stage).values()) == {"done"}


@on("job", retry=retry(2, initial="1 min", jitter=0))
async def shaky(got: Event) -> str:
    return await note(got.id)


@KILLS
def test_retries_then_the_dead_letters_then_again(restart: int) -> None:
    errors = [ValueError("1"), ValueError("2"), ValueError("3"), "fine", "fine"]
    stage = Stage(shaky, script={"note": errors}, restart_every=restart)
    stage.send("job", "s", id="e1")
    stage.send("job", "s", id="e2")
    stage.advance(59)
    assert statuses(stage) == {"shaky:e1": "waiting", "shaky:e2": "waiting"}
    stage.advance(1)
    assert stage.record("shaky:e1", "delivery").status == "dead"
    assert stage.record("shaky:e1", "delivery").data["error"] == "2"
    stage.play()
    assert statuses(stage) == {"shaky:e1": "dead", "shaky:e2": "done"}
    assert stage.ask("dead.redrive", "shaky:e1")["status"] == "waiting"
    stage.play()
    assert statuses(stage)["shaky:e1"] == "done"
    with pytest.raises(Conflict, match="only dead ones"):
        stage.ask("dead.redrive", "shaky:e1")
    with pytest.raises(NotFound):
        stage.ask("dead.redrive", "shaky:none")


@KILLS
def test_a_rule_that_is_removed_leaves_its_events_to_the_dead_letters(restart: int) -> None:
    stage = Stage(slow, restart_every=restart)
    stage.send("order.paid", "a", {"n": 1}, id="a1")
    stage.send("order.paid", "a", {"n": 2}, id="a2")
    stage.restart(workflow(slow.workflow.fn))  # the workflow stays, the rule is gone
    stage.play()
    assert statuses(stage) == {"slow:a1": "done", "slow:a2": "dead"}
    stage.reload(slow)
    stage.ask("dead.redrive", "slow:a2")
    stage.play()
    assert statuses(stage)["slow:a2"] == "done"


@KILLS
def test_a_run_that_is_cancelled_or_goes_on_as_another(restart: int) -> None:
    @on("x")
    async def renews(got: Event) -> None:
        if "again" not in got.data:
            await note("first")
            continue_as_new(Event(got.id, got.type, "", got.subject, got.time, {"again": 1}))
        await note("second")

    stage = Stage(renews, slow, restart_every=restart)
    stage.send("x", "s", {}, id="x1")
    stage.play()
    assert noted(stage) == ["first", "second"]
    stage.send("order.paid", "a", {"n": 1}, id="a1")
    stage.ask("run.cancel", "slow:a1")
    stage.play()
    assert statuses(stage) == {"renews:x1": "done", "slow:a1": "dead"}


def test_a_rule_whose_workflow_takes_something_else() -> None:
    @on("x")
    async def odd(number: int) -> None: ...

    @on("x")
    async def two(got: Event, more: int) -> None: ...

    @on("x")
    async def none() -> str:
        return await note("called")

    stage = Stage(odd, two, none)
    stage.send("x", "s", {}, id="x1")
    stage.play()
    assert statuses(stage) == {"odd:x1": "dead", "two:x1": "dead", "none:x1": "done"}


def test_a_chain_of_rules_has_its_causes() -> None:
    stage = Stage(slow, script={"note": [HOLD]})
    stage.send("order.paid", "a", {"n": 1}, id="a1")
    sent, asked, started, step_asked = stage.journal.read()
    assert [e.type for e in (sent, asked, started, step_asked)] == [
        "order.paid", "delivery.asked", "run.started", "step.asked",
    ]  # fmt: skip
    assert [e.cause_seq for e in (asked, started, step_asked)] == [sent.seq, asked.seq, started.seq]
    assert started.data["trigger"] == {"rule": "slow", "event": "a1"}


def test_reserved_types_cannot_be_emitted() -> None:
    @workflow
    async def forges() -> Any:
        await emit("run.completed", subject="other", data={"result": 1})

    stage = Stage(forges)
    stage.run(forges)
    assert "written by Batuta itself" in stage.error()["message"]
