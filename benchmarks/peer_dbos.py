"""The trivial workflow on DBOS, for its own environment: URL, runs -> seconds, as JSON.

With SQLite the file is put into write-ahead mode first, which makes DBOS five times as fast.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import time

from dbos import DBOS  # type: ignore[import-not-found]

URL, RUNS, HOW = sys.argv[1], int(sys.argv[2]), sys.argv[3]

if URL.startswith("sqlite:///"):
    with sqlite3.connect(URL.removeprefix("sqlite:///")) as file:
        file.execute("PRAGMA journal_mode = WAL")

DBOS(
    config={
        "name": "bench", "system_database_url": URL, "log_level": "ERROR",
        "run_admin_server": False,
    }
)  # fmt: skip


@DBOS.step()  # type: ignore[untyped-decorator]
def add(n: int) -> int:
    return n + 1


@DBOS.workflow()  # type: ignore[untyped-decorator]
def ten(n: int) -> int:
    for _ in range(10):
        n = add(n)
    return n


@DBOS.step()  # type: ignore[untyped-decorator]
async def add_async(n: int) -> int:
    return n + 1


@DBOS.workflow()  # type: ignore[untyped-decorator]
async def ten_async(n: int) -> int:
    for _ in range(10):
        n = await add_async(n)
    return n


def threads(runs: int) -> None:
    """Ordinary functions, each workflow in a thread."""
    handles = [DBOS.start_workflow(ten, at) for at in range(runs)]
    assert sum(handle.get_result() for handle in handles) == sum(range(10, runs + 10))


async def coroutines(runs: int) -> None:
    """Coroutine functions."""
    handles = [await DBOS.start_workflow_async(ten_async, at) for at in range(runs)]
    assert sum([await handle.get_result() for handle in handles]) == sum(range(10, runs + 10))


async def timed_async() -> float:
    await coroutines(5)
    began = time.perf_counter()
    await coroutines(RUNS)
    return time.perf_counter() - began


def timed() -> float:
    if HOW == "async":
        return asyncio.run(timed_async())
    threads(5)
    began = time.perf_counter()
    threads(RUNS)
    return time.perf_counter() - began


DBOS.launch()
print(json.dumps({"seconds": timed()}))
DBOS.destroy()
