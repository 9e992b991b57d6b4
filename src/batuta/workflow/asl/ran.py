"""The states that an execution of a state machine ran, out of its history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from batuta.kernel.event import Event
from batuta.workflow.asl.history import HistoryEvent, tell
from batuta.workflow.model import Definitions, Step, step


@dataclass(slots=True)
class State:
    """One state that was entered.

    Parameters
    ----------
    index: of the item, where it runs inside a Map.
    tries: the failures, each with `error`, `cause` and its time. states: those inside it.
    """

    name: str
    type: str
    started: int
    input: Any
    index: int | None = None
    ended: int | None = None
    output: Any = None
    status: str = "running"
    tries: list[dict[str, Any]] = field(default_factory=list)
    states: list[State] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """For programs; times in ns since 1970-01-01 UTC."""
        return {
            "name": self.name, "type": self.type, "status": self.status, "index": self.index,
            "started": self.started, "ended": self.ended, "input": self.input,
            "output": self.output, "failures": self.tries,
            "states": [each.as_json() for each in self.states],
        }  # fmt: skip


class AnySteps(dict[str, Step[Any, Any]]):
    """A step by every name: an execution is told here, not performed, wherever its steps are."""

    def get(self, name: str, default: Any = None) -> Any:
        """A step of this name that does nothing."""
        found = super().get(name)
        if found is None:
            found = self[name] = step(name=name)(_nothing)
        return found


def _nothing(*input: Any) -> Any:
    """What is performed when nothing is."""


Line = tuple[tuple[State, ...], int | None]  # the states around an event, and the Map's item


def states_of(journal: Sequence[Event], status: str, ended: int | None) -> list[State]:
    """The states that a run's events tell of.

    Parameters
    ----------
    journal: all events of the run. status, ended: of the run; what it left open ended with it.
    """
    states = states_in(tell(Definitions(steps=AnySteps()), journal).events)
    if ended is not None:
        _close(states, status, ended)
    return states


def states_in(history: Sequence[HistoryEvent]) -> list[State]:
    """The states that a history tells of; what it leaves open is `running`."""
    top: list[State] = []
    lines: dict[int, Line] = {0: ((), None)}
    for event in history:
        around, index = lines.get(event.prev, ((), None))
        details = event.details or {}
        if event.type.endswith("StateEntered"):
            state = State(
                str(details.get("name")), event.type.removesuffix("StateEntered"), event.time,
                details.get("input"), index,
            )  # fmt: skip
            (around[-1].states if around else top).append(state)
            around, index = (*around, state), None
        elif event.type.endswith("StateExited"):
            around, index = _left(around, str(details.get("name")), event.time, details)
        elif event.type == "MapIterationStarted":
            index = details.get("index")
        elif event.type == "ExecutionRedriven":
            around = _reopened(top)
        elif around and _failed(event):
            known = {name: details.get(name) for name in ("error", "cause")}
            around[-1].tries.append({"time": event.time, **known})
        lines[event.id] = (around, index)
        if event.type in ENDS:
            _close(top, ENDS[event.type], event.time)
    return top


def _close(states: Sequence[State], status: str, at: int) -> None:
    """What is open ends with what is around it."""
    for state in states:
        if state.status == "running":
            state.status, state.ended = status, at
            _close(state.states, status, at)


def _reopened(states: Sequence[State]) -> tuple[State, ...]:
    """The states that a redrive goes on in, from the outermost to the innermost."""
    if not states or states[-1].status == "completed":
        return ()
    last = states[-1]
    last.status, last.ended = "running", None
    return last, *_reopened(last.states)


ENDS = {"ExecutionFailed": "failed", "ExecutionTimedOut": "failed"}


def _failed(event: HistoryEvent) -> bool:
    inner = event.type.startswith(("Execution", "MapIteration"))
    return not inner and event.type.endswith(("Failed", "TimedOut"))


def _left(around: tuple[State, ...], name: str, at: int, details: dict[str, Any]) -> Line:
    """A state is left: its end, and what is around what comes next."""
    for depth in range(len(around) - 1, -1, -1):
        state = around[depth]
        if state.name == name:
            state.ended, state.output, state.status = at, details.get("output"), "completed"
            _close(state.states, "cancelled", at)
            return around[:depth], state.index
    return around, None
