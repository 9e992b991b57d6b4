"""What the journal may forget, and what it never forgets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.conformance.conftest import AnyJournal, Store

from batuta.kernel.event import Event, Link, Message, Record
from batuta.kernel.journal import Batch

OLD, NEW = 100, 900
BEFORE = 500


def run(id: str, ended: int | None, **more: Any) -> Record:
    status = "running" if ended is None else "completed"
    return Record("run", id, 0, more.pop("status", status), "shop", OLD, ended, **more)


def delivery(id: str, status: str, event: int | str) -> Record:
    ended = OLD if status in ("done", "dead") else None
    return Record("delivery", id, 0, status, "rule", OLD, ended, data={"event": event})


def event(subject: str, cause: Event | int | None = None, time: int = OLD, **data: Any) -> Event:
    return Event(data.pop("type", "step.completed"), subject, data, cause, time)


def write(journal: AnyJournal, *events: Event, **more: Any) -> None:
    epoch = journal.acquire(0, "me", 1, 10**9)
    assert epoch is not None
    journal.commit(Batch(events=list(events), epochs={0: epoch}, **more))


def left(journal: AnyJournal) -> list[int]:
    assert list(journal.verify()) == []
    return [e.seq for e in journal.read()]


def test_what_ended_long_ago_goes_and_the_rest_stays(journal: AnyJournal) -> None:
    write(
        journal,
        event("done-old"),
        event("done-new"),
        event("going-on"),
        event("schedule:report"),
        event("order-1", type="order.placed"),
        event("order-2", time=NEW, type="order.placed"),
        event("done-old"),
        records=[
            run("done-old", OLD),
            run("done-new", NEW),
            run("going-on", None),
            Record("schedule", "report", 0, "active", "report", 1, OLD),
            Record("object", "x", 0, "ready", "x", 1),
        ],
    )
    assert journal.retain(BEFORE) == 4  # a record and its two events, and an old event
    assert left(journal) == [2, 3, 4, 6]
    assert sorted(r.id for r in journal.records("run")) == ["done-new", "going-on"]
    assert len(list(journal.records("schedule"))) == 1
    assert journal.retain(BEFORE) == 0


@pytest.mark.parametrize("batch", [1, 2, 3, 1000])
def test_in_batches_of_any_size(journal: AnyJournal, batch: int) -> None:
    write(
        journal,
        *(event(f"run-{n % 7}") for n in range(21)),
        records=[run(f"run-{n}", OLD if n % 2 else None) for n in range(7)],
    )
    assert journal.retain(BEFORE, batch) == 3 + 9
    assert left(journal) == [n + 1 for n in range(21) if n % 7 % 2 == 0]


def test_numbers_are_never_given_again(stores: Callable[[], Store]) -> None:
    store = stores()
    journal = store.open()
    write(journal, *(event("done") for _ in range(5)), records=[run("done", OLD)])
    assert journal.retain(BEFORE) == 6
    assert (left(journal), journal.head()) == ([], 5)
    again = store.open()
    write(again, event("next"))
    assert left(again) == [6]
    assert left(journal) == [6]


def test_subjects_are_found_after_others_were_removed(stores: Callable[[], Store]) -> None:
    """Each journal object knows the numbers of subjects; retention elsewhere may remove them."""
    store = stores()
    one, two = store.open(), store.open()
    write(one, event("a"), event("b"), records=[run("a", OLD), run("b", None)])
    two.retain(BEFORE)
    write(two, event("c"))
    write(one, event("a", time=NEW), event("b", time=NEW))
    assert [(e.seq, e.subject) for e in one.read()] == [(2, "b"), (3, "c"), (4, "a"), (5, "b")]
    assert [e.seq for e in two.histories(["a", "b"])] == [2, 4, 5]


@pytest.mark.parametrize("status", ["waiting", "running", "dead"])
def test_an_event_stays_while_a_delivery_needs_it(journal: AnyJournal, status: str) -> None:
    write(
        journal,
        event("order-1", type="order.placed", id="by-id"),
        event("order-2", type="order.placed", id="by-seq"),
        event("order-3", type="order.placed", id="done"),
        event("rule:by-id"),
        records=[
            delivery("rule:by-id", status, "by-id"),
            delivery("rule:by-seq", status, 2),
            delivery("rule:done", "done", "done"),
        ],
    )
    assert journal.retain(BEFORE) == 2
    assert left(journal) == [1, 2, 4]
    assert len(list(journal.records("delivery"))) == 2


def test_the_cause_of_an_unfinished_thing_stays(journal: AnyJournal) -> None:
    placed, paid = event("order-1", type="order.placed"), event("order-1", type="order.paid")
    write(
        journal,
        placed,
        event("going-on", placed),
        paid,
        event("other"),
        event("other"),
        event("going-on", paid),
        event("order-9"),
        event("done", paid),
        records=[run("going-on", None), run("done", OLD)],
    )
    journal.retain(BEFORE)
    assert left(journal) == [1, 2, 3, 6]


def test_a_child_of_an_unfinished_run_stays(journal: AnyJournal) -> None:
    write(
        journal,
        event("child"),
        event("orphan"),
        records=[
            run("parent", None),
            run("child", OLD, data={"parent": {"run": "parent", "key": "1"}}),
            run("orphan", OLD, data={"parent": {"run": "ended", "key": "1"}}),
        ],
    )
    journal.retain(BEFORE)
    assert left(journal) == [1]


def test_nothing_after_a_snapshot_goes(journal: AnyJournal) -> None:
    write(journal, event("a"), event("b"), records=[run("a", OLD, seq=1), run("b", OLD, seq=2)])
    journal.save_snapshot("runs", 0, 1, b"state")
    journal.save_snapshot("rules", 0, 2, b"state")
    journal.retain(BEFORE)
    assert left(journal) == [2]
    journal.save_snapshot("runs", 0, 2, b"state")
    journal.retain(BEFORE)
    assert left(journal) == []


def test_payloads_links_and_messages_go_with_what_used_them(journal: AnyJournal) -> None:
    shared, alone = "s" * 30_000, "a" * 30_000
    old, kept = event("done", value=alone), event("going-on", value=shared)
    kept_too = event("done", value=shared)
    old.links = (Link("input", kept),)
    journal.post(Message("m-old", 0, "run.start", "done", {}, None, OLD))
    journal.post(Message("m-kept", 0, "run.start", "going-on", {}, None, OLD))
    write(
        journal,
        kept,
        old,
        kept_too,
        records=[run("done", OLD), run("going-on", None, data={"v": "r" * 30_000})],
        taken=["m-old", "m-kept"],
    )
    write(journal, records=[run("going-on", None, data={"v": "R" * 30_000})])
    assert len(list(journal.rows("SELECT digest FROM payload"))) == 4
    journal.retain(BEFORE)
    assert left(journal) == [1]
    assert journal.read()[0].data == {"value": shared}
    assert len(list(journal.rows("SELECT digest FROM payload"))) == 2
    assert list(journal.rows("SELECT * FROM link")) == []
    assert [row[0] for row in journal.rows("SELECT name FROM subject")] == ["going-on"]
    assert not journal.post(Message("m-kept", 0, "run.start", "going-on", {}, None, NEW))
    assert journal.post(Message("m-old", 0, "run.start", "done", {}, None, NEW))


def test_a_hole_that_retention_did_not_make_is_found(journal: AnyJournal) -> None:
    write(
        journal,
        *(event(name) for name in ("done", "going-on", "done", "going-on", "last", "last")),
        records=[run("done", OLD), run("going-on", None), run("last", None)],
    )
    journal.retain(BEFORE)
    assert left(journal) == [2, 4, 5, 6]
    with journal._transaction() as statement:
        statement("DELETE FROM event WHERE seq = 2")
    assert any("1 events up to 3 are missing" in text for text in journal.verify())
    with journal._transaction() as statement:
        statement("DELETE FROM event WHERE seq = 5")
    assert any("events 5 to 5 are missing" in text for text in journal.verify())
