"""Holds a request against its shape, and says what is wrong in the service's words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from batuta.server.stepfunctions.errors import validation
from batuta.server.stepfunctions.shapes import Shape
from batuta.workflow.asl.registry import ServiceError

_TYPES: dict[str, tuple[type, ...]] = {
    "text": (str,), "whole": (int,), "number": (int, float), "truth": (bool,), "list": (list,),
    "object": (dict,),
}  # fmt: skip
_WORDS = {"text": "String", "whole": "Integer", "number": "Float", "truth": "Boolean"}
_TOKENS = {str: "STRING_VALUE", bool: "TRUE_VALUE", int: "NUMBER_VALUE", float: "DECIMAL_VALUE"}


def checked(body: dict[str, Any], shape: Shape, strict: bool) -> dict[str, Any]:
    """The request's known members without those that are null.

    Parameters
    ----------
    strict: whether the service's own quotas are kept to.

    Raises `ServiceError`: `SerializationException` for a value of another type,
    `ValidationException` with all constraints that are broken.
    """
    given = _typed(body, shape)
    broken = list(_broken(given, shape, "", strict))
    if broken:
        errors = "error" if len(broken) == 1 else "errors"
        raise validation(f"{len(broken)} validation {errors} detected: {'; '.join(broken)}")
    return given


def _typed(value: dict[str, Any], shape: Shape) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, part in value.items():
        member = shape.members.get(name)
        if member is not None and part is not None:
            found[name] = _value(part, member)
    return found


def _value(value: Any, shape: Shape) -> Any:
    if not _fits(value, shape.kind):
        raise ServiceError("SerializationException", _misfit(value, shape))
    if shape.kind == "object":
        return _typed(value, shape)
    if shape.kind == "list" and shape.item is not None:
        return [None if part is None else _value(part, shape.item) for part in value]
    return value


def _fits(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "truth"
    return isinstance(value, _TYPES[kind])


def _misfit(value: Any, shape: Shape) -> str:
    if shape.kind == "list" or isinstance(value, dict | list):
        return "Unexpected field type" if shape.kind != "list" else "Expected list or null"
    if shape.kind == "object":
        return "Expected null"
    return f"{_TOKENS[type(value)]} can not be converted to a {_WORDS[shape.kind]}"


def _broken(value: Any, shape: Shape, at: str, strict: bool) -> Iterator[str]:
    if shape.kind == "object":
        for name in shape.required:
            if value.get(name) is None:
                yield (
                    f"Value null at '{_below(at, name)}' failed to satisfy constraint: "
                    "Member must not be null"
                )
        for name, member in shape.members.items():
            if name in value:
                yield from _broken(value[name], member, _below(at, name), strict)
        return
    for constraint in _constraints(value, shape, strict):
        shown = "Value" if shape.secret else f"Value '{_shown(value, shape)}'"
        yield f"{shown} at '{at}' failed to satisfy constraint: {constraint}"
    if shape.kind == "list" and shape.item is not None:
        for place, part in enumerate(value, 1):
            if part is not None:
                yield from _broken(part, shape.item, f"{at}.{place}.member", strict)


def _below(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name


def _constraints(value: Any, shape: Shape, strict: bool) -> Iterator[str]:
    most = shape.most if strict or shape.ours is None else shape.ours
    if shape.kind in ("text", "list"):
        what, size = "length", len(value)
    else:
        what, size = "value", value
    if most is not None and size > most:
        yield f"Member must have {what} less than or equal to {most}"
    if shape.least is not None and size < shape.least:
        yield f"Member must have {what} greater than or equal to {shape.least}"
    if shape.pattern is not None and not _pattern(shape.pattern).fullmatch(value):
        yield f"Member must satisfy regular expression pattern: {shape.pattern}"
    if shape.choices and value not in shape.choices:
        yield f"Member must satisfy enum value set: [{', '.join(shape.choices)}]"


@lru_cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text.replace(r"\p{ASCII}", "[\x00-\x7f]"))


def _shown(value: Any, shape: Shape) -> str:
    """A value as the service's messages show it."""
    if shape.kind == "list" and shape.item is not None:
        return f"[{', '.join(_shown(part, shape.item) for part in value)}]"
    if shape.kind == "object":
        members = (
            f"{name}={_shown(value[name], member)}"
            for name, member in shape.members.items()
            if name in value
        )
        return f"{shape.name}({', '.join(members)})"
    return str(value)
