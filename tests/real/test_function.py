"""Async functions and threads: results, limits, deadlines, heartbeats, cancellation."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest
from tests.real import steps
from tests.real.support import Harness, run, until

from batuta.kernel.errors import BatutaError
from batuta.real.context import current


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    steps.gauge.__init__()  # type: ignore[misc]
    steps.release.clear()
    steps.notes.clear()
    yield
    steps.release.set()


def test_outcomes_of_one_turn_come_in_one_list() -> None:
    async def story(it: Harness) -> None:
        ids = [it.ask(steps.double, number) for number in range(100)]
        assert [await it.value(id) for id in ids] == [2 * number for number in range(100)]
        assert len(it.batches) < 10

    run(story)


def test_steps_that_suspend_go_on_beside_each_other() -> None:
    async def story(it: Harness) -> None:
        began = time.monotonic()
        ids = [it.ask(steps.nap, 0.1) for _ in range(200)]
        for id in ids:
            assert await it.value(id) == "rested"
        assert time.monotonic() - began < 2
        assert steps.gauge.most == 200
        assert len(it.batches) < 100

    run(story)


@pytest.mark.parametrize(("kind", "target"), [("async", steps.nap), ("thread", steps.nap_thread)])
def test_no_more_at_once_than_allowed(kind: str, target: steps.FakeStep) -> None:
    async def story(it: Harness) -> None:
        for id in [it.ask(target, 0.01) for _ in range(40)]:
            await it.value(id)
        assert steps.gauge.most == 5
        assert steps.gauge.count == 40
        assert it.world.stats()[f"{kind}.waiting"] == 0
        assert it.world.stats()[f"{kind}.running"] == 0

    run(story, limits={kind: 5})


def test_the_higher_priority_goes_first() -> None:
    async def story(it: Harness) -> None:
        ids = [it.ask(steps.nap, 0.001, priority=priority) for priority in (0, 5, 0, 9, 5)]
        for id in ids:
            await it.value(id)
        assert list(it.outcomes) == [ids[3], ids[1], ids[4], ids[0], ids[2]]

    run(story, limits={"async": 1})


@pytest.mark.parametrize("target", [steps.who, steps.who_thread, steps.who_process])
def test_a_step_knows_itself(target: steps.FakeStep) -> None:
    async def story(it: Harness) -> None:
        id = it.ask(target, attempt=3, id="a/b/7.3", data={"heartbeat": {"row": 12}})
        told = await it.value(id)
        told.pop("pid", None)
        assert told == {"id": "a/b/7", "run": "a/b", "attempt": 3, "last": {"row": 12}}

    run(story)


def test_an_async_step_that_never_returns_times_out_and_is_cancelled() -> None:
    async def story(it: Harness) -> None:
        began = time.monotonic()
        failure = await it.failure(it.ask(steps.hang, timeout_s=0.1))
        assert 0.09 < time.monotonic() - began < 5
        assert failure.type == "batuta:TimedOut"
        assert failure.message == "`hang` did not end within 0.1 s"
        assert steps.notes == ["hang ended"]
        assert await it.value(it.ask(steps.double, 4)) == 8

    run(story)


def test_an_async_step_that_ignores_its_end_is_left_behind() -> None:
    async def story(it: Harness) -> None:
        failure = await it.failure(it.ask(steps.stubborn, timeout_s=0.05))
        assert failure.type == "batuta:TimedOut"
        assert "did not end within 0.1 s either" in failure.message
        assert it.world.stats()["async.abandoned"] == 1
        assert await it.value(it.ask(steps.double, 4)) == 8
        steps.release.set()
        await until(lambda: it.world.stats()["async.abandoned"] == 0)

    run(story, stop_grace_s=0.1, limits={"async": 1})


def test_a_thread_that_never_returns_is_left_behind_and_replaced() -> None:
    async def story(it: Harness) -> None:
        id = it.ask(steps.hang_thread, timeout_s=0.1)
        behind = it.ask(steps.nap_thread, 0.0)
        failure = await it.failure(id)
        assert failure.type == "batuta:TimedOut"
        assert "1 such threads now" in failure.message
        assert await it.value(behind) == "rested"
        assert it.world.stats()["thread.abandoned"] == 1
        steps.release.set()
        await until(lambda: it.world.stats()["thread.abandoned"] == 0)
        assert steps.notes == [True]
        assert await it.value(it.ask(steps.nap_thread, 0.0)) == "rested"

    run(story, limits={"thread": 1})


def test_threads_that_never_return_do_not_multiply_for_ever() -> None:
    async def story(it: Harness) -> None:
        ids = [it.ask(steps.hang_thread, timeout_s=0.03) for _ in range(6)]
        types = [(await it.failure(id)).type for id in ids[:4]]
        assert types == ["batuta:TimedOut"] * 4
        failure = await it.failure(it.ask(steps.nap_thread, 0.0))
        assert failure.type == "batuta:ThreadsExhausted"
        for id in ids[4:]:
            assert (await it.failure(id)).type == "batuta:ThreadsExhausted"
        steps.release.set()
        await until(lambda: it.world.stats()["thread.abandoned"] == 0)
        assert await it.value(it.ask(steps.nap_thread, 0.0)) == "rested"

    run(story, limits={"thread": 1})


def test_a_thread_that_was_given_up_ends_at_its_next_heartbeat() -> None:
    async def story(it: Harness) -> None:
        failure = await it.failure(it.ask(steps.beat_until_stopped, timeout_s=0.05))
        assert failure.type == "batuta:TimedOut"
        await until(lambda: steps.notes == ["StepStopped"])

    run(story)


def test_heartbeats_keep_a_step_alive_and_their_loss_ends_it() -> None:
    async def story(it: Harness) -> None:
        began = time.monotonic()
        id = it.ask(steps.beating, 5, 0.1, heartbeat_s=0.25, timeout_s=60)
        failure = await it.failure(id)
        assert failure.type == "batuta:HeartbeatLost"
        assert failure.message == "`beating` sent no heartbeat for 0.25 s"
        assert 0.7 < time.monotonic() - began < 3
        assert it.outcomes[id].detail["heartbeat"] == {"beat": 4}
        assert "batuta:StepFailed" in it.outcomes[id].detail["bases"]

    run(story)


@pytest.mark.parametrize("target", [steps.hang, steps.hang_thread])
def test_cancelling_ends_a_step_that_runs(target: steps.FakeStep) -> None:
    async def story(it: Harness) -> None:
        id = it.ask(target)
        await asyncio.sleep(0.02)
        it.world.cancel(id)
        failure = await it.failure(id)
        assert failure.type == "batuta:Cancelled"
        assert not failure.retryable
        it.world.cancel(id)  # nobody minds

    run(story)


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [("async", steps.hang, steps.nap), ("thread", steps.hang_thread, steps.nap_thread)],
)
def test_cancelling_takes_a_step_out_of_the_line(
    kind: str, first: steps.FakeStep, second: steps.FakeStep
) -> None:
    async def story(it: Harness) -> None:
        before = it.ask(first)
        await asyncio.sleep(0.02)
        waiting = it.ask(second, 0.0)
        it.world.cancel(waiting)
        assert (await it.failure(waiting)).type == "batuta:Cancelled"
        assert it.outcomes[waiting].started == 0
        it.world.cancel(before)
        await it.outcome(before)
        assert await it.value(it.ask(second, 0.0)) == "rested"
        assert steps.gauge.count == 1

    run(story, limits={kind: 1})


def test_closing_gives_no_outcome_for_what_was_cut_off() -> None:
    async def whole() -> Harness:
        it = Harness()
        for target in (steps.hang, steps.hang_thread, steps.hang):
            it.ask(target)
        done = it.ask(steps.nap, 0.02)
        await it.world.close(grace_s=0.2)
        assert await it.value(done) == "rested"
        return it

    it = asyncio.run(whole())
    assert len(it.outcomes) == 1
    assert steps.notes.count("hang ended") == 2


def test_closing_does_not_wait_for_what_does_not_end() -> None:
    async def whole() -> None:
        it = Harness()
        it.ask(steps.stubborn)
        it.ask(steps.spin)
        await asyncio.sleep(0.05)
        began = time.monotonic()
        await it.world.close()
        assert time.monotonic() - began < 3
        await until(lambda: "StepStopped" in steps.notes)
        steps.release.set()

    asyncio.run(whole())


def test_a_long_line_of_quick_steps_lets_others_have_a_turn() -> None:
    async def story(it: Harness) -> None:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        task = asyncio.create_task(other())
        ids = [it.ask(steps.double, number) for number in range(10_000)]
        await it.outcome(ids[-1])
        task.cancel()
        assert turns >= 3
        assert len(it.batches) >= 3

    run(story)


def test_what_one_step_sets_in_its_context_is_not_seen_by_the_next() -> None:
    async def story(it: Harness) -> None:
        for id in [it.ask(steps.mark) for _ in range(5)]:
            assert await it.value(id) is None
        assert steps.marker.get() is None

    run(story)


def test_current_outside_of_a_step_says_so() -> None:
    with pytest.raises(BatutaError, match="only known inside a step"):
        current()


def test_a_thread_that_computes_for_ever_is_ended_after_its_grace() -> None:
    async def story(it: Harness) -> None:
        failure = await it.failure(it.ask(steps.spin, timeout_s=0.1))
        assert failure.type == "batuta:TimedOut"
        await until(lambda: it.world.stats()["thread.abandoned"] == 0)
        assert steps.notes == ["StepStopped"]
        assert await it.value(it.ask(steps.nap_thread, 0.0)) == "rested"

    run(story, stop_grace_s=0.1)


def test_a_coroutine_that_holds_the_loop_is_named_and_stopped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story(it: Harness) -> None:
        behind = it.ask(steps.nap, 0.0)
        failure = await it.failure(it.ask(steps.hold_loop, timeout_s=1))
        assert failure.type == "batuta:TimedOut"
        assert "`hold_loop` held the event loop for too long, at " in failure.message
        assert "steps.py:" in failure.message
        assert await it.value(behind) == "rested"
        assert steps.notes == []
        failure = await it.failure(it.ask(steps.block_loop, 60.0))
        assert "`block_loop` held the event loop" in failure.message

    run(story, held_limit_s=0.5)
    assert "hold_loop has held the event loop for 1 s at" in caplog.text


def test_a_command_of_an_unknown_kind_fails() -> None:
    async def story(it: Harness) -> None:
        failure = await it.failure(it.perform("teleport", {}, "beam"))
        assert failure.type == "batuta:UnknownKind"
        assert not failure.retryable

    run(story)


def test_a_trivial_step_costs_microseconds() -> None:
    """The order of magnitude only; `benchmarks/` has the figure."""

    async def story(it: Harness) -> None:
        best = 1.0
        for _ in range(20):
            began = time.perf_counter()
            ids = [it.ask(steps.double, number, timeout_s=30) for number in range(100)]
            await it.outcome(ids[-1])
            best = min(best, (time.perf_counter() - began) / 100)
        assert best < 80e-6

    run(story)


def test_threads_end_with_their_world() -> None:
    async def story(it: Harness) -> None:
        for id in [it.ask(steps.nap_thread, 0.01) for _ in range(8)]:
            await it.value(id)

    run(story)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if not [t for t in threading.enumerate() if t.name.startswith("batuta-step")]:
            return
        time.sleep(0.01)
    raise AssertionError("threads are left over")
