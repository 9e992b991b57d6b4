"""Durable steps on SQLite (synchronous=FULL), beside a bare group-commit writer of as many rows."""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path
from typing import Any

from bench import Benchmark, Figure, drive, figure, fsync_ms, machine, scratch, sqlite_floor

from batuta.kernel.sqlite import SqliteJournal
from batuta.real.system import System
from batuta.real.tuning import tune

ROUNDS = 5
RUNS = 1000
ONE_BY_ONE = 200


async def throughput(folder: Path, flow: str, runs: int, at_once: int) -> dict[str, Any]:
    """Run `runs` runs of ten steps, `at_once` of them at any time: what was reached."""
    path = folder / f"{flow}-{time.monotonic_ns()}.db"
    journal = SqliteJournal(path)
    system = System(Benchmark(folder), journal)
    await system.start()
    cpu = time.process_time()
    spent = await drive(system, flow, [f"r{at}" for at in range(runs)], at_once)
    cpu = time.process_time() - cpu
    stats = system.stats()
    await system.stop()
    journal.close()
    path.unlink()
    return {
        "steps": runs * 10 / spent,
        "rows": stats["events"] / spent,
        "batch": max(1, round(stats["events"] / stats["commits"])),
        "events": int(stats["events"]),
        "cpu_us": cpu / runs / 10 * 1e6,
    }


async def latency(folder: Path, runs: int) -> list[float]:
    """Milliseconds of each of `runs` runs of ten steps, one at a time, until its end is kept."""
    path = folder / f"latency-{time.monotonic_ns()}.db"
    journal = SqliteJournal(path)
    system = System(Benchmark(folder), journal)
    await system.start()
    spans = [await drive(system, "ten", [f"r{at}"], 1) * 1e3 for at in range(runs)]
    await system.stop()
    journal.close()
    path.unlink()
    return spans


def best(rounds: list[dict[str, Any]], what: str) -> float:
    """The best round: what disturbs a measurement only ever makes it slower."""
    return float(max(one[what] for one in rounds))


def at_once(folder: Path) -> list[Figure]:
    """100 runs at once, ordinary and repeatable steps and the floor in turns."""
    asyncio.run(throughput(folder, "ten", 200, 100))
    ordinary: list[dict[str, Any]] = []
    repeatable: list[dict[str, Any]] = []
    floors: list[float] = []
    for _ in range(ROUNDS):
        ordinary.append(asyncio.run(throughput(folder, "ten", RUNS, 100)))
        floors.append(sqlite_floor(folder, ordinary[-1]["events"], ordinary[-1]["batch"]))
        repeatable.append(asyncio.run(throughput(folder, "ten_repeatable", RUNS, 100)))
    steps, rows, again = best(ordinary, "steps"), best(ordinary, "rows"), best(repeatable, "steps")
    batch = statistics.median(one["batch"] for one in ordinary)
    middle = statistics.median(one["steps"] for one in ordinary)
    cpu = min(one["cpu_us"] for one in ordinary)
    return [
        figure("durable steps, 100 runs at once", steps, "steps/s",
               beside=f"median {middle:,.0f}; {cpu:.0f} us CPU a step",
               value_limit=(">=", 20_000)),
        figure("  the rows that they are", rows, "rows/s",
               beside=f"bare writer {max(floors):,.0f} at {batch:.0f} a batch",
               ratio=rows / max(floors), ratio_limit=(">=", 0.35)),
        figure("repeatable steps, 100 runs at once", again, "steps/s",
               beside=f"ordinary {steps:,.0f}", ratio=again / steps, ratio_limit=(">=", 1.5)),
    ]  # fmt: skip


def one_by_one(folder: Path) -> Figure:
    """The latency of a run of ten steps beside eleven bare commits."""
    spans: list[float] = []
    commits: list[float] = []
    for _ in range(ROUNDS):
        spans.append(statistics.median(asyncio.run(latency(folder, ONE_BY_ONE // ROUNDS))))
        commits.append(11 / sqlite_floor(folder, 500, 1) * 1e3)
    ours, bare = min(spans), min(commits)
    return figure(
        "latency of a 10-step run, one at a time, p50", ours, "ms",
        beside=f"11 bare commits {bare:.2f} ms", ratio=ours / bare, ratio_limit=("<=", 1.5),
    )  # fmt: skip


def main() -> list[Figure]:
    """Measure and print."""
    tune()
    print(machine())
    with scratch() as folder:
        spans = fsync_ms(folder)
        disk = figure(
            "fsync of 4 KB, p50", statistics.median(spans), "ms",
            beside=f"p10 {spans[len(spans) // 10]:.2f}, p90 {spans[len(spans) * 9 // 10]:.2f}",
        )  # fmt: skip
        return [disk, *at_once(folder), one_by_one(folder)]


if __name__ == "__main__":
    main()
