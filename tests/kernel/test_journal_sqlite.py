"""What only a file can suffer: damage at any byte, no room, no rights, another owner."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from batuta.kernel import schema
from batuta.kernel.errors import (
    JournalCorrupt,
    JournalError,
    JournalFull,
    JournalLocked,
    JournalReadOnly,
    JournalTooNew,
)
from batuta.kernel.event import Event, Link, Message, Record
from batuta.kernel.journal import Batch
from batuta.kernel.payload import decode, encode
from batuta.kernel.sqlite import Connection, SqliteJournal, connect


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[SqliteJournal]:
    opened = SqliteJournal(path, busy_s=0.05)
    yield opened
    opened.close()


def own(journal: SqliteJournal) -> dict[int, int]:
    epoch = journal.acquire(0, "me", 1, 10**9)
    assert epoch is not None
    return {0: epoch}


def batch_of(number: int, epochs: dict[int, int], size: int = 40) -> Batch:
    first = Event("asked", f"run-{number}", {"n": number}, None, number)
    second = Event(
        "done",
        f"run-{number}",
        {"n": number, "text": "x" * size},
        first,
        number,
        links=(Link("input", first),),
    )
    return Batch(
        events=[first, second],
        records=[Record("run", f"run-{number}", 0, "running", "w", number, data={"n": number})],
        messages=[Message(f"m{number}", 0, "t", f"run-{number}", {}, first, 1)],
        epochs=epochs,
    )


def content(journal: SqliteJournal) -> str:
    """Everything that a reader can learn, read in every way."""
    subjects = [f"run-{n}" for n in range(1, 60)]
    told = [
        [(e.seq, e.type, e.subject, e.data, e.cause_seq, [(k.kind, k.to) for k in e.links])
         for e in events]
        for events in (
            journal.read(limit=10**6),
            list(journal.histories(subjects)),
            [e for n in range(1, 120) for e in journal.consequences(n)],
        )
    ]  # fmt: skip
    records = [repr(r) for r in journal.records("run")]
    messages = [repr(m) for m in journal.messages([0], 10**6)]
    return repr((told, records, messages, journal.counts("run"), journal.head()))


# -- damage ----------------------------------------------------------------------------------


def small_pages(path: str, busy_s: float) -> Connection:
    """Pages of 512 bytes, so that a commit is short and every byte of it can be tried."""
    connection = connect(path, busy_s)
    connection.execute("PRAGMA page_size = 512")
    return connection


def test_a_log_that_ends_at_any_byte_holds_a_prefix_of_the_batches(tmp_path: Path) -> None:
    whole = tmp_path / "whole.db"
    journal = SqliteJournal(whole, connector=small_pages)
    epochs = own(journal)
    journal.commit(batch_of(1, epochs))
    next(journal.rows("PRAGMA wal_checkpoint(TRUNCATE)"))
    ends = [0]
    for number in range(2, 5):
        journal.commit(batch_of(number, epochs))
        ends.append(os.path.getsize(f"{whole}-wal"))
    file, log = whole.read_bytes(), Path(f"{whole}-wal").read_bytes()
    journal.close()
    for size in range(len(log) + 1):
        # Every byte of the second batch; of the others the bytes around their frames' ends.
        edge = (size - 32) % 536 in (0, 535)
        if not edge and not ends[1] <= size <= ends[2]:
            continue
        cut = tmp_path / f"cut-{size % 8}.db"
        cut.write_bytes(file)
        Path(f"{cut}-wal").write_bytes(log[:size])
        batches = 1 + sum(end <= size for end in ends[1:])
        if edge or size in ends:
            again = SqliteJournal(cut)
            assert [e.data["n"] for e in again.read()] == [
                n // 2 for n in range(2, 2 * batches + 2)
            ]
            assert len(list(again.records("run"))) == batches
            again.close()
        else:
            assert _rows_in(cut) == [2 * batches, 2 * batches, batches, batches, batches]


def _rows_in(path: Path) -> list[int]:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous = OFF")
    try:
        tables = ("max(seq) FROM event", *(f"count(*) FROM {t}" for t in
                  ("event", "record", "inbox", "subject")))  # fmt: skip
        return [connection.execute(f"SELECT {table}").fetchone()[0] for table in tables]
    finally:
        connection.close()


@pytest.mark.parametrize("damage", ["flip", "zero sector", "swap"])
def test_damage_anywhere_in_the_file_is_found_or_harmless(tmp_path: Path, damage: str) -> None:
    """Never different content without a word: reading or `verify` says so."""
    whole = tmp_path / "whole.db"
    journal = SqliteJournal(whole)
    epochs = own(journal)
    for number in range(1, 60):
        journal.commit(batch_of(number, epochs, size=20_000 if number % 20 == 0 else 40))
    expected = content(journal)
    journal.close()
    stored = whole.read_bytes()
    found = 0
    broken = tmp_path / "broken.db"
    for at in range(0, len(stored) - 1024, 1021 if damage == "flip" else 2048):
        bad = bytearray(stored)
        if damage == "flip":
            bad[at] ^= 1 << (at % 8)
        elif damage == "zero sector":
            bad[at - at % 512 : at - at % 512 + 512] = bytes(512)
        else:
            bad[at : at + 512], bad[at + 512 : at + 1024] = (
                bad[at + 512 : at + 1024],
                bad[at : at + 512],
            )
        broken.write_bytes(bad)
        found += _says_so(broken, expected, harmless=bytes(bad) == stored)
    assert found > 20
    shutil.rmtree(tmp_path)


def _says_so(path: Path, expected: str, *, harmless: bool) -> bool:
    """Whether damage was reported; AssertionError where content differs and it was not."""
    try:
        journal = SqliteJournal(path)
    except JournalError:
        return True
    try:
        seen = content(journal)
        reported = bool(list(journal.verify()))
    except JournalError:
        return True
    finally:
        journal.close()
    assert reported or seen == expected
    assert not (harmless and reported)
    return reported


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ("UPDATE event SET time = time + 1 WHERE seq = 3", "event 3"),
        ("UPDATE event SET cause = 1 WHERE seq = 4", "event 4"),
        ("UPDATE event SET data = 'null' WHERE seq = 4", "event 4"),
        ("UPDATE subject SET name = 'run-7' WHERE name = 'run-1'", "event 1 "),
        ("DELETE FROM event WHERE seq = 3", "events 3 to 3 are missing"),
        ("DELETE FROM subject WHERE name = 'run-2'", "event 3"),
        ("UPDATE record SET status = 'completed' WHERE id = 'run-2'", "run `run-2`"),
        ("UPDATE inbox SET subject = 'x' WHERE id = 'm2'", "message `m2`"),
        ("UPDATE payload SET data = zeroblob(9)", "payload"),
        ("DELETE FROM payload", "payload"),
        ("DELETE FROM link WHERE seq = 4", "links of event 4"),
        ("UPDATE snapshot SET state = zeroblob(5)", "snapshot `runs`"),
    ],
)
def test_verify_names_what_is_damaged(
    journal: SqliteJournal, path: Path, change: str, finding: str
) -> None:
    epochs = own(journal)
    for number in range(1, 4):
        journal.commit(batch_of(number, epochs, size=20_000 if number == 3 else 9))
    journal.save_snapshot("runs", 0, 6, b"state")
    assert list(journal.verify()) == []
    with sqlite3.connect(path) as other:
        other.execute(change)
    other.close()
    assert any(finding in text for text in journal.verify())


def test_what_is_damaged_is_never_read(journal: SqliteJournal, path: Path) -> None:
    journal.commit(batch_of(1, own(journal), size=20_000))
    with sqlite3.connect(path) as other:
        other.execute("UPDATE event SET time = 5 WHERE seq = 1")
        other.execute("UPDATE record SET wake = 5")
        other.execute("UPDATE inbox SET time = 5")
        other.execute("UPDATE payload SET data = x'00'")
    other.close()
    with pytest.raises(JournalCorrupt, match="event 1") as caught:
        journal.read()
    assert "restore the newest backup" in str(caught.value)
    with pytest.raises(JournalCorrupt):
        journal.event(2)
    with pytest.raises(JournalCorrupt):
        journal.record("run", "run-1")
    with pytest.raises(JournalCorrupt):
        journal.messages([0])


def test_a_damaged_snapshot_is_passed_over(journal: SqliteJournal, path: Path) -> None:
    journal.save_snapshot("runs", 0, 1, b"older")
    journal.save_snapshot("runs", 0, 2, b"newer")
    with sqlite3.connect(path) as other:
        other.execute("UPDATE snapshot SET state = x'00' WHERE seq = 2")
    other.close()
    assert journal.snapshot("runs", 0) == (1, b"older")


# -- errors that say what to do --------------------------------------------------------------


def test_a_file_that_is_no_database(path: Path) -> None:
    path.write_text("these are my notes " * 100)
    with pytest.raises(JournalCorrupt, match="is not a journal") as caught:
        SqliteJournal(path)
    assert "hint:" in str(caught.value)
    assert path.read_text().startswith("these are my notes")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="cannot be opened"):
        SqliteJournal(tmp_path / "nowhere" / "journal.db")


def test_a_database_of_the_future_is_left_alone(journal: SqliteJournal, path: Path) -> None:
    journal.close()
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    before = path.read_bytes()
    with pytest.raises(JournalTooNew, match="version 99, this program knows") as caught:
        SqliteJournal(path)
    assert "upgrade" in str(caught.value)
    assert path.read_bytes() == before


def test_a_file_without_the_right_to_write(journal: SqliteJournal, path: Path) -> None:
    """In another process, which gives up root's rights where it has them."""
    journal.close()
    path.chmod(0o444)
    path.parent.chmod(0o555)
    program = (
        "import os, sys\n"
        "from batuta.kernel.sqlite import SqliteJournal\n"
        "from batuta.kernel.errors import JournalReadOnly\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"
        "try:\n"
        "    SqliteJournal(sys.argv[1]).acquire(0, 'me', 1, 1)\n"
        "except JournalReadOnly as error:\n"
        "    sys.exit('read only: ' + str(error))\n"
    )
    for folder in path.parents:
        if folder.stat().st_uid == os.geteuid() and os.geteuid() == 0 and len(folder.parts) > 2:
            folder.chmod(folder.stat().st_mode | 0o055)
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
    )
    path.parent.chmod(0o755)
    assert "read only:" in done.stderr, done.stderr
    assert "give this user the right to write" in done.stderr


def test_a_database_that_may_only_be_read(journal: SqliteJournal) -> None:
    epochs = own(journal)
    journal.commit(batch_of(1, epochs))
    journal._writer.execute("PRAGMA query_only = 1")
    batch = batch_of(2, epochs)
    with pytest.raises(JournalReadOnly):
        journal.commit(batch)
    assert [e.seq for e in batch.events] == [0, 0]
    assert journal.head() == 2


def test_another_process_that_holds_the_file(journal: SqliteJournal, path: Path) -> None:
    epochs = own(journal)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    batch = batch_of(1, epochs)
    attempts: list[Callable[[], object]] = [
        lambda: journal.commit(batch),
        lambda: journal.acquire(0, "me", 1, 1),
    ]
    for attempt in attempts:
        with pytest.raises(JournalLocked, match="held by another process") as caught:
            attempt()
        assert "fuser" in str(caught.value)
    assert journal.head() == 0, "reading goes on"
    other.execute("ROLLBACK")
    other.close()
    journal.commit(batch)
    assert journal.head() == 2


def test_work_goes_on_when_there_is_room_again(journal: SqliteJournal) -> None:
    epochs = own(journal)
    journal.commit(batch_of(1, epochs))
    pages = journal._writer.execute("PRAGMA page_count").fetchone()[0]
    journal._writer.execute(f"PRAGMA max_page_count = {pages + 2}").fetchall()
    large = batch_of(2, epochs, size=15_000)
    with pytest.raises(JournalFull, match="cannot grow") as caught:
        journal.commit(large)
    assert "make room" in str(caught.value)
    assert [e.seq for e in large.events] == [0, 0]
    assert (journal.head(), len(list(journal.records("run")))) == (2, 1)
    journal._writer.execute("PRAGMA max_page_count = 1000000").fetchall()
    journal.commit(large)
    assert [e.seq for e in large.events] == [3, 4]
    assert list(journal.verify()) == []


def test_a_limit_on_the_size_of_files(journal: SqliteJournal, path: Path) -> None:
    epochs = own(journal)
    journal.commit(batch_of(1, epochs))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    large = batch_of(2, epochs, size=16_000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(f"{path}-wal") + 5000, hard))
    try:
        with pytest.raises(JournalFull) as caught:
            journal.commit(large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "make room" in str(caught.value)
    assert [e.seq for e in large.events] == [0, 0]
    journal.commit(large)
    assert journal.head() == 4
    assert list(journal.verify()) == []


def test_an_error_at_the_commit_reaches_whoever_syncs(journal: SqliteJournal) -> None:
    """A message was posted between stage and sync, which had to commit what was staged."""
    epochs = own(journal)
    batch = batch_of(1, epochs)
    journal.stage(batch)
    journal._writer.execute("ROLLBACK")
    assert journal.post(Message("m", 0, "t", "s", {}, None, 1))
    with pytest.raises(JournalError):
        journal.sync()
    assert [e.seq for e in batch.events] == [0, 0]
    journal.commit(batch)
    assert journal.head() == 2


# -- migrations ------------------------------------------------------------------------------


def planted(monkeypatch: pytest.MonkeyPatch, *statements: str) -> None:
    following = schema.Migration(schema.newest() + 1, statements, statements)
    monkeypatch.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS, following])
    monkeypatch.setattr("batuta.kernel.sqlite.MIGRATIONS", schema.MIGRATIONS)


def test_a_later_migration_is_applied_once(
    journal: SqliteJournal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.commit(batch_of(1, own(journal)))
    planted(monkeypatch, "CREATE TABLE planted (n)", "INSERT INTO planted SELECT seq FROM event")
    for _ in range(2):
        newer = SqliteJournal(path)
        assert list(newer.rows("SELECT n FROM planted")) == [(1,), (2,)]
        assert len(newer.read()) == 2
        newer.close()
    monkeypatch.undo()
    with pytest.raises(JournalTooNew):
        SqliteJournal(path)


def test_a_migration_that_fails_changes_nothing(
    journal: SqliteJournal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.commit(batch_of(1, own(journal)))
    planted(monkeypatch, "CREATE TABLE planted (n)", "this is no SQL")
    with pytest.raises(JournalError):
        SqliteJournal(path)
    monkeypatch.undo()
    again = SqliteJournal(path)
    assert list(again.rows("SELECT name FROM sqlite_master WHERE name = 'planted'")) == []
    assert len(again.read()) == 2
    again.close()


# -- the rest --------------------------------------------------------------------------------


def test_a_backup_while_others_write(journal: SqliteJournal, tmp_path: Path) -> None:
    epochs = own(journal)
    stop = threading.Event()
    written: list[int] = []

    def write() -> None:
        number = 0
        while not stop.is_set() or number < 5:
            number += 1
            journal.commit(batch_of(number, epochs, size=5000))
            written.append(number)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for number in range(5):
            before = journal.head()
            journal.backup(str(tmp_path / f"copy-{number}.db"))
            copy = SqliteJournal(tmp_path / f"copy-{number}.db")
            assert copy.head() >= before
            assert copy.head() % 2 == 0
            assert list(copy.verify()) == []
            copy.close()
    finally:
        stop.set()
        thread.join()
    assert written[-1] == len(written)
    assert not list(tmp_path.glob("*.part"))


def test_a_backup_that_fails_leaves_nothing(journal: SqliteJournal, tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="no folder"):
        journal.backup(str(tmp_path / "nowhere" / "copy.db"))
    journal._closed = False
    resource_soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    try:
        with pytest.raises(JournalFull):
            journal.backup(str(tmp_path / "copy.db"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource_soft, hard))
    assert sorted(p.name for p in tmp_path.glob("copy*")) == []


def test_an_existing_journal_keeps_its_number_of_partitions(
    journal: SqliteJournal, path: Path
) -> None:
    again = SqliteJournal(path, partitions=8)
    assert again.partitions == 1
    again.close()


def test_our_json_is_that_of_the_standard_library() -> None:
    values: list[Any] = [
        {},
        {"a": [1, 2.5, None, True, "é\u2028\ud800"]},
        1e300,
        2**70,
        [],
        "x",
        None,
    ]
    for value in values:
        text = encode(value)
        assert json.loads(text) == value
        assert text == json.dumps(value, separators=(",", ":"))
        assert decode(text) == value
    with pytest.raises(JournalCorrupt):
        decode("{")
    with pytest.raises(JournalCorrupt):
        decode("")
