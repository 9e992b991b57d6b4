"""Every promise of `kernel.journal.Journal`, kept by every storage."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conformance.conftest import AnyJournal, Store
from tests.conformance.writing import SECOND, event, ids, own, record, told, write

from batuta.kernel.errors import Conflict, Fenced, JournalCorrupt, JournalError
from batuta.kernel.event import Link, Message, Record
from batuta.kernel.journal import Batch, subject_events, why
from batuta.kernel.restore import restore
from batuta.kernel.sqlite import SqliteJournal
from batuta.kernel.upcast import UPCASTERS, VERSIONS

# -- writing and reading ---------------------------------------------------------------------


def test_an_empty_journal_has_nothing(journal: AnyJournal) -> None:
    assert journal.head() == 0
    assert journal.read() == []
    assert journal.event(1) is None
    assert journal.record("run", "x") is None
    assert list(journal.records("run")) == []
    assert journal.counts("run") == {}
    assert journal.messages([0, 1]) == []
    assert journal.leases() == []
    assert journal.snapshot("runs", 0) is None
    assert list(journal.verify()) == []


def test_events_get_numbers_in_order_and_come_back_as_they_were(journal: AnyJournal) -> None:
    first = event("run.started", data={"args": [1, "zwei", None, {"x": [2.5, True]}]})
    second = event("step.asked", cause=first, command="run-1/1.1")
    other = event("run.started", "run-2", links=(Link("triggered", first),))
    write(journal, first, second, other)
    assert [first.seq, second.seq, other.seq] == [1, 2, 3]
    assert journal.head() == 3
    back = journal.read()
    assert back[0].data == {"args": [1, "zwei", None, {"x": [2.5, True]}]}
    assert [e.cause for e in back] == [None, 1, None]
    assert [(link.kind, link.to) for link in back[2].links] == [("triggered", 1)]
    third = event(cause=back[1])
    write(journal, third)
    assert (third.seq, [e.seq for e in why(journal, 4)]) == (4, [4, 2, 1])


def test_what_is_staged_is_not_there_yet(journal: AnyJournal) -> None:
    epochs = own(journal)
    journal.stage(Batch(events=[event()], epochs=epochs))
    assert journal.read() == []
    assert journal.head() == 0
    journal.sync()
    assert journal.head() == 1
    journal.sync()
    assert journal.head() == 1


def test_a_batch_may_be_staged_here_and_synced_there(journal: AnyJournal) -> None:
    wanted = event()
    journal.stage(Batch(events=[wanted], epochs=own(journal)))
    thread = threading.Thread(target=journal.sync)
    thread.start()
    thread.join()
    assert wanted.seq == 1


def test_only_one_batch_is_staged_and_it_can_be_abandoned(journal: AnyJournal) -> None:
    epochs = own(journal)
    journal.stage(Batch(events=[event()], epochs=epochs))
    with pytest.raises(JournalError, match="staged already"):
        journal.stage(Batch(events=[event()], epochs=epochs))
    journal.abandon()
    write(journal, event(subject="after"))
    assert [e.subject for e in journal.read()] == ["after"]


def test_a_message_may_be_posted_while_a_batch_is_staged(journal: AnyJournal) -> None:
    staged = event()
    journal.stage(Batch(events=[staged], epochs=own(journal)))
    assert journal.post(Message("m", 1, "run.start", "x", {}, None, 1))
    assert journal.renew("me", 2, SECOND) == {0}
    journal.sync()
    assert (staged.seq, len(journal.messages([1]))) == (1, 1)


def test_a_cause_must_be_committed_or_earlier_in_the_batch(journal: AnyJournal) -> None:
    late = event()
    early = event(cause=late)
    with pytest.raises(JournalError, match="not committed"):
        write(journal, early, late)
    assert (early.seq, late.seq, journal.head()) == (0, 0, 0)
    with pytest.raises(JournalError, match="not committed"):
        write(journal, event(links=(Link("observed", event()),)))
    assert journal.read() == []


def test_a_batch_is_written_whole_or_not_at_all(journal: AnyJournal) -> None:
    write(journal, event(), records=[Record("run", "run-1", 0, "running", "shop", 1)])
    journal.post(Message("m", 0, "run.start", "x", {}, None, 1))
    good, bad = event(), event(cause=event())
    batch = Batch(
        events=[good, bad],
        records=[Record("run", "run-1", 0, "completed", "shop", 1)],
        removed=[("run", "run-1")],
        messages=[Message("n", 0, "run.start", "y", {}, None, 1)],
        taken=["m"],
        epochs=own(journal),
    )
    with pytest.raises(JournalError):
        journal.commit(batch)
    assert (good.seq, bad.seq, journal.head()) == (0, 0, 1)
    assert [r.status for r in journal.records("run")] == ["running"]
    assert [m.id for m in journal.messages([0])] == ["m"]
    write(journal, good)
    assert good.seq == 2


@pytest.mark.parametrize("value", [{1, 2}, object(), b"x"])
def test_what_is_not_json_is_refused(journal: AnyJournal, value: object) -> None:
    wrong = event(data={"value": value})
    with pytest.raises(TypeError):
        write(journal, wrong)
    write(journal, event())
    assert journal.head() == 1


# -- finding events --------------------------------------------------------------------------


def test_read_after_before_types_subject_and_order(journal: AnyJournal) -> None:
    names = ["run.started", "step.asked", "step.completed", "run.completed", "stepped"]
    write(journal, *(event(name, f"run-{n % 2}") for n, name in enumerate(names)))

    def seqs(*args: Any, **how: Any) -> list[int]:
        return [e.seq for e in journal.read(*args, **how)]

    assert seqs(2) == [3, 4, 5]
    assert seqs(1, before=4) == [2, 3]
    assert seqs(0, 2) == [1, 2]
    assert seqs(0, 2, newest_first=True) == [5, 4]
    assert seqs(types=["step.*"]) == [2, 3]
    assert seqs(types=["step.asked", "run.*"]) == [1, 2, 4]
    assert seqs(subject="run-1") == [2, 4]
    assert seqs(1, subject="run-0", types=["step*"], newest_first=True) == [5, 3]
    assert seqs(without=["step.", "run.x"]) == [1, 4, 5]
    assert seqs(1, types=["step.*"], without=["step.asked"]) == [3]
    assert seqs(types=["*"]) == [1, 2, 3, 4, 5]


def test_histories_of_many_subjects_in_one_order(journal: AnyJournal) -> None:
    write(journal, *(event(subject=f"run-{n % 700}") for n in range(2100)))
    wanted = [f"run-{n}" for n in range(600)]
    found = list(journal.histories(wanted))
    assert [e.seq for e in found] == [n + 1 for n in range(2100) if n % 700 < 600]
    assert [e.seq for e in subject_events(journal, "run-650")] == [651, 1351, 2051]
    assert list(journal.histories([])) == []
    assert list(journal.histories(["nobody"])) == []


def test_consequences_next_to_their_cause_and_far_away(journal: AnyJournal) -> None:
    first, near, far = event(), event(), event()
    near.cause, far.cause = first, first
    write(journal, first, near, event(), far)
    write(journal, event(cause=1), event(cause=2))
    assert [e.seq for e in journal.consequences(1)] == [2, 4, 5]
    assert [e.seq for e in journal.consequences(2)] == [6]
    assert journal.consequences(6) == []


def test_consequences_that_carry_a_command(journal: AnyJournal) -> None:
    first = event("step.asked", "run-1", command="run-1/1.1")
    own, near = (event("step.completed", "run-1", command="run-1/1.1") for _ in range(2))
    other = event("step.asked", "run-2", command="run-2/1.1")
    own.cause, near.cause, other.cause = first, first, first
    write(journal, first, near, event(), own, other)
    write(journal, event("step.asked", "run-1", command="run-1/2.1", cause=1))
    assert [e.seq for e in journal.consequences(1)] == [2, 4, 5, 6]
    assert [e.command for e in journal.consequences(1)][2:] == ["run-2/1.1", "run-1/2.1"]
    assert [e.seq for e in journal.asked("run-1/1.1")] == [1, 2, 4]
    assert [e.seq for e in journal.asked("run-2/1.1")] == [5]
    assert [e.seq for e in journal.asked("run-1/2.1")] == [6]


@pytest.mark.parametrize(
    "command", ["run-1/1.1", "run-1/3.0.1.2", "stack/bucket/create", "/", "run-1", "=x", "run-1/"]
)
def test_a_command_is_found_with_its_outcome(journal: AnyJournal, command: str) -> None:
    asked = event("step.asked", command=command)
    write(journal, event(), asked, event(command=f"{command}0"))
    write(journal, event("step.completed", cause=asked, command=command))
    assert [(e.seq, e.command) for e in journal.asked(command)] == [(2, command), (4, command)]
    assert journal.asked("nothing/1.1") == []


# -- data ------------------------------------------------------------------------------------

_texts = st.text(st.characters(codec="utf-8") | st.sampled_from("\x00\ud800\t\n\\\"'%?\u2028"))
_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=2**60, max_value=2**200)
    | st.floats(allow_nan=False)
    | _texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.dictionaries(_texts, _values, max_size=5))
def test_data_comes_back_as_it_was(journal: AnyJournal, data: dict[str, Any]) -> None:
    wanted = event(data=data)
    record = Record("object", "x", 0, "ready", "n", 1, data=data)
    write(journal, wanted, records=[record])
    back = journal.event(wanted.seq)
    assert back is not None
    assert (back.data, repr(back.data)) == (data, repr(data))
    found = journal.record("object", "x")
    assert found is not None
    assert repr(found.data) == repr(data)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    subject=st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=30),
    type=st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=30),
    key=st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=10),
)
def test_names_in_any_script(journal: AnyJournal, subject: str, type: str, key: str) -> None:
    command = f"{subject}/{key}"
    wanted = event(type, subject, command=command)
    write(journal, wanted)
    assert [e.seq for e in journal.asked(command)][-1] == wanted.seq
    last = subject_events(journal, subject)[-1]
    assert told([last]) == told([wanted])
    assert journal.read(wanted.seq - 1, subject=subject, types=[type])[0].seq == wanted.seq


def test_a_very_long_id(journal: AnyJournal) -> None:
    name = "x" * 10_000
    write(journal, event(subject=name), records=[Record("run", name[:2000], 0, "running", "w", 1)])
    assert len(subject_events(journal, name)) == 1


@pytest.mark.parametrize(
    "name", ["half \ud800", "zero \0", "".join(chr(0x4E00 + n * 7 % 9000) for n in range(5000))]
)
def test_a_name_that_cannot_be_stored_is_refused(journal: AnyJournal, name: str) -> None:
    for message in (
        Message(name, 0, "t", "s", {}, None, 1),
        Message("m", 0, name, "s", {}, None, 1),
        Message("m", 0, "t", name, {}, None, 1),
    ):
        with pytest.raises(JournalError, match="hint:"):
            journal.post(message)
    assert journal.messages([0]) == []
    wrong = event(subject="half \ud800")
    with pytest.raises(JournalError, match="half of a character"):
        write(journal, wrong)
    with pytest.raises(JournalError, match="half of a character"):
        write(journal, event(), records=[record("half \ud800")])
    write(journal, event())
    assert journal.head() == 1


@pytest.mark.parametrize("size", [100, 16 * 1024 - 3, 16 * 1024, 3_000_000])
def test_large_values_come_back(journal: AnyJournal, size: int) -> None:
    data = {"result": "ä" * (size // 6), "key": "1", "second": ["b" * size]}
    write(
        journal,
        event(data=data),
        event(data=data),
        records=[Record("run", "run-1", 0, "running", "w", 1, data=data)],
    )
    journal.post(Message("m", 0, "event.send", "s", dict(data), None, 1))
    assert [e.data for e in journal.read()] == [data, data]
    found = journal.record("run", "run-1")
    assert found is not None
    assert found.data == data
    assert journal.messages([0])[0].data == data
    assert list(journal.verify()) == []


def test_older_events_are_read_in_the_form_of_today(
    journal: AnyJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(journal, event("price.set", data={"euro": 3}))
    monkeypatch.setitem(UPCASTERS, ("price.set", 1), lambda old: {"cent": old["euro"] * 100})
    monkeypatch.setitem(VERSIONS, "price.set", 2)
    write(journal, event("price.set", data={"cent": 350}))
    monkeypatch.setitem(UPCASTERS, ("price.set", 2), lambda old: {**old, "currency": "EUR"})
    assert [e.data for e in journal.read()] == [
        {"cent": 300, "currency": "EUR"},
        {"cent": 350, "currency": "EUR"},
    ]


# -- records ---------------------------------------------------------------------------------


def test_records_are_replaced_and_removed(journal: AnyJournal) -> None:
    write(journal, event(), records=[record("a"), record("a", "sleeping", wake=7), record("b")])
    found = journal.record("run", "a")
    assert found is not None
    assert (found.status, found.wake, found.seq) == ("sleeping", 7, 1)
    write(journal, event(), event(), records=[record("a", "completed", ended=9)])
    found = journal.record("run", "a")
    assert found is not None
    assert (found.status, found.wake, found.ended, found.seq) == ("completed", None, 9, 3)
    assert journal.counts("run") == {("shop", "completed"): 1, ("shop", "running"): 1}
    write(journal, removed=[("run", "a"), ("run", "nobody")])
    assert ids(journal) == ["b"]
    assert journal.record("delivery", "b") is None


def test_records_in_order_in_parts_and_by_what_they_are(journal: AnyJournal) -> None:
    rows = [
        Record(
            "run",
            f"r{n:03}",
            n % 4,
            "running" if n % 3 else "failed",
            "Shop" if n % 2 else "pay_100%",
            n // 10,
        )
        for n in range(100)
    ]
    epochs = own(journal, 0, 1, 2, 3)
    journal.commit(Batch(records=rows, epochs=epochs))
    everything = [f"r{n:03}" for n in range(100)]
    assert ids(journal) == everything
    assert ids(journal, newest_first=True) == everything[::-1]
    assert ids(journal, limit=3) == everything[:3]
    assert ids(journal, limit=0) == []
    assert ids(journal, after=(4, "r044"), limit=2) == ["r045", "r046"]
    assert ids(journal, after=(4, "r044"), newest_first=True, limit=2) == ["r043", "r042"]
    assert ids(journal, statuses=["failed"]) == everything[::3]
    assert len(ids(journal, statuses=["failed", "running"])) == 100
    assert ids(journal, name="Shop") == everything[1::2]
    assert ids(journal, partitions=[1]) == everything[1::4]
    assert ids(journal, partitions=[]) == []
    assert ids(journal, text="R01") == everything[10:20]
    assert ids(journal, text="shop", statuses=["failed"], limit=2) == ["r003", "r009"]
    assert ids(journal, text="_100%") == everything[::2]
    assert ids(journal, text="%") == everything[::2]
    assert sum(journal.counts("run").values()) == 100


def test_more_records_than_one_page(journal: AnyJournal) -> None:
    rows = [record(f"r{n:05}") for n in range(2500)]
    journal.commit(Batch(records=rows, epochs=own(journal)))
    assert ids(journal) == [r.id for r in rows]
    assert len(ids(journal, limit=2001)) == 2001


def test_records_by_attributes(journal: AnyJournal) -> None:
    kinds: list[dict[str, Any]] = [
        {"vip": True},
        {"vip": 1},
        {"vip": "True"},
        {"vip": 1.5},
        {"vip": 12},
        {"a": True, "b": 'é"%'},
    ]
    rows = [record(str(n), attributes=a) for n, a in enumerate(kinds)]
    journal.commit(Batch(records=rows, epochs=own(journal)))
    assert [r.attributes for r in journal.records("run")] == kinds
    assert ids(journal, attributes={"vip": True}) == ["0"]
    assert ids(journal, attributes={"vip": 1}) == ["1"]
    assert ids(journal, attributes={"vip": "True"}) == ["2"]
    assert ids(journal, attributes={"vip": 1.5}) == ["3"]
    assert ids(journal, attributes={"a": True, "b": 'é"%'}) == ["5"]
    assert ids(journal, attributes={"vip": "tru"}) == []
    assert ids(journal, attributes={}, limit=2) == ["0", "1"]


# -- upkeep ----------------------------------------------------------------------------------


def test_the_two_newest_snapshots_are_kept(journal: AnyJournal) -> None:
    for seq in (1, 2, 3):
        journal.save_snapshot("runs", 0, seq, b"state %d" % seq)
    journal.save_snapshot("runs", 1, 9, bytes(range(256)))
    assert journal.snapshot("runs", 0) == (3, b"state 3")
    assert journal.snapshot("runs", 1) == (9, bytes(range(256)))
    assert len(list(journal.rows("SELECT seq FROM snapshot WHERE name = 'runs'"))) == 3


def test_a_backup_is_put_back(stores: Callable[[], Store], tmp_path: Path) -> None:
    journal = stores().open()
    big = {"result": "x" * 50_000}
    first = event(data=big, partition=3)
    write(journal, first, event(cause=first, links=(Link("input", first),), command="run-1/1.1"))
    write(journal, event(), records=[record("a", data=big), record("b", "failed", ended=3)])
    journal.post(Message("m", 2, "run.start", "x", big, 1, 5))
    journal.post(Message("n", 2, "run.start", "y", {}, 1, 5))
    write(journal, taken=["n"])
    journal.save_snapshot("runs", 3, 3, b"state")
    copy = tmp_path / "copy.db"
    journal.backup(str(copy))
    with pytest.raises(Conflict, match="exists already"):
        journal.backup(str(copy))
    write(journal, event(subject="after the backup"))
    with pytest.raises(Conflict, match="empty"):
        restore(copy, journal)
    for again in (SqliteJournal(tmp_path / "again.db", partitions=4), stores().open()):
        restore(copy, again)
        assert told(again.read()) == told(journal.read(before=4))
        assert list(again.records("run")) == list(journal.records("run"))
        assert [m.id for m in again.messages([2])] == ["m"]
        assert not again.post(Message("n", 2, "run.start", "y", {}, 1, 5))
        assert again.snapshot("runs", 3) == (3, b"state")
        assert list(again.verify()) == []
        with pytest.raises(Fenced):
            again.commit(Batch(events=[event()], epochs={0: 1}))
        assert write(again, event(subject="new"))[0].seq == 4
        again.close()


def test_a_backup_of_one_partition_moves_into_many(store: Store, tmp_path: Path) -> None:
    if store.kind == "memory":
        small = SqliteJournal(":memory:")
    else:
        small = SqliteJournal(tmp_path / "small.db")
    write(small, *(event(subject=f"run-{n}") for n in range(8)), records=[record("run-3")])
    small.post(Message("m", 0, "run.signal", "run-5", {}, None, 1))
    small.backup(str(tmp_path / "copy.db"))
    small.close()
    journal = store.open()
    with pytest.raises(Conflict, match="partitions"):
        restore(tmp_path / "copy.db", journal)
    restore(tmp_path / "copy.db", journal, place=lambda subject: int(subject[-1]) % 4)
    assert [e.partition for e in journal.read()] == [n % 4 for n in range(8)]
    assert ids(journal, partitions=[3]) == ["run-3"]
    assert [m.subject for m in journal.messages([1])] == ["run-5"]
    assert list(journal.verify()) == []
    assert write(journal, event(subject="new"))[0].seq == 9


def test_a_damaged_backup_is_refused(journal: AnyJournal, tmp_path: Path) -> None:
    write(journal, event(data={"amount": 12345}))
    copy = tmp_path / "copy.db"
    journal.backup(str(copy))
    stored = copy.read_bytes()
    assert stored.count(b"12345") == 1
    copy.write_bytes(stored.replace(b"12345", b"12346"))
    empty = SqliteJournal(tmp_path / "empty.db", partitions=4)
    with pytest.raises(JournalCorrupt, match="event 1"):
        restore(copy, empty)
    assert empty.head() == 0
    empty.close()
