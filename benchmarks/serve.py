"""A server process for benchmarks: a system on a journal, told over its pipes what to do."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from itertools import islice
from typing import Any

from bench import GATE, HERE, Benchmark, drive

from batuta.kernel.journal import Journal
from batuta.kernel.loop import Turn, partition_of
from batuta.kernel.sqlite import SqliteJournal
from batuta.kernel.world import Command
from batuta.real.system import System
from batuta.real.tuning import tune

AT_ONCE = 1_000


class Serving:
    """The system, and what its parent may ask of it; each answer is one line of JSON."""

    def __init__(self, journal: Journal, options: dict[str, Any]) -> None:
        most = options.get("concurrency", 1000)
        self._journal = journal
        self._system = System(
            Benchmark(HERE), journal, name=options.get("name"), concurrency=most,
            limits={"async": most},
        )  # fmt: skip
        GATE.wanted = options.get("gate", 0)

    async def live(self) -> None:
        """Answer until the pipe is closed."""
        GATE.full, GATE.opened = asyncio.Event(), asyncio.Event()
        await self._system.start()
        tell({"ready": True})
        while line := await asyncio.to_thread(sys.stdin.readline):
            asked = json.loads(line)
            tell(await getattr(self, asked.pop("do"))(**asked))
        await self._system.stop()

    async def start(self, flow: str, prefix: str, count: int, arg: float) -> dict[str, Any]:
        """Start runs as quickly as it goes and see them acknowledged."""
        began = time.perf_counter()
        data = {"workflow": flow, "args": [arg]}
        for first in range(0, count, AT_ONCE):
            ids = [f"{prefix}{at}" for at in range(first, min(first + AT_ONCE, count))]
            await asyncio.gather(*(self._system.submit("run.start", id, dict(data)) for id in ids))
        return {"seconds": time.perf_counter() - began}

    async def settle(self) -> dict[str, Any]:
        """Wait until nothing is left to be written."""
        before = -1.0
        while before != (before := self._system.stats()["events"]):
            await asyncio.sleep(0.3)
        return await self.stats()

    async def drive(self, flow: str, prefix: str, count: int, at_once: int) -> dict[str, Any]:
        """Run so many runs of partitions that are this server's; see `bench.drive`."""
        owned, total = self._system.loop.epochs, self._journal.partitions
        names = (f"{prefix}{at}" for at in range(2**31))
        mine = islice((id for id in names if partition_of(id, total) in owned), count)
        before, cpu = self._system.stats(), time.process_time()
        spent = await drive(self._system, flow, list(mine), at_once)
        after = self._system.stats()
        commits = after["commits"] - before["commits"]
        events = after["events"] - before["events"]
        cpu = time.process_time() - cpu
        return {"seconds": spent, "commits": commits, "events": events, "cpu": cpu}

    async def ended(self, count: int) -> dict[str, Any]:
        """Wait until so many runs have ended since now; when that was, seconds since 1970."""
        loop, left, done = self._system.loop, count, asyncio.Event()
        committed = loop.committed

        def counting(turn: Turn) -> list[Command]:
            nonlocal left
            left -= sum(record.status == "completed" for record in turn.batch.records)
            if left <= 0:
                done.set()
            return committed(turn)

        loop.committed = counting  # type: ignore[method-assign]
        await done.wait()
        loop.committed = committed  # type: ignore[method-assign]
        return {"at": time.time()}

    async def gate(self) -> dict[str, Any]:
        """Wait until all that is wanted waits at the gate."""
        assert GATE.full is not None
        await GATE.full.wait()
        return {"at": time.time(), "waiting": GATE.waiting}

    async def open_gate(self, count: int) -> dict[str, Any]:
        """Let them all go on, and wait until their runs have ended."""
        assert GATE.opened is not None
        ending = asyncio.ensure_future(self.ended(count))
        await asyncio.sleep(0)
        GATE.opened.set()
        return await ending

    async def stats(self) -> dict[str, Any]:
        """The system's counters and the CPU seconds of this process."""
        return {**self._system.stats(), "cpu": time.process_time()}

    async def leave(self) -> dict[str, Any]:
        """End properly: leases are given up."""
        await self._system.stop()
        return {}


def tell(found: dict[str, Any]) -> None:
    """One answer."""
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


def opened(where: str) -> Journal:
    """The journal in a file or, where it looks like one, a PostgreSQL database."""
    if "dbname=" not in where:
        return SqliteJournal(where)
    # The driver is an extra, and importing it would count as a part of every other start.
    journal: Journal = importlib.import_module("batuta.kernel.postgres").PostgresJournal(where)
    return journal


def main() -> None:
    options: dict[str, Any] = json.loads(sys.argv[2])
    journal = opened(sys.argv[1])
    tune()
    asyncio.run(Serving(journal, options).live())
    journal.close()


if __name__ == "__main__":
    main()
