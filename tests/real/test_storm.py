"""Everything at once: each command has exactly one outcome, and nothing is left over."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest
from tests.real import steps
from tests.real.support import Harness, run, until

CHOICES = [
    (steps.double, (1,), None),
    (steps.nap, (0.003,), None),
    (steps.nap, (5.0,), 0.03),
    (steps.declined, (), None),
    (steps.exit_async, (), None),
    (steps.nap_thread, (0.002,), None),
    (steps.nap_thread, (0.06,), 0.02),
    (steps.exit_thread, (), None),
    (steps.lock, (), None),
    (steps.async_process, (1,), None),
    (steps.nap_process, (5.0,), 0.05),
    (steps.exit_process, (3,), None),
]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_one_outcome_each(seed: int) -> None:
    chance = random.Random(seed)

    async def story(it: Harness) -> None:
        asked: list[str] = []
        for _ in range(250):
            target, args, timeout_s = chance.choices(CHOICES, [9] * 9 + [2, 1, 1])[0]
            priority = chance.randrange(3)
            asked.append(it.ask(target, *args, timeout_s=timeout_s, priority=priority))
            if chance.random() < 0.2:
                it.world.cancel(chance.choice(asked))
            if chance.random() < 0.1:
                await asyncio.sleep(0.002)
        for id in asked:
            await it.outcome(id, within_s=30)
        assert len(it.outcomes) == len(asked)
        stats = it.world.stats()
        assert stats["performed"] == len(asked)
        for kind in ("async", "thread", "process"):
            assert stats[f"{kind}.waiting"] == 0
            assert stats[f"{kind}.running"] == 0
        await until(lambda: it.world.stats()["thread.abandoned"] == 0)
        failures = (outcome.failure for outcome in it.outcomes.values())
        types = Counter(failure.type for failure in failures if failure is not None)
        assert {"batuta:TimedOut", "batuta:Cancelled", "batuta:StepExited"} <= set(types)
        assert await it.value(it.ask(steps.nap_thread, 0.0)) == "rested"
        assert await it.value(it.ask(steps.double, 2)) == 4

    run(story, limits={"async": 4, "thread": 4, "process": 2})
