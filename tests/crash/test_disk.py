"""Power cuts at every write and every sync: what was acknowledged is there afterwards, and no
batch is there by half."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.crash.disk import Disk, Step, after_crash, connector, fates

from batuta.kernel.errors import JournalError
from batuta.kernel.event import Event, Message, Record
from batuta.kernel.journal import Batch
from batuta.kernel.sqlite import SqliteJournal

COMMITS = 12
DRAWN = 2
"""How often chance decides which sectors survive, for each point of the crash."""


def open_on(disk: Disk, synchronous: str = "FULL") -> SqliteJournal:
    return SqliteJournal(
        "journal.db", synchronous=synchronous, checkpoint_pages=16, connector=connector(disk)
    )


def batch_of(number: int, epoch: int) -> Batch:
    """A batch of which every part tells its number; the fourth has a payload."""
    large = "x" * 20_000 if number % 4 == 0 else "small"
    first = Event("asked", f"run-{number}", {"batch": number}, None, number)
    second = Event("done", f"run-{number}", {"batch": number, "value": large}, first, number)
    return Batch(
        events=[first, second],
        records=[
            Record("run", "last", 0, "running", "w", 1, data={"batch": number}),
            Record("run", f"run-{number}", 0, "running", "w", 2),
        ],
        removed=[("run", f"run-{number - 1}")],
        messages=[Message(f"m{number}", 0, "t", "s", {}, first, number)],
        taken=[f"m{number - 1}"],
        epochs={0: epoch},
    )


def workload(synchronous: str) -> list[Step]:
    """What a dozen commits do to the disk, with a mark for each that was acknowledged."""
    disk = Disk()
    journal = open_on(disk, synchronous)
    epoch = journal.acquire(0, "me", 1, 10)
    assert epoch is not None
    disk.mark("owned")
    for number in range(1, COMMITS + 1):
        journal.commit(batch_of(number, epoch))
        disk.mark("acknowledged")
    assert [batch_in(journal), journal.head()] == [COMMITS, 2 * COMMITS]
    history = list(disk.history)
    disk.unplug()
    return history


def batch_in(journal: SqliteJournal) -> int:
    """How many batches are there; AssertionError where one is there by half."""
    events = journal.read()
    number = len(events) // 2
    assert [e.data["batch"] for e in events] == [n // 2 for n in range(2, 2 * number + 2)]
    assert [len(e.data["value"]) for e in events[1::2]] == [
        20_000 if n % 4 == 0 else 5 for n in range(1, number + 1)
    ]
    records = [(r.id, r.data.get("batch")) for r in journal.records("run")]
    assert records == ([("last", number), (f"run-{number}", None)] if number else [])
    assert [m.id for m in journal.messages([0])] == ([f"m{number}"] if number else [])
    assert list(journal.verify()) == []
    return number


def chances(at: int) -> Iterator[tuple[str, Callable[[], float]]]:
    yield "nothing survives", lambda: 1.0
    yield "everything survives", lambda: 0.0
    for number in range(DRAWN):
        yield f"chance {number}", fates(f"{at}/{number}")


def violations(history: list[Step], every: int = 1) -> list[str]:
    """Crash after each step (or each `every`-th) and open again; what is wrong then."""
    found: list[str] = []
    for at in range(0, len(history) + 1, every):
        if at and history[at - 1].what == "mark":
            continue
        acknowledged = sum(step.file == "acknowledged" for step in history[:at])
        owned = any(step.file == "owned" for step in history[:at])
        for chance, survives in chances(at):
            disk = Disk(after_crash(history[:at], survives))
            try:
                journal = open_on(disk)
                number = batch_in(journal)
                held = [lease.epoch for lease in journal.leases()]
            except (JournalError, AssertionError) as error:
                found.append(f"step {at}, {chance}: {error!r}"[:300])
                continue
            finally:
                disk.unplug()
            if not acknowledged <= number <= acknowledged + 1:
                found.append(f"step {at}, {chance}: {number} of {acknowledged} are there")
            if held != [1] and (owned or held):
                found.append(f"step {at}, {chance}: the lease is {held}")
    return found


def test_nothing_acknowledged_is_lost_at_any_write_or_sync() -> None:
    history = workload("FULL")
    kinds = {step.what for step in history}
    assert {"write", "sync", "mark"} <= kinds
    checkpointed = sum(step.what == "sync" and step.file == "journal.db" for step in history)
    assert checkpointed >= 2, "the log was written into the file while we looked"
    assert violations(history) == []


@pytest.mark.parametrize("synchronous", ["NORMAL", "OFF"])
def test_the_test_finds_a_journal_that_does_not_sync(synchronous: str) -> None:
    lost = [text for text in violations(workload(synchronous), 9) if " are there" in text]
    assert len(lost) >= COMMITS


def test_a_crash_while_recovering_from_a_crash() -> None:
    """The second start is cut off as well, at each of its own writes."""
    history = workload("FULL")
    for at in range(len(history) // 2, len(history), 17):
        acknowledged = sum(step.file == "acknowledged" for step in history[:at])
        found = after_crash(history[:at], fates(f"first {at}"))
        written = [Step("write", name, 0, bytes(data)) for name, data in found.items()]
        synced = [Step("sync", name) for name in found]
        disk = Disk({name: bytearray(data) for name, data in found.items()}, written + synced)
        again = open_on(disk)
        epoch = again.acquire(0, "me", 1, 10)
        assert epoch == 1
        again.commit(batch_of(batch_in(again) + 1, epoch))
        for second in range(len(written + synced), len(disk.history) + 1):
            left = Disk(after_crash(disk.history[:second], fates(f"second {at} {second}")))
            assert batch_in(open_on(left)) >= acknowledged
            left.unplug()
        disk.unplug()
