"""An event may be a cause before it has a number."""

from __future__ import annotations

from batuta.kernel.event import Event
from batuta.kernel.journal import Batch, why
from batuta.kernel.loop import partition_of
from batuta.kernel.sqlite import SqliteJournal


def test_a_cause_gets_its_number_with_the_commit() -> None:
    first = Event("a", "s", {}, None, 1)
    second = Event("b", "s", {}, first, 1)
    third = Event("c", "s", {}, 1, 1)
    assert (first.cause_seq, second.cause_seq, third.cause_seq) == (None, 0, 1)
    journal = SqliteJournal(":memory:")
    epoch = journal.acquire(0, "me", 0, 10**18)
    assert epoch is not None
    journal.commit(Batch([first, second], epochs={0: epoch}))
    assert second.cause_seq == first.seq > 0
    assert [event.type for event in why(journal, second.seq)] == ["b", "a"]


def test_events_are_the_same_only_when_they_are_one() -> None:
    assert Event("a", "s", {}, None, 1) != Event("a", "s", {}, None, 1)


def test_a_subject_has_one_partition_for_ever() -> None:
    assert [partition_of(name, 8) for name in ("order-1", "order-2", "ü")] == [7, 5, 5]
    assert {partition_of(f"r{n}", 8) for n in range(200)} == set(range(8))
    assert partition_of("anything", 1) == 0
