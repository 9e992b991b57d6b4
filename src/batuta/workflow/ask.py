"""What a workflow may await: each is a small value that the program which drives it understands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from batuta.kernel.event import Event

if TYPE_CHECKING:
    from batuta.workflow.model import Step, Workflow

T = TypeVar("T")

RESERVED = (
    "run.", "step.", "timer.", "wait.", "signal.", "child.", "event.emitted", "schedule.",
    "delivery.", "server.", "object.", "patch.marked", "attributes.set", "machine.", "activity.",
)  # fmt: skip
"""Beginnings of event types that are Batuta's own."""


class Active:
    """Which program is being driven at this moment; there is one per process, since programs
    are driven one at a time and never hand control away while they are."""

    __slots__ = ("branch", "program")

    def __init__(self) -> None:
        self.program: Any = None
        self.branch: Any = None


active = Active()


class Ask(Generic[T]):
    """Something that a workflow asks for and waits for.

    The fields below `key` belong to the machine: where the asking stands in the run, which
    event made the workflow ask, and how far it has come.
    """

    __slots__ = ("asked", "attempt", "cause", "command", "due", "key")
    kind = "ask"

    def __init__(self) -> None:
        self.key = ""
        self.cause: Event | None = None
        self.asked: Event | None = None
        self.command: str | None = None
        self.attempt = 0
        self.due: int | None = None

    def __await__(self) -> Generator[Ask[T], Any, T]:
        if active.program is None:
            raise RuntimeError(
                f"{self.describe()} was awaited outside of a workflow: only the body of a "
                "@workflow function can wait for it"
            )
        answer: T = yield self
        return answer

    def describe(self) -> str:
        """What it asks for, in a few words; recorded names are compared with it on replay."""
        return self.kind

    def decode(self, value: Any) -> Any:
        """The awaited value out of its recorded form."""
        return value


class Call(Ask[T]):
    """A call of a step. Outside of a workflow it is simply the function's call."""

    __slots__ = ("args", "data", "kwargs", "step", "undoes")
    kind = "step"

    def __init__(self, step: Step[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # Written out instead of calling Ask.__init__: a step's call is the hottest line here.
        self.key = ""
        self.cause = None
        self.asked = None
        self.command = None
        self.attempt = 0
        self.due = None
        self.step = step
        self.args = args
        self.kwargs = kwargs
        self.undoes = False
        self.data: dict[str, Any] | None = None

    def __await__(self) -> Generator[Any, Any, T]:
        if active.program is None:
            return (yield from self.step.plain(self.args, self.kwargs).__await__())
        answer: T = yield self
        return answer

    def describe(self) -> str:
        return f"step {self.step.name}"

    def decode(self, value: Any) -> Any:
        return self.step.codec.decode_result(value)


class Sleep(Ask[None]):
    """Time that shall pass."""

    __slots__ = ("delay",)
    kind = "timer"

    def __init__(self, delay: int) -> None:
        super().__init__()
        self.delay = delay

    def describe(self) -> str:
        return "sleep"


class Expiry(Sleep):
    """The time limit of something else; never awaited by a user."""

    __slots__ = ()

    def describe(self) -> str:
        return "timeout"


class SignalWait(Ask[T]):
    """A signal sent to this run by name."""

    __slots__ = ("codec", "name", "within")
    kind = "signal"

    def __init__(self, name: str, codec: Any, within: int | None) -> None:
        super().__init__()
        self.name = name
        self.codec = codec
        self.within = within

    def describe(self) -> str:
        return f"signal {self.name}"

    def decode(self, value: Any) -> Any:
        return self.codec.decode(value)


class EventWait(Ask[Any]):
    """An event in the journal."""

    __slots__ = ("build", "subject", "type", "where", "within")
    kind = "event"

    def __init__(
        self,
        type: str,
        subject: str | None,
        where: Any,
        within: int | None,
        build: Callable[[Any], Any],
    ) -> None:
        super().__init__()
        self.type = type
        self.subject = subject
        self.where = where
        self.within = within
        self.build = build

    def describe(self) -> str:
        return f"event {self.type}"

    def decode(self, value: Any) -> Any:
        return self.build(value)


class ChildCall(Ask[T]):
    """A run of another workflow, as a part of this one or (detached) beside it."""

    __slots__ = ("args", "detached", "id", "kwargs", "options", "workflow")
    kind = "child"

    def __init__(
        self,
        workflow: Workflow[..., T],
        args: list[Any],
        kwargs: dict[str, Any],
        *,
        id: str | None = None,
        detached: bool = False,
        options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.workflow = workflow
        self.args = args
        self.kwargs = kwargs
        self.id = id
        self.detached = detached
        self.options = options or {}

    def describe(self) -> str:
        return f"run of {self.workflow.name}"

    def decode(self, value: Any) -> Any:
        return value if self.detached else self.workflow.codec.decode_result(value)


class Emit(Ask[str]):
    """An event to write; answered at once with the event's id. `source`: the run by default."""

    __slots__ = ("data", "source", "subject", "type")
    kind = "emit"

    def __init__(self, type: str, subject: str, data: Any, source: str | None = None) -> None:
        super().__init__()
        self.type = type
        self.subject = subject
        self.data = data
        self.source = source

    def describe(self) -> str:
        return f"emit {self.type}"


class Attributes(Ask[None]):
    """Search attributes to set; answered at once."""

    __slots__ = ("values",)
    kind = "attributes"

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__()
        self.values = values


class Patch(Ask[bool]):
    """A mark that new code took over from here; asked without being awaited."""

    __slots__ = ("name",)
    kind = "patch"

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def describe(self) -> str:
        return f"patch {self.name}"


class Join(Ask[Any]):
    """Several awaitables at once; `gather`, `race` and `timeout` are its three kinds."""

    __slots__ = ("parts", "within")
    kind = "join"

    def __init__(self, parts: tuple[Awaitable[Any], ...], within: int | None = None) -> None:
        super().__init__()
        self.parts = parts
        self.within = within


class Gather(Join):
    """All of them; the first failure cancels the others."""

    __slots__ = ()
    kind = "gather"


class Race(Join):
    """The first that ends; the others are cancelled."""

    __slots__ = ()
    kind = "race"


class Timeout(Join):
    """One of them within a time limit."""

    __slots__ = ()
    kind = "timeout"
