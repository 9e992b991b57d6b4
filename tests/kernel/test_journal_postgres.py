"""What only a server can suffer: lost connections, other servers, a later version."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from tests.conformance.postgres import Server

from batuta.kernel.errors import (
    Fenced,
    JournalFull,
    JournalLost,
    JournalReadOnly,
    JournalTooNew,
)
from batuta.kernel.event import Event, Message, Record
from batuta.kernel.journal import Batch
from batuta.kernel.postgres import PostgresJournal, explained

pytestmark = pytest.mark.postgres


@pytest.fixture
def dsn(postgres_server: Server) -> str:
    return postgres_server.fresh()


@pytest.fixture
def journal(dsn: str) -> Iterator[PostgresJournal]:
    opened = PostgresJournal(dsn)
    yield opened
    opened.close()


def own(journal: PostgresJournal, partition: int = 0) -> dict[int, int]:
    epoch = journal.acquire(partition, "me", 1, 10**9)
    assert epoch is not None
    return {partition: epoch}


def event(subject: str = "run-1", **more: Any) -> Event:
    return Event("step.completed", subject, {}, None, 5, **more)


def cut_off(journal: PostgresJournal, dsn: str) -> None:
    """End the connection that writes, from the server's side."""
    assert journal._writer is not None
    number = journal._writer.info.backend_pid
    with psycopg.connect(dsn, autocommit=True) as other:
        other.execute(b"SELECT pg_terminate_backend(%s, 5000)", [number])


def test_a_lost_connection_is_told_and_the_next_call_connects(
    journal: PostgresJournal, dsn: str
) -> None:
    epochs = own(journal)
    journal.commit(Batch(events=[event()], epochs=epochs))
    cut_off(journal, dsn)
    batch = Batch(events=[event("again")], epochs=epochs)
    with pytest.raises(JournalLost, match="connection to PostgreSQL is gone") as caught:
        journal.commit(batch)
    assert "hint:" in str(caught.value)
    assert batch.events[0].seq == 0
    assert journal.survived() is False
    journal.commit(batch)
    assert [e.subject for e in journal.read()] == ["run-1", "again"]


def test_a_commit_whose_answer_was_lost_is_found_written(
    journal: PostgresJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs = own(journal)
    batch = Batch(
        events=[event("a"), event("b")],
        records=[Record("run", "a", 0, "running", "w", 1)],
        epochs=epochs,
    )
    write = journal._write

    def write_and_lose(connection: Any, staged: Any) -> None:
        write(connection, staged)
        connection.close()
        raise psycopg.OperationalError("the connection was closed")

    monkeypatch.setattr(journal, "_write", write_and_lose)
    with pytest.raises(JournalLost):
        journal.commit(batch)
    monkeypatch.undo()
    assert [e.seq for e in batch.events] == [0, 0]
    assert journal.survived() is True
    assert [e.seq for e in batch.events] == [1, 2]
    assert journal.survived() is False, "it is asked once"
    assert journal.head() == 2


def test_a_place_that_somebody_else_took_is_not_ours(
    journal: PostgresJournal, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lost batch was rolled back, and another server wrote at its number."""
    epochs = own(journal)

    def lose(*given: Any) -> None:
        raise psycopg.OperationalError("the connection was closed")

    monkeypatch.setattr(journal, "_write_rest", lose)
    batch = Batch(events=[event("mine")], epochs=epochs)
    with pytest.raises(JournalLost):
        journal.commit(batch)
    monkeypatch.undo()
    other = PostgresJournal(dsn)
    other.commit(Batch(events=[event("theirs", partition=1)], epochs=own(other, 1)))
    assert journal.survived() is False
    journal.commit(batch)
    assert [e.subject for e in other.read()] == ["theirs", "mine"]
    other.close()


def test_a_server_that_is_not_there(postgres_server: Server) -> None:
    with pytest.raises(JournalLost) as caught:
        PostgresJournal("host=/nowhere user=postgres dbname=postgres")
    assert "see that the server runs" in str(caught.value)


def test_a_database_of_the_future(journal: PostgresJournal, dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as other:
        other.execute("UPDATE journal_version SET number = 99")
    with pytest.raises(JournalTooNew, match="version 99"):
        PostgresJournal(dsn)


def test_a_database_that_may_only_be_read(journal: PostgresJournal, dsn: str) -> None:
    epochs = own(journal)
    journal.commit(Batch(events=[event()], epochs=epochs))
    assert journal._writer is not None
    journal._writer.execute("SET default_transaction_read_only = on")
    journal._writer.commit()
    batch = Batch(events=[event()], epochs=epochs)
    with pytest.raises(JournalReadOnly):
        journal.commit(batch)
    assert batch.events[0].seq == 0
    with psycopg.connect(dsn) as other:
        with pytest.raises(psycopg.Error) as caught:
            other.execute("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '53100'; END $$")
        assert isinstance(explained(caught.value), JournalFull)


def test_a_lease_is_not_taken_in_the_middle_of_a_commit(journal: PostgresJournal, dsn: str) -> None:
    """The owner's commit holds `head`; whoever takes the partition over waits for it."""
    epochs = own(journal)
    other = PostgresJournal(dsn)
    writer = psycopg.connect(dsn)
    writer.execute("SELECT seq FROM head FOR UPDATE")
    taken: list[int | None] = []
    thread = threading.Thread(target=lambda: taken.append(other.acquire(0, "b", 10**12, 1)))
    thread.start()
    thread.join(0.2)
    assert taken == []
    writer.rollback()
    thread.join(20)
    writer.close()
    assert taken == [2]
    with pytest.raises(Fenced):
        journal.commit(Batch(events=[event()], epochs=epochs))
    other.close()


def test_listening_tells_of_commits_and_of_messages(journal: PostgresJournal, dsn: str) -> None:
    other = PostgresJournal(dsn)
    heard = journal.listen()
    assert next(heard) == 0
    other.commit(Batch(events=[event(), event()], epochs=own(other)))
    assert next(heard) == 2
    other.post(Message("m", 3, "run.start", "x", {}, None, 1))
    assert next(heard) == 2
    assert [m.id for m in journal.messages([3])] == ["m"]
    journal._closed = True
    assert list(heard) == []
    journal._closed = False
    other.close()


def test_two_servers_make_the_tables_at_once(dsn: str) -> None:
    opened: list[PostgresJournal] = []
    failed: list[BaseException] = []

    def open_one() -> None:
        try:
            opened.append(PostgresJournal(dsn, partitions=8))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=open_one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (failed, len(opened)) == ([], 4)
    opened.append(PostgresJournal(dsn, partitions=99))
    assert [journal.partitions for journal in opened] == [8] * 5
    for journal in opened:
        journal.close()


def test_two_schemas_of_one_database_are_two_journals(postgres_server: Server) -> None:
    one, two = (PostgresJournal(postgres_server.fresh()) for _ in range(2))
    one.commit(Batch(events=[event()], epochs=own(one)))
    assert (one.head(), two.head()) == (1, 0)
    one.close()
    two.close()


def test_a_server_that_stalls_in_its_commit_is_cut_off(journal: PostgresJournal, dsn: str) -> None:
    """It was suspended while it sent its rows: it holds `head`, and nothing comes any more."""
    epochs = own(journal)
    patient = PostgresJournal(dsn, patience_s=0.3)
    actions: list[Callable[[], object]] = [
        lambda: patient.acquire(1, "b", 1, 10**9),
        lambda: patient.commit(Batch(events=[event()], epochs=epochs)),
    ]
    for action in actions:
        stalled = journal._connect()
        stalled.autocommit = False
        stalled.execute("UPDATE head SET seq = seq + 100")
        stalled.pgconn.exec_(b"COPY link FROM STDIN")
        stalled.pgconn.put_copy_data(b"1\tinput\t")
        stalled.pgconn.flush()
        action()
        still_there = f"SELECT 1 FROM pg_stat_activity WHERE pid = {stalled.info.backend_pid}"
        assert list(patient.rows(still_there)) == []
        stalled.close()
    assert [e.seq for e in patient.read()] == [1]
    patient.close()


def test_idle_connections_are_made_anew_after_the_server_was_away(
    journal: PostgresJournal, dsn: str
) -> None:
    with psycopg.connect(dsn, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name = 'batuta'"
        )
    with pytest.raises(JournalLost):
        journal.head()
    assert journal.head() == 0
