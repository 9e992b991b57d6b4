"""How a tested execution went."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from typing import Any

from batuta.kernel.errors import BatutaError
from batuta.simulate.executions import transitions
from batuta.simulate.machine import Result
from batuta.testing.world import Asked, Mocked
from batuta.workflow.asl.history import HistoryEvent
from batuta.workflow.asl.ran import State, states_in


@dataclass(frozen=True, slots=True)
class Sent:
    """An event that `events:putEvents` wrote."""

    type: str
    source: str | None
    subject: str
    data: Any


class Run:
    """How an execution went; made by `Machine.run`.

    Parameters
    ----------
    result: as the simulation has it. mocked: the world that it ran in.
    machine: the machine's name. known: the names of its states.
    """

    def __init__(self, result: Result, mocked: Mocked, machine: str, known: Sequence[str]) -> None:
        self.result = result
        self._mocked = mocked
        self._machine = machine
        self._known = known
        self._id = "" if result.execution is None else result.execution.run

    @property
    def status(self) -> str:
        """`SUCCEEDED`, `FAILED`, `TIMED_OUT`; `RUNNING` where it waits for what never comes; a
        child execution also `ABORTED`, where its Map ended before it."""
        return self.result.status

    @property
    def succeeded(self) -> bool:
        """Whether it came to a good end."""
        return self.status == "SUCCEEDED"

    @property
    def input(self) -> Any:
        """Its input."""
        return None if self.result.execution is None else self.result.execution.input

    @property
    def output(self) -> Any:
        """Its output; None where it did not succeed."""
        return self.result.output

    @property
    def error(self) -> str | None:
        """The name of the error that it failed with."""
        return self.result.error

    @property
    def cause(self) -> str | None:
        """What was said about the error."""
        return self.result.cause

    @property
    def path(self) -> list[str]:
        """The states that were entered, in order, those of branches and items too; not those of
        child executions, which have paths of their own."""
        return self.result.path

    @property
    def history(self) -> list[HistoryEvent]:
        """Every event, as GetExecutionHistory has it."""
        return self.result.history

    @property
    def events(self) -> list[Sent]:
        """The events that `events:putEvents` wrote."""
        return [
            Sent(each.type, each.source, each.subject, each.data) for each in self.result.emitted
        ]

    @property
    def took(self) -> timedelta:
        """How long it was under way, on the virtual clock."""
        return timedelta(microseconds=self.result.duration // 1000)

    @property
    def transitions(self) -> int:
        """The state transitions that STANDARD is paid by: states that ran, and retries."""
        return transitions(self.result)

    @property
    def calls(self) -> list[Asked]:
        """What tasks were sent, in order: `state`, `input`, `attempt`, `after`."""
        own, below = self._id, f"{self._id}/"
        return [
            each for each in self._mocked.calls if each.run == own or each.run.startswith(below)
        ]

    def visited(self, state: str) -> bool:
        """Whether a state was entered, here or in a child execution."""
        return bool(self.states(state))

    def states(self, name: str | None = None) -> list[State]:
        """What became of the states that were entered, or of those of one name: `input`,
        `output`, `status`, `tries` (the failures), `index` (of an item), `started` and `ended`
        (ns). Those of child executions stand at the end."""
        if name is not None:
            self._check(name)
        found = [*_all(states_in(self.history))]
        found += [each for child in self._own_children() for each in child.states()]
        return found if name is None else [each for each in found if each.name == name]

    def state(self, name: str) -> State:
        """The last visit of a state. Raises `BatutaError` where it was never entered."""
        found = self.states(name)
        if not found:
            went = " → ".join(self.path) or "nowhere"
            raise BatutaError(f"the state `{name}` was not entered", hint=f"it went {went}")
        return found[-1]

    def calls_of(self, state: str) -> list[Any]:
        """What a task was sent, call by call."""
        self._check(state)
        return [each.input for each in self.calls if each.state == state]

    def retries(self, state: str) -> int:
        """How often a task was asked again, in all visits together."""
        self._check(state)
        return sum(each.attempt > 1 for each in self.calls if each.state == state)

    def children(self, state: str | None = None) -> list[Run]:
        """The executions that it began: child executions of distributed Maps, in the order in
        which they began, then those of nested machines; all of them, or those of one state."""
        if state is not None:
            self._check(state)
        found = [each for each in self._own_children() if state in (None, _map_of(each.result))]
        for began, run, nested in self._mocked.nested:
            if run == self._id and state in (None, began):
                found.append(nested)
        return found

    def _own_children(self) -> list[Run]:
        """The child executions of its distributed Maps."""
        return [
            Run(child, self._mocked, self._machine, self._known) for child in self.result.children
        ]

    def written(self, state: str) -> list[dict[str, Any]]:
        """What a Map's ResultWriter was given, in all visits: the outcome of each child, as in
        the service's files (`Status`, `Input` and `Output` as text, `Error`, `Cause`)."""
        self._check(state)
        return [
            each
            for written in self._mocked.written
            if written.state == state and written.run == self._id
            for each in written.results
        ]

    def _check(self, state: str) -> None:
        """A name that no state has would make an assertion that cannot fail."""
        if state in self._known:
            return
        near = get_close_matches(state, self._known, 1)
        names = ", ".join(f"`{name}`" for name in self._known)
        raise BatutaError(
            f"`{self._machine}` has no state `{state}`",
            hint=f"did you mean `{near[0]}`?" if near else f"it has {names}",
        )

    def __repr__(self) -> str:
        told = self.status
        if self.error is not None:
            told += f" {self.error}" + (f": {self.cause}" if self.cause else "")
        return f"<Run {told}: {' → '.join(self.path)}, {self.took}>"


def _map_of(child: Result) -> str | None:
    """The distributed Map that an execution is a child of."""
    path = () if child.execution is None else child.execution.workflow.path
    return path[-1] if path else None


def _all(states: Sequence[State]) -> Iterator[State]:
    for state in states:
        yield state
        yield from _all(state.states)
