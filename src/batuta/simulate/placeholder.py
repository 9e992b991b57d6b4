"""A value of a type, for steps whose model names none: the emptiest one that fits."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin
from uuid import UUID

from batuta.common.signature import hints_of_function
from batuta.workflow.builtin import HttpResult, ShellResult

_PLAIN: dict[Any, Any] = {
    Any: None, None: None, type(None): None, bool: False, int: 0, float: 0.0, str: "", bytes: b"",
    list: [], tuple: (), dict: {}, set: set(), frozenset: frozenset(), object: None,
    datetime: datetime(1970, 1, 1, tzinfo=UTC), date: date(1970, 1, 1), time: time(),
    timedelta: timedelta(0), Decimal: Decimal(0), UUID: UUID(int=0), Path: Path(),
    ShellResult: ShellResult(0, "", ""), HttpResult: HttpResult(200, {}, ""),
}  # fmt: skip
DEPTH_MAX = 20


def placeholder(annotation: Any, depth: int = 0) -> Any:
    """The emptiest value that fits an annotation; None where nothing is known about it."""
    if depth > DEPTH_MAX:
        return None
    try:
        if annotation in _PLAIN:
            value = _PLAIN[annotation]
            return type(value)(value) if isinstance(value, list | dict | set) else value
    except TypeError:  # an annotation that cannot be hashed
        return None
    origin = get_origin(annotation)
    if origin is not None:
        return _generic(origin, get_args(annotation), depth)
    if not isinstance(annotation, type):
        return _named(annotation, depth)
    if issubclass(annotation, Enum):
        return next(iter(annotation), None)
    if is_dataclass(annotation):
        return _dataclass(annotation, depth)
    return _model(annotation, depth)


def result_placeholder(fn: Any) -> Any:
    """The emptiest result of a function."""
    try:
        hints = hints_of_function(fn, fn.__name__, "")
    except Exception:  # annotations that name nothing: they are reported by `check`, not here
        return None
    return placeholder(hints.get("return", Any))


def _generic(origin: Any, args: tuple[Any, ...], depth: int) -> Any:
    if origin is Literal:
        return args[0]
    if origin is typing.Annotated:
        return placeholder(args[0], depth + 1)
    if origin is Union or origin is types.UnionType:
        return None if type(None) in args else placeholder(args[0], depth + 1)
    if origin is tuple:
        if len(args) == 2 and args[1] is Ellipsis:
            return ()
        return tuple(placeholder(one, depth + 1) for one in args)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {}
    if isinstance(origin, type) and origin in _PLAIN:
        return placeholder(origin, depth + 1)
    if isinstance(origin, type) and is_dataclass(origin):
        return _dataclass(origin, depth)
    return []


def _named(annotation: Any, depth: int) -> Any:
    inner = getattr(annotation, "__supertype__", None) or getattr(annotation, "__value__", None)
    return None if inner is None else placeholder(inner, depth + 1)


def _dataclass(kind: type, depth: int) -> Any:
    hints = _hints(kind)
    given = {
        one.name: placeholder(hints.get(one.name, Any), depth + 1)
        for one in fields(kind)
        if one.init and one.default is MISSING and one.default_factory is MISSING
    }
    return _made(kind, given)


def _model(kind: type, depth: int) -> Any:
    construct = getattr(kind, "model_construct", None)
    if construct is not None:  # a pydantic model: its validators are not asked
        known: dict[str, Any] = getattr(kind, "model_fields", {})
        return construct(
            **{
                name: placeholder(one.annotation, depth + 1)
                for name, one in known.items()
                if one.is_required()
            }
        )
    if issubclass(kind, dict) and hasattr(kind, "__required_keys__"):
        hints = _hints(kind)
        required: frozenset[str] = kind.__required_keys__
        return {name: placeholder(hints.get(name, Any), depth + 1) for name in sorted(required)}
    return _made(kind, {})


def _made(kind: type, given: dict[str, Any]) -> Any:
    try:
        return kind(**given)
    except Exception:  # it refuses what is empty
        return None


def _hints(kind: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(kind)
    except Exception:  # a name that does not exist when the program runs
        return {}
