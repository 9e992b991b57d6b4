"""Many executions of a state machine under models: how long, how they end, what they cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from batuta.kernel.world import Command, Failure
from batuta.simulate.distribution import BadModel
from batuta.simulate.machine import Performance, Result, run
from batuta.simulate.models import FAILED, MISSING, Luck, Models, StepModel, luck
from batuta.workflow.asl.errors import TASK_FAILED
from batuta.workflow.asl.machine import StateMachine
from batuta.workflow.asl.results import transformed

TRANSITIONS_MAX = 100_000
"""Of one execution: with more it is taken to loop for ever."""
CALLBACK = ".waitForTaskToken"
WORKER = "worker"
WHY = "as its model says"
SCHEDULED = ("TaskScheduled", "LambdaFunctionScheduled", "ActivityScheduled")
BEGUN = {"ParallelStateEntered": "ParallelStateStarted", "MapStateEntered": "MapStateStarted"}


def executions(
    machine: StateMachine,
    input: Any,
    models: Models,
    count: int,
    seed: int,
    used: dict[str, StepModel],
) -> Iterator[Result]:
    """Run it again and again, each execution alone in the world.

    Parameters
    ----------
    models: of the tasks, by the state's name, or by the step's or function's.
    used: gets the model of each task that is reached, by its state.

    Raises `BadModel` where a Map reads items that no model names, and for a result that a
    machine cannot have; `Loops` for an execution without an end.
    """
    for name, model in models.steps.items():
        for value in (model.value, *model.values):
            _check(value, name)
    for number in range(count):
        # Random draws inside the machine (jitter) follow from the name, which tells the seed.
        name = f"simulated-{seed}-{number}"
        world = World(models, seed, used)
        yield run(machine, input, world.perform, name=name, transitions_max=TRANSITIONS_MAX)


def _check(value: Any, name: str) -> None:
    """Refuse a result that is no JSON: YAML has more."""
    if isinstance(value, dict):
        for key, each in value.items():
            if not isinstance(key, str):
                raise BadModel(
                    f"a result of `{name}` has a member `{key}`, whose name is no text",
                    hint="put it into quotes: YAML takes yes, no, on and off for true and false",
                )
            _check(each, name)
    elif isinstance(value, list | tuple):
        for each in value:
            _check(each, name)
    elif not (value is MISSING or value is None or callable(value)) and not isinstance(
        value, str | int | float
    ):
        raise BadModel(
            f"a result of `{name}` has the value {value}, which is no JSON",
            hint="put it into quotes, where a text is meant",
        )


class World:
    """Tasks as their models have them.

    Parameters
    ----------
    used: gets the model of each task that is reached, by its state.
    """

    def __init__(self, models: Models, seed: int, used: dict[str, StepModel]) -> None:
        self._models = models
        self._seed = seed
        self._used = used
        self._counts: Counter[tuple[str, str]] = Counter()

    def perform(self, command: Command) -> Performance:
        """What a command comes to."""
        if command.kind == "results":
            return _written(command)
        model = self.model(command)
        if command.kind == "items":
            return Performance({"items": self._items(model, command), "next": None})
        line = self._line(command)
        attempt = self._counts[line, command.name] = self._counts[line, command.name] + 1
        drawn = luck(self._seed, line, command.name, attempt)
        takes, error = model.draw(drawn)
        value = None if error is not None else _value(model, command, drawn)
        if str(command.data.get("resource", "")).endswith(CALLBACK):
            told = {"ok": value} if error is None else {"error": _name_of(error), "cause": WHY}
            return Performance({}, signals=[(takes, told)], alive=True)
        failure = None if error is None else Failure(_name_of(error), WHY)
        worker = WORKER if command.kind == "activity" else None
        return Performance(value, failure, takes, worker, silence=0)

    def model(self, command: Command) -> StepModel:
        """The model of a task: of its state, of its step, or the one for everything."""
        known = self._models.steps
        name = next((each for each in names_of(command) if each in known), command.name)
        found = self._models.step(name)
        self._used.setdefault(command.name, found)
        return found

    @staticmethod
    def _line(command: Command) -> str:
        """The line of control that a command is of: the execution, a branch, an item.

        Luck is counted along it, so that branches and items do not take each other's.
        """
        return command.id.rpartition(".")[0].rstrip("0123456789")

    @staticmethod
    def _items(model: StepModel, command: Command) -> list[Any]:
        state, items = command.name, model.value
        if isinstance(items, dict) and "items" in items:
            items = items["items"]  # as the journal has what was read
        if not isinstance(items, list):
            raise BadModel(
                f"nothing says which items the Map `{state}` reads",
                hint=f"write `steps: {{{state}: {{value: [1, 2, 3]}}}}` in a file of models",
            )
        return items[: command.data.get("limit")]


def _written(command: Command) -> Performance:
    """What a ResultWriter says, which writes nowhere."""
    writer = command.data["writer"]
    if not writer.get("Resource"):
        results = command.data["results"]
        return Performance(transformed(results, writer.get("WriterConfig") or {}))
    bucket = (writer.get("Parameters") or {}).get("Bucket")
    return Performance({"Bucket": bucket, "Key": "manifest.json"})


def _name_of(failure: str) -> str:
    """The name that Retry and Catch know a model's failure by."""
    return TASK_FAILED if failure == FAILED else failure.rpartition(":")[2]


def _value(model: StepModel, command: Command, drawn: Luck) -> Any:
    value = model.pick(drawn)
    if value is MISSING:
        return {}
    return value(command.data.get("input")) if callable(value) else value


def names_of(command: Command) -> Iterator[str]:
    """What a task may be called in models: its state, its step, its function."""
    yield command.name
    yield command.target.name
    given = command.data.get("input")
    function = given.get("FunctionName") if isinstance(given, dict) else None
    called = str(function or command.data.get("resource", ""))
    if ":function:" in called or function:
        yield called.rpartition("function:")[2].partition(":")[0]


def transitions(result: Result) -> int:
    """The state transitions that STANDARD is paid by: each state that ran, and each retry of a
    task, a Parallel or a Map, in the execution and in those of its children that are STANDARD."""
    counts = Counter(event.type for event in result.history)
    asked = sum(counts[kind] for kind in SCHEDULED)
    total = max(asked, counts.pop("TaskStateEntered", 0))
    for entered, begun in BEGUN.items():
        total += max(counts.pop(entered, 0), counts[begun])
    total += sum(each for kind, each in counts.items() if kind.endswith("StateEntered"))
    return total + sum(
        transitions(child)
        for child in result.children
        if child.execution is None or not child.execution.workflow.express
    )
