"""Payload templates: JSON with expressions in it, of either query language."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from batuta.common.path import PathMissing
from batuta.workflow.asl.env import Env
from batuta.workflow.asl.errors import RUNTIME, Malformed, StateFailed
from batuta.workflow.asl.intrinsic import compile_intrinsic
from batuta.workflow.asl.jsonata import compile_jsonata
from batuta.workflow.asl.paths import Evaluator, not_found, query, reference, result_path
from batuta.workflow.asl.size import within

INTRINSIC = "States."


class Constant:
    """An evaluator of something that never changes."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, root: Any, env: Env) -> Any:
        return self.value


def payload(field: str, value: Any) -> Evaluator:
    """A JSONPath template: members whose name ends in `.$` are paths or intrinsic functions.

    Raises `Malformed`; the evaluator raises `StateFailed`.
    """
    return _bounded(field, _payload(field, value))


def _payload(field: str, value: Any) -> Evaluator:
    if isinstance(value, dict):
        return _object([_member(name, each) for name, each in value.items()], value)
    if isinstance(value, list):
        return _array([_payload(field, each) for each in value], value)
    return Constant(value)


def _bounded(field: str, evaluate: Evaluator) -> Evaluator:
    """What a template makes of its input has a measure."""
    if isinstance(evaluate, Constant):
        return evaluate
    return lambda root, env: within(evaluate(root, env), field, env.allowance)


def _member(name: str, value: Any) -> tuple[str, Evaluator]:
    if not name.endswith(".$"):
        return name, _payload(name, value)
    if not isinstance(value, str):
        raise Malformed(f"the value of `{name}` has to be a path or an intrinsic function", 0)
    return name[:-2], dynamic(name, value)


def dynamic(field: str, text: str) -> Evaluator:
    """The value of a member whose name ends in `.$`."""
    find = compile_intrinsic(text) if text.startswith(INTRINSIC) else reference(text)

    def found(root: Any, env: Env) -> Any:
        try:
            return find(root, env)
        except PathMissing as missing:
            whole = env.context if text.startswith("$$") else root
            raise StateFailed(RUNTIME, not_found(text, field, whole)) from missing

    return found


def jsonata(field: str, value: Any) -> Evaluator:
    """A JSONata template: strings between `{%` and `%}` are expressions.

    Raises `Malformed`; the evaluator raises `StateFailed`.
    """
    return _bounded(field, _jsonata(field, value))


def _jsonata(field: str, value: Any) -> Evaluator:
    if isinstance(value, str):
        inner = expression(value)
        return Constant(value) if inner is None else compile_jsonata(field, inner)
    if isinstance(value, dict):
        members = [(name, _jsonata(f"{field}/{name}", each)) for name, each in value.items()]
        return _object(members, value)
    if isinstance(value, list):
        return _array([_jsonata(f"{field}[{at}]", each) for at, each in enumerate(value)], value)
    return Constant(value)


def expression(text: str) -> str | None:
    """What stands between the delimiters; None for a text without."""
    if text.startswith("{%") and text.endswith("%}"):
        return text[2:-2].strip()
    return None


def _object(members: list[tuple[str, Evaluator]], value: Any) -> Evaluator:
    if all(isinstance(each, Constant) for _, each in members):
        return Constant(value)

    def made(root: Any, env: Env) -> Any:
        return {name: each(root, env) for name, each in members}

    return made


def _array(parts: list[Evaluator], value: Any) -> Evaluator:
    if all(isinstance(each, Constant) for each in parts):
        return Constant(value)

    def made(root: Any, env: Env) -> Any:
        return [each(root, env) for each in parts]

    return made


Template = Callable[[str, Any], Evaluator]

__all__ = ["Evaluator", "expression", "jsonata", "payload", "query", "result_path"]
