"""Simulated steps a second: the fast simulation beside SimPy, the same model in one process.

A workflow of five steps with failures, retries with backoff, and one shared pool. Needs `simpy`
(`make bench` has it in an environment of its own); without it only Batuta's figure is printed.
"""

from __future__ import annotations

import gc
import random
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from bench import Figure, figure, machine

from batuta import queue, retry, step, workflow
from batuta.simulate.distribution import distribution
from batuta.simulate.fast import Fast
from batuta.simulate.models import Models, StepModel

try:
    import simpy
except ImportError:
    simpy = None

RUNS = 20_000
TIMES = 7
POOL = 40
SECOND = 1_000_000_000
AGAIN = retry(4, initial="1s", backoff=2.0, jitter=0.1)
STEPS: dict[str, tuple[float, float, bool]] = {
    # name: (mean duration in seconds, probability that an attempt fails, uses the pool)
    "validate": (1.0, 0.01, False),
    "charge": (3.0, 0.1, True),
    "reserve": (2.0, 0.05, True),
    "pack": (8.0, 0.02, False),
    "ship": (4.0, 0.05, False),
}


@step(retry=AGAIN)
def validate(order: int) -> int:
    """Look at the cart."""
    return order


@step(retry=AGAIN, queue="bank")
def charge(order: int) -> int:
    """Take the money."""
    return order


@step(retry=AGAIN, queue="bank")
def reserve(order: int) -> int:
    """Put the goods aside."""
    return order


@step(retry=AGAIN)
def pack(order: int) -> int:
    """Pack the parcel."""
    return order


@step(retry=AGAIN)
def ship(order: int) -> int:
    """Hand it over."""
    return order


@workflow
async def checkout(order: int) -> int:
    """One order."""
    await validate(order)
    await charge(order)
    await reserve(order)
    await pack(order)
    return await ship(order)


def batuta(runs: int) -> tuple[int, float]:
    """(attempts, mean duration in seconds) of so many orders, 0.3 s apart."""
    models = Models(
        {
            name: StepModel(distribution(f"exponential({mean}s)"), fail, value=0)
            for name, (mean, fail, _) in STEPS.items()
        }
    )
    spent: list[int] = []
    fast = Fast(
        models, seed=1, queues=[queue("bank", concurrency=POOL)],
        ended=lambda process, value, error: spent.append(fast.now - process.began),
    )  # fmt: skip
    fast.feed(
        (int(number * 0.3 * SECOND), checkout, (number,), {}, f"order-{number}")
        for number in range(runs)
    )
    fast.run()
    attempts = sum(one.attempts for one in fast.steps.values())
    return attempts, sum(spent) / len(spent) / SECOND


def with_simpy(runs: int) -> tuple[int, float]:
    """The same in SimPy."""
    env: Any = simpy.Environment()
    pool: Any = simpy.Resource(env, POOL)
    chance = random.Random(1)
    spent: list[float] = []
    attempts = 0

    def perform(mean: float, fail: float, pooled: bool) -> Iterator[Any]:
        nonlocal attempts
        pause = 1.0
        for _ in range(4):
            attempts += 1
            if pooled:
                with pool.request() as place:
                    yield place
                    yield env.timeout(chance.expovariate(1 / mean))
            else:
                yield env.timeout(chance.expovariate(1 / mean))
            if chance.random() >= fail:
                return True
            yield env.timeout(pause * (1 - 0.1 * chance.random()))
            pause *= 2
        return False

    def order() -> Iterator[Any]:
        began = env.now
        for mean, fail, pooled in STEPS.values():
            if not (yield from perform(mean, fail, pooled)):
                break
        spent.append(env.now - began)

    def arrivals() -> Iterator[Any]:
        for _ in range(runs):
            env.process(order())
            yield env.timeout(0.3)

    env.process(arrivals())
    env.run()
    return attempts, sum(spent) / len(spent)


def measured(run: Callable[[int], tuple[int, float]]) -> tuple[float, float]:
    """(attempts a second of CPU time, mean duration)."""
    gc.collect()
    began = time.process_time()
    attempts, mean = run(RUNS)
    return attempts / (time.process_time() - began), mean


def main() -> list[Figure]:
    """Measure and print."""
    print(machine())
    batuta(100)
    figures: list[tuple[float, float]] = []
    theirs_figures: list[tuple[float, float]] = []
    for _ in range(TIMES):  # in turn, so that a busy moment of the machine meets both
        figures.append(measured(batuta))
        if simpy is not None:
            theirs_figures.append(measured(with_simpy))
    ours, mean = max(figures)
    if simpy is None:
        print("simpy is not installed here: `make bench` measures beside it", file=sys.stderr)
        return [figure("simulated steps, the same code", ours, "steps/s")]
    theirs, their_mean = max(theirs_figures)
    beside = f"SimPy {theirs:,.0f}; mean duration {mean:.2f}, {their_mean:.2f} s"
    return [
        figure(
            "simulated steps, the same code",
            ours,
            "steps/s",
            beside=beside,
            ratio=ours / theirs,
            ratio_limit=(">=", 1.4),
        )
    ]


if __name__ == "__main__":
    main()
