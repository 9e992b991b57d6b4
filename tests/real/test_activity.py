"""Activities: workers fetch tasks and settle them."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.real.support import Harness, run

from batuta.workflow.asl.arn import of_token

PACK = "arn:aws:states:us-east-1:000000000000:activity:pack"
SHIP = "arn:aws:states:us-east-1:000000000000:activity:ship"


def ask(it: Harness, input: Any, arn: str = PACK, **options: Any) -> str:
    return it.perform("activity", {"resource": arn, "input": input}, "Pack", **options)


async def take(it: Harness, arn: str = PACK, wait_s: float = 5.0) -> tuple[str, Any]:
    task = await it.world.services.activities.take(arn, "worker-1", wait_s)
    assert task is not None
    return task


def test_a_worker_takes_a_task_and_settles_it() -> None:
    async def story(it: Harness) -> None:
        desk = it.world.services.activities
        first, second = ask(it, {"n": 1}), ask(it, {"n": 2})
        assert it.world.stats()["activities.waiting"] == 2
        token, input = await take(it)
        assert input == {"n": 1}
        assert of_token(token) == ("run-1", first.rpartition("/")[2])
        assert it.world.stats()["activities.running"] == 1
        assert desk.tell(token, {"beat": True})
        assert desk.tell(token, {"ok": [1]})
        outcome = await it.outcome(first)
        assert (outcome.value, outcome.detail["worker"]) == ([1], "worker-1")
        assert outcome.started > 0
        assert not desk.tell(token, {"ok": 2})
        token, _ = await take(it)
        assert desk.tell(token, {"error": "Broken", "cause": "dropped"})
        failure = await it.failure(second)
        assert (failure.type, failure.message) == ("Broken", "dropped")
        assert await desk.take(PACK, None, 0) is None

    run(story)


def test_a_failure_may_have_no_name() -> None:
    async def story(it: Harness) -> None:
        id = ask(it, None)
        token, _ = await take(it)
        assert it.world.services.activities.tell(token, {"error": None, "cause": None})
        failure = await it.failure(id)
        assert (failure.type, failure.message) == ("", "")

    run(story)


def test_workers_wait_and_each_gets_one_task_of_its_activity() -> None:
    async def story(it: Harness) -> None:
        waiting = [asyncio.ensure_future(take(it)) for _ in range(3)]
        other = asyncio.ensure_future(it.world.services.activities.take(SHIP, None, 0.05))
        await asyncio.sleep(0)
        for n in range(3):
            ask(it, n)
        told = await asyncio.gather(*waiting)
        assert sorted(input for _, input in told) == [0, 1, 2]
        assert len({token for token, _ in told}) == 3
        assert await other is None

    run(story)


def test_a_worker_that_is_gone_loses_nothing() -> None:
    async def story(it: Harness) -> None:
        desk = it.world.services.activities
        ask(it, 1)
        ask(it, 2)
        gone = asyncio.ensure_future(desk.take(SHIP, None, 5))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        ask(it, 3, SHIP)
        assert (await take(it, SHIP))[1] == 3
        token, input = await take(it)
        desk.put_back(token)
        assert (token, input) == await take(it)
        desk.put_back("no token")
        assert (await take(it))[1] == 2

    run(story)


def test_a_cancelled_worker_wakes_the_next_one() -> None:
    async def story(it: Harness) -> None:
        desk = it.world.services.activities
        first = asyncio.ensure_future(desk.take(PACK, "a", 5))
        second = asyncio.ensure_future(desk.take(PACK, "b", 5))
        await asyncio.sleep(0)
        ask(it, 1)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        task = await second
        assert task is not None
        assert task[1] == 1

    run(story)


def test_limits_count_from_the_asking_and_heartbeats_from_the_taking() -> None:
    async def story(it: Harness) -> None:
        late = ask(it, 1, timeout_s=0.15)
        assert (await it.failure(late)).type == "batuta:TimedOut"
        assert await it.world.services.activities.take(PACK, None, 0) is None
        silent = ask(it, 2, heartbeat_s=0.2)
        await asyncio.sleep(0.4)
        assert silent not in it.outcomes
        token, _ = await take(it)
        for _ in range(4):
            await asyncio.sleep(0.1)
            assert it.world.services.activities.tell(token, {"beat": True})
        outcome = await it.outcome(silent)
        assert outcome.failure is not None
        assert outcome.failure.type == "batuta:HeartbeatLost"
        assert outcome.detail["worker"] == "worker-1"
        assert not it.world.services.activities.tell(token, {"ok": 1})
        both = ask(it, 3, timeout_s=0.4, heartbeat_s=5.0)
        await asyncio.sleep(0.2)
        await take(it)
        began = it.world.now()
        assert (await it.failure(both)).type == "batuta:TimedOut"
        assert it.world.now() - began < 350_000_000

    run(story)


def test_a_task_that_waits_can_be_settled_by_a_worker_from_before() -> None:
    async def story(it: Harness) -> None:
        id = ask(it, 1, id="run-1/a.1")
        token, _ = await take(it)
        it.world.cancel(id)
        assert (await it.failure(id)).type == "batuta:Cancelled"
        del it.outcomes[id]
        again = ask(it, 1, id="run-1/a.1")
        assert it.world.services.activities.tell(token, {"ok": "done"})
        assert await it.value(again) == "done"
        assert await it.world.services.activities.take(PACK, None, 0) is None

    run(story)
