"""The world of one tested execution: every command is answered as the test says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from batuta.common.failure import failure_of
from batuta.kernel.errors import BatutaError
from batuta.kernel.world import Command, Failure
from batuta.simulate.machine import Performance
from batuta.simulate.world import run_now
from batuta.testing.answer import Answer, Executable, Turns, Unmocked, settled
from batuta.testing.nested import nested
from batuta.workflow.asl.results import transformed
from batuta.workflow.asl.states.task import arguments_of
from batuta.workflow.model import Step

CALLBACK = ".waitForTaskToken"
READS, WRITES = "items", "results"
WORKER = "worker"


class Tested(Protocol):
    """What the world wants to know of the machine."""

    def place_of(self, state: str) -> str:
        """File and line of a state."""

    def resource_of(self, state: str) -> str:
        """What a task asks for."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One call of a task.

    Parameters
    ----------
    state: its name. input: what it was sent. attempt: in this visit of the state, from 1.
    after: how long after the execution began. run: the execution's id.
    """

    state: str
    input: Any
    attempt: int
    after: timedelta
    run: str


@dataclass(frozen=True, slots=True)
class Written:
    """What a ResultWriter was given: the outcomes of all child executions."""

    state: str
    results: list[dict[str, Any]]
    run: str


class Mocked:
    """Answers the commands of one execution.

    Parameters
    ----------
    answers: by state, resource, or `lambda:` and a function's name. start: ns since 1970.

    Attributes
    ----------
    calls: of tasks, in order. written: by ResultWriters. nested: (state, run) of the machines
    that tasks began.
    """

    def __init__(self, tested: Tested, answers: Mapping[str, Turns], start: int) -> None:
        self._tested = tested
        self._answers = answers
        self._start = start
        self._counts: Counter[str] = Counter()
        self.calls: list[Asked] = []
        self.written: list[Written] = []
        self.nested: list[tuple[str, str, Any]] = []

    def perform(self, command: Command) -> Performance:
        """What a command comes to."""
        if command.kind == WRITES:
            return self._write(command)
        input = _input(command.data)
        answer = self._answer(command, input)
        if command.kind == READS:
            return self._read(command, answer)
        after = timedelta(microseconds=(command.cause.time - self._start) // 1000)
        run = command.cause.subject
        self.calls.append(Asked(command.name, input, command.attempt, after, run))
        if isinstance(answer.value, Step):
            answer = _stepped(answer, answer.value, input)
        if isinstance(answer.value, Executable):
            done, began = nested(answer.value, command, input)
            self.nested.append((command.name, run, began))
            return done
        if str(command.data.get("resource", "")).endswith(CALLBACK):
            return _returned(answer)
        return _performed(answer, WORKER if command.kind == "activity" else None)

    def _answer(self, command: Command, input: Any) -> Answer:
        """The answer of a call, with its function called."""
        for name in self._names(command, input):
            turns = self._answers.get(name)
            if turns is not None:
                break
        else:
            raise self._unmocked(command)
        self._counts[name] += 1
        given = turns.at(self._counts[name])
        if given is None:
            raise Unmocked(
                f"call {self._counts[name]} of the task `{command.name}` has no answer",
                at=self._tested.place_of(command.name),
                hint=f"`{turns.source}` answers {len(turns.answers)}: number the next one there",
            )
        return settled(given, input, command.attempt, command.name)

    def _names(self, command: Command, input: Any) -> Iterator[str]:
        """What answers may be given by."""
        yield command.name
        resource = str(command.data.get("resource", "")) or self._tested.resource_of(command.name)
        yield resource
        function = input.get("FunctionName") if isinstance(input, dict) else None
        yield f"lambda:{function_in(str(function or resource))}"

    def _unmocked(self, command: Command) -> Unmocked:
        what = "items of the Map" if command.kind == READS else "task"
        verb = "have" if command.kind == READS else "has"
        shown = "[…]" if command.kind == READS else "…"
        return Unmocked(
            f"the {what} `{command.name}` {verb} no answer",
            at=self._tested.place_of(command.name),
            hint=f'give one before the run: `.task("{command.name}", {shown})`',
        )

    def _read(self, command: Command, answer: Answer) -> Performance:
        """The items of a Map that reads them."""
        if answer.error is not None or answer.never:
            return _performed(answer, None)
        items = answer.value
        if not isinstance(items, list):
            raise BatutaError(
                f"the items of the Map `{command.name}` are no list: {items!r}",
                at=self._tested.place_of(command.name),
            )
        limit = command.data.get("limit")
        return Performance({"items": items[:limit], "next": None}, takes=answer.after)

    def _write(self, command: Command) -> Performance:
        """What a ResultWriter says, which writes nowhere."""
        results, writer = command.data["results"], command.data["writer"]
        self.written.append(Written(command.name, results, command.cause.subject))
        if not writer.get("Resource"):
            return Performance(transformed(results, writer.get("WriterConfig") or {}))
        given = writer.get("Parameters") or {}
        folder = str(given.get("Prefix") or "").strip("/")
        name = str(command.data["map_run"]).rpartition(":")[2]
        key = "/".join(filter(None, (folder, name, "manifest.json")))
        return Performance({"Bucket": given.get("Bucket", given.get("Path")), "Key": key})


def function_in(text: str) -> str:
    """The name of a Lambda function in its ARN, or in its name with a version."""
    return text.rpartition("function:")[2].partition(":")[0]


def _input(data: Mapping[str, Any]) -> Any:
    """What a task was sent; a Python step's arguments are its input."""
    if "input" in data:
        return data["input"]
    if data.get("args"):
        return data["args"][0]
    return data.get("kwargs") or {}


def _stepped(answer: Answer, step: Step[Any, Any], input: Any) -> Answer:
    """The project's own step, called as a task calls it; what it raises is the failure."""
    given = arguments_of(step.fn, input)
    try:
        args, kwargs = step.codec.decode_call(given["args"], given.get("kwargs") or {})
        value = step.codec.encode_result(run_now(step.fn(*args, **kwargs), step.name))
    except BatutaError:
        raise
    except Exception as raised:  # whatever the user's own function raises
        failed = failure_of(raised)
        return Answer(None, failed.type, failed.message, False, answer.after, answer.every)
    return Answer(value, None, None, False, answer.after, answer.every)


def _performed(answer: Answer, worker: str | None) -> Performance:
    if answer.never:
        return Performance(never=True, silence=answer.every, worker=worker)
    failure = None if answer.error is None else Failure(answer.error, answer.cause or "")
    return Performance(answer.value, failure, answer.after, worker, silence=answer.every)


def _returned(answer: Answer) -> Performance:
    """The call hands the token on; the answer comes by it later."""
    if answer.never:
        return Performance({}, alive=answer.every is not None)
    if answer.error is None:
        told: dict[str, Any] = {"ok": answer.value}
    else:
        told = {"error": answer.error.rpartition(":")[2], "cause": answer.cause or ""}
    beats = range(answer.every, answer.after, answer.every) if answer.every else ()
    signals: list[tuple[int, dict[str, Any]]] = [(at, {"beat": True}) for at in beats]
    return Performance({}, signals=[*signals, (answer.after, told)])
