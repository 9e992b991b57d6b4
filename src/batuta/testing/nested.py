"""A task that begins another machine: it is run with its own mocks, on the same clock."""

from __future__ import annotations

import json
from typing import Any

from batuta.kernel.errors import BatutaError
from batuta.kernel.world import Command, Failure
from batuta.simulate.machine import Performance
from batuta.testing.answer import Executable
from batuta.workflow.asl.errors import TASK_FAILED
from batuta.workflow.asl.resource import CALLBACK, SYNC_2, parse

MILLISECOND = 1_000_000


def nested(begun: Executable, command: Command, input: Any) -> tuple[Performance, Any]:
    """Run the machine that a task of `states:startExecution` begins.

    Parameters
    ----------
    begun: the machine. input: the task's: `Input` is that of the execution.

    Returns
    -------
    How the task goes, and the run of the other machine.
    """
    resource = parse(str(command.data.get("resource", "")))
    if resource.kind != "nested":
        raise BatutaError(
            f"`{command.name}` begins no execution, and is answered by a machine",
            hint="only `arn:aws:states:::states:startExecution` and its patterns do",
        )
    if resource.pattern == CALLBACK:
        raise BatutaError(
            f"`{command.name}` waits for its token, which a mocked machine does not send back",
            hint="answer it with what comes back: `returns(…)` or `fails(…)`",
        )
    start = command.cause.time
    name = str(input.get("Name") or command.id.rpartition(":")[2].replace("/", "-"))
    run = begun.execute(_given(input.get("Input")), name, start)
    told = _told(run, start)
    submitted = {name: told[name] for name in ("ExecutionArn", "StartDate")}
    if not resource.pattern.startswith("sync"):
        return Performance(submitted), run
    if run.status == "RUNNING":
        return Performance(never=True), run
    if resource.pattern != SYNC_2:
        told |= {part: _text(told[part]) for part in ("Input", "Output") if part in told}
    takes = run.result.duration
    if run.status != "SUCCEEDED":
        cause = json.dumps(told, separators=(",", ":"), ensure_ascii=False)
        failure = Failure(TASK_FAILED, cause)
        return Performance({"submitted": submitted}, failure, takes), run
    return Performance({"submitted": submitted, "output": told}, takes=takes), run


def _given(input: Any) -> Any:
    if isinstance(input, str):
        return json.loads(input)
    return {} if input is None else input


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _told(run: Any, start: int) -> dict[str, Any]:
    """As DescribeExecution tells of it."""
    execution = run.result.execution
    about = execution.about["Execution"]
    told = {
        "ExecutionArn": about["Id"], "Input": about["Input"], "InputDetails": {"Included": True},
        "Name": about["Name"], "StartDate": start // MILLISECOND,
        "StateMachineArn": execution.about["StateMachine"]["Id"], "Status": run.status,
        "StopDate": (start + run.result.duration) // MILLISECOND,
    }  # fmt: skip
    if run.status == "SUCCEEDED":
        return {**told, "Output": run.output, "OutputDetails": {"Included": True}}
    error = "States.Timeout" if run.status == "TIMED_OUT" else run.error
    more = {"Error": error, "Cause": run.cause}
    return told | {name: text for name, text in more.items() if text is not None}
