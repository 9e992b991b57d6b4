"""The state machines of the scenarios, and what each execution has to come to.

How a task goes depends on its run and place alone, so that an execution without any fault, on a
clock of its own, comes to what the one under faults has to come to. No machine's outcome may
depend on which of two branches is faster.
"""

from __future__ import annotations

import json
from typing import Any

from tests.simulate.flows import MODELS, STEPS

from batuta.kernel.world import Command, Failure
from batuta.simulate.machine import Performance, Result, run
from batuta.simulate.models import luck
from batuta.workflow.asl.arn import token_of
from batuta.workflow.asl.machine import StateMachine
from batuta.workflow.model import Definitions

STEP = "arn:batuta:step:"
BUSY = [{"ErrorEquals": ["ConnectionError"], "IntervalSeconds": 1, "MaxAttempts": 2}]
LOST = [{"ErrorEquals": ["States.ALL"], "ResultPath": None, "Next": "Lost"}]


def task(step: str, name: str, then: str | None = None, **more: Any) -> dict[str, Any]:
    """A task of a step; its result is kept under the state's own name of `name`."""
    onward = {"End": True} if then is None else {"Next": then}
    return {
        "Type": "Task", "Resource": STEP + step, "Parameters": {"name": name},
        "ResultPath": f"$.{name}", **onward, **more,
    }  # fmt: skip


def flow(start: str, **states: Any) -> dict[str, Any]:
    return {"StartAt": start, "States": states}


LOSES = {"Type": "Pass", "Result": "lost", "ResultPath": "$.lost", "End": True}

ORDER = flow(
    "Open",
    Open={"Type": "Pass", "Assign": {"waits": 0}, "Next": "Pay"},
    Pay=task("shaky", "paid", "Pause", Retry=BUSY, Catch=LOST),
    Pause={"Type": "Wait", "Seconds": 3, "Next": "Which",
           "Assign": {"waits.$": "States.MathAdd($waits, 1)"}},
    Which={"Type": "Choice", "Default": "Ship", "Choices": [
        {"Variable": "$.express", "BooleanEquals": True, "Next": "Fly"}]},
    Ship=task("solid", "shipped", "Close"),
    Fly=task("doomed", "flown", "Close", Retry=BUSY, Catch=LOST),
    Close={"Type": "Pass", "Parameters": {"waits.$": "$waits"}, "ResultPath": "$.told",
           "End": True},
    Lost=LOSES,
)  # fmt: skip

FORK = flow(
    "Both",
    Both={"Type": "Parallel", "Next": "After", "ResultPath": "$.both", "Branches": [
        flow("A", A=task("shaky", "a", "A2", Retry=BUSY, Catch=LOST), A2=task("queued", "a2"),
             Lost=LOSES),
        flow("B", B={"Type": "Wait", "Seconds": 2, "Next": "B2"}, B2=task("solid", "b2")),
    ]},
    After=task("solid", "after"),
)  # fmt: skip

EACH = flow(
    "Each",
    Each={
        "Type": "Map", "ItemsPath": "$.items", "MaxConcurrency": 2, "End": True,
        "ItemSelector": {"item.$": "$$.Map.Item.Value"},
        "ItemProcessor": flow("One", One=task("shaky", "one", Retry=BUSY, Catch=LOST), Lost=LOSES),
    },
)  # fmt: skip

SPREAD = flow(
    "Spread",
    Spread={
        "Type": "Map", "ItemsPath": "$.items", "MaxConcurrency": 2, "ResultPath": "$.spread",
        "ItemSelector": {"item.$": "$$.Map.Item.Value"}, "Next": "After",
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            **flow("Few", Few=task("doomed", "few", Retry=BUSY, Catch=LOST), Lost=LOSES),
        },
    },
    After=task("solid", "after"),
)  # fmt: skip

ASK = flow(
    "Ask",
    Ask={**task("solid", "asked", "After"), "Resource": f"{STEP}solid.waitForTaskToken"},
    After=task("shaky", "after", Retry=BUSY, Catch=LOST),
    Lost=LOSES,
)

FLOWS = {"order": ORDER, "fork": FORK, "each": EACH, "spread": SPREAD, "ask": ASK}
ANSWER = {"ok": "an answer"}


def machines(definitions: Definitions) -> None:
    """Add the machines, and the steps that they call, to definitions."""
    for step in STEPS.values():
        definitions.add(step)
    for name, value in FLOWS.items():
        definitions.add(StateMachine(name, json.dumps(value), steps=STEPS))


def token_signal(run: str) -> dict[str, Any]:
    """The signal that returns the token of `ask`'s first state."""
    return {"name": f"task:{token_of(run, '1')}", "value": ANSWER}


def undisturbed(machine: StateMachine, run_id: str, input: Any, seed: int) -> Result:
    """How an execution goes where nothing is in its way."""

    def perform(command: Command) -> Performance:
        model = MODELS.step(command.target.name)
        entity = command.id.rpartition(".")[0]
        takes, failure = model.draw(luck(seed, entity, command.target.name, 1))
        if failure is not None:
            return Performance(None, Failure(failure, "as its model says"), takes)
        name = (command.data.get("kwargs") or {})["name"]
        value = model.value(name)
        signals = [(0, ANSWER)] if machine.name == "ask" and "token" in command.data else ()
        return Performance(value, takes=takes, signals=signals)

    name = run_id.removeprefix(f"{machine.name}:")
    return run(machine, input, perform, name=name, history=False)
