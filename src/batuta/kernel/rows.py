"""Events, records and messages as rows with a checksum, the same for every database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from zlib import crc32

from batuta.kernel.errors import JournalCorrupt, JournalError
from batuta.kernel.event import Event, Link, Message, Record
from batuta.kernel.payload import LARGE, decode, encode, join, split
from batuta.kernel.upcast import UPCASTERS, VERSIONS, upcast

Row = tuple[Any, ...]
Fetch = Callable[[str], Any]

NAME_MAX = 2000
"""The longest id of a message, its type and its subject, in bytes: an index must hold it."""

EVENT = "seq, partition, type, subject, time, cause, command, v, data, crc, large, links"
PLAIN = 10
"""So many columns does an event have that has neither large values nor links."""

RECORD = "kind, id, partition, status, name, time, ended, wake, seq, attributes, data, large, crc"
MESSAGE = "id, partition, type, subject, cause, time, data, large, crc"


def contents(events: Iterable[Event], payloads: dict[str, bytes]) -> list[Row]:
    """What has to be worked out and does not depend on the position: command, v, text, large.

    A command that is named after the subject, as its cause is of the same subject, is stored as
    what follows the subject (`/…`): both are found among the subject's events and stand in no
    index. Another stands behind a `=`.

    Large values are added to `payloads`. This and `placed` are the hottest lines of a commit:
    hence no calls that can be avoided.
    """
    rows: list[Row] = []
    add = rows.append
    version = VERSIONS.get
    for event in events:
        text = encode(event.data)
        large = None
        if len(text) > LARGE:
            text, large = split(event.data, text, payloads)
        command = event.command
        if command is not None:
            subject, cause = event.subject, event.cause
            end = len(subject)
            if (
                command[end : end + 1] == "/"
                and command.startswith(subject)
                and (cause is None or (cause.__class__ is Event and cause.subject == subject))
            ):
                command = command[end:]
            else:
                command = "=" + command
        add((command, version(event.type, 1), text, large))
    return rows


def placed(
    events: Sequence[Event], parts: list[Row], head: int, subjects: Mapping[str, int]
) -> list[Row]:
    """The whole rows of events that follow `head`, in the order of `EVENT`.

    Gives every event its seq. An event may have an earlier one of the same batch as cause.
    `subjects` has the number of each subject.
    """
    rows: list[Row] = []
    add = rows.append
    seq = head
    for event, (command, v, text, large) in zip(events, parts, strict=True):
        seq += 1
        cause: Any = event.cause
        if cause is not None and cause.__class__ is not int:
            cause = cause.seq or _position(cause, event)
        event.seq = seq
        partition, type, subject, time = event.partition, event.type, event.subject, event.time
        whole = f"{partition}|{type}|{subject}|{time}|{command}|{v}|{text}|"
        links = None
        if event.links:
            links = encode([[link.kind, _position(link.to, event)] for link in event.links])
        if large is None and links is None:  # to write the words takes less than to format them
            whole += f"None{seq}|{cause}|None"
        else:
            whole += f"{large}{seq}|{cause}|{links}"
        crc = crc32(whole.encode())
        number = subjects[subject]
        add((seq, partition, type, number, time, cause, command, v, text, crc, large, links))
    return rows


def _position(of: Event | int, by: Event | Message) -> int:
    seq = of.seq if isinstance(of, Event) else of
    if not seq:
        raise JournalError(
            f"`{by.type}` of `{by.subject}` names an event that is not committed",
            hint="a cause is committed before, or stands earlier in the same batch",
        )
    return seq


def link_rows(rows: Iterable[Row]) -> list[tuple[int, str, int]]:
    """(seq, kind, to) of every link in these event rows."""
    return [(row[0], kind, to) for row in rows if row[11] for kind, to in decode(row[11])]


def event_of(row: Row, fetch: Fetch) -> Event:
    """The event of a row, or `JournalCorrupt` where its checksum does not fit."""
    seq, partition, type, subject, time, cause, command, v, text, crc, large, links = row
    whole = f"{partition}|{type}|{subject}|{time}|{command}|{v}|{text}|{large}"
    if crc != crc32(f"{seq}|{cause}|{links}".encode(), crc32(whole.encode("utf-8", "replace"))):
        raise damaged(f"event {seq}")
    data = join(text, large, fetch)
    if (type, v) in UPCASTERS:
        data = upcast(type, v, data)
    if command is not None:
        command = subject + command if command[0] == "/" else command[1:]
    tied = () if links is None else tuple(Link(kind, to) for kind, to in decode(links))
    return Event(type, subject, data, cause, time, command, partition, seq, tied)


def record_row(record: Record, seq: int, payloads: dict[str, bytes]) -> Row:
    """A record's row; `seq` stands in where the record has none."""
    text = encode(record.data)
    large = None
    if len(text) > LARGE:
        text, large = split(record.data, text, payloads)
    row = (
        record.kind, record.id, record.partition, record.status, record.name, record.time,
        record.ended, record.wake, record.seq or seq, encode(record.attributes), text, large,
    )  # fmt: skip
    return (*row, checksum(row))


def record_of(row: Row, fetch: Fetch) -> Record:
    """The record of a row, or `JournalCorrupt`."""
    kind, id, partition, status, name, time, ended, wake, seq, attributes, text, large, crc = row
    if crc != checksum(row[:-1]):
        raise damaged(f"{kind} `{id}`")
    return Record(
        kind, id, partition, status, name, time, ended, wake, seq,
        decode(attributes), join(text, large, fetch),
    )  # fmt: skip


def check_name(name: str) -> None:
    """Refuse what some database cannot hold or find: the outside comes in by messages."""
    if "\0" in name:
        raise JournalError(
            f"{name[:60]!r} has a zero character in it", hint="leave the character away"
        )
    try:
        length = len(name.encode())
    except UnicodeEncodeError as error:
        raise unstorable(error) from error
    if length > NAME_MAX:
        raise JournalError(
            f"an id of {length} bytes is too long: {name[:40]!r}…",
            hint=f"use at most {NAME_MAX} bytes",
        )


def unstorable(error: UnicodeEncodeError) -> JournalError:
    """The error of a name with half a character in it."""
    return JournalError(
        f"{str(error.object)[:60]!r} is no valid text, it has half of a character in it",
        hint="ids and types must be text that UTF-8 can hold",
    )


def message_row(message: Message, payloads: dict[str, bytes]) -> Row:
    """A message's row."""
    for name in (message.id, message.type, message.subject):
        check_name(name)
    text = encode(message.data)
    large = None
    if len(text) > LARGE:
        text, large = split(message.data, text, payloads)
    cause = message.cause
    if isinstance(cause, Event):
        cause = _position(cause, message)
    row = (
        message.id, message.partition, message.type, message.subject, cause, message.time,
        text, large,
    )  # fmt: skip
    return (*row, checksum(row))


def message_of(row: Row, fetch: Fetch) -> Message:
    """The message of a row, or `JournalCorrupt`."""
    id, partition, type, subject, cause, time, text, large, crc = row
    if crc != checksum(row[:-1]):
        raise damaged(f"message `{id}`")
    return Message(id, partition, type, subject, join(text, large, fetch), cause, time)


def checksum(values: Sequence[Any]) -> int:
    """One number for a row: another row has, but for one in 4 billion, another."""
    return crc32("|".join(map(str, values)).encode("utf-8", "replace"))


def damaged(what: str) -> JournalCorrupt:
    """The error of a row that is not what was written."""
    return JournalCorrupt(
        f"{what} in the journal is not what was written",
        hint="stop the server and restore the newest backup; `verify` lists all that is damaged",
    )


def replaced_event(row: Row, name: str, partition: int) -> Row:
    """An event's stored row for another partition; `name` is its subject's."""
    seq, _, type, subject, time, cause, command, v, text, _, large, links = row
    whole = f"{partition}|{type}|{name}|{time}|{command}|{v}|{text}|{large}"
    crc = crc32(f"{seq}|{cause}|{links}".encode(), crc32(whole.encode()))
    return (seq, partition, type, subject, time, cause, command, v, text, crc, large, links)


def replaced_record(row: Row, partition: int) -> Row:
    """A record's row for another partition."""
    values = (*row[:2], partition, *row[3:-1])
    return (*values, checksum(values))


def replaced_message(row: Row, partition: int) -> Row:
    """A message's stored row (with its number and `taken`) for another partition."""
    values = (row[1], partition, *row[3:9])
    return (row[0], *values, checksum(values), row[10])
