"""Memory of a workflow that waits in the fast simulation: bytes each, and for a million of them."""

from __future__ import annotations

import resource
import sys

from bench import Figure, figure, machine

from batuta import sleep, step, workflow
from batuta.simulate.fast import Fast
from batuta.simulate.models import Models, StepModel


@step
def prepare(order: int) -> int:
    """Before it waits."""
    return order


@workflow
async def waiting(order: int) -> None:
    """Does one step, then waits for a month."""
    await prepare(order)
    await sleep("30 days")


def used() -> int:
    """Resident memory, bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def main() -> list[Figure]:
    """Measure and print: the whole of a million, not only what a process has anyway."""
    print(machine())
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    fast = Fast(Models({"prepare": StepModel(value=None)}))
    before = used()
    # They arrive one after the other, as they would: what waits is the workflow.
    hour = 3600 * 1_000_000_000
    chunk = 10_000
    for first in range(0, count, chunk):
        for number in range(first, min(first + chunk, count)):
            fast.start(waiting, (number,), {}, f"order-{number}", fast.now)
        fast.run(until=fast.now + hour)
    each = (used() - before) / count
    return [
        figure(
            "1,000,000 waiting workflows, simulated",
            each * 1e6 / 2**30,
            "GiB",
            beside=f"{fast.alive:,} wait, {each:,.0f} bytes each",
            value_limit=("<=", 2.0),
        )
    ]


if __name__ == "__main__":
    main()
