"""The history of an execution as the service gives it, derived from the run's journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from batuta.kernel.event import Event
from batuta.workflow.asl.execution import Execution
from batuta.workflow.asl.states.distributed import MapRun
from batuta.workflow.model import Definitions
from batuta.workflow.runs import Runs


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """One event of an execution's history.

    Parameters
    ----------
    id: from 1. prev: the event before it in its line of control, or 0.
    type: the service's name (`TaskStateEntered`).
    time: ns since 1970. details: values, not JSON text; None where the type has none.
    """

    id: int
    prev: int
    type: str
    time: int
    details: dict[str, Any] | None


@dataclass(slots=True)
class Told:
    """What folding an execution's journal tells.

    Parameters
    ----------
    events: the history. execution: the program as it stands; None where the run never began.
    """

    events: list[HistoryEvent]
    execution: Execution | None

    @property
    def map_runs(self) -> dict[str, MapRun]:
        """The map runs that it has begun, by ARN."""
        return {} if self.execution is None else self.execution.map_runs


def tell(definitions: Definitions, journal: Sequence[Event]) -> Told:
    """Fold the events of one execution's run again, and write its history down.

    Parameters
    ----------
    journal: all events of the run, in order.
    """
    events: list[HistoryEvent] = []

    def record(id: int, prev: int, type: str, time: int, details: dict[str, Any] | None) -> None:
        events.append(HistoryEvent(id, prev, type, time, details))

    runs = Runs(definitions, lambda subject: 0, keep_ended=True, recorder=record)
    run = runs.restore(list(journal))
    program: Any = None if run is None else run.program
    execution = program if isinstance(program, Execution) else None
    _end(events, execution, journal)
    return Told(events, execution)


def history_of(definitions: Definitions, journal: Sequence[Event]) -> list[HistoryEvent]:
    """The history alone; see `tell`."""
    return tell(definitions, journal).events


def _end(events: list[HistoryEvent], execution: Execution | None, journal: Sequence[Event]) -> None:
    """What ended the execution from outside: stopped, or out of time."""
    last = journal[-1]
    outside = last.type in STOPS or _overdue(journal)
    if execution is None or (execution.ended and not outside):
        return
    # What ends it from outside stands behind nothing.
    made = HistoryEvent(len(events) + 1, 0, "", last.time, None)
    if last.type in STOPS:
        details: dict[str, Any] = {
            name: last.data[name] for name in ("error", "cause") if name in last.data
        }
        events.append(replace(made, type="ExecutionAborted", details=details or None))
    elif last.type == "run.failed" and _overdue(journal):
        events.append(replace(made, type="ExecutionTimedOut"))


STOPS = ("run.terminated", "run.cancelled")


def _overdue(journal: Sequence[Event]) -> bool:
    last = journal[-1]
    return last.type == "run.failed" and last.data["error"]["type"] == "batuta:TimedOut"
