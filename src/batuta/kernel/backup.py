"""Copies of a whole journal: written while it is in use, put back into an empty one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from batuta.kernel.errors import Conflict, JournalError
from batuta.kernel.reading import Transaction
from batuta.kernel.rows import EVENT, Row, replaced_event, replaced_message, replaced_record

TABLES: dict[str, str] = {
    "subject": "id, name",
    "event": EVENT,
    "link": "seq, kind, target",
    "record": "kind, id, partition, status, name, time, ended, wake, seq, attributes, data,"
    " large, crc",
    "inbox": "n, id, partition, type, subject, cause, time, data, large, crc, taken",
    "partition": "partition, owner, epoch, until",
    "payload": "digest, data",
    "snapshot": "name, partition, seq, state, crc",
}
"""All that a copy holds, beside the one row of `head`."""

Place = Callable[[str], int]


@contextmanager
def whole_file(path: str) -> Iterator[str]:
    """A name to write to; what was written appears under `path` when it is whole and safe."""
    if os.path.exists(path):
        raise Conflict(f"{path} exists already", hint="name another file, or remove this one")
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise JournalError(f"there is no folder {folder}", hint="make it first")
    part = f"{path}.part"
    with suppress(FileNotFoundError):
        os.remove(part)
    try:
        yield part
        for name in (part, folder):
            place = os.open(name, os.O_RDONLY)
            try:
                os.fsync(place)
            finally:
                os.close(place)
        os.replace(part, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.remove(part)
        raise


def copy(
    rows_of: Callable[[str], Iterable[Row]], into: Transaction, place: Place | None = None
) -> None:
    """Write all tables into an empty journal.

    Parameters
    ----------
    rows_of: the rows of a SELECT on the source.
    into: the transaction that writes.
    place: subject -> partition, where the new journal has another number of partitions.
    """
    names: dict[int, str] = {}
    for table, columns in TABLES.items():
        marks = ",".join("?" * (columns.count(",") + 1))
        rows: Iterable[Row] = rows_of(f"SELECT {columns} FROM {table}")
        if place is not None:
            if table == "subject":
                rows = list(rows)
                names = {row[0]: row[1] for row in rows}
            elif table in ("partition", "snapshot"):
                continue  # they belong to the old partitions
            rows = _moved(table, rows, place, names)
        elif table == "partition":
            # Whoever owned one in the other journal does not own it in this one.
            rows = [(number, "", epoch + 1, 0) for number, _, epoch, _ in rows]
            into("DELETE FROM partition")
        into.many(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows)
    ((seq, low, kept, swept, last),) = rows_of(
        "SELECT seq, low, kept, swept, (SELECT coalesce(max(seq), 0) FROM event) FROM head"
    )
    into(
        "UPDATE head SET seq = ?, low = ?, kept = ?, swept = ?",
        [max(seq, last), low, kept, swept + 1],
    )


def _moved(table: str, rows: Iterable[Row], place: Place, names: dict[int, str]) -> Iterator[Row]:
    """The rows with the partitions of the new journal, and checksums that fit them."""
    for row in rows:
        if table == "event":
            name = names[row[3]]
            yield replaced_event(row, name, place(name))
        elif table == "record":
            yield replaced_record(row, place(row[1]))
        elif table == "inbox":
            yield replaced_message(row, place(row[4]))
        else:
            yield row
