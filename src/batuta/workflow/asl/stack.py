"""The state machines and Lambda functions of a CloudFormation or SAM template."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from batuta.common.problem import Problem
from batuta.common.source import Source as Place
from batuta.workflow.asl.arn import DEFAULT
from batuta.workflow.asl.arn import Place as Region
from batuta.workflow.asl.cloudformation import (
    FUNCTIONS,
    MACHINES,
    Template,
    read_template,
    substituted,
)
from batuta.workflow.asl.files import machine_in, machine_of
from batuta.workflow.asl.machine import StateMachine
from batuta.workflow.asl.source import Source, Unreadable

NAMES = ("template.yaml", "template.yml", "template.json")
LAMBDA_TIMEOUT_S = 3.0
BLOCK = re.compile(r"\|[-+]?\s*$")  # a YAML text that keeps its lines begins behind it
Read = Callable[[str], tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Function:
    """A Lambda function in Python that a template describes.

    Parameters
    ----------
    folder: of its code, as the template has it. timeout: seconds.
    """

    name: str
    folder: str
    handler: str
    timeout: float = LAMBDA_TIMEOUT_S
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Stack:
    """What a template defines, and all that is wrong with it.

    Parameters
    ----------
    files: those with definitions that it names, as `read` calls them.
    """

    machines: list[StateMachine] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    files: set[str] = field(default_factory=set)


def stack_in(
    text: str,
    shown: str,
    read: Read,
    *,
    steps: Mapping[str, Any] | None = None,
    place: Region = DEFAULT,
) -> Stack:
    """What a template defines.

    Parameters
    ----------
    shown: the template, as it is called in problems; its ending says the language.
    read: a path as the template has it -> how that file is called in problems, and its text.
        Raises `Unreadable` for one outside the template's folder, or that is not there.
    """
    stack = Stack()
    try:
        source = read_template(text, is_yaml=not shown.endswith(".json"))
        template = Template(source.value, place)
        found = template.of_type(*MACHINES)
    except (Unreadable, ValueError, TypeError, IndexError, KeyError) as wrong:
        stack.problems.append(_broken(wrong, shown))
        return stack
    reading = _Reading(stack, template, source, shown, read, steps)
    for id, properties in found.items():
        reading.guarded(id, reading.machine, properties)
    for id, properties in template.of_type(*FUNCTIONS).items():
        reading.guarded(id, reading.function, properties)
    for name in sorted(template.unset):
        line, column = source.at(f"/Parameters/{name}#")
        stack.problems.append(
            Problem(
                f"parameter `{name}` has no default: `{name}` itself is taken for its value",
                Place(shown, line, column), "give it a `Default`", "warning", "parameter",
            )
        )  # fmt: skip
    return stack


def _broken(wrong: Exception, shown: str, line: int = 0, column: int = 0) -> Problem:
    if isinstance(wrong, Unreadable):
        line, column = (line, column) if line else (wrong.line, wrong.column)
        return Problem(wrong.message, Place(shown, line, column), rule="template")
    what = "a function of the template is not written as it has to be"
    return Problem(f"{what}: {wrong}", Place(shown, line, column), rule="template")


class _Reading:
    """One template while its resources are taken in."""

    def __init__(
        self, stack: Stack, template: Template, source: Source, shown: str, read: Read,
        steps: Mapping[str, Any] | None,
    ) -> None:  # fmt: skip
        self.stack = stack
        self.template = template
        self.source = source
        self.shown = shown
        self.read = read
        self.steps = steps

    def guarded(
        self, id: str, take: Callable[[str, dict[str, Any]], None], properties: dict[str, Any]
    ) -> None:
        """Take in a resource; whatever is wrong with it, the others are taken in."""
        try:
            take(id, properties)
        except (Unreadable, ValueError, TypeError, IndexError, KeyError, AttributeError) as wrong:
            self.stack.problems.append(_broken(wrong, self.shown, *self._at(id)))

    def _at(self, id: str, *more: str) -> tuple[int, int]:
        pointer = "/".join(("", "Resources", id, *more))
        return self.source.at(f"{pointer}#" if self.source.has(f"{pointer}#") else pointer)

    # -- state machines ------------------------------------------------------------------------

    def machine(self, id: str, properties: dict[str, Any]) -> None:
        """Take in a state machine."""
        value = self.template.value
        kind = properties.get("Type") or properties.get("StateMachineType") or "STANDARD"
        about = {"type": str(value(kind)), "role": value(properties.get("Role"))}
        about["role"] = about["role"] or value(properties.get("RoleArn"))
        about = {name: each for name, each in about.items() if isinstance(each, str)}
        given = value(properties.get("DefinitionSubstitutions") or {})
        puts = {name: self.template.text(each) for name, each in given.items()}
        name = self.template.name(id)
        if "DefinitionUri" in properties:
            made, problems = self._in_file(name, value(properties["DefinitionUri"]), about, puts)
        elif "DefinitionString" in properties:
            made, problems = self._in_text(id, name, properties["DefinitionString"], about, puts)
        elif "Definition" in properties:
            made, problems = self._inline(id, name, properties["Definition"], about, puts)
        else:
            raise Unreadable(f"state machine `{id}` has no definition that is a file or text here")
        self.stack.problems += problems
        if made is not None:
            self.stack.machines.append(made)

    def _in_file(
        self, name: str, uri: Any, about: dict[str, Any], puts: dict[str, str]
    ) -> tuple[StateMachine | None, list[Problem]]:
        if not isinstance(uri, str) or "://" in uri:
            raise Unreadable("a definition in S3 is not read; name a file beside the template")
        shown, text = self.read(uri)
        self.stack.files.add(shown)
        return machine_in(name, substituted(text, puts), shown, about=about, steps=self.steps)

    def _in_text(
        self, id: str, name: str, given: Any, about: dict[str, Any], puts: dict[str, str]
    ) -> tuple[StateMachine | None, list[Problem]]:
        text = substituted(self.template.text(given), puts)
        base = self._at(id, "Properties", "DefinitionString")
        made, problems = machine_in(name, text, "definition.json", about=about, steps=self.steps)
        if made is not None:
            made.source = f"{self.shown}:{self._at(id)[0]}"
        return made, [self._moved(each, text, base) for each in problems]

    def _moved(self, problem: Problem, text: str, base: tuple[int, int]) -> Problem:
        """A problem of a text inside the template: at the same line of the template, where that
        stands there as a block, else where the text begins."""
        line, column = base
        lines, inner = self.source.text.splitlines(), text.splitlines()
        near = range(line, line + 3)
        head = next((n for n in near if BLOCK.search("".join(lines[n - 1 : n]))), 0)
        at = problem.source
        if head and at is not None and 0 < at.line <= min(len(inner), len(lines) - head):
            line = head + at.line
            indent = _indent(lines[line - 1])
            column = indent - _indent(inner[at.line - 1]) + max(1, at.column)
            if lines[line - 1].strip() != inner[at.line - 1].strip():
                column = indent + 1  # something was put into the line
        where = Place(self.shown, line, column)
        return Problem(problem.message, where, problem.hint, problem.severity, problem.rule)

    def _inline(
        self, id: str, name: str, given: Any, about: dict[str, Any], puts: dict[str, str]
    ) -> tuple[StateMachine | None, list[Problem]]:
        text = substituted(json.dumps(self.template.value(given), indent=2), _escaped(puts))
        source = Source(self.source.text, json.loads(text), self.source.yaml)
        base = f"/Resources/{id}/Properties/Definition"
        return machine_of(name, source, self.shown, about=about, steps=self.steps, base=base)

    # -- functions -----------------------------------------------------------------------------

    def function(self, id: str, properties: dict[str, Any]) -> None:
        """Take in a Lambda function, where it is in Python and its code is here."""
        common = self.template.globals.get("Function") or {}
        own = {**common, **properties}
        variables: dict[str, Any] = {}
        for each in (common, properties):
            variables.update((each.get("Environment") or {}).get("Variables") or {})
        code = self.template.value(own.get("CodeUri", own.get("Code", ".")))
        runtime, handler = self.template.text(own.get("Runtime")), own.get("Handler")
        local = isinstance(code, str) and "://" not in code
        if not runtime.startswith("python") or not handler or not local or "InlineCode" in own:
            return
        timeout = float(self.template.text(own.get("Timeout", LAMBDA_TIMEOUT_S)))
        environment = {key: self.template.text(each) for key, each in variables.items()}
        self.stack.functions.append(
            Function(
                self.template.name(id), code, self.template.text(handler), timeout, environment
            )
        )


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _escaped(puts: Mapping[str, str]) -> dict[str, str]:
    """Values as they stand inside a JSON text."""
    return {name: json.dumps(each)[1:-1] for name, each in puts.items()}
