"""Which variables the states of a definition refer to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

NAME = r"[^\W\d]\w*"
_VARIABLE = re.compile(rf"(?<![\w$@.])\$({NAME})(?!\w)")
_CALLED = re.compile(rf"(?<![\w$@.])\$({NAME})\s*\(")
_BOUND = re.compile(rf"\$({NAME})\s*:=|function\s*\(([^)]*)\)|λ\s*\(([^)]*)\)")
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'")
_STRINGS = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|/\*.*?\*/", re.DOTALL)
FLOWS = ("ItemProcessor", "Iterator", "Branches")


def references(definition: Mapping[str, Any]) -> dict[str, list[str]]:
    """State -> the variables that it refers to, sorted; states without any are left out."""
    return {name: used for name, used in sorted(_flow(definition, "JSONPath")) if used}


def _flow(flow: Mapping[str, Any], language: str) -> Iterator[tuple[str, list[str]]]:
    language = flow.get("QueryLanguage", language)
    for name, state in flow["States"].items():
        own = state.get("QueryLanguage", language)
        found = _jsonata(state) if own == "JSONata" else _jsonpath(state)
        yield name, sorted(set(found))
        for field in FLOWS:
            inner = state.get(field, ())
            for each in inner if isinstance(inner, list) else [inner]:
                if each:
                    yield from _flow(each, own)


def _parts(state: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((field, value) for field, value in state.items() if field not in FLOWS)


def _jsonpath(state: Mapping[str, Any]) -> Iterator[str]:
    stack: list[tuple[str, Any]] = list(_parts(state))
    while stack:
        field, value = stack.pop()
        if isinstance(value, dict):
            stack.extend(value.items())
        elif isinstance(value, list):
            stack.extend((field if field == "Choices" else "", each) for each in value)
        elif isinstance(value, str) and field.endswith((".$", "Path", "Variable")):
            yield from _VARIABLE.findall(_QUOTED.sub("", value))


def _jsonata(state: Mapping[str, Any]) -> Iterator[str]:
    stack: list[Any] = [value for _, value in _parts(state)]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)
        elif isinstance(value, str) and value.startswith("{%") and value.endswith("%}"):
            yield from _in_expression(value[2:-2])


def _in_expression(text: str) -> Iterator[str]:
    text = _STRINGS.sub(" ", text)
    bound = {"states"} | set(_CALLED.findall(text))
    for name, *parameters in _BOUND.findall(text):
        bound.add(name)
        bound.update(_VARIABLE.findall(" ".join(parameters)))
    return (name for name in _VARIABLE.findall(text) if name not in bound)
