"""What users define: steps, workflows, rules, schedules and queues, made by decorators."""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Literal,
    ParamSpec,
    Protocol,
    TypeVar,
    cast,
    overload,
    runtime_checkable,
)

from batuta.common.codec import SignatureCodec, signature_codec
from batuta.common.cron import Cron, Every
from batuta.common.duration import nanoseconds, seconds
from batuta.common.pattern import Predicate, compile_where
from batuta.common.retry import NO_RETRY, Retry
from batuta.kernel.dispatch import Queue
from batuta.kernel.errors import BatutaError
from batuta.kernel.event import Event
from batuta.workflow.ask import Call, ChildCall, active
from batuta.workflow.asl.arn import DEFAULT, Place
from batuta.workflow.program import Program

if TYPE_CHECKING:
    from batuta.workflow.asl.machine import StateMachine

P = ParamSpec("P")
R = TypeVar("R")
Duration = str | int | float | timedelta
Missed = Literal["skip", "once", "all"]


@runtime_checkable
class Flow(Protocol):
    """What has runs: a workflow, or a state machine."""

    name: str

    def begun(self, given: Mapping[str, Any] | None) -> dict[str, Any]:
        """What a run keeps of its definition."""


class Definition:
    """What everything that a decorator makes has in common: a name and a place in the source.

    Parameters
    ----------
    fn: the user's function.
    name: how the journal and the command line call it.
    """

    def __init__(self, fn: Callable[..., Any], name: str | None) -> None:
        self.fn = fn
        self.name = name or fn.__name__
        self.module = fn.__module__
        self.qualname = fn.__qualname__
        self.__doc__ = fn.__doc__
        self.__name__ = fn.__name__
        self.__wrapped__ = fn

    @cached_property
    def codec(self) -> SignatureCodec:
        """How arguments and result are stored; made at the first use, when every name that
        the annotations mention is defined."""
        return signature_codec(self.fn).resolve()

    @property
    def source(self) -> str:
        """`file:line` of the definition."""
        code = self.fn.__code__
        return f"{code.co_filename}:{code.co_firstlineno}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lower()} {self.name}>"


class Step(Definition, Generic[P, R]):
    """An ordinary function whose result is recorded, so that it is not done again.

    Called in a workflow it gives something to await; called anywhere else it is the plain
    function. Made by `step`.
    """

    def __init__(self, fn: Callable[P, Any], name: str | None, **options: Any) -> None:
        super().__init__(fn, name)
        asynchronous = inspect.iscoroutinefunction(fn)
        in_process: bool = options["process"]
        if in_process and "<locals>" in fn.__qualname__:
            raise BatutaError(
                f"step `{self.name}` has process=True but is not a module-level function",
                at=self.source,
                hint="move it to the top level of its module, another process imports it",
            )
        self.mode = "process" if in_process else "async" if asynchronous else "thread"
        self.kind = "function"
        self.retry: Retry = options["retry"] or NO_RETRY
        self.timeout_s = _seconds(options["timeout"])
        self.heartbeat_s = _seconds(options["heartbeat"])
        self.undo: Step[[R], Any] | None = options["undo"]
        self.repeatable: bool = options["repeatable"]
        self.queue: str | None = options["queue"]
        self.priority: int = options["priority"]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        call: Call[R] = Call(self, args, kwargs)
        program = active.program
        if program is not None and program.stores:
            stored, named = self.codec.encode_call(args, kwargs)
            call.data = {"args": stored, "kwargs": named} if named else {"args": stored}
        return call

    def returning(self, codec: Any) -> Step[P, R]:
        """The same step with another way to store its result."""
        made = copy.copy(self)
        made.__dict__["_codec"] = codec
        return made

    async def plain(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        """Run the function itself, unrecorded."""
        result = self.fn(*args, **kwargs)
        return cast(R, await result if inspect.isawaitable(result) else result)


class Workflow(Definition, Generic[P, R]):
    """A durable function. Called in another workflow it is a child run. Made by `workflow`."""

    def __init__(
        self,
        fn: Callable[P, Coroutine[Any, Any, R]],
        name: str | None,
        *,
        deadline: Duration | None = None,
        priority: int = 0,
    ) -> None:
        super().__init__(fn, name)
        if not inspect.iscoroutinefunction(fn):
            raise BatutaError(
                f"workflow `{self.name}` is not an `async def` function",
                at=self.source,
                hint="write `async def`; the work goes into steps, which may be plain functions",
            )
        self.deadline = None if deadline is None else nanoseconds(deadline)
        self.priority = priority
        self.code_hash = _code_hash(fn)

    def program(self, started: Event, operations_max: int) -> Program:
        """What drives a run of it, not begun yet. Raises whatever its input does not fit."""
        args, kwargs = self.codec.decode_call(started.data["args"], started.data["kwargs"])
        return Program(self.fn(*args, **kwargs), started.subject, self, operations_max)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> ChildCall[R]:
        stored, named = self.codec.encode_call(args, kwargs)
        return ChildCall(self, stored, named)


@dataclass(frozen=True, slots=True)
class Rule:
    """A workflow that is started for each event of a kind. Made by `on`.

    Parameters
    ----------
    name: the workflow's name; each event is handled by a run `NAME:EVENTID`.
    type: the event type; one ending in `*` matches by its beginning.
    where: which of these events, or None for all.
    workflow: what is started, with the event as its argument.
    retry: how often, and how far apart, a failed run is tried again before its event goes to
        the dead letters.
    """

    name: str
    type: str
    where: Predicate | None
    workflow: Workflow[Any, Any]
    retry: Retry


@dataclass(frozen=True, slots=True)
class Schedule:
    """A workflow that is started at certain times. Made by `every` and `cron`.

    Parameters
    ----------
    name: the workflow's name; the run for a due time is `NAME@TIME`.
    times: when.
    missed: what happens with times that passed while nothing ran.
    workflow: what is started, with the due time where its signature wants one.
    """

    name: str
    times: Cron | Every
    missed: Missed
    workflow: Workflow[Any, Any]
    expression: str


@dataclass(slots=True)
class Definitions:
    """Everything that a system runs."""

    workflows: dict[str, Workflow[Any, Any] | StateMachine] = field(default_factory=dict)
    rules: dict[str, Rule] = field(default_factory=dict)
    schedules: dict[str, Schedule] = field(default_factory=dict)
    queues: dict[str, Queue] = field(default_factory=dict)
    steps: dict[str, Step[Any, Any]] = field(default_factory=dict)
    place: Place = DEFAULT

    @classmethod
    def of(cls, *things: object) -> Definitions:
        """A set of definitions given one by one (tests, scripts)."""
        found = cls()
        for thing in things:
            found.add(thing)
        return found

    def add(self, thing: object) -> None:
        """Take in a definition of any kind; anything else is passed over."""
        if isinstance(thing, Workflow):
            self.workflows[thing.name] = thing
        elif isinstance(thing, Rule):
            self.rules[thing.name] = thing
            self.workflows[thing.workflow.name] = thing.workflow
        elif isinstance(thing, Schedule):
            self.schedules[thing.name] = thing
            self.workflows[thing.workflow.name] = thing.workflow
        elif isinstance(thing, Queue):
            self.queues[thing.name] = thing
        elif isinstance(thing, Flow):
            self.workflows[thing.name] = cast("StateMachine", thing)
        elif isinstance(thing, Step):
            self.steps[thing.name] = thing


class StepDecorator:
    """`@step(…)` with options: keeps the signature of the function that it decorates."""

    def __init__(self, name: str | None, options: dict[str, Any]) -> None:
        self._name = name
        self._options = options

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]]) -> Step[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R]) -> Step[P, R]: ...
    def __call__(self, fn: Callable[P, Any]) -> Step[P, Any]:
        return Step(fn, self._name, **self._options)


@overload
def step(fn: Callable[P, Coroutine[Any, Any, R]], /) -> Step[P, R]: ...
@overload
def step(fn: Callable[P, R], /) -> Step[P, R]: ...
@overload
def step(
    *,
    name: str | None = None,
    retry: Retry | None = None,
    timeout: Duration | None = None,
    heartbeat: Duration | None = None,
    undo: Step[Any, Any] | None = None,
    repeatable: bool = False,
    process: bool = False,
    queue: str | None = None,
    priority: int = 0,
) -> StepDecorator: ...
def step(
    fn: Callable[P, Any] | None = None,
    /,
    *,
    name: str | None = None,
    retry: Retry | None = None,
    timeout: Duration | None = None,
    heartbeat: Duration | None = None,
    undo: Step[Any, Any] | None = None,
    repeatable: bool = False,
    process: bool = False,
    queue: str | None = None,
    priority: int = 0,
) -> Step[P, Any] | StepDecorator:
    """Make a function a step of workflows: its result is recorded before anything builds on it.

    A step is done at least once: a crash between doing and recording repeats it with the
    same `current().id`, which is the idempotency key to hand on.

    Parameters
    ----------
    fn: an `async def` function, or a plain one (it runs in a thread).
    name: how the journal calls it; the function's name by default.
    retry: what to do when it fails; without it, the failure goes to the workflow.
    timeout: how long one attempt may take.
    heartbeat: how long an attempt may stay silent between two calls of `heartbeat()`.
    undo: a step that takes this one's result and undoes it; a `saga` around the call runs it.
    repeatable: doing it twice is harmless, so that it may begin before its asking is durable.
    process: run it in a process of its own (CPU-bound work, code that may crash).
    queue: the named queue whose limits it shares.
    priority: higher goes first among what waits.
    """
    options = {
        "retry": retry, "timeout": timeout, "heartbeat": heartbeat, "undo": undo,
        "repeatable": repeatable, "process": process, "queue": queue, "priority": priority,
    }  # fmt: skip
    return StepDecorator(name, options) if fn is None else Step(fn, name, **options)


class WorkflowDecorator:
    """`@workflow(…)` with options."""

    def __init__(self, name: str | None, options: dict[str, Any]) -> None:
        self._name = name
        self._options = options

    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]]) -> Workflow[P, R]:
        return Workflow(fn, self._name, **self._options)


@overload
def workflow(fn: Callable[P, Coroutine[Any, Any, R]], /) -> Workflow[P, R]: ...
@overload
def workflow(
    *, name: str | None = None, deadline: Duration | None = None, priority: int = 0
) -> WorkflowDecorator: ...
def workflow(
    fn: Callable[P, Coroutine[Any, Any, R]] | None = None,
    /,
    *,
    name: str | None = None,
    deadline: Duration | None = None,
    priority: int = 0,
) -> Workflow[P, R] | WorkflowDecorator:
    """Make an `async def` function durable: its runs survive a crash at any instant.

    Inside it only Batuta's awaitables may be awaited (a step's call, another workflow's
    call, `sleep`, `event`, `signal`, `gather`, `race`, `timeout`, `saga`).

    Parameters
    ----------
    name: how the journal calls it; the function's name by default.
    deadline: how long a run may take from its start; then it is cancelled, with its undos.
    priority: of its steps, where they have none of their own.
    """
    if fn is None:
        return WorkflowDecorator(name, {"deadline": deadline, "priority": priority})
    return Workflow(fn, name, deadline=deadline, priority=priority)


def on(
    type: str,
    *,
    where: Predicate | Mapping[str, Any] | None = None,
    retry: Retry | None = None,
    name: str | None = None,
) -> Callable[[Callable[..., Coroutine[Any, Any, Any]]], Rule]:
    """Start the decorated workflow for each matching event: at least once, and in the order
    of the events for each subject.

    Parameters
    ----------
    type: the event type; one ending in `*` matches by its beginning.
    where: a condition on the event (`field("data.total") > 100`) or an EventBridge pattern.
    retry: for a run that failed; after the last try the event goes to the dead letters.
    """

    def make(fn: Callable[..., Coroutine[Any, Any, Any]]) -> Rule:
        flow = Workflow(fn, name)
        return Rule(flow.name, type, compile_where(where), flow, retry or NO_RETRY)

    return make


def every(
    interval: Duration, *, missed: Missed = "once", name: str | None = None
) -> Callable[[Callable[..., Coroutine[Any, Any, Any]]], Schedule]:
    """Start the decorated workflow again and again, `interval` apart, counted from 1970-01-01
    UTC, so that a restart does not shift it. `missed`: see `cron`."""

    def make(fn: Callable[..., Coroutine[Any, Any, Any]]) -> Schedule:
        flow = Workflow(fn, name)
        return Schedule(flow.name, Every(nanoseconds(interval)), missed, flow, f"every {interval}")

    return make


def cron(
    expression: str,
    *,
    timezone: str = "UTC",
    missed: Missed = "once",
    name: str | None = None,
) -> Callable[[Callable[..., Coroutine[Any, Any, Any]]], Schedule]:
    """Start the decorated workflow at the times of a cron expression.

    Parameters
    ----------
    expression: five fields as cron knows them.
    timezone: whose wall clock, an IANA name.
    missed: what to do about times that passed while no server ran: `skip` them, run `once`
        for all of them together, or run for `all` of them.
    """

    def make(fn: Callable[..., Coroutine[Any, Any, Any]]) -> Schedule:
        flow = Workflow(fn, name)
        return Schedule(flow.name, Cron(expression, timezone), missed, flow, f"cron {expression}")

    return make


def queue(name: str, *, concurrency: int | None = None, rate: str | int | None = None) -> Queue:
    """Bound the steps that name this queue: `queue("bank", concurrency=10, rate="100/s")`.

    Parameters
    ----------
    concurrency: how many at once.
    rate: how many may begin, per second, or `"N/UNIT"` (`"5/min"`, `"100/10s"`).
    """
    if rate is None:
        return Queue(name, concurrency)
    count, _, unit = str(rate).partition("/")
    try:
        per = nanoseconds(unit if unit[:1].isdigit() else f"1{unit}") if unit else 1_000_000_000
        return Queue(name, concurrency, int(count), per)
    except ValueError as error:
        raise BatutaError(
            f"queue `{name}` has a rate of `{rate}`, which is none",
            hint='write "100/s", "5/min" or "100/10s"',
        ) from error


def _seconds(value: Duration | None) -> float | None:
    return None if value is None else seconds(value)


def _code_hash(fn: Callable[..., Any]) -> str:
    try:
        text = inspect.getsource(fn)
    except (OSError, TypeError):
        text = fn.__code__.co_code.hex()
    return hashlib.sha256(text.encode()).hexdigest()[:16]
