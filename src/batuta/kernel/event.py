"""What happened: the one kind of fact that everything else is folded from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Data = dict[str, Any]


@dataclass(slots=True, eq=False)
class Link:
    """A typed relation to another event, beside its one `cause`.

    Parameters
    ----------
    kind: `triggered`, `observed`, `input`, `compensates`, `retries` or `supersedes`.
    """

    kind: str
    to: Event | int


@dataclass(slots=True, eq=False)
class Event:
    """One line of the journal.

    Parameters
    ----------
    type: what kind of thing happened, past tense, dotted (`step.completed`).
    subject: what it happened to: a run's id, an object's name, or a user's own subject.
    data: JSON-able detail; the journal moves large values out to payloads by itself.
    cause: the event that led here, or its seq; `None` only for people, clocks and the outside.
    time: nanoseconds since 1970-01-01 UTC, from `World.now()`.
    command: the id of the command that this event asks for or is the outcome of.
    partition: which partition of the journal owns the subject.
    seq: position in the journal; 0 until the event is committed.

    The event itself may stand as a cause before it has a seq: the journal writes the
    number when it commits. Two events are the same only when they are the same object.
    """

    type: str
    subject: str
    data: Data
    cause: Event | int | None
    time: int
    command: str | None = None
    partition: int = 0
    seq: int = 0
    links: tuple[Link, ...] = ()

    @property
    def cause_seq(self) -> int | None:
        """The cause's position, 0 where the cause itself is not committed yet."""
        cause = self.cause
        return cause.seq if isinstance(cause, Event) else cause


@dataclass(frozen=True, slots=True)
class Record:
    """The present state of one thing as a row: what `ps` lists and what recovery starts from.

    Written in the same commit as the events that changed it, so it never disagrees with
    them; it can always be folded again.

    Parameters
    ----------
    kind: `run`, `delivery`, `schedule`, `object` …
    id: unique within its kind.
    status: a word of the kind's own (`running`, `sleeping`, `completed` …).
    name: what it is one of (a workflow's name, a rule's name).
    time: when it began, ns. ended: when it ended, ns, or None.
    wake: when it wants to be looked at again, ns, or None.
    seq: the last event folded into it, filled in by the journal when 0.
    attributes: small searchable values (search attributes, labels).
    data: everything else, JSON-able.
    """

    kind: str
    id: str
    partition: int
    status: str
    name: str
    time: int
    ended: int | None = None
    wake: int | None = None
    seq: int = 0
    attributes: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Message:
    """Something asked of a partition's owner by somebody who may not be the owner.

    It waits in the journal's inbox until the owner folds it in; the same `id` posted twice
    is kept once, also after it was taken (for as long as retention keeps its event).

    Parameters
    ----------
    id: idempotency key.
    partition: whose owner shall take it.
    type: `run.start`, `run.signal`, `event.send` …
    subject: what it is about.
    data: JSON-able.
    cause: the event that led to it, its seq, or None for people and the outside.
    time: when it was posted, ns.
    """

    id: str
    partition: int
    type: str
    subject: str
    data: Data
    cause: Event | int | None
    time: int
