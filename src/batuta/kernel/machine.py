"""The contract of a machine: a fold over events that decides what shall happen next."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from batuta.kernel.event import Event, Message, Record
from batuta.kernel.world import Command, Outcome


@dataclass(slots=True)
class Decision:
    """What machines decided in one turn, gathered for one commit.

    Parameters
    ----------
    events: new events, in order; folded into every machine before the commit.
    commands: to be performed once their asking (`command.cause`) is durable.
    cancels: ids of commands to be stopped.
    records, removed: rows to write.
    messages: for partitions that this loop may not own.
    folded: events to write that their machine has folded already (copies, reopened runs).
    unwritten: askings that are not written yet, by command id. A machine whose outcome tells
        the asking as well takes it out and empties its type: it is not written then.
    load: subjects whose machine has let go of them and needs them again to go on.
    """

    events: list[Event] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    cancels: list[str] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    removed: list[tuple[str, str]] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    unwritten: dict[str, Event] = field(default_factory=dict)
    folded: list[Event] = field(default_factory=list)
    load: list[str] = field(default_factory=list)


class Machine(Protocol):
    """Pure: no clock, no randomness, no I/O; the same events give the same decisions."""

    @property
    def kind(self) -> str:
        """The kind of its records."""

    @property
    def active(self) -> Sequence[str]:
        """Statuses of records that it has to know of after a start."""

    @property
    def handles(self) -> Sequence[str]:
        """Event types that it folds; `*` stands for every type that no machine reserves."""

    @property
    def receives(self) -> Sequence[str]:
        """Message types that it answers."""

    def own(self, partitions: Collection[int], now: int) -> None:
        """These partitions are its own from now on; what belongs to others is forgotten."""

    def recover(self, record: Record) -> bool:
        """Take in an active record after a start; True where its history is wanted as well."""

    def knows(self, subject: str) -> bool:
        """Whether the subject is in memory."""

    def record_of(self, subject: str) -> Record | None:
        """The row of a subject that is in memory, as of now."""

    def load(self, record: Record, history: list[Event]) -> None:
        """Fold a whole history again."""

    def receive(
        self, message: Message, record: Record | None, history: list[Event], into: Decision
    ) -> dict[str, Any]:
        """Answer a message by events.

        Parameters
        ----------
        record: of the message's subject, where there is one.
        history: of the subject, for message types in `wants_history`, else empty.

        Returns what the sender is told. Raises `BatutaError` where it is refused.
        """

    @property
    def wants_history(self) -> Sequence[str]:
        """Message types that are answered from the whole history."""

    def finish(self, outcome: Outcome, now: int, into: Decision) -> None:
        """Turn an outcome into events, unless nobody waits for it any more."""

    def apply(self, event: Event) -> None:
        """Fold one event into the state."""

    def decide(self, now: int, into: Decision) -> None:
        """Look at what was touched since the last call and add what shall happen.
        Called again until it adds no event."""

    def next_wake(self) -> int | None:
        """When `decide` wants to be called even though nothing happened, ns."""
