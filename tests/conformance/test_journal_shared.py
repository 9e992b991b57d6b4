"""What the journal promises to several who use it: ownership, messages, followers."""

from __future__ import annotations

import threading

import pytest
from tests.conformance.conftest import AnyJournal, Store
from tests.conformance.writing import SECOND, event, ids, own, record, write

from batuta.kernel.errors import Fenced, JournalError
from batuta.kernel.event import Message
from batuta.kernel.journal import Batch, subject_events

# -- ownership -------------------------------------------------------------------------------


def test_a_lease_belongs_to_one_until_it_ends(store: Store) -> None:
    one, two = store.open(), store.open()
    assert one.acquire(2, "a", now=100, ttl=50) == 1
    assert two.acquire(2, "b", now=149, ttl=50) is None
    assert one.acquire(2, "a", now=120, ttl=50) == 1
    assert two.acquire(2, "b", now=169, ttl=50) is None
    assert two.acquire(2, "b", now=171, ttl=50) == 2
    assert one.renew("a", now=172, ttl=50) == set()
    assert one.acquire(2, "a", now=172, ttl=50) is None
    assert [(x.partition, x.owner, x.epoch, x.until) for x in one.leases()] == [(2, "b", 2, 221)]


def test_renew_and_release(store: Store) -> None:
    one, two = store.open(), store.open()
    for partition in (0, 1, 3):
        one.acquire(partition, "a", now=0, ttl=10)
    two.acquire(2, "b", now=0, ttl=10)
    assert one.renew("a", now=100, ttl=10) == {0, 1, 3}
    assert two.acquire(1, "b", now=105, ttl=10) is None
    one.release("a")
    assert two.acquire(1, "b", now=105, ttl=10) == 2
    assert one.acquire(0, "a", now=105, ttl=10) == 2, "what was released is a new term"
    assert one.renew("nobody", now=1, ttl=1) == set()


def test_there_is_no_other_partition(journal: AnyJournal) -> None:
    for partition in (-1, 4):
        with pytest.raises(JournalError, match="no partition"):
            journal.acquire(partition, "a", 1, 1)
        with pytest.raises(JournalError, match="no partition"):
            journal.post(Message("m", partition, "t", "s", {}, None, 1))


def test_a_former_owner_cannot_write(store: Store) -> None:
    one, two = store.open(), store.open()
    old = own(one, 0, 1, owner="a")
    one.commit(Batch(events=[event()], epochs=old))
    one.post(Message("m", 0, "t", "s", {}, None, 1))
    assert two.acquire(1, "b", now=10 * SECOND, ttl=SECOND) == 2
    stale = event(subject="stale")
    for batch in (
        Batch(events=[stale], epochs=old),
        Batch(events=[event(partition=1)], epochs={1: 1}),
        Batch(records=[record("x")], epochs=old),
        Batch(taken=["m"], epochs=old),
        Batch(messages=[Message("n", 3, "t", "s", {}, None, 1)], epochs=old),
    ):
        with pytest.raises(Fenced):
            one.commit(batch)
    assert stale.seq == 0
    assert one.head() == 1
    assert ids(one) == []
    assert [m.id for m in one.messages([0, 3])] == ["m"]
    one.commit(Batch(events=[event()], epochs={0: old[0]}))
    two.commit(Batch(events=[event(partition=1)], epochs={1: 2}))
    assert two.head() == 3


def test_every_partition_that_is_written_must_be_owned(journal: AnyJournal) -> None:
    for batch in (
        Batch(events=[event()]),
        Batch(events=[event(), event(partition=1)], epochs=own(journal)),
        Batch(records=[record("x")]),
    ):
        with pytest.raises(Fenced, match="does not own"):
            journal.commit(batch)
    assert journal.head() == 0


def test_closing_gives_the_leases_up(store: Store) -> None:
    if store.kind == "memory":
        pytest.skip("what is in memory ends with its journal")
    one, two = store.open(), store.open()
    one.acquire(0, "a", now=0, ttl=1000 * SECOND)
    one.close()
    assert two.acquire(0, "b", now=1, ttl=SECOND) == 2


# -- inbox -----------------------------------------------------------------------------------


def test_a_message_is_kept_once_also_after_it_was_taken(store: Store) -> None:
    one, two = store.open(), store.open()
    message = Message("m1", 1, "run.start", "run-9", {"args": [1]}, None, 77)
    assert one.post(message) is True
    assert two.post(message) is False
    assert two.post(Message("m2", 3, "run.signal", "run-9", {}, 5, 78)) is True
    assert [m.id for m in one.messages([0, 1])] == ["m1"]
    assert [(m.id, m.cause) for m in one.messages([3, 1])] == [("m1", None), ("m2", 5)]
    assert [m.id for m in one.messages([3, 1], limit=1)] == ["m1"]
    found = one.messages([1])[0]
    assert (found.type, found.subject, found.data, found.time) == (
        "run.start", "run-9", {"args": [1]}, 77,
    )  # fmt: skip
    write(one, event(partition=1), taken=["m1"])
    assert one.messages([0, 1]) == []
    assert two.post(message) is False
    assert one.messages([0, 1]) == []


def test_a_batch_posts_messages_with_its_events(journal: AnyJournal) -> None:
    cause = event()
    write(journal, cause, messages=[Message("m", 2, "run.start", "x", {}, cause, 1)])
    write(journal, event(), messages=[Message("m", 2, "run.start", "again", {}, 2, 1)])
    assert [(m.subject, m.cause) for m in journal.messages([2])] == [("x", 1)]


# -- many at once ----------------------------------------------------------------------------


def test_a_follower_sees_every_event_once_and_in_order(store: Store) -> None:
    """Two write at once, a third follows the head: no late commit is skipped."""
    batches, size = 25, 20
    done = threading.Event()
    failed: list[BaseException] = []

    def writer(partition: int) -> None:
        try:
            journal = store.open()
            epochs = own(journal, partition, owner=f"w{partition}")
            for n in range(batches):
                name = f"run-{partition}-{n}"
                journal.commit(
                    Batch(
                        events=[event(subject=name, partition=partition) for _ in range(size)],
                        epochs=epochs,
                    )
                )
        except BaseException as error:
            failed.append(error)

    def write_all(numbers: list[int]) -> None:
        for number in numbers:
            writer(number)

    follower = store.open()
    seen: list[int] = []

    def follow() -> None:
        try:
            while len(seen) < 2 * batches * size:
                last = done.is_set()
                head = follower.head()
                after = seen[-1] if seen else 0
                seen.extend(e.seq for e in follower.read(after, 10_000, before=head + 1))
                if last:
                    return
        except BaseException as error:
            failed.append(error)

    # In memory there is one journal object, which one loop uses: one thread writes then.
    partitions = [[0, 1]] if store.kind == "memory" else [[0], [1]]
    writers = [threading.Thread(target=write_all, args=[numbers]) for numbers in partitions]
    reader = threading.Thread(target=follow)
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert failed == []
    assert seen == list(range(1, 2 * batches * size + 1))


def test_readers_on_other_threads(journal: AnyJournal) -> None:
    write(journal, *(event(subject=f"run-{n % 5}") for n in range(500)))
    results: list[int] = []

    def read() -> None:
        for n in range(5):
            results.append(len(subject_events(journal, f"run-{n}")))
            results.append(len(journal.read(0, 100)))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    write(journal, event(subject="later"))
    for thread in threads:
        thread.join()
    assert results == [100] * 40


def test_an_iterator_may_be_left_in_the_middle(journal: AnyJournal) -> None:
    write(journal, *(event() for _ in range(3000)))
    found = journal.histories(["run-1"])
    assert next(found).seq == 1
    write(journal, event())
    del found
    assert journal.head() == 3001


def test_what_another_journal_wrote_is_there(store: Store) -> None:
    one, two = store.open(), store.open()
    write(one, event("a"), records=[record("x")])
    assert [e.type for e in two.read()] == ["a"]
    assert ids(two) == ["x"]
