"""Short words for writing into a journal, for tests."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import Any

from batuta.kernel.event import Event, Record
from batuta.kernel.journal import Batch, Journal

SECOND = 10**9
_times = count(1)


def event(
    type: str = "step.completed",
    subject: str = "run-1",
    data: dict[str, Any] | None = None,
    cause: Event | int | None = None,
    **more: Any,
) -> Event:
    return Event(type, subject, data or {}, cause, next(_times), **more)


def own(journal: Journal, *partitions: int, owner: str = "me") -> dict[int, int]:
    epochs = {}
    for partition in partitions or (0,):
        epoch = journal.acquire(partition, owner, now=1, ttl=SECOND)
        assert epoch is not None
        epochs[partition] = epoch
    return epochs


def write(journal: Journal, *events: Event, **more: Any) -> list[Event]:
    epochs = own(journal, *({e.partition for e in events} or {0}))
    journal.commit(Batch(events=list(events), epochs=epochs, **more))
    return list(events)


def told(events: Iterable[Event]) -> list[tuple[Any, ...]]:
    return [
        (e.seq, e.type, e.subject, e.data, e.cause_seq, e.time, e.command, e.partition,
         [(link.kind, link.to) for link in e.links])
        for e in events
    ]  # fmt: skip


def record(id: str, status: str = "running", time: int = 1, **more: Any) -> Record:
    return Record("run", id, 0, status, more.pop("name", "shop"), time, **more)


def ids(journal: Journal, kind: str = "run", **how: Any) -> list[str]:
    return [r.id for r in journal.records(kind, **how)]
