"""The whole system in one process: real time, real threads, a journal in a file."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

import batuta.real.committer as committing
from batuta import query, queue, signal, sleep, step, workflow
from batuta.common.problem import Problem
from batuta.kernel.errors import BatutaError, JournalFull, JournalLocked, NotFound
from batuta.kernel.sqlite import SqliteJournal
from batuta.real.system import System
from batuta.workflow.model import Definitions


@dataclass
class Things:
    """A project made of values."""

    folder: Path
    definitions: Definitions
    name: str = "test"
    problems: list[Problem] = field(default_factory=list)


@asynccontextmanager
async def system(path: Path, *things: object, **options: Any) -> AsyncIterator[System]:
    journal = SqliteJournal(path / "journal.db", synchronous="OFF")
    running = System(Things(path, Definitions.of(*things)), journal, **options)
    await running.start()
    try:
        yield running
    finally:
        await running.stop()
        journal.close()


def live(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test in an event loop of its own."""

    @wraps(test)
    def run(**fixtures: Any) -> None:
        asyncio.run(test(**fixtures))

    return run


async def until(condition: Callable[[], Any], limit_s: float = 10.0) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.005)


async def start(running: System, name: str, id: str = "", **data: Any) -> str:
    reply = await running.submit("run.start", id, {"workflow": name, **data})
    return str(reply["id"])


def status(running: System, id: str) -> str:
    record = running.journal.record("run", id)
    return record.status if record is not None else ""


async def ended(running: System, *ids: str) -> None:
    await until(lambda: all(status(running, id) not in ("", "running", "sleeping") for id in ids))


@step
async def one(n: int) -> int:
    return n + 1


@step
def threaded(n: int) -> int:
    return n * 2


@workflow
async def adds(n: int) -> int:
    return await threaded(await one(n))


@workflow
async def asks() -> Any:
    query("state", lambda: "waiting")
    return await signal("go")


@live
async def test_a_submit_is_durable_when_it_returns(tmp_path: Path) -> None:
    async with system(tmp_path, adds) as running:
        id = await start(running, "adds", args=[3])
        assert status(running, id)
        again = await running.submit("run.start", id, {"workflow": "adds", "args": [3]})
        assert again["created"] is False
        await ended(running, id)
        assert running.journal.record("run", id).data["result"] == 8  # type: ignore[union-attr]


@live
async def test_it_goes_on_after_a_stop(tmp_path: Path) -> None:
    async with system(tmp_path, asks) as running:
        id = await start(running, "asks")
    async with system(tmp_path, asks) as running:
        assert await running.query(id, "state", []) == "waiting"
        await running.submit("run.signal", id, {"name": "go", "value": {"a": 1}})
        await ended(running, id)
        assert status(running, id) == "completed"
        with pytest.raises(NotFound, match="answers no query"):
            await running.query(id, "other", [])
        assert await running.query(id, "state", []) == "waiting"


@pytest.mark.parametrize("inline", [True, False])
@live
async def test_a_thousand_runs_at_once_on_both_ways_to_commit(
    tmp_path: Path, inline: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committing, "INLINE_EVENTS_MAX", 10**6 if inline else -1)
    monkeypatch.setattr(committing, "INLINE_SYNC_S_MAX", 10.0)
    async with system(tmp_path, adds) as running:
        ids = await asyncio.gather(*[start(running, "adds", args=[n]) for n in range(1000)])
        await until(lambda: running.journal.counts("run").get(("adds", "completed")) == 1000, 30)
        events = running.journal.read(limit=10_000)
        assert len(events) == 6000
        assert len({event.subject for event in events}) == len(set(ids)) == 1000
        assert running.stats()["steps"] == 2000
        assert not running.loop.machines[0].runs  # type: ignore[attr-defined]


@live
async def test_a_rate_is_kept_to_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committing, "INLINE_EVENTS_MAX", -1)
    begun: list[float] = []

    @step(queue="bank")
    async def slow() -> None:
        begun.append(asyncio.get_running_loop().time())

    @workflow
    async def pays() -> None:
        await slow()

    async with system(tmp_path, pays, queue("bank", rate="5/200ms")) as running:
        ids = await asyncio.gather(*[start(running, "pays") for _ in range(15)])
        await ended(running, *ids)
    assert begun[14] - begun[0] >= 0.3
    assert begun[5] - begun[0] >= 0.15


async def fill(running: System) -> None:
    for n in range(2000):
        await start(running, "asks", f"r{n}", attributes={"x": "y" * 500})


@live
async def test_a_full_journal_refuses_and_recovers_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committing, "RETRY_S", 0.02)
    async with system(tmp_path, asks, adds) as running:
        journal = running.journal
        assert isinstance(journal, SqliteJournal)
        first = await start(running, "asks")
        pages = journal._writer.execute("PRAGMA page_count").fetchone()[0]
        journal._writer.execute(f"PRAGMA max_page_count = {pages}").fetchall()
        with pytest.raises(JournalFull) as full:
            await fill(running)
        assert full.value.hint
        with pytest.raises(JournalFull):
            await start(running, "asks", "another")
        assert await running.query(first, "state", []) == "waiting"  # reading goes on
        journal._writer.execute("PRAGMA max_page_count = 1000000000").fetchall()
        await until(lambda: running._committer.trouble is None)
        id = await start(running, "adds", args=[1])
        await ended(running, id)
        assert status(running, id) == "completed"


@live
async def test_two_servers_on_one_file(tmp_path: Path) -> None:
    async with system(tmp_path, asks, name="first"):
        with pytest.raises(JournalLocked, match="first"):
            async with system(tmp_path, asks, name="second"):
                pass
    async with system(tmp_path, asks, name="third"):
        pass


@live
async def test_a_follower_misses_nothing(tmp_path: Path) -> None:
    seen: list[int] = []

    async def follow(running: System) -> None:
        async for event in running.follow(0):
            seen.append(event.seq)  # noqa: PERF401 - what came is seen while it goes on

    async with system(tmp_path, adds) as running:
        await start(running, "adds", args=[1])
        follower = asyncio.create_task(follow(running))
        for n in range(50):
            await start(running, "adds", args=[n])
        await until(lambda: running.journal.counts("run").get(("adds", "completed")) == 51)
        head = running.journal.head()
        await until(lambda: seen and seen[-1] == head)
    await follower
    assert seen == list(range(1, head + 1))


@live
async def test_changed_definitions_are_taken_over(tmp_path: Path) -> None:
    @workflow(name="adds")
    async def other(n: int) -> str:
        return f"new {n}"

    async with system(tmp_path, adds) as running:
        running.reload(Things(tmp_path, Definitions.of(other, asks)))
        id = await start(running, "adds", args=[1])
        await ended(running, id)
        assert running.journal.record("run", id).data["result"] == "new 1"  # type: ignore[union-attr]
        await start(running, "asks")


@live
async def test_a_cancelled_thread_is_not_waited_for(tmp_path: Path) -> None:
    stuck = threading.Event()
    entered = threading.Event()

    @step
    def hangs() -> None:
        entered.set()
        stuck.wait(20)

    @workflow
    async def waits() -> None:
        await hangs()

    try:
        async with system(tmp_path, waits) as running:
            id = await start(running, "waits")
            await until(entered.is_set)
            await running.submit("run.cancel", id, {"reason": "enough"})
            await ended(running, id)
            assert status(running, id) == "cancelled"
            stuck.set()
    finally:
        stuck.set()


@live
async def test_what_is_in_flight_is_not_begun_twice_when_everything_is_folded_again(
    tmp_path: Path,
) -> None:
    calls: list[int] = []
    go = asyncio.Event()

    @step
    async def slow() -> str:
        calls.append(1)
        await go.wait()
        return "done"

    @workflow
    async def waits() -> str:
        return await slow()

    async with system(tmp_path, waits) as running:
        id = await start(running, "waits")
        await until(lambda: calls)
        running._reset(BatutaError("a test says so"))
        await until(lambda: running.loop.machines[0].runs)  # type: ignore[attr-defined]
        await asyncio.sleep(0.05)
        go.set()
        await ended(running, id)
        assert running.journal.record("run", id).data["result"] == "done"  # type: ignore[union-attr]
    assert calls == [1]


BAD: list[tuple[str, str, dict[str, Any], str]] = [
    ("run.start", "", {"workflow": "gone"}, "no workflow"),
    ("run.start", "x" * 10_000, {"workflow": "asks"}, "10000 characters"),
    ("run.start", "a\nb", {"workflow": "asks"}, "cannot be printed"),
    ("run.start", "", {"workflow": "adds", "args": ["many"]}, "whole number"),
    ("run.start", "", {"workflow": "adds", "args": [1, 2]}, "does not fit"),
    ("run.start", "", {"workflow": "asks", "priority": "high"}, "`priority`"),
    ("run.start", "", {"workflow": "asks", "attributes": {"a": []}}, "search attribute `a`"),
    ("run.signal", "here", {}, "`name`"),
    ("run.signal", "here", {"name": "go", "value": {1, 2}}, "not JSON"),
    ("run.signal", "gone", {"name": "go"}, "no run"),
    ("run.fork", "here", {}, "`key`"),
    ("run.fork", "here", {"key": "1"}, "cannot be forked"),
    ("run.retry", "here", {}, "cannot be retried"),
    ("run.dance", "here", {}, "nothing can be asked"),
    ("event.send", "s", {"type": "run.started"}, "written by Batuta itself"),
    ("event.send", "s", {}, "needs a type"),
    ("event.send", "s", {"type": "x", "data": float("nan")}, "not JSON"),
    ("dead.redrive", "none", {}, "no delivery"),
]


@live
async def test_bad_requests_are_refused_and_the_rest_goes_on(tmp_path: Path) -> None:
    async with system(tmp_path, asks, adds) as running:
        await start(running, "asks", "here")
        for type, subject, data, words in BAD:
            with pytest.raises(BatutaError, match=words):
                await running.submit(type, subject, data)
        await running.submit("run.signal", "here", {"name": "go", "value": 1})
        await ended(running, "here")


@live
async def test_sleeping_for_real(tmp_path: Path) -> None:
    @workflow
    async def naps() -> str:
        await sleep("50ms")
        return "up"

    async with system(tmp_path, naps) as running:
        id = await start(running, "naps")
        await ended(running, id)
        begun, ended_at = (running.journal.histories([id]).__next__().time,
                           running.journal.record("run", id).ended)  # type: ignore[union-attr]  # fmt: skip
        assert ended_at is not None
        assert ended_at - begun >= 50_000_000


@live
async def test_a_machine_that_breaks_stops_the_server_loudly(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with system(tmp_path) as running:

        def broken(*_: object) -> None:
            raise KeyError("a bug")

        monkeypatch.setattr(running.loop.machines[0], "decide", broken)
        with pytest.raises(BatutaError, match="the server stopped"):
            await running.submit("event.send", "x", {"type": "any"})
        with pytest.raises(KeyError):
            await running.broken
        assert running.journal.read(types=("any",)) == []
    assert "a machine broke" in caplog.text
