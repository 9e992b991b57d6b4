"""State machines in files: `NAME.asl.json`, `NAME.asl.yaml`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from json import dumps
from typing import Any

from batuta.common.problem import Problem
from batuta.common.source import Source as Place
from batuta.kernel.errors import BatutaError
from batuta.workflow.asl.check import Finding, findings
from batuta.workflow.asl.machine import StateMachine
from batuta.workflow.asl.source import Source, Unreadable, parse

STEP = "arn:batuta:step:"
ENDINGS = (".asl.json", ".asl.yaml", ".asl.yml")


def name_of(file: str) -> str | None:
    """The name of the machine in a file; None for a file that is no definition."""
    for ending in ENDINGS:
        if file.endswith(ending) and len(file) > len(ending):
            return file.removesuffix(ending)
    return None


def machine_in(
    name: str,
    text: str,
    shown: str,
    *,
    about: Mapping[str, Any] | None = None,
    steps: Mapping[str, Any] | None = None,
) -> tuple[StateMachine | None, list[Problem]]:
    """The machine of a definition's text, and everything that is wrong with it.

    Parameters
    ----------
    shown: the file, as it is called in problems; its ending says the language.
    about, steps: see `StateMachine`.

    Returns
    -------
    The machine, or None where it has errors; and the problems, each with its position.
    """
    try:
        source = parse(text, is_yaml=not shown.endswith(".json"))
    except Unreadable as wrong:
        place = Place(shown, wrong.line, wrong.column)
        return None, [Problem(wrong.message, place, rule="INVALID_DEFINITION")]
    return machine_of(name, source, shown, about=about, steps=steps)


def machine_of(
    name: str,
    source: Source,
    shown: str,
    *,
    about: Mapping[str, Any] | None = None,
    steps: Mapping[str, Any] | None = None,
    base: str = "",
) -> tuple[StateMachine | None, list[Problem]]:
    """The machine of a definition that was read; see `machine_in`.

    Parameters
    ----------
    source: its `value` is the definition. base: a pointer to where that stands in its text.
    """
    kind = (about or {}).get("type", "STANDARD")
    found = findings(source.value, kind)
    problems = [problem_of(each, source, shown, base) for each in found]
    if steps is not None:
        problems += _unknown_steps(source, shown, base, steps)
    if any(each.severity == "error" for each in problems):
        return None, problems
    text = dumps(source.value, indent=2) if base else source.json
    line, _ = source.at(base or "/States")
    try:
        made = StateMachine(name, text, about, steps=steps, source=f"{shown}:{max(1, line)}")
    except BatutaError as broken:
        where = Place(shown, *source.at(base)) if base else Place(shown)
        return None, [*problems, Problem(broken.message, where, broken.hint)]
    return made, problems


def _unknown_steps(
    source: Source, shown: str, base: str, steps: Mapping[str, Any]
) -> Iterator[Problem]:
    """The tasks of Python steps that the project does not have."""
    waiting: list[tuple[str, Any]] = [(base, source.value)]
    while waiting:
        pointer, value = waiting.pop()
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for name, each in inner:
            here = f"{pointer}/{str(name).replace('~', '~0').replace('/', '~1')}"
            if isinstance(each, dict | list):
                waiting.append((here, each))
            elif name == "Resource" and str(each).startswith(STEP):
                step = str(each).removeprefix(STEP)
                if step not in steps:
                    near = get_close_matches(step, steps, 1)
                    hint = f"did you mean `{near[0]}`?" if near else "define it with `@step`"
                    why = f"there is no step `{step}`"
                    place = Place(shown, *source.at(here))
                    yield Problem(why, place, hint, rule="step")


def problem_of(finding: Finding, source: Source, shown: str, base: str = "") -> Problem:
    """A mistake with its line and column; `base` leads to the definition in its text."""
    pointer = base if finding.location == "/" else base + finding.location
    # A mistake in a member of an object is shown at the member's name.
    line, column = source.at(f"{pointer}#" if source.has(f"{pointer}#") else pointer)
    return Problem(
        finding.message, Place(shown, line, column), severity=finding.severity.lower(),
        rule=finding.code,
    )  # fmt: skip
