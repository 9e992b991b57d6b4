"""What all benchmarks share: a project of trivial workflows, floors, and a table of results."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from batuta import step, workflow
from batuta.common.problem import Problem
from batuta.workflow.model import Definitions


@step
async def add(n: int) -> int:
    """The trivial step of every benchmark."""
    return n + 1


@step(repeatable=True)
async def add_repeatable(n: int) -> int:
    """The same, declared repeatable."""
    return n + 1


@workflow
async def ten(n: int) -> int:
    """Ten steps, one after the other."""
    for _ in range(10):
        n = await add(n)
    return n


@workflow
async def ten_repeatable(n: int) -> int:
    """The same with repeatable steps."""
    for _ in range(10):
        n = await add_repeatable(n)
    return n


@dataclass
class Benchmark:
    """Definitions as a project."""

    folder: Path
    definitions: Definitions
    name: str = "benchmark"
    problems: list[Problem] = field(default_factory=list)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder on the disk that the repository is on (a RAM disk would flatter every figure)."""
    folder = Path(tempfile.mkdtemp(prefix=".bench-", dir=Path(__file__).parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sqlite_floor(folder: Path, rows: int, batch: int) -> float:
    """Rows per second of a bare writer: the same columns, one index, one commit a batch."""
    path = folder / f"floor-{batch}.db"
    bare = sqlite3.connect(path, isolation_level=None)
    bare.execute("PRAGMA journal_mode = WAL")
    bare.execute("PRAGMA synchronous = FULL")
    bare.execute(
        "CREATE TABLE event (seq INTEGER PRIMARY KEY, time INT, type TEXT, subject INT,"
        " cause INT, command TEXT, data TEXT, crc INT)"
    )
    bare.execute("CREATE INDEX event_subject ON event (subject)")
    began = time.perf_counter()
    for start in range(0, rows, batch):
        bare.execute("BEGIN")
        bare.executemany(
            "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    at + 1, 1_790_000_000_000_000_000 + at, "step.completed", at % 100, at,
                    f"/{at % 10}.1", '{"key":"3","attempt":1,"result":4,"started":17900000000000}',
                    4_000_000_000 - at,
                )
                for at in range(start, start + batch)
            ],
        )  # fmt: skip
        bare.execute("COMMIT")
    spent = time.perf_counter() - began
    bare.close()
    return rows / spent


def machine() -> str:
    """The machine in one line."""
    load = os.getloadavg()[0]
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, load {load:.1f}"
    )


def show(name: str, value: float, unit: str, beside: str = "", ratio: str = "") -> None:
    """One line of results."""
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    print(f"{name:<58} {text:>12} {unit:<10} {beside:<34} {ratio}", flush=True)
