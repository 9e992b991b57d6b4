"""The journal in PostgreSQL: several servers, each the owner of some partitions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any

import psycopg
from psycopg import Connection, errors

from batuta.kernel.backup import TABLES, whole_file
from batuta.kernel.errors import (
    JournalCorrupt,
    JournalError,
    JournalFull,
    JournalLocked,
    JournalLost,
    JournalReadOnly,
    JournalTooNew,
)
from batuta.kernel.journal import Batch
from batuta.kernel.reading import Reading, Transaction
from batuta.kernel.rows import (
    EVENT,
    RECORD,
    Row,
    contents,
    link_rows,
    message_row,
    placed,
    record_row,
    unstorable,
)
from batuta.kernel.schema import MIGRATIONS, newest
from batuta.kernel.sqlite import SqliteJournal
from batuta.kernel.tables import (
    REPLACE_RECORD,
    Tables,
    check_epochs,
    check_owned,
    keep_payloads,
    post_sql,
)

_SUBJECTS_KNOWN = 200_000
_COPY_EVENTS = f"COPY event ({EVENT}) FROM STDIN BINARY".encode()
_EVENT_TYPES = (
    "int8", "int4", "text", "int8", "int8", "int8", "text", "int4", "text", "int8", "text", "text",
)  # fmt: skip
_PUT_RECORDS = (
    f"INSERT INTO record ({RECORD}) SELECT * FROM unnest(%s::text[], %s::text[], %s::int[],"
    " %s::text[], %s::text[], %s::int8[], %s::int8[], %s::int8[], %s::int8[], %s::text[],"
    f" %s::text[], %s::text[], %s::int8[]){REPLACE_RECORD}"
).encode()
"""Many records in one statement: each column is an array."""
_TAKE = b"UPDATE inbox SET taken = %s WHERE id = ANY(%s)"
_LOCK_HEAD = b"SELECT seq FROM head FOR UPDATE"
_ADVANCE = b"UPDATE head SET seq = seq + %s RETURNING seq, swept"
_EPOCHS = b"SELECT partition, epoch FROM partition WHERE partition = ANY(%s)"
_ADD_SUBJECTS = b"INSERT INTO subject (name) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING"
_FIND_SUBJECTS = b"SELECT name, id FROM subject WHERE name = ANY(%s)"
_CHANNEL = "'batuta_' || current_schema()"
_TELL = f"SELECT pg_notify({_CHANNEL}, '')"
_FOLLOW = (
    "SELECT setval(pg_get_serial_sequence('{table}', '{column}'),"
    " (SELECT coalesce(max({column}), 0) + 1 FROM {table}), false)"
)
_SESSION = (
    "SET idle_in_transaction_session_timeout = {patience}; SET lock_timeout = {patience};"
    " SET synchronous_commit = on; SET client_encoding = 'UTF8'"
)
_NAME = "batuta"
_END_STALLED = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = ?"
    " AND datname = current_database() AND wait_event = 'ClientRead'"
    " AND xact_start < clock_timestamp() - ? * interval '1 second'"
)
"""A server that was suspended while it sent its rows holds `head`, and no timeout of PostgreSQL's
ends that; whoever waited in vain does. Its batch is rolled back, as after any lost connection."""
_MIGRATING = 7_305_128_841
"""The advisory lock under which one server changes the tables."""


@dataclass(slots=True)
class _Staged:
    """A batch with everything done that does not need its place in the journal."""

    batch: Batch
    parts: list[Row]
    payloads: dict[str, bytes]
    first: Row | None = None
    """The row of its first event, once it was sent."""


class PostgresJournal(Tables):
    """A journal in a PostgreSQL database, 14 or later.

    One row, `head`, is locked from the moment a batch gets its numbers until it is committed.
    Numbers therefore become visible in their order, and nobody who reads up to the head ever
    misses an event. Everything that can be done before is done before.

    Parameters
    ----------
    dsn: a libpq connection string or URL; its `search_path` chooses the schema.
    partitions: how many partitions its subjects are spread over; an existing journal keeps
        the number that it was made with.
    patience_s: how long to wait for another server's commit before it counts as stalled.

    Raises
    ------
    JournalLost, JournalTooNew, JournalReadOnly, JournalFull.
    """

    _on_post = _TELL
    _after_load = (
        _FOLLOW.format(table="subject", column="id"),
        _FOLLOW.format(table="inbox", column="n"),
    )

    def __init__(self, dsn: str, *, partitions: int = 16, patience_s: float = 10.0) -> None:
        self.dsn = dsn
        self._patience_s = patience_s
        self.partitions = partitions
        self._lock = Lock()
        self._idle: list[Connection] = []
        self._writer: Connection | None = None
        self._owners: set[str] = set()
        self._subjects: dict[str, int] = {}
        self._swept = 0
        self._staged: _Staged | None = None
        self._lost: _Staged | None = None
        self._closed = False
        Reading.__init__(
            self,
            self._ask,
            self._ask_slowly,
            among="= ANY(ARRAY(SELECT json_array_elements_text(?::json)))",
            instr="strpos",
        )
        try:
            with self._borrowed() as connection:
                self.partitions = prepare(connection, partitions)
        except JournalError:
            self.close()
            raise

    # -- writing ---------------------------------------------------------------------------

    def stage(self, batch: Batch) -> None:
        """Take a batch and encode it; the database is not asked."""
        check_owned(batch)
        if self._staged is not None:
            raise JournalError("a batch is staged already", hint="call sync() or abandon()")
        payloads: dict[str, bytes] = {}
        for message in batch.messages:
            self._check_partition(message.partition)
        self._lost = None
        with self._errors():
            parts = contents(batch.events, payloads)
        self._staged = _Staged(batch, parts, payloads)

    def sync(self) -> None:
        """Write the staged batch in one transaction."""
        staged, self._staged = self._staged, None
        if staged is None:
            return
        with self._lock:
            try:
                with self._errors():
                    try:
                        self._write(self._writing(), staged)
                    except errors.LockNotAvailable:
                        self._reset()
                        self._end_stalled()
                        self._write(self._writing(), staged)
            except BaseException as error:
                for event in staged.batch.events:
                    event.seq = 0
                self._subjects.clear()
                if isinstance(error, JournalLost):
                    self._lost = staged
                self._reset()
                raise

    def commit(self, batch: Batch) -> None:
        """`stage` and `sync`."""
        self.stage(batch)
        self.sync()

    def abandon(self) -> None:
        """Forget the staged batch, as a crash before `sync` would."""
        self._staged = None

    def survived(self) -> bool:
        """After `JournalLost` from `sync`: was that batch written all the same?

        If so, its events have their seqs now. If not, it may be committed again. A batch
        without events counts as not written: writing it twice does no harm.
        """
        staged, self._lost = self._lost, None
        if staged is None or staged.first is None:
            return False
        with self._transaction() as run:  # waits until the lost transaction has ended
            found = run(f"SELECT {EVENT} FROM event WHERE seq = ?", [staged.first[0]])
        if not found or found[0] != staged.first:
            return False
        for place, event in enumerate(staged.batch.events):
            event.seq = staged.first[0] + place
        return True

    def _write(self, connection: Connection, staged: _Staged) -> None:
        batch, known = staged.batch, self._subjects
        names = {event.subject for event in batch.events}
        missing = sorted(names.difference(known))
        cursor = connection.cursor
        with connection.pipeline():
            if missing:
                cursor().execute(_ADD_SUBJECTS, [missing])
            advanced = cursor().execute(_ADVANCE, [len(batch.events)])
            epochs = cursor().execute(_EPOCHS, [list(batch.epochs)])
            found = cursor().execute(_FIND_SUBJECTS, [missing]) if missing else None
            head, swept = advanced.fetchone() or (0, 0)
            check_epochs(batch, epochs.fetchall())
            known.update(found.fetchall() if found else ())
        if swept != self._swept or len(known) > _SUBJECTS_KNOWN:
            self._swept = swept
            known.clear()  # retention may have removed some
            cursor().execute(_ADD_SUBJECTS, [sorted(names)])
            known.update(cursor().execute(_FIND_SUBJECTS, [sorted(names)]).fetchall())
        if batch.events:
            rows = placed(batch.events, staged.parts, head - len(batch.events), known)
            staged.first = rows[0]
            with cursor() as into, into.copy(_COPY_EVENTS) as copying:
                copying.set_types(_EVENT_TYPES)
                for row in rows:
                    copying.write_row(row)
        else:
            rows = []
        with connection.pipeline():
            self._write_rest(Within(connection), staged, rows, head)
            connection.commit()

    def _write_rest(self, run: Within, staged: _Staged, rows: list[Row], head: int) -> None:
        batch, payloads = staged.batch, staged.payloads
        if any(event.links for event in batch.events):
            run.many("INSERT INTO link (seq, kind, target) VALUES (?,?,?)", link_rows(rows))
        if batch.records:
            last = {(record.kind, record.id): record for record in batch.records}
            fresh = [record_row(record, head, payloads) for record in last.values()]
            columns = [list(column) for column in zip(*fresh, strict=True)]
            run.connection.execute(_PUT_RECORDS, columns)
        if batch.removed:
            run.many("DELETE FROM record WHERE kind = ? AND id = ?", batch.removed)
        if batch.messages:
            run.many(post_sql(), [message_row(message, payloads) for message in batch.messages])
        if batch.taken:
            run.connection.execute(_TAKE, [head, batch.taken])
        if payloads:
            keep_payloads(run.quietly, payloads)
        run.quietly(_TELL)

    @contextmanager
    def _transaction(self, *, exclusive: bool = True) -> Iterator[Transaction]:
        """One transaction on a connection of its own; `exclusive`: while nobody commits."""
        with self._borrowed() as connection:
            connection.autocommit = False
            try:
                if exclusive:
                    self._lock_head(connection)
                yield Within(connection)
                connection.commit()
            finally:
                with suppress(psycopg.Error):
                    connection.rollback()
                    connection.autocommit = True

    def _lock_head(self, connection: Connection) -> None:
        try:
            connection.execute(_LOCK_HEAD)
        except errors.LockNotAvailable:
            connection.rollback()
            self._end_stalled()
            connection.execute(_LOCK_HEAD)

    def _end_stalled(self) -> None:
        """Cut off servers that began a commit long ago and are silent since."""
        self._ask(_END_STALLED, [_NAME, self._patience_s])

    # -- connections -----------------------------------------------------------------------

    def _connect(self) -> Connection:
        connection = psycopg.connect(self.dsn, autocommit=True, application_name=_NAME)
        connection.execute(_SESSION.format(patience=int(self._patience_s * 1000)).encode())
        return connection

    def _writing(self) -> Connection:
        if self._writer is None or self._writer.closed:
            self._writer = self._connect()
            self._writer.autocommit = False
        return self._writer

    def _reset(self) -> None:
        """Roll back; a connection that cannot is given up."""
        writer = self._writer
        if writer is None:
            return
        try:
            writer.rollback()
        except psycopg.Error:
            self._writer = None
            writer.close()

    @contextmanager
    def _borrowed(self) -> Iterator[Connection]:
        """A connection that nobody else uses now."""
        with self._errors():
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = self._connect()
            try:
                yield connection
            finally:
                if self._closed or connection.closed or connection.broken:
                    connection.close()
                    while self._idle:  # the others are gone too, or soon will be
                        self._idle.pop().close()
                else:
                    self._idle.append(connection)

    def _ask(self, sql: str, values: Sequence[Any] = (), /) -> list[Row]:
        with self._borrowed() as connection:
            return connection.execute(translated(sql), values).fetchall()

    def _ask_slowly(self, sql: str, values: Sequence[Any]) -> Iterator[Row]:
        with self._borrowed() as connection, connection.transaction():
            yield from _stream(connection, sql, values)

    # -- upkeep ----------------------------------------------------------------------------

    def listen(self) -> Iterator[int]:
        """The head, whenever somebody committed something or posted a message."""
        with self._errors():
            connection = self._connect()
        try:
            with self._errors():
                found = connection.execute(f"SELECT {_CHANNEL}".encode()).fetchone()
                channel = psycopg.sql.Identifier(found[0] if found else "batuta")
                connection.execute(psycopg.sql.SQL("LISTEN {}").format(channel))
            yield self.head()
            while not self._closed:
                with self._errors():
                    told = list(connection.notifies(timeout=0.5, stop_after=1))
                if told:
                    yield self.head()
        finally:
            connection.close()

    def backup(self, path: str) -> None:
        """Write everything, as of one instant, into a file that `kernel.restore` reads.

        The file is a journal of SQLite.
        """
        with whole_file(path) as part, self._borrowed() as connection:
            target = SqliteJournal(part, partitions=self.partitions, synchronous="OFF")
            try:
                with connection.transaction():
                    connection.execute(b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                    target.load(lambda sql: _stream(connection, sql))
            finally:
                target.close()

    def _check_storage(self) -> Iterator[str]:
        """Whether every table can be read to its end, which PostgreSQL itself can tell."""
        for table in TABLES:
            try:
                self._ask(f"SELECT count(*) FROM (SELECT * FROM {table} OFFSET 0) AS whole")
            except JournalCorrupt as error:
                yield error.message

    def close(self) -> None:
        """Finish; leases are released."""
        if self._closed:
            return
        self.abandon()
        for owner in sorted(self._owners):
            with suppress(JournalError):
                self.release(owner)
        self._closed = True
        while self._idle:
            self._idle.pop().close()
        if self._writer is not None:
            self._writer.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """PostgreSQL's errors as the journal's, with what to do."""
        try:
            yield
        except psycopg.Error as error:
            raise explained(error) from error
        except UnicodeEncodeError as error:
            raise unstorable(error) from error


class Within:
    """Statements of one transaction, with `?` for values."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def __call__(self, sql: str, values: Sequence[Any] = (), /) -> list[Row]:
        cursor = self.connection.execute(translated(sql), values)
        return cursor.fetchall() if cursor.description else []

    def quietly(self, sql: str, values: Sequence[Any] = (), /) -> list[Row]:
        """The same without waiting for rows, so that a pipeline goes on."""
        self.connection.execute(translated(sql), values)
        return []

    def many(self, sql: str, rows: Iterable[Row], /) -> None:
        with self.connection.cursor() as cursor:
            cursor.executemany(translated(sql), rows)


@lru_cache(maxsize=512)
def translated(sql: str) -> bytes:
    """A statement with `?` for values as psycopg wants it."""
    return sql.replace("?", "%s").encode()


def _stream(connection: Connection, sql: str, values: Sequence[Any] = ()) -> Iterator[Row]:
    with connection.cursor(name="slowly") as cursor:
        cursor.itersize = 2000
        cursor.execute(translated(sql), values)
        yield from cursor


def prepare(connection: Connection, partitions: int) -> int:
    """Bring the tables to the newest version; how many partitions the journal has.

    Raises
    ------
    JournalTooNew: a later program wrote them.
    """
    with connection.transaction():
        connection.execute(b"SELECT pg_advisory_xact_lock(%s)", [_MIGRATING])
        there = connection.execute(b"SELECT to_regclass('journal_version')").fetchone()
        if not there or there[0] is None:
            connection.execute(b"CREATE TABLE journal_version (number integer NOT NULL)")
            connection.execute(b"INSERT INTO journal_version VALUES (0)")
        found = connection.execute(b"SELECT number FROM journal_version").fetchone()
        version = int(found[0]) if found else 0
        if version > newest():
            raise JournalTooNew(
                "the database was written by a later version of Batuta"
                f" (its tables have version {version}, this program knows {newest()})",
                hint="upgrade this program, or restore a backup made before the upgrade",
            )
        for migration in MIGRATIONS:
            if migration.number > version:
                for statement in migration.postgres:
                    connection.execute(statement.encode())
        if version != newest():
            connection.execute(b"UPDATE journal_version SET number = %s", [newest()])
        stored = connection.execute(b"SELECT partitions FROM head").fetchone()
        if stored and stored[0]:
            return int(stored[0])
        connection.execute(b"UPDATE head SET partitions = %s", [partitions])
        return partitions


def explained(error: psycopg.Error) -> JournalError:
    """What a PostgreSQL error means for the journal, and what to do."""
    text = str(error).strip() or type(error).__name__
    for kinds, meaning, what, hint in _MEANINGS:
        if isinstance(error, kinds):
            return meaning(f"{what}: {text}", hint=hint)
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return JournalLost(
            f"the connection to PostgreSQL is gone: {text}",
            hint="see that the server runs and that the address is right; the next call connects",
        )
    return JournalError(
        f"PostgreSQL refused: {text}", hint="see the server's log for what it has against it"
    )


_Meaning = tuple[tuple[type[psycopg.Error], ...], type[JournalError], str, str]
_MEANINGS: tuple[_Meaning, ...] = (
    (
        (errors.DiskFull, errors.OutOfMemory, errors.TooManyConnections),
        JournalFull,
        "PostgreSQL has no room",
        "make room on the server's disk, or allow more connections",
    ),
    (
        (errors.ReadOnlySqlTransaction, errors.InsufficientPrivilege),
        JournalReadOnly,
        "PostgreSQL does not let this user write",
        "connect to the primary, as a user who may write to the schema",
    ),
    (
        (errors.LockNotAvailable, errors.DeadlockDetected, errors.SerializationFailure),
        JournalLocked,
        "another server holds the journal",
        "see which session holds it (`pg_stat_activity`), or try again later",
    ),
    (
        (errors.DataCorrupted, errors.IndexCorrupted),
        JournalCorrupt,
        "PostgreSQL finds its files damaged",
        "stop all programs that use it and restore the newest backup",
    ),
)
