"""Tests of state machines: mocked tasks, a virtual clock, assertions on path and history.

    from batuta.testing import fails, machine

    def test_what_cannot_be_shipped_is_refunded():
        checkout = machine("flows/checkout.asl.json")
        checkout.task("Pay", {"id": "p-1"})
        checkout.task("Ship", fails("NoCarrier"))
        checkout.task("Refund", None)
        run = checkout.run({"order": 7})
        assert run.path == ["Pay", "Ship", "Refund", "Refunded"]

Nothing is performed, and nothing waits: days of `Wait` take microseconds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from inspect import signature
from pathlib import Path
from typing import Any

from batuta.common.duration import Duration, nanoseconds
from batuta.common.problem import Problem, render
from batuta.kernel.errors import BatutaError
from batuta.kernel.world import Command, Failure
from batuta.simulate.machine import START, Performance, Result
from batuta.simulate.machine import run as simulated
from batuta.workflow.asl.files import machine_in, name_of
from batuta.workflow.asl.history import HistoryEvent
from batuta.workflow.asl.machine import StateMachine
from batuta.workflow.asl.ran import AnySteps, State, states_in

__all__ = ["Answer", "Machine", "Run", "fails", "machine", "returns", "times_out"]

NEVER = 10**18
CALLBACK = ".waitForTaskToken"
READS, WRITES = "items", "results"


class Unmocked(BatutaError, AssertionError):
    """A task was reached that has no answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a task does when it is reached; made by `returns`, `fails` and `times_out`.

    Parameters
    ----------
    value: its result; a function is called with the task's input (and the attempt, from 1).
    error, cause: or its failure. never: it does not answer at all.
    after: how long it takes, ns. every: heartbeats until then, ns.
    """

    value: Any = None
    error: str | None = None
    cause: str | None = None
    never: bool = False
    after: int = 0
    every: int | None = None


def returns(value: Any = None, *, after: Duration = 0, beats: Duration | None = None) -> Answer:
    """A result that comes after a time.

    Parameters
    ----------
    value: the result, or a function of the task's input (and, if it takes two, the attempt).
    after: how long the task takes; with `.waitForTaskToken`, when its token is sent back.
    beats: how often it sends a heartbeat until then.
    """
    every = None if beats is None else nanoseconds(beats)
    return Answer(value, after=nanoseconds(after), every=every)


def fails(error: str = "States.TaskFailed", cause: str = "", *, after: Duration = 0) -> Answer:
    """A failure, by the name that Retry and Catch know it by."""
    return Answer(error=error, cause=cause, after=nanoseconds(after))


def times_out() -> Answer:
    """No answer: the state's TimeoutSeconds or HeartbeatSeconds pass, or the run waits for ever."""
    return Answer(never=True)


def machine(
    definition: str | Path | Mapping[str, Any], *, name: str | None = None, type: str = "STANDARD"
) -> Machine:
    """A state machine to test.

    Parameters
    ----------
    definition: a file (`NAME.asl.json`, `NAME.asl.yaml`), or the definition itself.
    name: of the machine; the file's by default. type: STANDARD or EXPRESS.

    Raises `BatutaError` with every mistake in the definition, and its line.
    """
    if isinstance(definition, Mapping):
        shown, text = "definition.asl.json", json.dumps(definition, indent=2)
    else:
        shown = str(definition)
        try:
            text = Path(definition).read_text(encoding="utf-8")
        except OSError as error:
            why = error.strerror or str(error)
            raise BatutaError(f"`{definition}` cannot be read: {why}") from error
    name = name or name_of(Path(shown).name) or Path(shown).name.partition(".")[0]
    made, problems = machine_in(name, text, shown, about={"type": type}, steps=None)
    if made is None:
        raise BatutaError(f"`{name}` has mistakes\n{_told(problems, text)}", at=shown)
    made.steps = AnySteps()
    return Machine(made, text)


def _told(problems: list[Problem], text: str) -> str:
    return render(problems, lambda file: text)


class Machine:
    """A state machine with mocks in the place of its tasks; made by `machine`."""

    def __init__(self, made: StateMachine, text: str) -> None:
        self._machine = made
        self._text = text
        self._answers: dict[str, list[Answer]] = {}
        self._names = dict(_states(made.compiled.definition))

    @property
    def name(self) -> str:
        """The machine's."""
        return self._machine.name

    def task(self, state: str, *answers: Any) -> Machine:
        """What a task answers, in turn; the last answer is given again and again.

        Parameters
        ----------
        state: the state's name, wherever it stands; or a task's resource (`arn:…`), for every
            task that has it, or a Lambda function's name after `lambda:`.
        answers: values, functions of the input, or what `returns`, `fails`, `times_out` give.
            For a Map with an ItemReader: the items.

        Raises `BatutaError` for a state that the machine does not have.
        """
        if not state.startswith(("arn:", "lambda:")) and state not in self._names:
            near = get_close_matches(state, self._names, 1)
            known = ", ".join(f"`{name}`" for name in self._names)
            raise BatutaError(
                f"`{self.name}` has no state `{state}`", at=self._machine.source,
                hint=f"did you mean `{near[0]}`?" if near else f"it has {known}",
            )  # fmt: skip
        given = [each if isinstance(each, Answer) else Answer(each) for each in answers]
        self._answers[state] = given or [Answer()]
        return self

    def mocks(self, file: str | Path, case: str) -> Machine:
        """The answers of a test case in a mock configuration file of Step Functions Local."""
        content = json.loads(Path(file).read_text(encoding="utf-8"))
        cases = content.get("StateMachines", {}).get(self.name, {}).get("TestCases", {})
        if case not in cases:
            hint = f"it has {', '.join(cases)}" if cases else f"it has none of `{self.name}`"
            raise BatutaError(f"there is no test case `{case}`", at=str(file), hint=hint)
        for state, named in cases[case].items():
            mocked = content.get("MockedResponses", {}).get(named)
            if mocked is None:
                raise BatutaError(f"there is no mocked response `{named}`", at=str(file))
            self.task(state, *_in_turn(mocked))
        return self

    def run(
        self, input: Any = None, *, name: str = "test", at: datetime | None = None
    ) -> Run:  # fmt: skip
        """Run it from its start to its end.

        Parameters
        ----------
        input: `{}` by default. name: of the execution; random draws follow from it.
        at: when the virtual clock begins; 2024-01-01 UTC by default.

        Raises `Unmocked` where it comes to a task that has no answer.
        """
        mocked = _Mocked(self, self._answers)
        start = START if at is None else int(at.astimezone(UTC).timestamp()) * 1_000_000_000
        given = {} if input is None else input
        result = simulated(self._machine, given, mocked.perform, name=name, start=start)
        return Run(result, mocked.calls)

    def place_of(self, state: str) -> str:
        """File and line of a state."""
        quoted = json.dumps(state, ensure_ascii=False)
        file = self._machine.source.rpartition(":")[0]
        for number, line in enumerate(self._text.splitlines(), 1):
            if line.strip().startswith((f"{quoted}:", f"{state}:", f"{quoted} :")):
                return f"{file}:{number}"
        return self._machine.source

    def resource_of(self, state: str) -> str:
        """What a task asks for."""
        return str(self._names.get(state, ""))


def _states(value: Any) -> Iterator[tuple[str, Any]]:
    """Every state of a definition, with its resource."""
    if not isinstance(value, Mapping):
        return
    for name, state in value.get("States", {}).items():
        yield name, state.get("Resource", "")
        for branch in state.get("Branches", ()):
            yield from _states(branch)
        yield from _states(state.get("ItemProcessor") or state.get("Iterator"))


def _in_turn(mocked: Mapping[str, Any]) -> list[Answer]:
    """Mocked responses by attempt: `{"0": …, "1-2": …}`."""
    found: dict[int, Answer] = {}
    for numbers, response in mocked.items():
        first, _, last = numbers.partition("-")
        for number in range(int(first), int(last or first) + 1):
            thrown = response.get("Throw")
            found[number] = (
                Answer(response.get("Return"))
                if thrown is None
                else Answer(error=thrown.get("Error", ""), cause=thrown.get("Cause", ""))
            )
    return [found[number] for number in sorted(found)]


@dataclass(frozen=True, slots=True)
class Asked:
    """One call of a task: the state, its input, and which call of this state it was (from 1)."""

    state: str
    input: Any
    number: int


class _Mocked:
    """The world of one execution: everything is answered as the test says."""

    def __init__(self, tested: Machine, answers: Mapping[str, list[Answer]]) -> None:
        self._tested = tested
        self._answers = answers
        self.calls: list[Asked] = []
        self._counts: dict[str, int] = {}

    def perform(self, command: Command) -> Performance:
        """What a command comes to."""
        state, input = command.name, _input(command.data)
        number = self._counts[state] = self._counts.get(state, 0) + 1
        self.calls.append(Asked(state, input, number))
        answers = self._found(command, input)
        if answers is None:
            return self._without(command)
        answer = answers[min(number, len(answers)) - 1]
        if command.kind == READS:
            return Performance({"items": answer.value, "next": None})
        waits = str(command.data.get("resource", "")).endswith(CALLBACK)
        return _token(answer, input, number) if waits else _performed(answer, input, number)

    def _found(self, command: Command, input: Any) -> list[Answer] | None:
        resource = str(command.data.get("resource", "")) or self._tested.resource_of(command.name)
        function = input.get("FunctionName") if isinstance(input, dict) else None
        called = str(function or resource).rpartition("function:")[2].partition(":")[0]
        for name in (command.name, resource, f"lambda:{called}"):
            if name in self._answers:
                return self._answers[name]
        return None

    def _without(self, command: Command) -> Performance:
        if command.kind == WRITES:
            return Performance({"Bucket": "results", "Key": "manifest.json"})
        what = "items of the Map" if command.kind == READS else "task"
        raise Unmocked(
            f"the {what} `{command.name}` has no answer", at=self._tested.place_of(command.name),
            hint=f'give it one: `.task("{command.name}", …)`',
        )  # fmt: skip


def _input(data: Mapping[str, Any]) -> Any:
    """What a task was sent; a Python step's arguments are its input."""
    if "input" in data:
        return data["input"]
    if data.get("args"):
        return data["args"][0]
    return data.get("kwargs") or {}


def _value(answer: Answer, input: Any, number: int) -> Any:
    if not callable(answer.value):
        return answer.value
    call: Callable[..., Any] = answer.value
    return call(input, number) if len(signature(call).parameters) > 1 else call(input)


def _performed(answer: Answer, input: Any, number: int) -> Performance:
    if answer.never:
        return Performance(takes=NEVER)
    if answer.error is not None:
        return Performance(None, Failure(answer.error, answer.cause or ""), answer.after)
    return Performance(_value(answer, input, number), takes=answer.after)


def _token(answer: Answer, input: Any, number: int) -> Performance:
    """The call hands the token on; the answer comes by it later."""
    if answer.never:
        return Performance({})
    if answer.error is None:
        told: dict[str, Any] = {"ok": _value(answer, input, number)}
    else:
        told = {"error": answer.error, "cause": answer.cause or ""}
    beats = range(answer.every, answer.after, answer.every) if answer.every else ()
    signals: list[tuple[int, dict[str, Any]]] = [(at, {"beat": True}) for at in beats]
    return Performance({}, signals=[*signals, (answer.after, told)])


@dataclass(frozen=True, slots=True)
class Sent:
    """An event that `events:putEvents` wrote."""

    type: str
    source: str | None
    subject: str
    data: Any


@dataclass(slots=True)
class Run:
    """How an execution went.

    Attributes
    ----------
    result: as the simulation has it. calls: what tasks were sent, in order.
    """

    result: Result
    calls: list[Asked] = field(default_factory=list)

    @property
    def status(self) -> str:
        """`SUCCEEDED`, `FAILED`, `TIMED_OUT`; `RUNNING` where it waits for what never comes."""
        return self.result.status

    @property
    def succeeded(self) -> bool:
        """Whether it came to a good end."""
        return self.status == "SUCCEEDED"

    @property
    def output(self) -> Any:
        """Its output; None where it did not succeed."""
        return self.result.output

    @property
    def error(self) -> str | None:
        """The name of the error that it failed with."""
        return self.result.error

    @property
    def cause(self) -> str | None:
        """What was said about the error."""
        return self.result.cause

    @property
    def path(self) -> list[str]:
        """The states that were entered, in order, those of branches and items too."""
        return self.result.path

    @property
    def history(self) -> list[HistoryEvent]:
        """Every event, as GetExecutionHistory has it."""
        return self.result.history

    @property
    def events(self) -> list[Sent]:
        """The events that `events:putEvents` wrote."""
        return [
            Sent(each.type, each.source, each.subject, each.data) for each in self.result.emitted
        ]

    @property
    def took(self) -> timedelta:
        """How long it was under way, on the virtual clock."""
        return timedelta(microseconds=self.result.duration / 1000)

    @property
    def transitions(self) -> int:
        """How often a state was left for the next one."""
        return self.result.transitions

    def visited(self, state: str) -> bool:
        """Whether a state was entered."""
        return state in self.path

    def states(self, name: str | None = None) -> list[State]:
        """What became of the states that were entered, or of those of one name: `input`,
        `output`, `status`, `tries` (the failures), `started` and `ended` (ns)."""
        found = list(_all(states_in(self.history)))
        return found if name is None else [each for each in found if each.name == name]

    def state(self, name: str) -> State:
        """The last visit of a state. Raises `BatutaError` where it was never entered."""
        found = self.states(name)
        if not found:
            went = " → ".join(self.path) or "nowhere"
            raise BatutaError(f"the state `{name}` was not entered", hint=f"it went {went}")
        return found[-1]

    def calls_of(self, state: str) -> list[Any]:
        """What a task was sent, call by call."""
        return [each.input for each in self.calls if each.state == state]

    def retries(self, state: str) -> int:
        """How often a task was asked again, in all visits together."""
        return max(0, len(self.calls_of(state)) - len(self.states(state)))

    def __repr__(self) -> str:
        told = self.status if self.error is None else f"{self.status} {self.error}: {self.cause}"
        return f"<Run {told}: {' → '.join(self.path)}, {self.took}>"


def _all(states: list[State]) -> Iterator[State]:
    for state in states:
        yield state
        yield from _all(state.states)
