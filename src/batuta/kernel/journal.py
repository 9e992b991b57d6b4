"""The journal's contract: what every storage of events must do, and nothing about how."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from batuta.kernel.event import Event, Message, Record

PRESENCE = 10_000
"""Partitions from here on hold no events: a lease on one only says that its owner is there."""


@dataclass(slots=True)
class Batch:
    """Everything that one turn of the loop wants written, in one transaction.

    Parameters
    ----------
    events: in order; each gets its `seq` from the commit.
    records: rows to insert or replace by (kind, id). Later rows win.
    removed: (kind, id) of records to delete.
    messages: to post into the inboxes of other partitions.
    taken: ids of inbox messages that the events of this batch have dealt with.
    epochs: partition -> the fencing epoch under which the writer owns it. The commit
        fails as a whole with `Fenced` when any of these is no longer the current one.
        Every partition named by an event, a record or a taken message must be in it.
    """

    events: list[Event] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    removed: list[tuple[str, str]] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    epochs: Mapping[int, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.events or self.records or self.removed or self.messages or self.taken)


@dataclass(frozen=True, slots=True)
class Lease:
    """Who owns a partition, since which epoch, and until when (ns)."""

    partition: int
    owner: str
    epoch: int
    until: int


class Writing(Protocol):
    """What a loop needs to write."""

    def stage(self, batch: Batch) -> None:
        """Take a batch; nothing is promised yet. At most one batch is staged at a time."""

    def sync(self) -> None:
        """Make the staged batch durable: after this returns, every event has its `seq` and
        survives a power cut. Raises and writes nothing at all where it cannot. May be
        called on another thread than `stage`. Without a staged batch it does nothing."""

    def commit(self, batch: Batch) -> None:
        """`stage` and `sync`."""

    def post(self, message: Message) -> bool:
        """Put a message into its partition's inbox, durably; needs no lease.
        False where a message of that id was posted before."""


class Owning(Protocol):
    """Who owns which partition: leases with a fencing epoch."""

    def acquire(self, partition: int, owner: str, now: int, ttl: int) -> int | None:
        """Own a partition until `now + ttl` (ns): its new epoch, or None where somebody
        else's lease still runs. Asking again as the present owner gives the same epoch."""

    def renew(self, owner: str, now: int, ttl: int) -> set[int]:
        """Prolong all leases of `owner` that it still holds; which partitions these are."""

    def release(self, owner: str, partitions: Sequence[int] | None = None) -> None:
        """Give up leases of `owner` at once (all of them, or these), so that others need
        not wait."""

    def leases(self) -> list[Lease]:
        """All leases, also the ended ones."""


class Reading(Protocol):
    """What everybody may read, on any thread."""

    def head(self) -> int:
        """The seq up to which a reader can read without ever missing an earlier one."""

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
        """Events with `after < seq` (and `seq < before`), in order. A type ending in `*`
        matches by its beginning; types that begin as one of `without` are left out."""

    def event(self, seq: int) -> Event | None:
        """One event."""

    def histories(self, subjects: Sequence[str]) -> Iterator[Event]:
        """All events of these subjects, in the order of seq, in as few reads as possible."""

    def consequences(self, seq: int) -> list[Event]:
        """The events whose cause is `seq`, in order."""

    def asked(self, command: str) -> list[Event]:
        """The events of one command id: the asking and its outcome."""

    def record(self, kind: str, id: str) -> Record | None:
        """One record."""

    def records_of(self, kind: str, ids: Sequence[str]) -> dict[str, Record]:
        """Those of these records that exist, by id, in one read."""

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
        """Records by (time, id); `after` continues behind one, `text` looks in id and name."""

    def counts(self, kind: str) -> dict[tuple[str, str], int]:
        """How many records there are for each (name, status)."""

    def messages(self, partitions: Sequence[int], limit: int = 1000) -> list[Message]:
        """The oldest messages that wait for these partitions."""


class Keeping(Protocol):
    """What keeps a journal small and safe."""

    def save_snapshot(self, name: str, partition: int, seq: int, state: bytes) -> None:
        """Keep a machine's state as of `seq`; the newest two of each name are kept."""

    def snapshot(self, name: str, partition: int) -> tuple[int, bytes] | None:
        """The newest snapshot that is whole: (seq, state)."""

    def retain(self, before: int, batch: int = 1000) -> int:
        """Remove the events and records of things that ended before that time (ns), and
        nothing that an unfinished run, an object or a subscriber still needs. How many."""

    def backup(self, path: str) -> None:
        """Write a consistent copy while others go on writing."""

    def load(
        self, rows: Callable[[str], Iterable[Any]], place: Callable[[str], int] | None
    ) -> None:
        """Fill this journal, which is empty, with a backup's rows; see `kernel.restore`."""

    def verify(self) -> Iterable[str]:
        """Read everything and yield one sentence for each thing that is damaged."""

    def listen(self) -> Iterator[int] | None:
        """A blocking iterator that yields the head whenever it moved (by whomever), or None
        where only this process writes."""

    def close(self) -> None:
        """Finish; leases are released."""


class Journal(Writing, Owning, Reading, Keeping, Protocol):
    """An append-only list of events with the records folded from it.

    One object is used by one loop; reads may come from other threads at the same time.
    Raises the errors of `kernel.errors` (`Fenced`, `JournalFull`, `JournalReadOnly`,
    `JournalLocked`, `JournalCorrupt`, `JournalTooNew`, `JournalLost`), each saying what to do.
    """

    partitions: int


def why(journal: Journal, seq: int) -> Iterator[Event]:
    """The chain of causes of an event, itself first, back to where it began."""
    at = journal.event(seq)
    while at is not None:
        yield at
        cause = at.cause_seq
        at = journal.event(cause) if cause else None


def subject_events(journal: Journal, subject: str) -> list[Event]:
    """The whole history of one subject."""
    return list(journal.histories([subject]))
