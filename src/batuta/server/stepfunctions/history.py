"""The history of an execution as the API tells it: pages of events, values as JSON text."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from json import dumps
from typing import Any

from starlette.requests import Request

from batuta.server.stepfunctions.errors import invalid_token
from batuta.server.stepfunctions.executions import known_execution, last_of
from batuta.server.stepfunctions.paging import PAGE, place_in, size_of, token_for
from batuta.server.stepfunctions.service import Answer, Asked, Service, date
from batuta.workflow.asl.history import HistoryEvent, Told, tell

KEPT = 16
DATA = ("input", "output", "parameters")
DETAILED = {
    "ActivityFailed", "ActivityScheduleFailed", "ActivityScheduled", "ActivityStarted",
    "ActivitySucceeded", "ActivityTimedOut", "TaskFailed", "TaskScheduled", "TaskStartFailed",
    "TaskStarted", "TaskSubmitFailed", "TaskSubmitted", "TaskSucceeded", "TaskTimedOut",
    "ExecutionFailed", "ExecutionStarted", "ExecutionSucceeded", "ExecutionAborted",
    "ExecutionTimedOut", "ExecutionRedriven", "MapStateStarted", "MapIterationStarted",
    "MapIterationSucceeded", "MapIterationFailed", "MapIterationAborted", "LambdaFunctionFailed",
    "LambdaFunctionScheduleFailed", "LambdaFunctionScheduled", "LambdaFunctionStartFailed",
    "LambdaFunctionSucceeded", "LambdaFunctionTimedOut", "MapRunStarted", "MapRunFailed",
    "MapRunRedriven", "EvaluationFailed",
}  # fmt: skip
ALWAYS = {"ExecutionAborted", "ExecutionTimedOut", "ExecutionFailed"}
"""Types whose details are told even where they are empty."""


async def told_of(service: Service, run: str) -> Told:
    """What folding a run's journal tells; the last few are kept."""
    last = await last_of(service, run, ())
    key = (run, 0 if last is None else last.seq)
    known = service.told.get(key)
    if known is not None:
        service.told.move_to_end(key)
        found: Told = known
        return found
    events = await service.read(lambda journal: list(journal.histories([run])))
    definitions = service.system.project.definitions
    # On a thread: many events take long, and so may the expressions of a few.
    made = await asyncio.to_thread(tell, definitions, events)
    service.told[key] = made
    while len(service.told) > KEPT:
        service.told.popitem(last=False)
    return made


async def get_execution_history(service: Service, asked: Asked, request: Request) -> Answer:
    """The events of an execution, oldest first or newest first."""
    record, started = await known_execution(service, asked["executionArn"])
    backwards = asked.get("reverseOrder", False)
    about = ["history", record.id, backwards]
    after, size = place_in(asked.get("nextToken"), about), size_of(asked, PAGE)
    if after is not None and not isinstance(after, int):
        raise invalid_token()
    events: Sequence[HistoryEvent] = (await told_of(service, record.id)).events
    if backwards:
        wanted = [one for one in reversed(events) if after is None or one.id < after][: size + 1]
    else:
        first = after or 0
        wanted = list(events[first : first + size + 1])
    whole = asked.get("includeExecutionData", True)
    page = [shown(event, started.data["machine"], whole) for event in wanted[:size]]
    answer: Answer = {"events": page}
    if len(wanted) > size:
        answer["nextToken"] = token_for(about, wanted[size - 1].id)
    return answer


def shown(event: HistoryEvent, machine: Mapping[str, Any], whole: bool) -> Answer:
    """One event.

    Parameters
    ----------
    machine: what the run keeps of its state machine. whole: with inputs and outputs.
    """
    answer: Answer = {
        "timestamp": date(event.time), "type": event.type, "id": event.id,
        "previousEventId": event.prev,
    }  # fmt: skip
    name = details_name(event.type)
    if name is None:
        return answer
    if event.details is None and event.type not in ALWAYS:
        return answer
    details = _details(event.details or {}, whole)
    if event.type == "ExecutionStarted":
        details["roleArn"] = machine.get("role", "")
        details |= _qualified(machine)
    answer[name] = details
    return answer


def details_name(type: str) -> str | None:
    """The member that holds the details of a type of event; None where it has none."""
    if type.endswith("StateEntered"):
        return "stateEnteredEventDetails"
    if type.endswith("StateExited"):
        return "stateExitedEventDetails"
    return f"{type[0].lower()}{type[1:]}EventDetails" if type in DETAILED else None


def _details(details: Mapping[str, Any], whole: bool) -> Answer:
    found: Answer = {}
    for name, value in details.items():
        if name in DATA:
            if whole:
                found[name] = dumps(value, ensure_ascii=False, separators=(",", ":"))
            if name != "parameters":
                found[f"{name}Details"] = {"truncated": False}
        elif name == "assignedVariables":
            if whole:
                found[name] = {
                    variable: dumps(part, ensure_ascii=False, separators=(",", ":"))
                    for variable, part in value.items()
                }
            found["assignedVariablesDetails"] = {"truncated": False}
        else:
            found[name] = value
    return found


def _qualified(machine: Mapping[str, Any]) -> Answer:
    """The version and the alias that an execution was started by."""
    arn, _, qualifier = machine.get("arn", "").rpartition(":")
    found: Answer = {}
    if "alias" in machine:
        found["stateMachineAliasArn"] = f"{arn}:{qualifier}"
    if "version" in machine:
        found["stateMachineVersionArn"] = f"{arn}:{machine['version']}"
    return found
