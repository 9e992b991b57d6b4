"""Durable steps on SQLite (synchronous=FULL), beside a bare group-commit writer of as many rows."""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path
from typing import Any

from bench import (
    BareWriter,
    Benchmark,
    Figure,
    drive,
    figure,
    fsync_ms,
    machine,
    paired,
    scratch,
    sqlite_floor,
)  # fmt: skip

from batuta.kernel.sqlite import SqliteJournal
from batuta.real.system import System
from batuta.real.tuning import tune

ROUNDS = 5
RUNS = 1000
ONE_BY_ONE = 200
COMMITS = 11


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


async def latency(folder: Path, runs: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each of `runs` runs of ten steps, one at a time, until its end is kept;
    and of eleven bare commits after each of them: a disk's mood changes within seconds."""
    journal = SqliteJournal(folder / "latency.db")
    system = System(Benchmark(folder), journal)
    await system.start()
    bare = BareWriter(folder)
    ours: list[float] = []
    commits: list[float] = []
    for at in range(runs):
        ours.append(await drive(system, "ten", [f"r{at}"], 1) * 1e3)
        began = time.perf_counter()
        for _ in range(COMMITS):
            bare.commit(2)
        commits.append((time.perf_counter() - began) * 1e3)
    bare.close()
    await system.stop()
    journal.close()
    return ours, commits


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
    steps, again = best(ordinary, "steps"), best(repeatable, "steps")
    rows = [one["rows"] for one in ordinary]
    batch = statistics.median(one["batch"] for one in ordinary)
    middle = statistics.median(one["steps"] for one in ordinary)
    cpu = min(one["cpu_us"] for one in ordinary)
    return [
        figure("durable steps, 100 runs at once", steps, "steps/s",
               beside=f"median {middle:,.0f}; {cpu:.0f} us CPU a step",
               value_limit=(">=", 20_000)),
        figure("  the rows that they are, median", statistics.median(rows), "rows/s",
               beside=f"bare writer {statistics.median(floors):,.0f} at {batch:.0f} a batch",
               ratio=paired(rows, floors), ratio_limit=(">=", 0.35)),
        figure("repeatable steps, 100 runs at once", again, "steps/s",
               beside=f"ordinary {steps:,.0f}",
               ratio=paired([one["steps"] for one in repeatable],
                            [one["steps"] for one in ordinary]),
               ratio_limit=(">=", 1.5)),
    ]  # fmt: skip


def one_by_one(folder: Path) -> Figure:
    """The latency of a run of ten steps beside eleven bare commits of two rows."""
    spans, commits = asyncio.run(latency(folder, ONE_BY_ONE))
    ours, bare = statistics.median(spans), statistics.median(commits)
    return figure(
        "latency of a 10-step run, one at a time, p50", ours, "ms",
        beside=f"{COMMITS} bare commits {bare:.2f} ms",
        ratio=ours / bare, ratio_limit=("<=", 1.5),
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
