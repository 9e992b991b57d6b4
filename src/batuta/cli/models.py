"""Models for a simulation: out of a file, or out of what the journal recorded."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from batuta.kernel.errors import BatutaError
from batuta.kernel.event import Event
from batuta.kernel.journal import Journal
from batuta.simulate.distribution import empirical
from batuta.simulate.models import MISSING, ArrivalModel, Models, StepModel, models_of
from batuta.simulate.observed import observed
from batuta.workflow.asl.history import HistoryEvent, history_of
from batuta.workflow.asl.ran import AnySteps
from batuta.workflow.model import Definitions

PAGE = 5000
TYPES = ("step.asked", "step.completed", "step.failed", "wait.set", "signal.received")
EXECUTIONS_MAX = 1000
"""Of a state machine's executions so many are taken for its models, the newest; and of the child
executions of its Maps."""
LOOKED_AT_MAX = 100_000
TOKEN = "task:"


def from_file(name: str) -> Models:
    """The models in a YAML or JSON file. Raises `BatutaError` with what is wrong in it."""
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise BatutaError(f"`{name}` cannot be read: {reason}") from error
    try:
        data = json.loads(text) if name.endswith(".json") else yaml.safe_load(text)
    except json.JSONDecodeError as error:
        raise BatutaError(
            f"`{name}` is not JSON: {error.msg}", at=f"{name}:{error.lineno}:{error.colno}"
        ) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise BatutaError(f"`{name}` is not YAML", at=at) from error
    return models_of(data or {}, name)


@dataclass(slots=True)
class Attempts:
    """What was seen of one step."""

    good: list[int] = field(default_factory=list)
    bad: list[int] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    result: Any = MISSING

    def model(self) -> StepModel:
        """The step as it was."""
        count = len(self.good) + len(self.bad)
        return StepModel(
            empirical(self.good or self.bad),
            len(self.bad) / count,
            tuple((name, float(seen)) for name, seen in sorted(self.failures.items()))
            or StepModel().failures,
            empirical(self.bad) if self.bad else None,
            self.result,
            source=f"history: {count} attempt{'' if count == 1 else 's'}",
        )


def from_history(journal: Journal, *, results: bool = False) -> Models:
    """The models of all steps and signals that the journal has seen.

    Parameters
    ----------
    results: whether a step gives what it gave last.
    """
    asked: dict[str, str] = {}
    waits: dict[tuple[str, str], int] = {}
    steps: dict[str, Attempts] = {}
    arrivals: dict[str, list[tuple[int, Any]]] = {}
    after = 0
    while page := journal.read(after, PAGE, types=TYPES):
        for event in page:
            _take(event, asked, waits, steps, arrivals)
        after = page[-1].seq
    if not results:
        for attempts in steps.values():
            attempts.result = MISSING
    return Models(
        {name: attempts.model() for name, attempts in steps.items()},
        {
            name: ArrivalModel(
                empirical([taken for taken, _ in seen]),
                value=seen[-1][1],
                source=f"history: {len(seen)} times",
            )
            for name, seen in arrivals.items()
        },
    )


def from_executions(journal: Journal, machine: str) -> dict[str, StepModel]:
    """The models of a state machine's tasks, by state, as its executions in the journal went."""
    own: list[str] = []
    children: list[str] = []
    found = journal.records("run", name=machine, newest_first=True, limit=LOOKED_AT_MAX)
    for record in found:
        kept = own if record.data.get("parent") is None else children
        if len(kept) < EXECUTIONS_MAX:
            kept.append(record.id)
        elif kept is own:
            break
    return observed(_histories(journal, [*own, *children]))


def _histories(journal: Journal, ids: Sequence[str]) -> Iterator[list[HistoryEvent]]:
    definitions = Definitions(steps=AnySteps())
    for id in ids:
        yield history_of(definitions, [*journal.histories([id])])


def _take(
    event: Event,
    asked: dict[str, str],
    waits: dict[tuple[str, str], int],
    steps: dict[str, Attempts],
    arrivals: dict[str, list[tuple[int, Any]]],
) -> None:
    data, command = event.data, event.command or ""
    if event.type == "step.asked":
        if data.get("kind") != "results":  # it has the name of the Map, whose items are wanted
            asked[command] = str(data.get("name", ""))
    elif str(data.get("name", "")).startswith(TOKEN):
        return  # a task's token, which is like no other: see `from_executions`
    elif event.type == "wait.set":
        waits[event.subject, str(data.get("name"))] = event.time
    elif event.type == "signal.received":
        since = waits.pop((event.subject, str(data.get("name"))), None)
        if since is not None:
            seen = arrivals.setdefault(str(data.get("name")), [])
            seen.append((event.time - since, data.get("value")))
    elif command in asked:
        attempts = steps.setdefault(asked.pop(command), Attempts())
        taken = max(0, event.time - (data.get("started") or event.time))
        if event.type == "step.completed":
            attempts.good.append(taken)
            attempts.result = data.get("result")
        else:
            attempts.bad.append(taken)
            attempts.failures[str((data.get("error") or {}).get("type", ""))] += 1
