"""Many executions of a state machine under models: how long, how they end, what they cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from batuta.kernel.world import Command, Failure
from batuta.simulate.distribution import BadModel
from batuta.simulate.machine import Performance, Result, run
from batuta.simulate.models import MISSING, Models, StepModel, luck
from batuta.workflow.asl.machine import StateMachine

CALLBACK = ".waitForTaskToken"
SCHEDULED = ("TaskScheduled", "LambdaFunctionScheduled", "ActivityScheduled")
BEGUN = {"ParallelStateEntered": "ParallelStateStarted", "MapStateEntered": "MapStateStarted"}


def executions(
    machine: StateMachine, input: Any, models: Models, count: int, seed: int
) -> Iterator[Result]:
    """Run it again and again, each execution alone in the world.

    Parameters
    ----------
    models: of the tasks, by the state's name, or by the step's or function's.

    Raises `BadModel` where a Map reads items that no model names.
    """
    for number in range(count):
        world = World(models, seed, f"run-{number}")
        yield run(machine, input, world.perform, name=f"run-{number}")


class World:
    """Tasks as their models have them.

    Parameters
    ----------
    execution: its name, from which its luck follows.
    """

    def __init__(self, models: Models, seed: int, execution: str) -> None:
        self._models = models
        self._seed = seed
        self._execution = execution
        self._counts: Counter[str] = Counter()

    def perform(self, command: Command) -> Performance:
        """What a command comes to."""
        if command.kind == "results":
            return Performance({"Bucket": "results", "Key": "manifest.json"})
        model = self.model(command)
        if command.kind == "items":
            return Performance({"items": _items(model, command.name), "next": None})
        attempt = self._counts[command.name] = self._counts[command.name] + 1
        drawn = luck(self._seed, self._execution, command.name, attempt)
        takes, error = model.draw(drawn)
        waits = str(command.data.get("resource", "")).endswith(CALLBACK)
        if error is not None:
            if waits:
                return Performance({}, signals=[(takes, {"error": error.rpartition(":")[2]})])
            return Performance(None, Failure(error, "as its model says"), takes)
        value = _value(model, command)
        if waits:
            return Performance({}, signals=[(takes, {"ok": value})])
        return Performance(value, takes=takes)

    def model(self, command: Command) -> StepModel:
        """The model of a task: of its state, of its step, or the one for everything."""
        for name in names_of(command):
            if name in self._models.steps:
                return self._models.steps[name]
        return self._models.step(command.name)


def names_of(command: Command) -> Iterator[str]:
    """What a task may be called in models: its state, its step, its function."""
    yield command.name
    yield command.target.name
    given = command.data.get("input")
    function = given.get("FunctionName") if isinstance(given, dict) else None
    called = str(function or command.data.get("resource", ""))
    if ":function:" in called or function:
        yield called.rpartition("function:")[2].partition(":")[0]


def _value(model: StepModel, command: Command) -> Any:
    if model.value is MISSING:
        return {}
    if callable(model.value):
        return model.value(command.data.get("input"))
    return model.value


def _items(model: StepModel, state: str) -> list[Any]:
    if not isinstance(model.value, list):
        raise BadModel(
            f"nothing says which items the Map `{state}` reads",
            hint=f"write `steps: {{{state}: {{value: [1, 2, 3]}}}}` in a file of models",
        )
    return model.value


def transitions(result: Result) -> int:
    """The state transitions that STANDARD is paid by: each state that ran, and each retry of a
    task, a Parallel or a Map, in the execution and in its children."""
    counts = Counter(event.type for event in result.history) + result.inner
    asked = sum(counts[kind] for kind in SCHEDULED)
    total = max(asked, counts.pop("TaskStateEntered", 0))
    for entered, begun in BEGUN.items():
        total += max(counts.pop(entered, 0), counts[begun])
    return total + sum(each for kind, each in counts.items() if kind.endswith("StateEntered"))
