"""State machines and what happens to them, told once: each ends the same under any crash."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tests.workflow.harness import HOLD, Stage, Story

from batuta import step
from batuta.kernel.world import Failure
from batuta.workflow.asl.arn import token_of
from batuta.workflow.asl.machine import StateMachine

F = "arn:aws:lambda:us-east-1:000000000000:function:f"
RUN = "flow:e"


@step
def double(x: int) -> int:
    return 2 * x


def flow(states: dict[str, Any], start: str, **more: Any) -> StateMachine:
    """A state machine of these states."""
    return StateMachine("flow", json.dumps({"StartAt": start, "States": states, **more}))


def task(then: str | None = None, **more: Any) -> dict[str, Any]:
    """A task of a Lambda function."""
    onward = {"End": True} if then is None else {"Next": then}
    return {"Type": "Task", "Resource": F, **onward, **more}


def broken(error: str, cause: str = "") -> Failure:
    """A task that fails."""
    return Failure(error, cause)


ORDER = flow(
    {
        "Pay": task(
            "Pause", ResultPath="$.paid",
            Retry=[{"ErrorEquals": ["Busy"], "IntervalSeconds": 7, "MaxAttempts": 2}],
            Catch=[{"ErrorEquals": ["States.ALL"], "ResultPath": "$.why", "Next": "Refund"}],
        ),
        "Pause": {"Type": "Wait", "Seconds": 86400, "Next": "Which"},
        "Which": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.paid.sum", "NumericGreaterThan": 10, "Next": "Ship"}],
            "Default": "Small",
        },
        "Ship": task(OutputPath="$.parcel"),
        "Small": {"Type": "Succeed"},
        "Refund": task(),
    },
    "Pay",
)  # fmt: skip

BOTH = flow(
    {
        "Both": {
            "Type": "Parallel", "End": True,
            "Branches": [
                {"StartAt": "A", "States": {"A": task("A2"), "A2": task()}},
                {"StartAt": "B", "States": {"B": {"Type": "Wait", "Seconds": 60, "Next": "B2"},
                                            "B2": task()}},
            ],
            "Retry": [{"ErrorEquals": ["Lost"], "IntervalSeconds": 5}],
        }
    },
    "Both",
)  # fmt: skip

EACH = flow(
    {
        "Each": {
            "Type": "Map", "Items": "{% $states.input.items %}", "MaxConcurrency": 2,
            "ItemSelector": {"x": "{% $states.context.Map.Item.Value %}"},
            "ItemProcessor": {
                "StartAt": "Double",
                "States": {
                    "Double": {
                        "Type": "Task", "Resource": "arn:batuta:step:double",
                        "Arguments": {"x": "{% $states.input.x %}"},
                        "Assign": {"twice": "{% $states.result %}"}, "Next": "Nap",
                    },
                    "Nap": {"Type": "Wait", "Seconds": 30, "Next": "Say"},
                    "Say": {"Type": "Pass", "Output": "{% $twice %}", "End": True},
                },
            },
            "Output": "{% $sum($states.result) %}", "End": True,
        }
    },
    "Each", QueryLanguage="JSONata",
)  # fmt: skip

FAR = flow(
    {
        "Far": {
            "Type": "Map", "MaxConcurrency": 2, "ItemsPath": "$.items", "End": True,
            "ToleratedFailureCount": 1,
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
                "StartAt": "Work", "States": {"Work": task()},
            },
        }
    },
    "Far",
)  # fmt: skip

ASKS = flow(
    {
        "Ask": {
            "Type": "Task", "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
            "Parameters": {"MessageBody": {"token.$": "$$.Task.Token"}, "QueueUrl": "q"},
            "HeartbeatSeconds": 100, "TimeoutSeconds": 1000, "Next": "Done",
            "Catch": [{"ErrorEquals": ["States.Timeout"], "Next": "Late"}],
        },
        "Done": {"Type": "Succeed"},
        "Late": {"Type": "Pass", "Result": "late", "End": True},
    },
    "Ask",
)  # fmt: skip


@dataclass(frozen=True)
class Told:
    """One story: the machine, by which script it goes, and how it ends."""

    name: str
    machine: StateMachine
    story: Story
    end: Any
    script: dict[str, list[Any]] = field(default_factory=dict)


def _with(machine: StateMachine, input: Any) -> Story:
    def story(stage: Stage) -> None:
        stage.start(machine, input, id=RUN)
        stage.play()

    return story


def _answered(stage: Stage) -> None:
    stage.start(ASKS, {}, id=RUN)
    stage.advance(60)
    name = f"task:{token_of(RUN, '1')}"
    stage.ask("run.signal", RUN, name=name, value={"beat": True})
    stage.advance(90)
    stage.ask("run.signal", RUN, name=name, value={"ok": {"said": "yes"}})
    stage.play()


def _redriven(stage: Stage) -> None:
    stage.start(BOTH, {}, id=RUN)
    stage.advance(100)
    assert stage.status(RUN) == "failed"
    stage.ask("run.retry", RUN)
    stage.play()


def _stopped(stage: Stage) -> None:
    stage.start(ORDER, {}, id=RUN)
    stage.advance(1)
    stage.ask("run.terminate", RUN, reason="stopped", error="Enough", cause="of it")
    stage.play()
    stage.ask("run.retry", RUN)
    stage.play()


STORIES = (
    Told("order", ORDER, _with(ORDER, {}), "p1",
         {"Pay": [broken("Busy"), {"sum": 12}], "Ship": [{"parcel": "p1"}]}),
    Told("refund", ORDER, _with(ORDER, {"id": 1}), {"back": True},
         {"Pay": [broken("Busy")] * 3, "Refund": [{"back": True}]}),
    Told("fails", ORDER, _with(ORDER, {}), "NoMoney",
         {"Pay": [broken("NoCard")], "Refund": [broken("NoMoney")]}),
    Told("parallel", BOTH, _with(BOTH, {}), ["a2", "b2"],
         {"A": ["a"], "A2": ["a2"], "B2": ["b2"]}),
    Told("parallel again", BOTH, _with(BOTH, {}), ["a2", "b2"],
         {"A": [broken("Lost"), "a"], "A2": ["a2"], "B2": ["b2"]}),
    Told("map", EACH, _with(EACH, {"items": [1, 2, 3, 4, 5]}), 30),
    Told("distributed", FAR, _with(FAR, {"items": [1, 2, 3, 4]}), ["w", "w", "w"],
         {"Work": ["w", broken("Bad"), "w", "w"]}),
    Told("token", ASKS, _answered, {"said": "yes"}, {"Ask": [{"MessageId": "m"}]}),
    Told("token late", ASKS, _with(ASKS, {}), "late", {"Ask": [{"MessageId": "m"}]}),
    Told("redrive", BOTH, _redriven, ["a2", "b2"],
         {"A": ["a"], "A2": [broken("Odd"), "a2"], "B2": ["b2"]}),
    Told("stopped and redriven", ORDER, _stopped, "p1",
         {"Pay": [HOLD, {"sum": 12}], "Ship": [{"parcel": "p1"}]}),
)  # fmt: skip
