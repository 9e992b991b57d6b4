"""Runs that only wait: they leave memory, cost next to nothing there, and come back."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from tests.workflow.harness import BEGIN, HOLD, S, Stage

from batuta import event, query, queue, signal, sleep, step, workflow
from batuta.kernel.event import Event, Record
from batuta.kernel.journal import Batch

SLEEPERS = 20_000


@step
def one() -> int:
    return 1


@workflow
async def naps(hours: int) -> str:
    query("hours", lambda: hours)
    await sleep(f"{hours}h")
    await one()
    return "up"


@workflow
async def listens() -> Any:
    return (await event("ping")).data


@workflow
async def asked() -> Any:
    first = await signal("go")
    return [first, await signal("go", within="365 days")]


@pytest.mark.parametrize("idle_max", [0, 1, 3])
def test_the_longest_idle_leave_first_and_all_come_back(idle_max: int) -> None:
    stage = Stage(naps, listens, asked, idle_max=idle_max)
    for n in range(5):
        stage.start(naps, n + 1, id=f"n{n}")
        stage.start(asked, id=f"a{n}")
    stage.start(listens, id="ear")
    assert len(stage.runs.runs) <= idle_max
    assert len(stage.runs.asleep) == 11
    stage.signal("go", 1, id="a0")
    stage.signal("go", 2, id="a0")
    stage.send("ping", "s", {"x": 1})
    assert stage.result("a0") == [1, 2]
    assert stage.result("ear") == {"x": 1}
    assert stage.query("hours", id="n3") == 4
    stage.advance(6 * 3600)
    assert all(stage.result(f"n{n}") == "up" for n in range(5))
    assert len(stage.runs.asleep) == 4


def test_a_run_comes_back_before_what_it_did_is_committed() -> None:
    stage = Stage(asked, idle_max=0)
    stage.loop.turn((), [stage.message("run.start", "run", workflow="asked")])
    stage.loop.turn((), [stage.message("run.signal", "run", name="go", value=1)])
    turn = stage.loop.begin_commit()
    assert turn is not None
    stage.loop.turn((), [stage.message("run.signal", "run", name="go", value=2)])
    stage.journal.commit(turn.batch)
    stage.loop.committed(turn)
    stage.turn()
    assert stage.result() == [1, 2]
    assert stage.types().count("wait.set") == 2


def test_the_timers_of_runs_that_come_and_go_do_not_pile_up() -> None:
    @workflow
    async def busy() -> None:
        while True:
            await signal("more", within="365 days")

    stage = Stage(busy, idle_max=0)
    stage.start(busy)
    for _ in range(300):
        stage.signal("more")
    assert len(stage.runs.timers) < 2000
    assert len(set(stage.runs.timers)) < 2000


def test_a_sleeping_run_costs_less_than_a_kilobyte() -> None:
    stage = Stage(naps)
    for start in range(0, SLEEPERS, 5000):
        records = [
            Record("run", f"run-{n}", 0, "sleeping", "naps", BEGIN, None, BEGIN + 3600 * S + n)
            for n in range(start, start + 5000)
        ]
        events = [Event("started.long.ago", r.id, {}, None, BEGIN) for r in records[:1]]
        stage.journal.commit(Batch(events, records, epochs=stage.loop.epochs))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    stage.close()
    stage._build()
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert len(stage.runs.asleep) == SLEEPERS
    assert used / SLEEPERS < 1000


@pytest.mark.parametrize("restart", [0, 1])
def test_queues_bound_what_is_in_flight_also_after_a_restart(restart: int) -> None:
    @step(queue="bank")
    def pay(n: int) -> int:
        return n

    @workflow
    async def pays(n: int) -> int:
        return await pay(n)

    stage = Stage(
        pays, queue("bank", concurrency=2), script={"pay": [HOLD] * 6}, restart_every=restart
    )
    for n in range(6):
        stage.start(pays, n, id=f"p{n}")
    for n in range(6):
        assert len(stage.hands.performing) == min(2, 6 - n)
        stage.hands.ready()
        stage.finish("pay", n)
    assert all(stage.status(f"p{n}") == "completed" for n in range(6))


def test_a_rate_lets_so_many_begin_in_a_time() -> None:
    @step(queue="mail")
    def send() -> None: ...

    @workflow
    async def mails() -> None:
        await send()

    stage = Stage(mails, queue("mail", rate="3/min"))
    for n in range(7):
        stage.start(mails, id=f"m{n}")
    stage.settle()
    assert len(stage.hands.performed) == 3
    stage.advance(60)
    assert len(stage.hands.performed) == 6
    stage.play()
    assert len(stage.hands.performed) == 7


def test_priority_goes_first_among_what_waits() -> None:
    @step(queue="q")
    def task(n: int) -> int:
        return n

    @workflow
    async def flow(n: int) -> int:
        return await task(n)

    stage = Stage(flow, queue("q", concurrency=1), script={"task": [HOLD] * 4})
    stage.start(flow, 0, id="r0")
    for n, priority in ((1, 0), (2, 5), (3, 1)):
        stage.start(flow, n, id=f"r{n}", options={"priority": priority})
    for _ in range(4):
        stage.hands.ready()
        stage.finish("task", 1)
    assert [c.partition("/")[0] for c in stage.hands.performed] == ["r0", "r2", "r3", "r1"]
