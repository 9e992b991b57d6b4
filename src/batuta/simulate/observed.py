"""How the tasks of a state machine went, out of the histories of its executions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from batuta.simulate.distribution import empirical
from batuta.simulate.models import MISSING, StepModel, failure_type
from batuta.workflow.asl.errors import TASK_FAILED, TIMEOUT
from batuta.workflow.asl.history import HistoryEvent

KEPT_MAX = 10_000
"""How many attempts of each state are kept; the first that are told."""

FAMILIES = ("Task", "LambdaFunction", "Activity")
ASKED = tuple(f"{family}Scheduled" for family in FAMILIES)
SUCCEEDED = tuple(f"{family}Succeeded" for family in FAMILIES)
FAILED = tuple(f"{family}{how}" for family in FAMILIES for how in ("Failed", "TimedOut"))

Place = tuple[str, int]
"""The state that a line of control is in, and when its task was asked for, ns."""


@dataclass(slots=True)
class Attempts:
    """What was seen of one state's task; times in ns, from the asking to the answer.

    Waiting in a queue counts, and with `.waitForTaskToken` the time until the token came back.
    """

    good: list[int] = field(default_factory=list)
    bad: list[int] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    values: list[Any] = field(default_factory=list)

    def model(self) -> StepModel:
        """The task as it was: one of the durations, failures and results that were seen."""
        count = len(self.good) + len(self.bad)
        failures = tuple(
            (failure_type(name), float(n)) for name, n in sorted(self.failures.items())
        )
        return StepModel(
            empirical(self.good or self.bad),
            len(self.bad) / count,
            failures or StepModel().failures,
            empirical(self.bad) if self.bad else None,
            MISSING,
            source=f"history: {count} attempt{'' if count == 1 else 's'}",
            values=tuple(self.values),
        )


def observed(histories: Iterable[Sequence[HistoryEvent]]) -> dict[str, StepModel]:
    """A model for each task of a state machine, by the state's name.

    Parameters
    ----------
    histories: of executions, child executions among them, the newest first.
    """
    seen: dict[str, Attempts] = {}
    for history in histories:
        _take(history, seen)
    return {state: attempts.model() for state, attempts in seen.items()}


def _take(history: Sequence[HistoryEvent], seen: dict[str, Attempts]) -> None:
    places: dict[int, Place] = {}
    for event in history:
        state, since = places.get(event.prev, ("", 0))
        kind, details = event.type, event.details or {}
        if kind.endswith("StateEntered"):
            state = str(details.get("name"))
        elif kind in ASKED:
            since = event.time
        elif kind in SUCCEEDED or kind in FAILED:
            attempts = seen.setdefault(state, Attempts())
            if len(attempts.good) + len(attempts.bad) < KEPT_MAX:
                _note(event, event.time - since, attempts)
        places[event.id] = state, since


def _note(event: HistoryEvent, took: int, attempts: Attempts) -> None:
    details = event.details or {}
    if event.type in SUCCEEDED:
        attempts.good.append(took)
        attempts.values.append(details.get("output"))
        return
    otherwise = TIMEOUT if event.type.endswith("TimedOut") else TASK_FAILED
    attempts.failures[str(details.get("error") or otherwise)] += 1
    attempts.bad.append(took)
