"""A small system over a journal in memory: events made by hand, no worlds, the real interface."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batuta.common.cron import Every
from batuta.common.problem import Problem
from batuta.common.retry import NO_RETRY
from batuta.common.source import Source
from batuta.kernel.dispatch import Queue
from batuta.kernel.errors import Conflict, NotFound
from batuta.kernel.event import Event, Record
from batuta.kernel.journal import Batch
from batuta.kernel.sqlite import SqliteJournal
from batuta.workflow.model import Definitions, Rule, Schedule, workflow

S = 1_000_000_000
START = 1_760_000_000 * S


@dataclass
class Order:
    id: str
    total: int


@workflow
async def checkout(order: Order, express: bool = False) -> str:
    """Take an order from the cart to the door."""
    return order.id


@workflow
async def report() -> None:
    """Sum up the day."""


@dataclass
class FakeProject:
    """What `batuta.real` makes of a folder."""

    definitions: Definitions
    problems: list[Problem] = field(default_factory=list)
    folder: Path = Path("examples/shop")


def shop() -> FakeProject:
    return FakeProject(
        Definitions.of(
            checkout,
            Rule("reward", "order.paid", None, report, NO_RETRY),
            Schedule("report", Every(900 * S), "skip", report, "every 15m"),
            Queue("bank", concurrency=10),
        ),
        [Problem("workflow `old` is never started", Source("shop.py", 3, 1), severity="warning")],
    )


class FakeServices:
    """There are no tasks."""

    def answer(
        self, states: Any, url: str | None = None, key: tuple[str, str] | None = None
    ) -> None:
        """Nobody asks."""


class FakeSystem:
    """The interface of `batuta.real.system.System`, by hand."""

    def __init__(self, path: str = ":memory:") -> None:
        self.journal = SqliteJournal(path)
        self.project = shop()
        self.time = START
        self.services = FakeServices()
        self.submitted: list[tuple[str, str, dict[str, Any]]] = []
        epoch = self.journal.acquire(0, "fake", 0, 2**62)
        assert epoch is not None
        self._epochs = {0: epoch}
        self._moved = asyncio.Condition()

    def write(self, events: Iterable[Event] = (), records: Iterable[Record] = ()) -> None:
        self.journal.commit(Batch(list(events), list(records), epochs=self._epochs))

    async def add(self, events: Iterable[Event] = (), records: Iterable[Record] = ()) -> None:
        self.write(events, records)
        async with self._moved:
            self._moved.notify_all()

    def event(
        self, type: str, subject: str, cause: Event | int | None = None,
        command: str | None = None, **data: Any,
    ) -> Event:  # fmt: skip
        self.time += S // 10
        return Event(type, subject, data, cause, self.time, command)

    async def submit(self, type: str, subject: str, data: dict[str, Any]) -> dict[str, Any]:
        self.submitted.append((type, subject, data))
        if type == "run.start":
            return await self._start(subject or f"run-{len(self.submitted)}", data)
        if type == "event.send":
            event = self.event(data["type"], subject)
            event.data = {"id": "made", **data}
            await self.add([event])
            return {"id": event.data["id"], "seq": event.seq}
        if type == "run.retry":
            raise Conflict(f"run `{subject}` is completed and cannot be retried")
        if type == "run.signal":
            await self.add([self.event("signal.received", subject, **data)])
        if type == "run.fork":
            return {"id": data.get("id", subject + "-fork")}
        return {"id": subject}

    async def _start(self, id: str, data: dict[str, Any]) -> dict[str, Any]:
        if self.journal.record("run", id) is not None:
            return {"id": id, "created": False, "status": "running"}
        event = self.event("run.started", id, definition="shop.py:12", source="abc", **data)
        record = Record("run", id, 0, "running", data["workflow"], event.time,
                        attributes=data.get("attributes", {}),
                        data={"definition": "shop.py:12"})  # fmt: skip
        await self.add([event], [record])
        return {"id": id, "created": True, "status": "running"}

    async def query(self, run: str, name: str, args: list[Any]) -> Any:
        if name != "progress":
            raise NotFound(f"run `{run}` answers no query `{name}`")
        return {"run": run, "args": args}

    async def follow(
        self, after: int, types: Sequence[str] = (), subject: str | None = None
    ) -> AsyncIterator[Event]:
        while True:
            events = self.journal.read(after, 1000, types=types, subject=subject)
            for event in events:
                after = event.seq
                yield event
            if not events:
                async with self._moved:
                    if self.journal.head() <= after or not self.journal.read(
                        after, 1, types=types, subject=subject
                    ):
                        await self._moved.wait()

    def stats(self) -> dict[str, float]:
        numbers = {"steps": 12, "commit_seconds": 0.25, "world.clock.jumps": 1}
        return {**numbers, "queue_waiting.bank": 3}


def story(system: FakeSystem, id: str = "order-1", *, ok: bool = True) -> None:
    """A checkout: with a retry, a gather, and (where not ok) a failure with its undo."""
    error = {"type": "shop:Declined", "message": "card <b>declined</b>",
             "traceback": "Traceback (most recent call last):\n  shop.py:40\nDeclined"}  # fmt: skip
    events: list[Event] = []

    def add(type: str, **data: Any) -> Event:
        command = None
        if type.startswith("step."):
            command = f"{id}/{data['key']}.{data.setdefault('attempt', 1)}"
        cause = events[-1] if events else None
        events.append(system.event(type, id, cause, command, **data))
        return events[-1]

    def step(key: str, name: str, attempt: int = 1, **more: Any) -> None:
        add("step.asked", key=key, name=name, kind="function", args=[{"id": id}],
            attempt=attempt, **more)  # fmt: skip
        add("step.completed", key=key, attempt=attempt, result={"done": name},
            started=system.time)  # fmt: skip

    first = add("run.started", workflow="checkout", args=[{"id": id, "total": 100}], kwargs={},
                definition="shop.py:12", source="abc", attributes={"customer": "ada"})  # fmt: skip
    add("step.asked", key="1", name="charge", kind="function", args=[{"id": id}])
    add("step.failed", key="1", error=error, started=system.time, retry_at=system.time + S)
    step("1", "charge", attempt=2)
    step("2.0", "reserve")
    step("2.1", "notify")
    if ok:
        step("3", "ship")
        end = add("run.completed", result="shipped")
    else:
        add("step.asked", key="3", name="ship", kind="shell", args=["van"])
        add("step.failed", key="3", error=error, started=system.time, retry_at=None)
        step("4", "refund", undoes="charge")
        end = add("run.failed", error=error)
    status = end.type.removeprefix("run.")
    record = Record("run", id, 0, status, "checkout", first.time, end.time,
                    attributes={"customer": "ada"},
                    data={"definition": "shop.py:12", "result": "shipped"} if ok
                    else {"definition": "shop.py:12", "error": error["message"]})  # fmt: skip
    system.write(events, [record])


def waiting(system: FakeSystem, id: str = "order-3") -> None:
    """A checkout that waits for a signal."""
    first = system.event("run.started", id, workflow="checkout", args=[{"id": id, "total": 1}],
                         kwargs={}, definition="shop.py:12")  # fmt: skip
    wait = system.event("wait.set", id, first, key="1", kind="signal", name="approve",
                        due=system.time + 3600 * S)  # fmt: skip
    record = Record("run", id, 0, "sleeping", "checkout", first.time, wake=wait.data["due"],
                    data={"definition": "shop.py:12",
                          "waits": [{"kind": "signal", "name": "approve"}]})  # fmt: skip
    system.write([first, wait], [record])


def dead_letter(system: FakeSystem) -> str:
    """An event that the rule `reward` gave up."""
    sent = system.event("order.paid", "1", id="e-1", source="shop", data={"total": 5})
    id = "reward:e-1"
    dead = system.event("delivery.dead", id, sent, error={"type": "x:E", "message": "no points"})
    record = Record("delivery", id, 0, "dead", "reward", sent.time, dead.time,
                    data={"event": 1, "type": "order.paid", "subject": "1", "attempt": 3,
                          "error": "no points", "run": None})  # fmt: skip
    system.write([sent, dead], [record])
    return id
