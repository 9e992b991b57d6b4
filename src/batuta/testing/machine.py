"""A state machine with mocks in the place of its tasks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from batuta.kernel.errors import BatutaError
from batuta.simulate.executions import TRANSITIONS_MAX
from batuta.simulate.machine import START
from batuta.simulate.machine import run as simulated
from batuta.testing.answer import Answer, Executable, Turns, answer_of, as_json
from batuta.testing.loading import line_of, loaded, states_of
from batuta.testing.mocks import turns_of
from batuta.testing.run import Run
from batuta.testing.world import Mocked, function_in
from batuta.workflow.asl.machine import StateMachine

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BY_FUNCTION = "lambda:"


def machine(
    definition: str | Path | Mapping[str, Any], *, name: str | None = None, type: str = "STANDARD"
) -> Machine:
    """A state machine to test.

    Parameters
    ----------
    definition: a file (`NAME.asl.json`, `NAME.asl.yaml`), a template of CloudFormation or SAM,
        or the definition itself.
    name: of the machine; the file's by default. Of a template with several: which of them.
    type: STANDARD or EXPRESS; a template says it itself.

    Raises `BatutaError` with every mistake in the definition, and its line.
    """
    made, text = loaded(definition, name, type)
    return Machine(made, text)


class Machine(Executable):
    """A state machine with mocks in the place of its tasks; made by `machine`."""

    def __init__(self, made: StateMachine, text: str) -> None:
        self._machine = made
        self._text = text
        self._answers: dict[str, Turns] = {}
        found = [*states_of(made.compiled.definition)]
        self._states = {name: state for name, state, _ in found}
        self._pointers = {name: pointer for name, _, pointer in found}

    @property
    def name(self) -> str:
        """The machine's."""
        return self._machine.name

    @property
    def states(self) -> tuple[str, ...]:
        """The names of all states, wherever they stand."""
        return tuple(self._states)

    def task(self, state: str, *answers: Any) -> Machine:
        """What a task answers, in turn; the last answer is given again and again.

        Parameters
        ----------
        state: the state's name, wherever it stands; or a task's resource (`arn:…`), for every
            task that has it, or a Lambda function's name after `lambda:`.
        answers: values, functions of the input (and, with two parameters, the attempt), the
            project's steps, other machines for tasks that begin executions, or what `returns`,
            `fails`, `times_out` give. None at all: `null`. For a Map with an ItemReader: a list
            of the items.

        Raises `BatutaError` for a state or resource that the machine does not have, a state that
        asks for nothing, and an answer that is no JSON.
        """
        self._check(state)
        given = tuple(answer_of(each, state) for each in answers)
        self._answers[state] = Turns(given or (Answer(),))
        return self

    def mocks(self, file: str | Path, case: str) -> Machine:
        """The answers of a test case in a mock configuration file of Step Functions Local.

        Parameters
        ----------
        file: the file, `MockConfigFile.json`. case: one of the `TestCases` of this machine.

        Raises `BatutaError` for a file, case, response or state that is not there or wrong.
        """
        for state, turns in turns_of(file, self.name, case).items():
            self._check(state, at=str(file))
            self._answers[state] = turns
        return self

    def run(
        self,
        input: Any = None,
        *,
        name: str = "test",
        at: datetime | None = None,
        transitions_max: int = TRANSITIONS_MAX,
    ) -> Run:
        """Run it from its start to its end.

        Parameters
        ----------
        input: `{}` by default. name: of the execution; random draws follow from it.
        at: when the virtual clock begins, UTC where it does not say; 2024-01-01 by default.
        transitions_max: an execution that passes more states loops for ever.

        Raises `Unmocked` where it comes to a task that has no answer, and `BatutaError` where it
        loops.
        """
        start = START
        if at is not None:
            aware = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
            start = (aware - EPOCH) // timedelta(microseconds=1) * 1000
        given = {} if input is None else as_json(input, "the input")
        return self.execute(given, name, start, transitions_max)

    def execute(
        self, input: Any, name: str, start: int, transitions_max: int = TRANSITIONS_MAX
    ) -> Run:
        """Run it; the same as `run`, for a clock in ns since 1970."""
        mocked = Mocked(self, self._answers, start)
        result = simulated(
            self._machine, input, mocked.perform, name=name, start=start,
            transitions_max=transitions_max,
        )  # fmt: skip
        return Run(result, mocked, self._machine.name, self.states)

    def place_of(self, state: str) -> str:
        """File and line of a state."""
        source = self._machine.source
        if not self._text or state not in self._pointers:
            return source
        file = source.rpartition(":")[0]
        return f"{file}:{line_of(self._text, file, self._pointers[state])}"

    def resource_of(self, state: str) -> str:
        """What a task asks for."""
        return str(self._states.get(state, {}).get("Resource", ""))

    def _check(self, state: str, at: str | None = None) -> None:
        """Refuse an answer that nothing would ever ask for."""
        source = at or self._machine.source
        if state in self._states:
            kind = self._states[state]["Type"]
            if kind == "Task" or (kind == "Map" and "ItemReader" in self._states[state]):
                return
            hint = "its items come from its input" if kind == "Map" else "only tasks are answered"
            raise BatutaError(f"`{state}` is a {kind}: it asks for nothing", at=source, hint=hint)
        what, known = "state", {*self._states}
        if state.startswith("arn:"):
            what, known = "task with the resource", {*map(self.resource_of, self._states)} - {""}
        elif state.startswith(BY_FUNCTION):
            what, known = "task that calls", self._functions()
        if state in known or "*" in known:
            return
        near = get_close_matches(state, known, 1)
        names = ", ".join(f"`{name}`" for name in sorted(known)) or "none"
        hint = f"did you mean `{near[0]}`?" if near else f"it has {names}"
        raise BatutaError(f"`{self.name}` has no {what} `{state}`", at=source, hint=hint)

    def _functions(self) -> set[str]:
        """The Lambda functions that it calls; `*` where the input says which."""
        found = set()
        for state in self._states.values():
            resource = str(state.get("Resource", ""))
            given = state.get("Parameters") or state.get("Arguments") or {}
            if not isinstance(given, dict):
                given = {"FunctionName": "{%"}
            named = given.get("FunctionName")
            if ":function:" in resource:
                found.add(BY_FUNCTION + function_in(resource))
            elif isinstance(named, str) and not named.startswith("{%"):
                found.add(BY_FUNCTION + function_in(named))
            elif ":lambda:" in resource or "FunctionName.$" in given:
                found.add("*")
        return found
