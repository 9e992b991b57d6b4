"""A stage for workflow machines: a journal in memory, a clock by hand, a world by script."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from batuta.common.failure import bases_by_name, bases_of, failure_of
from batuta.kernel.dispatch import Dispatcher
from batuta.kernel.errors import BatutaError
from batuta.kernel.event import Event, Message, Record
from batuta.kernel.loop import Loop, Turn, partition_of
from batuta.kernel.sqlite import SqliteJournal
from batuta.kernel.world import Command, Failure, Outcome
from batuta.workflow.deliveries import Deliveries
from batuta.workflow.model import Definitions
from batuta.workflow.replay import OF_RUNS
from batuta.workflow.runs import Runs
from batuta.workflow.schedules import Schedules

S = 1_000_000_000
BEGIN = 1_700_000_000 * S
HOLD = object()
"""In a script: the step stays in flight until the test finishes it."""
STAGES: list[Stage] = []
"""The stages of the present test, to be closed behind it."""


class Hands:
    """The world of a stage: performs what is asked when the test says so.

    `script`: for each step's name the answers of its attempts, one after the other: a value,
    an exception to raise, a `Failure`, or `HOLD`. A step without a script is its function's
    call. An answer belongs to a command's id: performed again after a crash, it ends the same.
    """

    def __init__(self, script: Mapping[str, list[Any]]) -> None:
        self.time = BEGIN
        self.script = {name: list(answers) for name, answers in script.items()}
        self.performing: dict[str, Command] = {}
        self.performed: list[str] = []
        self.cancelled: list[str] = []
        self.answers: dict[str, Outcome | None] = {}
        self._ids = 0

    def now(self) -> int:
        return self.time

    def new_id(self) -> str:
        self._ids += 1
        return f"id{self._ids}"

    def perform(self, command: Command) -> None:
        assert command.id not in self.performing, f"{command.id} is performed twice at once"
        self.performing[command.id] = command
        self.performed.append(command.id)

    def cancel(self, command: str) -> None:
        self.performing.pop(command, None)
        self.cancelled.append(command)

    def ready(self) -> Outcome | None:
        """The outcome of the first command that is not held, as often as it is asked for."""
        for id, command in list(self.performing.items()):
            if id not in self.answers:
                self.answers[id] = self._answer(command)
            outcome = self.answers[id]
            if outcome is not None:
                del self.performing[id]
                return outcome
        return None

    def _answer(self, command: Command) -> Outcome | None:
        script = self.script.get(command.name)
        answer: Any = script.pop(0) if script else None
        if answer is HOLD:
            return None
        if isinstance(answer, Failure):
            return failed(command.id, answer)
        if isinstance(answer, BaseException):
            return raised(command.id, answer)
        if script is None:
            return self._call(command)
        return Outcome(command.id, command.target.codec.encode_result(answer))

    def _call(self, command: Command) -> Outcome:
        target = command.target
        args, kwargs = target.codec.decode_call(
            command.data["args"], command.data.get("kwargs", {})
        )
        try:
            value = target.fn(*args, **kwargs)
            if inspect.iscoroutine(value):
                value = _finished(value)
            return Outcome(command.id, target.codec.encode_result(value))
        except Exception as error:
            return raised(command.id, error)


def _finished(coro: Any) -> Any:
    try:
        coro.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("a step of a test has to end without waiting")


def raised(command: str, error: BaseException) -> Outcome:
    """The outcome of a step that raised."""
    return Outcome(command, failure=failure_of(error), detail={"bases": bases_of(error)})


def failed(command: str, failure: Failure) -> Outcome:
    """The outcome of a step that the world gave up."""
    return Outcome(command, failure=failure, detail={"bases": bases_by_name(failure.type)})


class Journalled:
    """What a test reads from the journal of a stage."""

    journal: SqliteJournal

    def events(self, id: str = "run") -> list[Event]:
        """The whole history of a subject."""
        return list(self.journal.histories([id]))

    def types(self, id: str = "run") -> list[str]:
        return [event.type for event in self.events(id)]

    def last(self, id: str = "run") -> Event:
        """The last event of a run; users' events may have the same subject, as its delivery has."""
        return [e for e in self.events(id) if e.type.startswith(OF_RUNS)][-1]

    def result(self, id: str = "run") -> Any:
        """The recorded result of a run that completed."""
        last = self.last(id)
        assert last.type == "run.completed", f"{last.type} {last.data}"
        return last.data["result"]

    def error(self, id: str = "run") -> dict[str, Any]:
        """The recorded error of a run that failed."""
        last = self.last(id)
        assert last.type == "run.failed", f"{last.type} {last.data}"
        error: dict[str, Any] = last.data["error"]
        return error

    def record(self, id: str = "run", kind: str = "run") -> Record:
        record = self.journal.record(kind, id)
        assert record is not None
        return record

    def status(self, id: str = "run") -> str:
        return self.record(id).status

    def done(self, id: str = "run") -> list[str]:
        """Names of the steps that were performed to a good end, in order."""
        asked = {e.command: e.data["name"] for e in self.events(id) if e.type == "step.asked"}
        return [asked[e.command] for e in self.events(id) if e.type == "step.completed"]

    def attempts(self, name: str) -> int:
        """How often a step was really begun, crashes included."""
        return sum(
            1
            for event in self.journal.read(limit=1_000_000)
            if event.type == "step.asked" and event.data["name"] == name
        )

    def whole(self) -> list[tuple[Any, ...]]:
        """Everything in the journal, for comparing two stages."""
        return [
            (e.type, e.subject, e.data, e.cause_seq, e.time, e.command)
            for e in self.journal.read(limit=1_000_000)
        ]


class Stage(Journalled):
    """A system without asyncio: what `real.System` does with the loop, one thing at a time.

    Parameters
    ----------
    things: workflows, rules, schedules and queues.
    script: see `Hands`.
    restart_every: crash and start again behind every k-th turn; 0: never.
    """

    def __init__(
        self,
        *things: object,
        script: Mapping[str, list[Any]] | None = None,
        restart_every: int = 0,
        idle_max: int = 1000,
        operations_max: int = 10_000,
        journal: SqliteJournal | None = None,
    ) -> None:
        self.definitions = Definitions.of(*things)
        self.hands = Hands(script or {})
        self.journal = journal or SqliteJournal(":memory:")
        self.restart_every = restart_every
        self.idle_max = idle_max
        self.operations_max = operations_max
        self.replies: dict[str, dict[str, Any] | BatutaError] = {}
        self.turns = 0
        self.restarts = 0
        self._build()
        STAGES.append(self)

    # -- life ------------------------------------------------------------------------------

    def close(self) -> None:
        """Let go of every coroutine."""
        self.runs.own((), 0)

    def _build(self) -> None:
        home = partial(partition_of, partitions=1)
        self.runs = Runs(
            self.definitions, home, idle_max=self.idle_max, operations_max=self.operations_max
        )
        self.deliveries = Deliveries(self.definitions, home)
        self.schedules = Schedules(self.definitions, home)
        self.loop = Loop(
            self.journal,
            (self.runs, self.deliveries, self.schedules),
            self.hands,
            Dispatcher(self.definitions.queues.values()),
        )
        epoch = self.journal.acquire(0, "stage", self.hands.time, 10**18)
        assert epoch is not None
        self.loop.own({0: epoch})

    def restart(self, *things: object) -> None:
        """A crash: everything in memory and everything in flight is gone; then a start,
        with other definitions where some are given."""
        self.restarts += 1
        if things:
            self.definitions = Definitions.of(*things)
        self.hands.performing.clear()
        self.close()
        self._build()
        self._turn((), ())

    def reload(self, *things: object) -> None:
        """Take over changed code without a restart."""
        self.definitions = Definitions.of(*things)
        for machine in (self.runs, self.deliveries, self.schedules):
            machine.definitions = self.definitions
        self.turn()

    # -- turning ---------------------------------------------------------------------------

    def turn(self, outcomes: Any = (), messages: Any = ()) -> None:
        """One turn of the loop, committed."""
        self._turn(outcomes, messages)
        self.turns += 1
        if self.restart_every and self.turns % self.restart_every == 0:
            self.restart()

    def _turn(self, outcomes: Any, messages: Any) -> None:
        self.loop.turn(outcomes, messages)
        for command in self.loop.take_early():
            self.hands.perform(command)
        while (turn := self.loop.begin_commit()) is not None:
            self._commit(turn)

    def _commit(self, turn: Turn) -> None:
        if turn.batch:
            self.journal.commit(turn.batch)
        for command in self.loop.committed(turn):
            self.hands.perform(command)
        for command_id in turn.cancels:
            self.hands.cancel(command_id)
        self.replies.update(turn.replies)

    def settle(self) -> None:
        """Until nothing happens any more without time passing."""
        for _ in range(200_000):
            outcome = self.hands.ready()
            if outcome is not None:
                self.turn([outcome])
                continue
            wake = self.loop.next_wake()
            if wake is None or wake > self.hands.time:
                return
            self.turn()
        raise AssertionError("it never settles")

    def advance(self, seconds: float) -> None:
        """Let time pass, from due time to due time."""
        until = self.hands.time + round(seconds * S)
        self.settle()
        while (wake := self.loop.next_wake()) is not None and wake <= until:
            self.hands.time = max(self.hands.time, wake)
            self.settle()
        self.hands.time = until
        self.settle()

    def play(self, limit_s: float = 1e10) -> None:
        """Until nothing is due any more."""
        until = self.hands.time + round(limit_s * S)
        self.settle()
        while (wake := self.loop.next_wake()) is not None and wake <= until:
            self.hands.time = max(self.hands.time, wake)
            self.settle()

    # -- asking ----------------------------------------------------------------------------

    def message(self, type: str, subject: str, /, **data: Any) -> Message:
        """A message as a user's request makes one."""
        return Message(self.hands.new_id(), 0, type, subject, data, None, self.hands.time)

    def ask(self, type: str, subject: str, /, **data: Any) -> dict[str, Any]:
        """Ask for something, and see it answered; raises what it is refused with."""
        message = self.message(type, subject, **data)
        self.turn(messages=[message])
        reply = self.replies.pop(message.id)
        if isinstance(reply, BatutaError):
            raise reply
        return reply

    def start(
        self, flow: Any, *args: Any, id: str = "run", options: Any = None, **kwargs: Any
    ) -> str:
        """Start a run."""
        stored, named = flow.codec.encode_call(args, kwargs)
        more = options or {}
        self.ask("run.start", id, workflow=flow.name, args=stored, kwargs=named, **more)
        return id

    def run(self, flow: Any, *args: Any, id: str = "run", **kwargs: Any) -> Event:
        """Start a run, let it end, and give its last event."""
        self.start(flow, *args, id=id, **kwargs)
        self.play()
        return self.last(id)

    def signal(self, name: str, value: Any = None, id: str = "run") -> None:
        self.ask("run.signal", id, name=name, value=value)
        self.settle()

    def send(self, type: str, subject: str = "", data: Any = None, id: str | None = None) -> None:
        self.ask("event.send", subject, type=type, data=data, id=id or self.hands.new_id())
        self.settle()

    def finish(self, name: str, value: Any = None) -> None:
        """End the first held step of this name; an exception is raised in it."""
        command = next(c for c in self.hands.performing.values() if c.name == name)
        if isinstance(value, Failure):
            outcome = failed(command.id, value)
        elif isinstance(value, BaseException):
            outcome = raised(command.id, value)
        else:
            outcome = Outcome(command.id, command.target.codec.encode_result(value))
        self.hands.answers[command.id] = outcome
        self.settle()

    def query(self, name: str, *args: Any, id: str = "run") -> Any:
        """What a run answers, as `real.System` asks it."""
        run = self.runs.runs.get(id)
        if run is None:
            scratch = Runs(self.definitions, lambda _: 0, keep_ended=True)
            run = scratch.restore(self.events(id))
        assert run is not None
        assert run.program is not None
        return run.program.queries[name](*args)


Story = Callable[[Stage], None]
