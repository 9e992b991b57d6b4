"""Whether paths, templates and JSONata in a definition are of their language."""

from __future__ import annotations

from typing import Any

from batuta.workflow.asl.check.finding import JSONATA, PATH, SCHEMA, Findings
from batuta.workflow.asl.errors import Malformed
from batuta.workflow.asl.intrinsic import compile_intrinsic
from batuta.workflow.asl.jsonata import compile_jsonata
from batuta.workflow.asl.paths import is_definite, reference

PLACEHOLDER = "${"


def path(text: Any, field: str, location: str, found: Findings, *, definite: bool = False) -> None:
    """A path field; `definite` where it has to be a reference path."""
    if not isinstance(text, str):
        found.add(PATH, f'"{field}" has to be a path, but it is {text!r}', location)
        return
    if PLACEHOLDER in text:
        return
    try:
        reference(text)
        if definite and not is_definite(text):
            found.add(PATH, f'"{field}" has to be a reference path, which names one value: {text}',
                      location)  # fmt: skip
    except Malformed as wrong:
        found.add(PATH, f'"{field}" is not a path: {wrong.message}: {text}', location)


def template(value: Any, location: str, found: Findings) -> None:
    """A payload template of JSONPath: what its `.$` members hold."""
    waiting: list[tuple[Any, str]] = [(value, location)]
    while waiting:
        here, at = waiting.pop()
        if isinstance(here, list):
            waiting += [(each, f"{at}/{index}") for index, each in enumerate(here)]
        if not isinstance(here, dict):
            continue
        for name, each in here.items():
            inner = f"{at}/{name}"
            if name.endswith(".$"):
                if name[:-2] in here:
                    text = f'"{name[:-2]}" and "{name}" both stand for the member "{name[:-2]}"'
                    found.add(SCHEMA, text, inner)
                _dynamic(name, each, inner, found)
            else:
                waiting.append((each, inner))


def _dynamic(name: str, text: Any, location: str, found: Findings) -> None:
    if isinstance(text, str):
        try:
            if text.startswith("$"):
                reference(text)
            else:
                compile_intrinsic(text)
            return
        except Malformed:
            pass
    message = f'Field "{name}" is not a JSONPath or intrinsic function expression: {text!r}'
    found.add(PATH, message, location)


def jsonata(value: Any, location: str, found: Findings) -> None:
    """Every string of a value that is a JSONata expression, or looks as if it should be one."""
    waiting: list[tuple[Any, str]] = [(value, location)]
    while waiting:
        here, at = waiting.pop()
        if isinstance(here, list):
            waiting += [(each, f"{at}/{index}") for index, each in enumerate(here)]
        elif isinstance(here, dict):
            waiting += [(each, f"{at}/{name}") for name, each in here.items()]
        elif isinstance(here, str):
            _expression(here, at, found)


def _expression(text: str, location: str, found: Findings) -> None:
    opened, closed = text.startswith("{%"), text.endswith("%}")
    if not (opened or closed):
        return
    if not (opened and closed):
        text = "A JSONata expression stands between {% and %}, without anything around them"
        found.add(JSONATA, text, location)
        return
    try:
        compile_jsonata("", text[2:-2].strip())
    except Malformed as wrong:
        found.add(JSONATA, f"Not a JSONata expression: {wrong.message}", location)
