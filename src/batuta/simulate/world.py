"""The simulated world: commands take as long, and end as, their models and the seed say."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from batuta.common.duration import SECOND
from batuta.common.failure import failure_of
from batuta.common.keyed import bits
from batuta.kernel.errors import BatutaError
from batuta.kernel.world import Command, Failure, Outcome
from batuta.simulate.agenda import COMPLETION, Agenda, Life
from batuta.simulate.fault import Faults
from batuta.simulate.models import MISSING, TIMED_OUT, Luck, Models, StepModel, bases, luck
from batuta.simulate.placeholder import placeholder, result_placeholder
from batuta.workflow.builtin import HttpResult, ShellResult

Deliver = Callable[[Outcome], None]

BUILTIN_RESULTS: dict[str, Any] = {"shell": ShellResult, "http": HttpResult}


class SimulatedWorld:
    """One server's world in virtual time.

    Parameters
    ----------
    agenda: the clock and everything that is going to happen.
    models: how commands go. seed: what luck is keyed with.
    life: of the server; what it is in the middle of ends with it.
    deliver: takes each outcome when it is due.
    clock: what time this server believes it is; the agenda's by default.
    name: for the ids that it makes.
    """

    def __init__(
        self,
        agenda: Agenda,
        models: Models,
        seed: int | str,
        life: Life,
        deliver: Deliver,
        *,
        clock: Callable[[], int] | None = None,
        name: str = "world",
        faults: Faults | None = None,
    ) -> None:
        self._agenda = agenda
        self._models = models
        self._seed = seed
        self._life = life
        self._deliver = deliver
        self._clock = clock
        self._name = name
        self._faults = faults
        self._ids = 0
        self.flying: dict[str, Command] = {}
        self._stubborn: set[str] = set()

    def now(self) -> int:
        """Nanoseconds since 1970-01-01 UTC, as this server sees it."""
        return self._agenda.now if self._clock is None else self._clock()

    def new_id(self) -> str:
        """A short id that was never given before."""
        self._ids += 1
        return f"{bits(self._seed, self._name, self._ids, 'id'):016x}"

    def has(self, command: str) -> bool:
        """Whether a command is under way."""
        return command in self.flying

    def perform(self, command: Command) -> None:
        """Begin with a command; its outcome is put on the agenda."""
        self.flying[command.id] = command
        taken, outcome = self.foresee(command)
        agenda = self._agenda
        outcome.started = self.now()
        at = agenda.now + taken
        agenda.at(at, COMPLETION, self._life, self._end, command.id, outcome)
        if self._faults is not None:
            again = self._faults.doubled(command.id)
            if again is not None:
                agenda.at(at + again, COMPLETION, self._life, self._deliver, outcome)

    def cancel(self, command: str) -> None:
        """Stop a command. As with real threads, its outcome may come all the same."""
        if self.flying.pop(command, None) is None:
            return
        if self._faults is not None and self._faults.ends_late(command):
            self._stubborn.add(command)

    def _end(self, command: str, outcome: Outcome) -> None:
        if self.flying.pop(command, None) is not None or command in self._stubborn:
            self._stubborn.discard(command)
            self._deliver(outcome)

    # -- what happens ----------------------------------------------------------------------

    def luck(self, command: Command) -> Luck:
        """What the seed decides about one attempt."""
        cause = command.cause
        entity = f"{cause.subject}/{cause.data.get('key', command.id)}"
        return luck(self._seed, entity, command.name, command.attempt)

    def foresee(self, command: Command) -> tuple[int, Outcome]:
        """How a command is going to end: (after how many ns, its outcome)."""
        model = self._models.step(command.name)
        taken, failure = model.draw(self.luck(command))
        limit = command.timeout_s
        if limit is not None and taken > limit * SECOND:
            text = f"step {command.name} took longer than {limit:g} s"
            return int(limit * SECOND), failed(command.id, TIMED_OUT, text)
        if failure is not None:
            return taken, failed(command.id, failure, f"{command.name} failed (simulated)")
        return taken, self._succeed(command, model)

    def _succeed(self, command: Command, model: StepModel) -> Outcome:
        step = command.target
        try:
            if step is None or not hasattr(step, "fn"):
                value = model.pick(self.luck(command))
                if value is MISSING:
                    value = placeholder(BUILTIN_RESULTS.get(command.kind, Any))
                return Outcome(command.id, plain_result(value))
            args, kwargs = command.data.get("args", []), command.data.get("kwargs", {})
            if model.values and not model.run:
                picked = model.pick(self.luck(command))
                return Outcome(command.id, step.codec.encode_result(picked))
            if model.run or callable(model.value):
                args, kwargs = step.codec.decode_call(args, kwargs)
            value = value_of(model, step, tuple(args), kwargs)
            return Outcome(command.id, step.codec.encode_result(value))
        except Exception as raised:  # the user's function, or a value of the wrong type
            failure = failure_of(raised)
            return Outcome(command.id, failure=failure, detail={"bases": bases(failure.type)})


def failed(command: str, type: str, message: str) -> Outcome:
    """The outcome of a failed command."""
    failure = Failure(type, message, args=[message])
    return Outcome(command, failure=failure, detail={"bases": bases(type)})


def value_of(model: StepModel, step: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a successful attempt gives: the model's value, the real function's, or the emptiest
    value that fits."""
    if model.run:
        return run_now(step.fn(*args, **kwargs), step.name)
    value = model.value
    if value is MISSING:
        return result_placeholder(step.fn)
    return value(*args, **kwargs) if callable(value) else value


def run_now(result: Any, name: str) -> Any:
    """The result of a function, driven to its end where it is a coroutine."""
    if not inspect.iscoroutine(result):
        return result
    try:
        result.send(None)
    except StopIteration as stop:
        return stop.value
    result.close()
    raise BatutaError(
        f"step `{name}` waits for the real world, which a simulation has none of",
        hint="give its model a `value` instead of `run`",
    )


def plain_result(value: Any) -> Any:
    """The result of a shell command or HTTP call in its stored form."""
    if isinstance(value, ShellResult):
        return {"exit_code": value.exit_code, "stdout": value.stdout, "stderr": value.stderr,
                "dropped": value.dropped}  # fmt: skip
    if isinstance(value, HttpResult):
        return {"status": value.status, "headers": value.headers, "body": value.body,
                "url": value.url, "encoding": value.encoding}  # fmt: skip
    return value
