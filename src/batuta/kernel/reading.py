"""Reading the journal's tables, the same for every database that speaks SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol
from zlib import crc32

from batuta.kernel.event import Event, Message, Record
from batuta.kernel.journal import Lease
from batuta.kernel.payload import encode, unpack
from batuta.kernel.rows import EVENT, MESSAGE, RECORD, Row, event_of, message_of, record_of

PAGE = 1000
_LAST = "\U0010ffff"
INDEXED_CAUSE = "cause < seq - 1 AND (command IS NULL OR command >= '=')"
"""Which events stand in the index by cause."""


class Query(Protocol):
    """Run one statement (with `?` for values) and give all its rows."""

    def __call__(self, sql: str, values: Sequence[Any] = (), /) -> list[Row]:
        """The rows; none where the statement gives none."""


class Transaction(Query, Protocol):
    """The same within one transaction."""

    def many(self, sql: str, rows: Iterable[Row], /) -> None:
        """Run the statement for each row."""


class Reading:
    """What a journal answers; a database adds how a statement is run.

    Parameters
    ----------
    query: runs a statement outside of any transaction of the writer's.
    stream: the same, row by row, for results that may be long.
    among: SQL after a column's name: is it in the JSON list that is the next value?
    instr: the function that gives the position of one text in another.
    """

    def __init__(
        self,
        query: Query,
        stream: Callable[[str, Sequence[Any]], Iterator[Row]],
        *,
        among: str,
        instr: str,
    ) -> None:
        self._query = query
        self._stream = stream
        self._among = among
        self._instr = instr

    # -- events ----------------------------------------------------------------------------

    def head(self) -> int:
        """The last seq that is committed; every earlier one is committed too."""
        rows = self._query(
            "SELECT coalesce((SELECT max(seq) FROM event), 0), (SELECT seq FROM head)"
        )
        return int(max(rows[0]))

    def read(
        self,
        after: int = 0,
        limit: int = 1000,
        *,
        before: int | None = None,
        types: Sequence[str] = (),
        without: Sequence[str] = (),
        subject: str | None = None,
        newest_first: bool = False,
    ) -> list[Event]:
        """Events with `after < seq` (and `seq < before`), in order."""
        where, values = ["seq > ?"], [after]
        more: list[Any] = []
        if before is not None:
            where.append("seq < ?")
            values.append(before)
        if subject is not None:
            where.append("subject = ?")
            more.append(subject)
        if types:
            where.append("(" + " OR ".join(_type_clause(t) for t in types) + ")")
            for name in types:
                more += [name[:-1], name[:-1] + _LAST] if name.endswith("*") else [name]
        for name in without:
            where.append("NOT (type >= ? AND type < ?)")
            more += [name, name + _LAST]
        order = "DESC" if newest_first else "ASC"
        return self._events(
            f"SELECT {EVENT} FROM events WHERE {' AND '.join(where)} ORDER BY seq {order} LIMIT ?",
            [*values, *more, limit],
        )

    def event(self, seq: int) -> Event | None:
        """One event."""
        found = self._events(f"SELECT {EVENT} FROM events WHERE seq = ?", [seq])
        return found[0] if found else None

    def histories(self, subjects: Sequence[str]) -> Iterator[Event]:
        """All events of these subjects, in the order of seq, in one read."""
        sql = (
            f"SELECT {EVENT} FROM events WHERE number IN"
            f" (SELECT id FROM subject WHERE name {self._among}) ORDER BY seq"
        )
        for row in self._stream(sql, [encode(list(subjects))]):
            yield event_of(row, self.payload)

    def consequences(self, seq: int) -> list[Event]:
        """The events whose cause is `seq`, in order.

        In the index stands neither the one that follows its cause at once, nor an event of a
        command that is named after its subject (`rows.contents`).
        """
        return self._events(
            f"SELECT {EVENT} FROM events WHERE cause = ? AND {INDEXED_CAUSE}"
            f" UNION ALL SELECT {EVENT} FROM events WHERE seq = ? AND cause = ?"
            f" UNION ALL SELECT {EVENT} FROM events WHERE number ="
            " (SELECT subject FROM event WHERE seq = ?) AND seq > ? AND cause = ?"
            " AND command < '=' ORDER BY seq",
            [seq, seq + 1, seq, seq, seq + 1, seq],
        )

    def asked(self, command: str) -> list[Event]:
        """The events of one command id: the asking and its outcome.

        A command is named after its subject (`run/key.attempt`) and found among the
        subject's events; only others stand in an index.
        """
        found = self._events(
            f"SELECT {EVENT} FROM events WHERE command = ? AND command >= '='",
            ["=" + command],
        )
        for at, letter in enumerate(command):
            if letter == "/":
                found += self._events(
                    f"SELECT {EVENT} FROM events WHERE subject = ? AND command = ?",
                    [command[:at], command[at:]],
                )
        return sorted(found, key=lambda event: event.seq)

    def _events(self, sql: str, values: Sequence[Any]) -> list[Event]:
        fetch = self.payload
        return [event_of(row, fetch) for row in self._query(sql, values)]

    def payload(self, digest: str) -> Any:
        """The value of a payload, checked."""
        rows = self._query("SELECT data FROM payload WHERE digest = ?", [digest])
        return unpack(digest, rows[0][0] if rows else None)

    def rows(self, sql: str) -> Iterator[Row]:
        """The rows of a SELECT, as they are stored, for copies."""
        return self._stream(sql, ())

    # -- records ---------------------------------------------------------------------------

    def record(self, kind: str, id: str) -> Record | None:
        """One record."""
        rows = self._query(f"SELECT {RECORD} FROM record WHERE kind = ? AND id = ?", [kind, id])
        return record_of(rows[0], self.payload) if rows else None

    def records_of(self, kind: str, ids: Sequence[str]) -> dict[str, Record]:
        """Those of these records that exist, by id, in one read."""
        sql = f"SELECT {RECORD} FROM record WHERE kind = ? AND id {self._among}"
        rows = self._query(sql, [kind, encode(list(ids))])
        return {row[1]: record_of(row, self.payload) for row in rows}

    def records(
        self,
        kind: str,
        *,
        statuses: Sequence[str] = (),
        name: str | None = None,
        partitions: Sequence[int] | None = None,
        text: str | None = None,
        attributes: Mapping[str, str | int | float | bool] | None = None,
        newest_first: bool = False,
        after: tuple[int, str] | None = None,
        limit: int | None = None,
    ) -> Iterator[Record]:
        """Records by (time, id), read in pages; see `Journal.records`."""
        where: list[str] = ["kind = ?"]
        values: list[Any] = [kind]
        clauses = _record_clauses(self._instr, statuses, name, partitions, text, attributes)
        for clause, given in clauses:
            where.append(clause)
            values += given
        side, order = ("<", "DESC") if newest_first else (">", "ASC")
        given_out = 0
        while limit is None or given_out < limit:
            page, asked = list(where), list(values)
            if after is not None:
                page.append(f"(time, id) {side} (?, ?)")
                asked += list(after)
            rows = self._query(
                f"SELECT {RECORD} FROM record WHERE {' AND '.join(page)}"
                f" ORDER BY time {order}, id {order} LIMIT ?",
                [*asked, PAGE if attributes or limit is None else min(PAGE, limit - given_out)],
            )
            for row in rows:
                found = record_of(row, self.payload)
                after = (found.time, found.id)
                if _has(found, attributes):
                    yield found
                    given_out += 1
                    if given_out == limit:
                        return
            if not rows:
                return

    def counts(self, kind: str) -> dict[tuple[str, str], int]:
        """How many records there are for each (name, status)."""
        sql = "SELECT name, status, count(*) FROM record WHERE kind = ? GROUP BY name, status"
        return {(name, status): count for name, status, count in self._query(sql, [kind])}

    # -- the rest --------------------------------------------------------------------------

    def messages(self, partitions: Sequence[int], limit: int = 1000) -> list[Message]:
        """The oldest messages that wait for these partitions."""
        if not partitions:
            return []
        marks = ",".join("?" * len(partitions))
        rows = self._query(
            f"SELECT {MESSAGE} FROM inbox WHERE taken IS NULL AND partition IN ({marks})"
            " ORDER BY n LIMIT ?",
            [*partitions, limit],
        )
        return [message_of(row, self.payload) for row in rows]

    def leases(self) -> list[Lease]:
        """All leases, also the ended ones."""
        rows = self._query(
            "SELECT partition, owner, epoch, until FROM partition WHERE epoch > 0 ORDER BY 1"
        )
        return [Lease(*row) for row in rows]

    def snapshot(self, name: str, partition: int) -> tuple[int, bytes] | None:
        """The newest snapshot that is whole: (seq, state)."""
        rows = self._query(
            "SELECT seq, state, crc FROM snapshot WHERE name = ? AND partition = ?"
            " ORDER BY seq DESC",
            [name, partition],
        )
        for seq, state, crc in rows:
            if crc == crc32(state):
                return seq, bytes(state)
        return None


def _type_clause(name: str) -> str:
    return "(type >= ? AND type < ?)" if name.endswith("*") else "type = ?"


def _record_clauses(
    instr: str,
    statuses: Sequence[str],
    name: str | None,
    partitions: Sequence[int] | None,
    text: str | None,
    attributes: Mapping[str, str | int | float | bool] | None,
) -> Iterator[tuple[str, list[Any]]]:
    if statuses:
        yield f"status IN ({','.join('?' * len(statuses))})", list(statuses)
    if name is not None:
        yield "name = ?", [name]
    if partitions is not None:
        marks = ",".join("?" * len(partitions))
        yield (f"partition IN ({marks})" if partitions else "1 = 0"), list(partitions)
    if text:
        wanted = "".join(c.lower() if c.isascii() else c for c in text)
        yield f"({instr}(lower(id), ?) > 0 OR {instr}(lower(name), ?) > 0)", [wanted, wanted]
    for key, value in (attributes or {}).items():
        # Narrows down by the text of the JSON; `_has` decides.
        whole = value if isinstance(value, bool | str) else None
        part = f"{encode(key)}:" if whole is None else encode({key: whole})[1:-1]
        yield f"{instr}(attributes, ?) > 0", [part]


def _has(record: Record, attributes: Mapping[str, str | int | float | bool] | None) -> bool:
    """Whether the record has all these values; True is not 1."""
    for key, value in (attributes or {}).items():
        found = record.attributes.get(key)
        if found != value or isinstance(found, bool) is not isinstance(value, bool):
            return False
    return True
