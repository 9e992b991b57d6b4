"""Writing the journal's tables apart from the events: leases, inbox, snapshots, upkeep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any
from zlib import crc32

from batuta.kernel.backup import copy
from batuta.kernel.errors import Conflict, Fenced, JournalError
from batuta.kernel.event import Message
from batuta.kernel.journal import PRESENCE, Batch
from batuta.kernel.reading import Query, Reading, Transaction
from batuta.kernel.retention import retain
from batuta.kernel.rows import MESSAGE, RECORD, Row, message_row
from batuta.kernel.verify import verify

SNAPSHOTS_KEPT = 2
REPLACE_RECORD = (
    " ON CONFLICT (kind, id) DO UPDATE SET partition = excluded.partition,"
    " status = excluded.status, name = excluded.name, time = excluded.time,"
    " ended = excluded.ended, wake = excluded.wake, seq = excluded.seq,"
    " attributes = excluded.attributes, data = excluded.data, large = excluded.large,"
    " crc = excluded.crc"
)
PUT_RECORD = f"INSERT INTO record ({RECORD}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)" + REPLACE_RECORD
"""Insert a record, or replace the one of the same kind and id."""


class Tables(Reading):
    """The part of a journal that is the same SQL everywhere.

    A database adds `_transaction`, which gives a `Transaction` whose statements are committed
    together, or not at all, after everybody else's transaction on leases has ended.
    """

    partitions: int
    _check_storage: Callable[[], Iterable[str]]
    _owners: set[str]
    _on_post: str = ""
    _after_load: Sequence[str] = ()

    def _transaction(self, *, exclusive: bool = True) -> AbstractContextManager[Transaction]:
        """Statements that are done together or not at all; `exclusive`: while no batch is."""
        raise NotImplementedError

    # -- inbox -----------------------------------------------------------------------------

    def post(self, message: Message) -> bool:
        """Put a message into its partition's inbox, durably; False where it was there."""
        payloads: dict[str, bytes] = {}
        row = message_row(message, payloads)
        self._check_partition(message.partition)
        with self._transaction(exclusive=bool(payloads)) as run:
            keep_payloads(run, payloads)
            fresh = bool(run(post_sql() + " RETURNING n", row))
            if fresh and self._on_post:
                run(self._on_post)
        return fresh

    # -- ownership -------------------------------------------------------------------------

    def acquire(self, partition: int, owner: str, now: int, ttl: int) -> int | None:
        """Own a partition until `now + ttl` (ns): its epoch, or None where another owns it."""
        self._check_partition(partition)
        with self._transaction() as run:
            rows = run("SELECT owner, epoch, until FROM partition WHERE partition = ?", [partition])
            holder, epoch, until = rows[0] if rows else ("", 0, 0)
            if holder != owner:
                if holder and until > now:
                    return None
                epoch += 1
            run(
                "INSERT INTO partition (partition, owner, epoch, until) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (partition) DO UPDATE SET owner = excluded.owner,"
                " epoch = excluded.epoch, until = excluded.until",
                [partition, owner, epoch, now + ttl],
            )
        self._owners.add(owner)
        return int(epoch)

    def renew(self, owner: str, now: int, ttl: int) -> set[int]:
        """Prolong all leases of `owner` that nobody else has taken; which these are."""
        with self._transaction() as run:
            rows = run(
                "UPDATE partition SET until = ? WHERE owner = ? RETURNING partition",
                [now + ttl, owner],
            )
        return {row[0] for row in rows}

    def release(self, owner: str, partitions: Sequence[int] | None = None) -> None:
        """Give up leases of `owner` at once, all of them or these; the epochs end with them."""
        sql = "UPDATE partition SET owner = '', until = 0 WHERE owner = ?"
        with self._transaction() as run:
            if partitions is None:
                run(sql, [owner])
                self._owners.discard(owner)
                return
            for partition in partitions:
                run(sql + " AND partition = ?", [owner, partition])

    def _check_partition(self, partition: int) -> None:
        if not (0 <= partition < self.partitions or partition >= PRESENCE):
            raise JournalError(
                f"there is no partition {partition}: this journal has {self.partitions}",
                hint=f"partitions count from 0 to {self.partitions - 1}",
            )

    # -- snapshots -------------------------------------------------------------------------

    def save_snapshot(self, name: str, partition: int, seq: int, state: bytes) -> None:
        """Keep a machine's state as of `seq`; the newest two of each name are kept."""
        with self._transaction() as run:
            run(
                "INSERT INTO snapshot (name, partition, seq, state, crc) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (name, partition, seq)"
                " DO UPDATE SET state = excluded.state, crc = excluded.crc",
                [name, partition, seq, state, crc32(state)],
            )
            run(
                "DELETE FROM snapshot WHERE name = ? AND partition = ? AND seq NOT IN"
                " (SELECT seq FROM snapshot WHERE name = ? AND partition = ?"
                "  ORDER BY seq DESC LIMIT ?)",
                [name, partition, name, partition, SNAPSHOTS_KEPT],
            )

    # -- upkeep ----------------------------------------------------------------------------

    def retain(self, before: int, batch: int = 1000) -> int:
        """Remove what ended before that time (ns); see `kernel.retention` for what stays."""
        return retain(self._transaction, before, batch)

    def verify(self) -> Iterator[str]:
        """Read everything and yield one sentence for each thing that is damaged."""
        yield from self._check_storage()
        yield from verify(self._query, self._stream, self.payload)

    def load(
        self, rows_of: Callable[[str], Iterable[Row]], place: Callable[[str], int] | None = None
    ) -> None:
        """Fill this journal, which must be empty, with the tables of another one.

        Parameters
        ----------
        rows_of: the rows of a SELECT on the other journal.
        place: subject -> partition, where the number of partitions differs.

        Raises
        ------
        Conflict: there is something in this journal.
        """
        if self.head() or next(self._stream("SELECT id FROM inbox LIMIT 1", ()), None):
            raise Conflict(
                "a backup can only be put back into an empty journal",
                hint="name a new file or an empty database",
            )
        with self._transaction() as run:
            copy(rows_of, run, place)
            for statement in self._after_load:
                run(statement)


def post_sql() -> str:
    """The statement that puts a message's row in an inbox once."""
    return f"INSERT INTO inbox ({MESSAGE}) VALUES (?,?,?,?,?,?,?,?,?) ON CONFLICT (id) DO NOTHING"


def keep_payloads(run: Query, payloads: Mapping[str, bytes]) -> None:
    """Store payloads that are not there yet."""
    for digest, stored in payloads.items():
        run(
            "INSERT INTO payload (digest, data) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING",
            [digest, stored],
        )


def check_owned(batch: Batch) -> None:
    """Refuse a batch that writes into a partition for which it names no epoch."""
    touched = {event.partition for event in batch.events}
    touched.update(record.partition for record in batch.records)
    if not touched <= batch.epochs.keys():
        missing = sorted(touched - batch.epochs.keys())
        raise Fenced(
            f"partition {missing[0]} is written by somebody who does not own it",
            hint="acquire the partition and name its epoch in the batch",
        )


def check_epochs(batch: Batch, current: Iterable[Sequence[Any]]) -> None:
    """Raise `Fenced` where an epoch of the batch is not the present one of (partition, epoch)."""
    epochs = dict(tuple(row) for row in current)
    for partition, epoch in batch.epochs.items():
        if epochs.get(partition) != epoch:
            raise Fenced(
                f"another server owns partition {partition} now (epoch"
                f" {epochs.get(partition, 0)}, this one had {epoch})",
                hint="nothing of this was written; the other server goes on with it",
            )
