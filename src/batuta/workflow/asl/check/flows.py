"""The rules for a flow: a machine, a branch, an item processor, and how its states are joined."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from batuta.workflow.asl.check.fields import kind_of, quoted
from batuta.workflow.asl.check.finding import (
    DUPLICATE,
    NO_END,
    TARGET,
    UNREACHABLE,
    Findings,
)
from batuta.workflow.asl.check.states import state

Value = Mapping[str, Any]
LANGUAGES = ("JSONPath", "JSONata")
OF_MACHINE = ("StartAt", "States", "Comment", "Version", "TimeoutSeconds", "QueryLanguage")
OF_FLOW = ("StartAt", "States", "Comment", "QueryLanguage")
ENDS = ("Succeed", "Fail")
NAME_MAX = 80


class Machine:
    """A definition that is being checked.

    Parameters
    ----------
    type: `STANDARD` or `EXPRESS`.
    """

    def __init__(self, type: str, found: Findings) -> None:
        self.type = type
        self.found = found
        self.names: dict[str, str] = {}

    def check(self, value: Any) -> None:
        """The whole definition."""
        if not isinstance(value, dict):
            self.found.schema(f"A state machine is an object, but this is {kind_of(value)}", "/")
            return
        for name in value:
            if name not in OF_MACHINE:
                self.found.schema(f'Field "{name}" is not supported here', f"/{name}")
        timeout = value.get("TimeoutSeconds", 1)
        if isinstance(timeout, bool) or not isinstance(timeout, int) or timeout < 1:
            text = 'Field "TimeoutSeconds" has to be a positive integer'
            self.found.schema(text, "/TimeoutSeconds")
        self._flow(value, "", "JSONPath", top=True)

    def _flow(self, value: Value, location: str, language: str, *, top: bool = False) -> None:
        found = self.found
        missing = [name for name in ("States", "StartAt") if name not in value]
        if missing:
            found.schema(f"These fields are required: [{', '.join(missing)}]", location)
        own = value.get("QueryLanguage", language)
        if own not in LANGUAGES:
            text = f'Field "QueryLanguage" is not one of the allowed values {quoted(LANGUAGES)}'
            found.schema(text, f"{location}/QueryLanguage")
            own = language
        states = value.get("States")
        if not isinstance(states, dict):
            if "States" in value:
                found.schema('Field "States" has to be an object', f"{location}/States")
            return
        if not states:
            found.schema('Field "States" has no states', f"{location}/States")
        start = value.get("StartAt")
        if "StartAt" in value and not isinstance(start, str):
            text = f'Field "StartAt" has to be a text, but it is {kind_of(start)}'
            found.schema(text, f"{location}/StartAt")
            start = None
        elif "StartAt" in value and start not in states:
            found.add(TARGET, f'Missing "Next" target: {start}', f"{location}/StartAt")
        for name, each in states.items():
            self._state(name, each, f"{location}/States/{_escaped(name)}", own)
        self._joined(states, start, location)

    def _state(self, name: str, value: Any, location: str, language: str) -> None:
        found = self.found
        if len(name) > NAME_MAX:
            found.schema(f"The name of a state may have {NAME_MAX} characters", location)
        if name in self.names:
            text = f'The state "{name}" stands at {self.names[name]} already: names are unique'
            found.add(DUPLICATE, text, location)
        self.names[name] = location
        own = value.get("QueryLanguage", language) if isinstance(value, dict) else language
        if own == "JSONPath" and language == "JSONata":
            found.schema(
                "'QueryLanguage' can not be 'JSONPath' if set to 'JSONata' for whole state machine",
                location,
            )
        elif own not in LANGUAGES:
            text = f'Field "QueryLanguage" is not one of the allowed values {quoted(LANGUAGES)}'
            found.schema(text, f"{location}/QueryLanguage")
        before = len(found.all)
        state(value, location, own == "JSONata", self.type, found)
        if not isinstance(value, dict) or any(
            each.location in (location, f"{location}/Type") and "Type" in each.message
            for each in found.all[before:]
        ):
            return
        self._ends(value, location)
        for flow, at in _inner(value, location):
            if isinstance(flow, dict):
                self._inner_flow(flow, at, language)
            else:
                found.schema(f"This has to be an object, but it is {kind_of(flow)}", at)

    def _inner_flow(self, flow: Value, location: str, language: str) -> None:
        for name in flow:
            if name not in (*OF_FLOW, "ProcessorConfig"):
                self.found.schema(f'Field "{name}" is not supported here', f"{location}/{name}")
        config = flow.get("ProcessorConfig", {})
        if isinstance(config, dict):
            mode = config.get("Mode", "INLINE")
            if mode not in ("INLINE", "DISTRIBUTED"):
                text = (
                    f'"{mode}" is not one of the allowed values {quoted(("INLINE", "DISTRIBUTED"))}'
                )
                self.found.schema(text, f"{location}/ProcessorConfig/Mode")
        self._flow(flow, location, language)

    def _ends(self, value: Value, location: str) -> None:
        """Whether it is said how a state goes on."""
        kind = value["Type"]
        if kind in (*ENDS, "Choice"):
            return
        end = value.get("End")
        if "End" in value and not isinstance(end, bool):
            self.found.schema('Field "End" has to be a boolean', f"{location}/End")
        if ("Next" in value) == (end is True):
            what = "has to have one of" if end is not True else "may have only one of"
            text = f"A {kind} state {what} {quoted(('Next', 'End'))}"
            self.found.schema(text, location)

    def _joined(self, states: Value, start: Any, location: str) -> None:
        """Transitions lead to states of the same flow; every state can be reached; it can end."""
        reached: set[str] = set()
        waiting = [start] if start in states else []
        while waiting:
            name = waiting.pop()
            if name in reached:
                continue
            reached.add(name)
            waiting += [to for to, _ in _transitions(states[name]) if to in states]
        for name, each in states.items():
            at = f"{location}/States/{_escaped(name)}"
            for to, field in _transitions(each):
                if to not in states:
                    self.found.add(TARGET, f'Missing "Next" target: {to}', f"{at}/{field}")
            if start in states and name not in reached:
                text = f'The state "{name}" cannot be reached from "{start}"'
                self.found.add(UNREACHABLE, text, at)
        if states and not any(_terminal(each) for each in states.values()):
            text = "No state ends the flow: none is a Succeed or Fail state or has End"
            self.found.add(NO_END, text, f"{location}/States")


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _terminal(value: Any) -> bool:
    return isinstance(value, dict) and (value.get("Type") in ENDS or value.get("End") is True)


def _transitions(value: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict):
        return
    for field in ("Next", "Default"):
        if isinstance(value.get(field), str):
            yield value[field], field
    for field in ("Choices", "Catch"):
        entries = value.get(field)
        for at, each in enumerate(entries if isinstance(entries, list) else ()):
            if isinstance(each, dict) and isinstance(each.get("Next"), str):
                yield each["Next"], f"{field}/{at}/Next"


def _inner(value: Value, location: str) -> Iterator[tuple[Any, str]]:
    branches = value.get("Branches")
    if isinstance(branches, list):
        for at, branch in enumerate(branches):
            yield branch, f"{location}/Branches/{at}"
    for field in ("ItemProcessor", "Iterator"):
        if field in value:
            yield value[field], f"{location}/{field}"
