"""Choice rules: comparisons of what a path names, and JSONata conditions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from json import dumps
from typing import Any

from batuta.common.path import PathMissing
from batuta.workflow.asl.env import Env
from batuta.workflow.asl.errors import RUNTIME, Malformed, StateFailed
from batuta.workflow.asl.paths import is_definite, reference, unexpected
from batuta.workflow.asl.template import jsonata

Holds = Callable[[Any, Env], bool]
Compare = Callable[[Any, Any], bool]
NOT_RULES = ("Variable", "Next", "Assign", "Output", "Comment")


def rule(value: Mapping[str, Any], in_jsonata: bool) -> Holds:
    """A rule ready to evaluate: gives whether it holds for (input, env).

    Raises `Malformed`; the evaluator raises `StateFailed`.
    """
    if in_jsonata or "Condition" in value:
        return _condition(value["Condition"])
    for name, join in (("And", all), ("Or", any)):
        if name in value:
            parts = [rule(each, False) for each in value[name]]
            return _joined(parts, join)
    if "Not" in value:
        inner = rule(value["Not"], False)
        return lambda root, env: not inner(root, env)
    return _comparison(value)


def _joined(parts: list[Holds], join: Callable[[Any], bool]) -> Holds:
    return lambda root, env: join(part(root, env) for part in parts)


def _condition(text: Any) -> Holds:
    evaluate = jsonata("Condition", text)

    def holds(root: Any, env: Env) -> bool:
        value = evaluate(root, env)
        if isinstance(value, bool):
            return value
        kind = _kind(value)
        raise unexpected("Condition", text, "boolean", kind, dumps(value, separators=(",", ":")))

    return holds


def _comparison(value: Mapping[str, Any]) -> Holds:
    operator = next((name for name in value if name not in NOT_RULES), None)
    if operator is None:
        raise Malformed("a choice rule compares its Variable with something", 0)
    variable: str = value["Variable"]
    find = _found(variable)
    wanted = value[operator]
    if operator == "IsPresent":
        return _present(variable, wanted)
    if operator in IS:
        test = IS[operator]
        return lambda root, env: bool(test(find(root, env)) == wanted)
    if operator.endswith("Path"):
        other, compare = _found(wanted), _operator(operator.removesuffix("Path"))
        return lambda root, env: compare(find(root, env), other(root, env))
    compare = _operator(operator)
    return lambda root, env: compare(find(root, env), wanted)


def _operator(name: str) -> Compare:
    compare = COMPARE.get(name)
    if compare is None:
        raise Malformed(f"there is no comparison `{name}`", 0)
    return compare


def _found(path: str) -> Callable[[Any, Env], Any]:
    find = reference(path)

    def found(root: Any, env: Env) -> Any:
        try:
            return find(root, env)
        except PathMissing as missing:
            text = (
                f"Invalid path '{path}': The choice state's condition path references an invalid "
                "value."
            )
            raise StateFailed(RUNTIME, text) from missing

    return found


def _present(variable: str, wanted: bool) -> Holds:
    find = reference(variable)

    def holds(root: Any, env: Env) -> bool:
        try:
            found = find(root, env)
        except (PathMissing, StateFailed):
            return not wanted
        # A path that may name several values gives a list: an empty one names none.
        return (found != [] or is_definite(variable)) == wanted

    return holds


# -- values ---------------------------------------------------------------------------------------


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _boolean(value: Any) -> bool:
    return isinstance(value, bool)


MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})")


@lru_cache(maxsize=1000)
def moment(text: Any) -> datetime | None:
    """A timestamp as the language has it (RFC 3339, `T`, an offset); None for another text."""
    if not isinstance(text, str) or not MOMENT.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    for name, test in (("boolean", _boolean), ("number", _number), ("string", _text)):
        if test(value):
            return name
    return "array" if isinstance(value, list) else "object"


IS: dict[str, Callable[[Any], bool]] = {
    "IsNull": lambda value: value is None,
    "IsNumeric": _number,
    "IsString": _text,
    "IsBoolean": _boolean,
    "IsTimestamp": lambda value: isinstance(value, str) and moment(value) is not None,
}


def matches(text: Any, pattern: str) -> bool:
    r"""Whether a text is of a pattern in which `*` stands for anything and `\*` for itself.

    Each part is looked for once, from left to right: however many stars, it takes no longer.
    """
    if not isinstance(text, str):
        return False
    first, *parts = _parts(pattern)
    if not parts:
        return text == first
    last = parts.pop()
    end = len(text) - len(last)
    at = len(first)
    if at > end or not text.startswith(first) or not text.endswith(last):
        return False
    for part in parts:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


@lru_cache(maxsize=1000)
def _parts(pattern: str) -> tuple[str, ...]:
    """What stands between the stars of a pattern."""
    parts, at = [""], 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\" and at + 1 < len(pattern) and pattern[at + 1] in "*\\":
            at += 1
            parts[-1] += pattern[at]
        elif char == "*":
            parts.append("")
        else:
            parts[-1] += char
        at += 1
    return tuple(parts)


def _typed(test: Callable[[Any], bool], compare: Compare) -> Compare:
    """A comparison that values of another type do not pass."""
    return lambda first, second: test(first) and test(second) and compare(first, second)


def _moments(compare: Compare) -> Compare:
    def holds(first: Any, second: Any) -> bool:
        if not (isinstance(first, str) and isinstance(second, str)):
            return False
        one, other = moment(first), moment(second)
        return one is not None and other is not None and compare(one, other)

    return holds


SIGNS: dict[str, Compare] = {
    "Equals": lambda first, second: bool(first == second),
    "LessThan": lambda first, second: bool(first < second),
    "GreaterThan": lambda first, second: bool(first > second),
    "LessThanEquals": lambda first, second: bool(first <= second),
    "GreaterThanEquals": lambda first, second: bool(first >= second),
}

COMPARE: dict[str, Compare] = {
    **{f"String{name}": _typed(_text, sign) for name, sign in SIGNS.items()},
    **{f"Numeric{name}": _typed(_number, sign) for name, sign in SIGNS.items()},
    **{f"Timestamp{name}": _moments(sign) for name, sign in SIGNS.items()},
    "BooleanEquals": _typed(_boolean, SIGNS["Equals"]),
    "StringMatches": matches,
}
