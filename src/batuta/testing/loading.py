"""The machine that a test names: in a file of its own, in a template, or as a value."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from batuta.common.problem import Problem, render
from batuta.kernel.errors import BatutaError
from batuta.workflow.asl.files import machine_in, name_of
from batuta.workflow.asl.machine import StateMachine
from batuta.workflow.asl.ran import AnySteps
from batuta.workflow.asl.source import Unreadable, parse
from batuta.workflow.asl.stack import stack_in

TEMPLATES = ("AWS::Serverless::StateMachine", "AWS::StepFunctions::StateMachine")
Loaded = tuple[StateMachine, str]
"""A machine and the text that defines it; an empty text where its lines are not its file's."""


def loaded(definition: str | Path | Mapping[str, Any], name: str | None, type: str) -> Loaded:
    """Load a machine. Raises `BatutaError` with every mistake in it, and its line."""
    if type not in ("STANDARD", "EXPRESS"):
        raise BatutaError(f"`{type}` is no type of machine", hint="write STANDARD or EXPRESS")
    if isinstance(definition, Mapping):
        shown, text = "definition.asl.json", json.dumps(definition, indent=2)
    else:
        shown, text = str(definition), _read(Path(definition))
    if name_of(Path(shown).name) is None and any(each in text for each in TEMPLATES):
        return _of_template(Path(shown), text, name), ""
    name = name or name_of(Path(shown).name) or Path(shown).name.partition(".")[0]
    made, problems = machine_in(name, text, shown, about={"type": type}, steps=None)
    if made is None:
        told = render(problems, lambda file: text)
        raise BatutaError(f"`{name}` has mistakes\n{told}", at=shown)
    made.steps = AnySteps()
    return made, text


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        hint = f"paths begin at the working directory, {Path.cwd()}"
        raise BatutaError(f"`{path}` cannot be read: {why}", hint=hint) from error


def _of_template(path: Path, text: str, name: str | None) -> StateMachine:
    """The machine of a CloudFormation or SAM template, the one of this name."""

    def read(uri: str) -> tuple[str, str]:
        beside = path.parent / uri
        if not beside.resolve().is_relative_to(path.parent.resolve()):
            raise Unreadable(f"`{uri}` is not in the template's folder")
        try:
            return str(beside), beside.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not UTF-8"
            raise Unreadable(f"`{uri}` cannot be read: {why}") from error

    stack = stack_in(text, str(path), read)
    errors: list[Problem] = [each for each in stack.problems if each.severity == "error"]
    if errors:
        told = render(errors)
        raise BatutaError(f"the template has mistakes\n{told}", at=str(path))
    machines = {each.name: each for each in stack.machines}
    if name is None and len(machines) == 1:
        (name,) = machines
    if name not in machines:
        known = ", ".join(f"`{each}`" for each in machines) or "none"
        what = "which of its machines is not said" if name is None else f"it has no `{name}`"
        hint = f'it has {known}: `machine("{path}", name="…")`'
        raise BatutaError(f"a template: {what}", at=str(path), hint=hint)
    machines[name].steps = AnySteps()
    return machines[name]


def states_of(value: Any, pointer: str = "") -> Iterator[tuple[str, dict[str, Any], str]]:
    """Every state of a definition: its name, itself, and a pointer to where it stands."""
    if not isinstance(value, dict):
        return
    for name, state in value.get("States", {}).items():
        here = f"{pointer}/States/{name.replace('~', '~0').replace('/', '~1')}"
        yield name, state, here
        for at, branch in enumerate(state.get("Branches", ())):
            yield from states_of(branch, f"{here}/Branches/{at}")
        for field in ("ItemProcessor", "Iterator"):
            yield from states_of(state.get(field), f"{here}/{field}")


def line_of(text: str, file: str, pointer: str) -> int:
    """The line that a pointer leads to, of a definition without mistakes."""
    source = parse(text, is_yaml=not file.endswith(".json"))
    member = f"{pointer}#"
    return source.at(member if source.has(member) else pointer)[0]
