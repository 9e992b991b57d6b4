"""The journal in one SQLite file: write-ahead log, one fsync for each commit."""

from __future__ import annotations

import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from batuta.kernel.backup import whole_file
from batuta.kernel.errors import (
    JournalCorrupt,
    JournalError,
    JournalFull,
    JournalLocked,
    JournalReadOnly,
    JournalTooNew,
)
from batuta.kernel.event import Event
from batuta.kernel.journal import Batch
from batuta.kernel.reading import Reading, Transaction
from batuta.kernel.rows import (
    EVENT,
    PLAIN,
    Row,
    contents,
    link_rows,
    message_row,
    placed,
    record_row,
    unstorable,
)
from batuta.kernel.schema import MIGRATIONS, newest
from batuta.kernel.tables import (
    PUT_RECORD,
    Tables,
    check_epochs,
    check_owned,
    keep_payloads,
    post_sql,
)

MEMORY = ":memory:"
_SUBJECTS_KNOWN = 200_000
_ADD_EVENT = f"INSERT INTO event ({EVENT}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)"
_ADD_PLAIN = f"INSERT INTO event ({', '.join(EVENT.split(', ')[:PLAIN])}) VALUES "
_PLAIN_ROW = "(?,?,?,?,?,?,?,?,?,?)"
_AT_ONCE = tuple((many, _ADD_PLAIN + ",".join([_PLAIN_ROW] * many)) for many in (50, 10))
"""Statements that add many rows cost half of what as many single ones do."""
_ADD_LINK = "INSERT INTO link (seq, kind, target) VALUES (?,?,?)"
_REMOVE_RECORD = "DELETE FROM record WHERE kind = ? AND id = ?"
_STATE = (
    "SELECT partition, epoch, max(coalesce((SELECT max(seq) FROM event), 0), seq), swept"
    " FROM head LEFT JOIN partition"
)
"""In one statement, because each costs a commit more than a row does: the epochs, and beside each
(or alone) the last position and how often subjects were removed."""
_FIND_SUBJECT = "SELECT id FROM subject WHERE name = ?"
_ADD_SUBJECT = "INSERT INTO subject (name) VALUES (?) ON CONFLICT DO NOTHING RETURNING id"
_TAKE = "UPDATE inbox SET taken = ? WHERE id = ?"


class Connection(Protocol):
    """What the journal needs of a connection to SQLite."""

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> Any:
        """Run a statement; gives a cursor."""

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> Any:
        """Run a statement for each row."""

    def close(self) -> None:
        """Close the connection."""


def connect(path: str, busy_s: float) -> Connection:
    """A connection of Python's own SQLite, with transactions as we say."""
    return sqlite3.connect(
        path, timeout=busy_s, isolation_level=None, check_same_thread=False, cached_statements=256
    )


class Within:
    """Statements on the connection that writes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __call__(self, sql: str, values: Sequence[Any] = (), /) -> list[Row]:
        rows: list[Row] = self._connection.execute(sql, values).fetchall()
        return rows

    def many(self, sql: str, rows: Iterable[Row], /) -> None:
        self._connection.executemany(sql, rows)


class SqliteJournal(Tables):
    """A journal in a file, or in memory (`:memory:`).

    Parameters
    ----------
    path: the file; it is made where there is none.
    partitions: how many partitions its subjects are spread over; an existing journal
        keeps the number that it was made with.
    busy_s: how long to wait for another process that writes, seconds.
    synchronous: SQLite's setting; anything less than FULL loses commits at a power cut.
    checkpoint_pages: how long the write-ahead log grows before it is written into the file.
    connector: how a connection is opened; tests put another SQLite under the journal here.

    Raises
    ------
    JournalCorrupt, JournalTooNew, JournalReadOnly, JournalLocked, JournalFull.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        partitions: int = 1,
        busy_s: float = 10.0,
        synchronous: str = "FULL",
        checkpoint_pages: int = 1000,
        connector: Callable[[str, float], Connection] = connect,
    ) -> None:
        self.path = str(path)
        self.partitions = partitions
        self._errors = Errors(self.path)
        self._memory = self.path == MEMORY
        self._open: Callable[[], Connection] = lambda: connector(self.path, busy_s)
        self._synchronous = synchronous
        self._checkpoint_pages = checkpoint_pages
        self._lock = threading.RLock()
        self._idle: list[Connection] = []
        self._owners: set[str] = set()
        self._staged: Batch | None = None
        self._begun = False
        self._subjects: dict[str, int] = {}
        self._swept = 0
        self._failed: BaseException | None = None
        self._closed = False
        Reading.__init__(
            self,
            self._ask,
            self._ask_slowly,
            among="IN (SELECT value FROM json_each(?))",
            instr="instr",
        )
        with self._errors:
            self._writer = self._open()
        # Whoever forgets to close it leaves no file open.
        self._end = weakref.finalize(self, close_all, self._writer, self._idle)
        try:
            with self._errors:
                self._prepare()
        except BaseException:
            self._end()
            raise

    def _prepare(self) -> None:
        run = self._writer.execute
        if self._memory and isinstance(self._writer, sqlite3.Connection):
            copy_blank(self._writer, newest())
        run("PRAGMA schema_version").fetchall()  # fails here when it is no database
        if not self._memory:
            run("PRAGMA journal_mode = WAL").fetchall()
            run("PRAGMA journal_size_limit = 67108864").fetchall()
            run(f"PRAGMA wal_autocheckpoint = {self._checkpoint_pages}").fetchall()
        run(f"PRAGMA synchronous = {self._synchronous}").fetchall()
        run("PRAGMA cache_size = -32000").fetchall()
        migrate(self._writer, self.path)
        stored = run("SELECT partitions FROM head").fetchone()[0]
        if stored:
            self.partitions = stored
        else:
            run("UPDATE head SET partitions = ?", (self.partitions,))

    # -- writing ---------------------------------------------------------------------------

    def stage(self, batch: Batch) -> None:
        """Take a batch: everything is done but the commit."""
        check_owned(batch)
        with self._lock:
            if self._staged is not None:
                raise JournalError("a batch is staged already", hint="call sync() or abandon()")
            self._failed = None
            if not self._memory:
                self._write(batch)
                self._begun = True
            self._staged = batch

    def sync(self) -> None:
        """Make the staged batch durable: one fsync, with Python's lock free."""
        with self._lock:
            failed, self._failed = self._failed, None
            if failed is not None:
                raise failed
            self._finish()

    def commit(self, batch: Batch) -> None:
        """`stage` and `sync`."""
        self.stage(batch)
        self.sync()

    def abandon(self) -> None:
        """Forget the staged batch, as a crash before `sync` would."""
        with self._lock:
            batch, self._staged = self._staged, None
            if batch is not None:
                self._undo(batch)

    def _finish(self) -> None:
        """Commit what is staged."""
        batch, self._staged = self._staged, None
        if batch is None:
            return
        if not self._begun:
            self._write(batch)
        try:
            with self._errors:
                self._writer.execute("COMMIT")
        except BaseException:
            self._undo(batch)
            raise
        self._begun = False

    def _write(self, batch: Batch) -> None:
        """Begin a transaction and do everything but the commit."""
        payloads: dict[str, bytes] = {}
        writer = self._writer
        try:
            with self._errors:
                parts = contents(batch.events, payloads)
                writer.execute("BEGIN IMMEDIATE")
                state = writer.execute(_STATE).fetchall()
                check_epochs(batch, [row[:2] for row in state])
                head, swept = state[0][2:]
                if swept != self._swept or len(self._subjects) > _SUBJECTS_KNOWN:
                    self._subjects.clear()  # retention may have removed some
                    self._swept = swept
                self._number(batch.events)
                rows = placed(batch.events, parts, head, self._subjects)
                add_events(writer, rows)
                self._write_rest(batch, rows, head + len(rows), payloads)
        except BaseException:
            self._undo(batch)
            raise

    def _write_rest(
        self, batch: Batch, rows: list[Row], head: int, payloads: dict[str, bytes]
    ) -> None:
        writer = self._writer
        if any(event.links for event in batch.events):
            writer.executemany(_ADD_LINK, link_rows(rows))
        if batch.records:
            writer.executemany(
                PUT_RECORD, [record_row(record, head, payloads) for record in batch.records]
            )
        if batch.removed:
            writer.executemany(_REMOVE_RECORD, batch.removed)
        if batch.messages:
            for message in batch.messages:
                self._check_partition(message.partition)
            writer.executemany(
                post_sql(), [message_row(message, payloads) for message in batch.messages]
            )
        if batch.taken:
            writer.executemany(_TAKE, [(head, id) for id in batch.taken])
        if payloads:
            keep_payloads(Within(writer), payloads)

    def _undo(self, batch: Batch) -> None:
        self._begun = False
        self._subjects.clear()
        for event in batch.events:
            event.seq = 0
        with suppress(sqlite3.Error):
            self._writer.execute("ROLLBACK")

    def _number(self, events: Iterable[Event]) -> None:
        """Find or make the numbers of the subjects of these events."""
        known = self._subjects
        for event in events:
            name = event.subject
            if name not in known:
                found = self._writer.execute(_ADD_SUBJECT, (name,)).fetchall()
                if not found:
                    found = self._writer.execute(_FIND_SUBJECT, (name,)).fetchall()
                known[name] = found[0][0]

    @contextmanager
    def _transaction(self, *, exclusive: bool = True) -> Iterator[Transaction]:
        """One transaction of its own, after what is staged."""
        with self._lock:
            if self._staged is not None:
                try:
                    self._finish()
                except BaseException as error:  # it belongs to whoever calls sync()
                    self._failed = error
            with self._errors:
                self._writer.execute("BEGIN IMMEDIATE")
                try:
                    yield Within(self._writer)
                    self._writer.execute("COMMIT")
                except BaseException:
                    with suppress(sqlite3.Error):
                        self._writer.execute("ROLLBACK")
                    raise

    # -- reading ---------------------------------------------------------------------------

    @contextmanager
    def _reader(self) -> Iterator[Connection]:
        """A connection that nobody else uses now; in memory there is only the writer's."""
        if self._memory:
            with self._lock, self._errors:
                yield self._writer
            return
        with self._errors:
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = self._open()
            try:
                yield connection
            finally:
                if self._closed:
                    connection.close()
                else:
                    self._idle.append(connection)

    def _ask(self, sql: str, values: Sequence[Any] = (), /) -> list[Row]:
        with self._reader() as connection:
            rows: list[Row] = connection.execute(sql, values).fetchall()
        return rows

    def _ask_slowly(self, sql: str, values: Sequence[Any]) -> Iterator[Row]:
        if self._memory:
            yield from self._ask(sql, values)
            return
        with self._reader() as connection:
            yield from connection.execute(sql, values)

    # -- upkeep ----------------------------------------------------------------------------

    def backup(self, path: str) -> None:
        """Write a consistent copy while others go on writing; it appears when it is whole."""
        with self._reader() as connection, whole_file(path) as part:
            connection.execute("VACUUM INTO ?", (part,))

    def _check_storage(self) -> Iterator[str]:
        """What SQLite itself finds damaged: pages, indexes, the order of keys."""
        try:
            for (finding,) in self._ask("PRAGMA integrity_check"):
                if finding != "ok":
                    yield f"{self.path}: {finding}"
        except JournalCorrupt as error:
            yield error.message

    def listen(self) -> Iterator[int] | None:
        """None: only this process writes events."""
        return None

    def close(self) -> None:
        """Finish; leases are released."""
        if self._closed:
            return
        self.abandon()
        for owner in sorted(self._owners):
            with suppress(JournalError):
                self.release(owner)
        self._closed = True
        self._end()


def close_all(writer: Connection, idle: list[Connection]) -> None:
    """Close the connections of a journal."""
    while idle:
        idle.pop().close()
    writer.close()


class Errors:
    """SQLite's errors as the journal's, with what to do. (A class, and made once, because each
    commit enters it twice.)"""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        if isinstance(error, sqlite3.Error):
            raise explained(error, self._path) from error
        if isinstance(error, UnicodeEncodeError):
            raise unstorable(error) from error


def add_events(connection: Connection, rows: Sequence[Row]) -> None:
    """Insert the rows of events; those with rare columns one by one, the others many at once."""
    plain = [row[:PLAIN] for row in rows if row[PLAIN] is None and row[PLAIN + 1] is None]
    done, count = 0, len(plain)
    for many, sql in _AT_ONCE:
        while count - done >= many:
            connection.execute(sql, list(chain.from_iterable(plain[done : done + many])))
            done += many
    if done < count:
        connection.executemany(_ADD_PLAIN + _PLAIN_ROW, plain[done:])
    if count < len(rows):
        rare = [row for row in rows if row[PLAIN] is not None or row[PLAIN + 1] is not None]
        connection.executemany(_ADD_EVENT, rare)


@lru_cache(maxsize=2)
def _blank(number: int) -> bytes:
    """An empty journal whose tables have this version."""
    with closing(sqlite3.connect(MEMORY, isolation_level=None)) as made:
        migrate(made, MEMORY)
        return made.serialize()


def copy_blank(connection: sqlite3.Connection, number: int) -> None:
    """Fill a new database with the tables: six times as fast as making them, which is what a
    simulation of thousands of short lives mostly does."""
    with closing(sqlite3.connect(MEMORY)) as source:
        if hasattr(source, "deserialize"):  # SQLite can be built without
            source.deserialize(_blank(number))
            source.backup(connection)


def migrate(connection: Connection, path: str) -> None:
    """Bring the tables to the newest version, in one transaction.

    Raises
    ------
    JournalTooNew: a later program wrote them.
    """
    if _version(connection, path) == newest():
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection, path)
        for migration in MIGRATIONS:
            if migration.number > version:
                for statement in migration.sqlite:
                    connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {newest()}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _version(connection: Connection, path: str) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > newest():
        raise JournalTooNew(
            f"{path} was written by a later version of Batuta"
            f" (its tables have version {version}, this program knows {newest()})",
            hint="upgrade this program, or restore a backup made before the upgrade",
        )
    return version


def explained(error: sqlite3.Error, path: str) -> JournalError:
    """What a SQLite error means for the journal, and what to do."""
    code = getattr(error, "sqlite_errorcode", None) or 0
    kind, what, hint = _MEANINGS.get(code) or _MEANINGS.get(code & 0xFF) or _UNKNOWN
    return kind(f"{path} {what}: {error}", hint=hint)


_UNKNOWN = (JournalError, "cannot be used", "look at the disk and the file's folder")
_MEANINGS: dict[int, tuple[type[JournalError], str, str]] = {
    sqlite3.SQLITE_READONLY: (
        JournalReadOnly,
        "may not be written",
        "give this user the right to write the file and its folder",
    ),
    sqlite3.SQLITE_BUSY: (
        JournalLocked,
        "is held by another process",
        "end the other process (`fuser FILE` names it), or try again later",
    ),
    sqlite3.SQLITE_LOCKED: (JournalLocked, "is in use", "try again later"),
    sqlite3.SQLITE_FULL: (
        JournalFull,
        "cannot grow",
        "make room on its disk; work goes on by itself then",
    ),
    sqlite3.SQLITE_IOERR_WRITE: (
        JournalFull,
        "cannot be written",
        "make room on its disk or raise the limit on file sizes, and look at the disk's health",
    ),
    sqlite3.SQLITE_CORRUPT: (
        JournalCorrupt,
        "is damaged",
        "stop all programs that use it and restore the newest backup",
    ),
    sqlite3.SQLITE_NOTADB: (
        JournalCorrupt,
        "is not a journal",
        "name another file, or restore the newest backup",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        JournalError,
        "cannot be opened",
        "make its folder and give this user the right to write there",
    ),
}
