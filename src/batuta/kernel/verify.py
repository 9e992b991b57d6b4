"""Reading the whole journal to find what is damaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from zlib import crc32

from batuta.kernel.errors import JournalCorrupt
from batuta.kernel.payload import decode, unpack
from batuta.kernel.reading import Query
from batuta.kernel.rows import (
    EVENT,
    MESSAGE,
    RECORD,
    Fetch,
    Row,
    event_of,
    message_of,
    record_of,
)

Stream = Callable[[str, Sequence[Any]], Iterator[Row]]


def verify(query: Query, stream: Stream, fetch: Fetch) -> Iterator[str]:
    """One sentence for each event, record, message, link, payload or snapshot that is not as it
    was written, and for each gap between events that retention did not make."""
    for part in (_events, _links, _records, _messages, _payloads, _snapshots):
        try:
            yield from part(query, stream, fetch)
        except JournalCorrupt as error:  # the database itself could not read on
            yield error.message


def _events(query: Query, stream: Stream, fetch: Fetch) -> Iterator[str]:
    head, low, kept = query("SELECT seq, low, kept FROM head")[0]
    old, last = 0, low
    for row in stream(f"SELECT {EVENT} FROM events ORDER BY seq", ()):
        yield from _tried(event_of, row, fetch)
        seq = row[0]
        if seq <= low:
            old += 1
            continue
        if seq != last + 1:
            yield f"events {last + 1} to {seq - 1} are missing"
        last = seq
    if old != kept:
        yield f"{kept - old} events up to {low} are missing, beside those that retention removed"
    if head > last:
        yield f"events {last + 1} to {head} are missing"


def _links(query: Query, stream: Stream, fetch: Fetch) -> Iterator[str]:
    wanted: dict[int, list[tuple[str, int]]] = {}
    for seq, links in stream("SELECT seq, links FROM event WHERE links IS NOT NULL", ()):
        wanted[seq] = sorted((kind, to) for kind, to in decode(links))
    found: dict[int, list[tuple[str, int]]] = {}
    for seq, kind, target in stream("SELECT seq, kind, target FROM link", ()):
        found.setdefault(seq, []).append((kind, target))
    for seq in sorted(wanted.keys() | found.keys()):
        if wanted.get(seq) != sorted(found.get(seq, [])):
            yield f"the links of event {seq} are not what was written"


def _records(query: Query, stream: Stream, fetch: Fetch) -> Iterator[str]:
    for row in stream(f"SELECT {RECORD} FROM record", ()):
        yield from _tried(record_of, row, fetch)


def _messages(query: Query, stream: Stream, fetch: Fetch) -> Iterator[str]:
    for row in stream(f"SELECT {MESSAGE} FROM inbox", ()):
        yield from _tried(message_of, row, fetch)


def _payloads(query: Query, stream: Stream, fetch: Fetch) -> Iterator[str]:
    for digest, stored in stream("SELECT digest, data FROM payload", ()):
        yield from _tried(unpack, digest, stored)


def _snapshots(query: Query, stream: Stream, fetch: Fetch) -> Iterator[str]:
    for name, partition, seq, state, crc in stream(
        "SELECT name, partition, seq, state, crc FROM snapshot", ()
    ):
        if crc32(state) != crc:
            yield f"snapshot `{name}` of partition {partition} at {seq} is not what was written"


def _tried(read: Callable[..., object], *values: Any) -> Iterator[str]:
    try:
        read(*values)
    except JournalCorrupt as error:
        yield error.message
