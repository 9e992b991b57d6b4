"""The words a workflow is written with, beside the calls of its steps."""

from __future__ import annotations

import random as _random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, TypeVar, overload
from uuid import UUID

from batuta.common.codec import codec_of
from batuta.common.duration import nanoseconds
from batuta.common.pattern import Predicate, compile_where
from batuta.kernel.errors import BatutaError
from batuta.workflow.ask import (
    RESERVED,
    Ask,
    Attributes,
    Emit,
    EventWait,
    Gather,
    Race,
    SignalWait,
    Sleep,
    Timeout,
    active,
)
from batuta.workflow.model import Duration, Workflow
from batuta.workflow.program import ContinueAsNew, Program

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")

_ANY = codec_of(Any)


@dataclass(frozen=True, slots=True)
class Event:
    """An event as a workflow sees it: CloudEvents' attributes and its data."""

    id: str
    type: str
    source: str
    subject: str
    time: datetime
    data: Any = None


def event_of(value: Mapping[str, Any]) -> Event:
    """An `Event` out of its stored form (`{id, type, source, subject, time: ns, data}`)."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=value["time"] // 1000)
    return Event(
        value["id"], value["type"], value["source"], value["subject"], moment, value.get("data")
    )


def sleep(duration: Duration) -> Sleep:
    """Let time pass: seconds to years, through restarts, never too short.

    Parameters
    ----------
    duration: `"3 days"`, seconds as a number, or a `timedelta`.
    """
    return Sleep(nanoseconds(duration))


@overload
def signal(name: str, *, within: Duration | None = None) -> SignalWait[Any]: ...
@overload
def signal(name: str, type: type[T], *, within: Duration | None = None) -> SignalWait[T]: ...
def signal(name: str, type: Any = None, *, within: Duration | None = None) -> SignalWait[Any]:
    """Wait for a signal sent to this run; one that came before it is awaited is kept.

    Parameters
    ----------
    name: which signal. type: what its value is; any JSON without it.
    within: a time limit; `TimedOut` is raised behind it.
    """
    codec = _ANY if type is None else codec_of(type)
    return SignalWait(name, codec, None if within is None else nanoseconds(within))


def event(
    type: str,
    *,
    subject: str | None = None,
    where: Predicate | Mapping[str, Any] | None = None,
    within: Duration | None = None,
) -> EventWait:
    """Wait for an event that is written after this is reached.

    Parameters
    ----------
    type: the event type. subject: about what; any subject without it.
    where: a condition on the event, as for `on`.
    within: a time limit; `TimedOut` is raised behind it.
    """
    limit = None if within is None else nanoseconds(within)
    return EventWait(type, subject, compile_where(where), limit, event_of)


@overload
def gather(a: Awaitable[A], /) -> Ask[tuple[A]]: ...
@overload
def gather(a: Awaitable[A], b: Awaitable[B], /) -> Ask[tuple[A, B]]: ...
@overload
def gather(a: Awaitable[A], b: Awaitable[B], c: Awaitable[C], /) -> Ask[tuple[A, B, C]]: ...
@overload
def gather(
    a: Awaitable[A], b: Awaitable[B], c: Awaitable[C], d: Awaitable[D], /
) -> Ask[tuple[A, B, C, D]]: ...
@overload
def gather(*parts: Awaitable[T]) -> Ask[tuple[T, ...]]: ...
def gather(*parts: Awaitable[Any]) -> Ask[Any]:
    """All of these at once: their results in the same order. The first failure cancels the
    others and is raised."""
    return Gather(parts)


def race(*parts: Awaitable[T]) -> Ask[tuple[int, T]]:
    """The first of these that ends: (its place, its result), or its failure raised. The
    others are cancelled."""
    if not parts:
        raise ValueError("race() needs at least one awaitable")
    return Race(parts)


def timeout(part: Awaitable[T], within: Duration) -> Ask[T]:
    """This one within a time limit; behind it, it is cancelled and `TimedOut` is raised."""
    return Timeout((part,), nanoseconds(within))


def emit(type: str, *, subject: str = "", data: Any = None) -> Emit:
    """Write an event of your own, once, however often the run is resumed.

    Returns, when awaited, the event's id. `subject` is the run's id where none is given.
    """
    program = _program("emit")
    if type.startswith(RESERVED):
        raise BatutaError(
            f"events of type `{type}` are written by Batuta itself",
            hint="choose a type that does not begin with " + ", ".join(RESERVED[:4]) + " …",
        )
    return Emit(type, subject or program.run, _ANY.encode(data))


def set_attributes(**values: str | int | float | bool) -> Attributes:
    """Set search attributes of this run: what `batuta ps --attr` and the runs page find."""
    for name, value in values.items():
        if not isinstance(value, str | int | float | bool):
            raise BatutaError(
                f"search attribute `{name}` is a {type(value).__name__}",
                hint="only text, numbers and true/false can be searched for",
            )
    return Attributes(dict(values))


def query(name: str, answer: Callable[..., Any]) -> None:
    """Let the run answer a question while it runs: `answer(*args)` is called, with what it
    sees at that moment, and must change nothing."""
    _program("query").queries[name] = answer


def patched(name: str) -> bool:
    """Whether a run takes the new code behind this mark: true for runs that reach it for the
    first time, false for those that passed this place before the code was changed."""
    return _program("patched").patched(name)


def continue_as_new(*args: Any, **kwargs: Any) -> NoReturn:
    """End this run here and go on as a new one of the same workflow, with these arguments
    and an empty history."""
    program = _program("continue_as_new")
    if active.branch is not program.main or active.branch.sagas:
        raise RuntimeError(
            "continue_as_new() was called inside a saga or a gather: "
            "its compensations would be forgotten; leave the block first"
        )
    flow: Workflow[Any, Any] = program.workflow
    raise ContinueAsNew(*flow.codec.encode_call(args, kwargs))


def now() -> datetime:
    """The time in a workflow, in UTC: that of the event which made it go on, hence the same
    whenever the run is replayed."""
    at: int = _program("now").now
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at // 1000)


def uuid() -> UUID:
    """A UUID (version 4) that is the same whenever the run is replayed."""
    program = _program("uuid")
    return UUID(int=program.draw() << 64 | program.draw(), version=4)


def random() -> _random.Random:
    """A generator of random numbers that gives the same ones whenever the run is replayed."""
    return _random.Random(_program("random").draw())


def _program(what: str) -> Program:
    if active.program is None:
        raise RuntimeError(f"{what}() can be called only in a workflow")
    program: Program = active.program
    return program
