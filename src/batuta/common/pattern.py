"""Conditions on events: `field("data.total") > 100`, and patterns in EventBridge's form."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from batuta.kernel.errors import BatutaError

Json = Any  # what `json.loads` gives
WHERE = "$where"
MAX_DEPTH = 50


class BadPattern(BatutaError, ValueError):
    """A condition that cannot be understood."""


@dataclass(frozen=True, slots=True)
class Predicate:
    """A condition on an event; immutable. Combine with `&`, `|` and `~`."""

    def test(self, event: Mapping[str, Any]) -> bool:
        """Whether it holds for an event as a JSON object."""
        raise NotImplementedError

    def tree(self) -> list[Json]:
        """The condition as nested lists."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Json]:
        """The condition as JSON, which `compile_where` reads again."""
        return {WHERE: self.tree()}

    def __and__(self, other: Predicate) -> Predicate:
        return All((*_parts(self, All), *_parts(_predicate(other), All)))

    def __or__(self, other: Predicate) -> Predicate:
        return AnyOf((*_parts(self, AnyOf), *_parts(_predicate(other), AnyOf)))

    def __invert__(self) -> Predicate:
        return self.part if isinstance(self, Not) else Not(self)

    def __bool__(self) -> NoReturn:
        raise BadPattern(
            "a condition has no truth of its own",
            hint="combine with & | ~ in brackets, not with and, or, not, or a < x < b",
        )


def _predicate(value: object) -> Predicate:
    if isinstance(value, Predicate):
        return value
    hint = 'write (field("a") == 1) & (field("b") == 2), with the brackets'
    raise BadPattern(f"{value!r} is no condition", hint=hint)


def _parts(predicate: Predicate, kind: type[All | AnyOf]) -> tuple[Predicate, ...]:
    return predicate.parts if isinstance(predicate, kind) else (predicate,)


@dataclass(frozen=True, slots=True, repr=False)
class All(Predicate):
    """Every part holds; without parts: always."""

    parts: tuple[Predicate, ...]

    def test(self, event: Mapping[str, Any]) -> bool:
        """Whether it holds."""
        return all(part.test(event) for part in self.parts)

    def tree(self) -> list[Json]:
        """As nested lists."""
        return ["and", *(part.tree() for part in self.parts)]

    def __repr__(self) -> str:
        return " & ".join(f"({part!r})" for part in self.parts) or "anything"


@dataclass(frozen=True, slots=True, repr=False)
class AnyOf(Predicate):
    """At least one part holds; without parts: never."""

    parts: tuple[Predicate, ...]

    def test(self, event: Mapping[str, Any]) -> bool:
        """Whether it holds."""
        return any(part.test(event) for part in self.parts)

    def tree(self) -> list[Json]:
        """As nested lists."""
        return ["or", *(part.tree() for part in self.parts)]

    def __repr__(self) -> str:
        return " | ".join(f"({part!r})" for part in self.parts) or "nothing"


@dataclass(frozen=True, slots=True, repr=False)
class Not(Predicate):
    """The part does not hold, which is also so where its field is missing."""

    part: Predicate

    def test(self, event: Mapping[str, Any]) -> bool:
        """Whether it holds."""
        return not self.part.test(event)

    def tree(self) -> list[Json]:
        """As nested lists."""
        return ["not", self.part.tree()]

    def __repr__(self) -> str:
        return f"~({self.part!r})"


@dataclass(frozen=True, slots=True, repr=False)
class Compare(Predicate):
    """A field compared with a value; False where the field is missing.

    Parameters
    ----------
    path: the keys that lead to the field; a number is the place in a list.
    op: one of `OPS`. value: JSON.
    each: a list in the event holds if one of its items does, as in EventBridge.
    """

    path: tuple[str, ...]
    op: str
    value: Json = None
    each: bool = False

    def test(self, event: Mapping[str, Any]) -> bool:
        """Whether it holds."""
        if self.each:
            holds = OPS[self.op]
            return any(holds(found, self.value) for found in _every(event, self.path))
        at: Any = event
        for key in self.path:
            if type(at) is dict or isinstance(at, Mapping):
                if key not in at:
                    return False
                at = at[key]
            elif isinstance(at, list) and key.isascii() and key.isdigit() and int(key) < len(at):
                at = at[int(key)]
            else:
                return False
        return OPS[self.op](at, self.value)

    def tree(self) -> list[Json]:
        """As nested lists."""
        return [self.op, list(self.path), self.value, *([True] if self.each else [])]

    def __repr__(self) -> str:
        plain = all(part and "." not in part for part in self.path)
        shown = repr(".".join(self.path)) if plain else ", ".join(map(repr, self.path))
        name = f"field({shown})"
        if self.op in INFIX:
            return f"{name} {self.op} {self.value!r}"
        if self.op == "exists":
            return f"{name}.exists()"
        return f"{name}.{'in_' if self.op == 'in' else self.op}({self.value!r})"


def _every(at: Any, path: tuple[str, ...]) -> Iterator[Any]:
    """The values that a path leads to, through lists into each item."""
    if isinstance(at, list):
        for item in at:
            yield from _every(item, path)
    elif not path:
        yield at
    elif isinstance(at, Mapping) and path[0] in at:
        yield from _every(at[path[0]], path[1:])


# -- operators -----------------------------------------------------------------------------


def same(a: Json, b: Json) -> bool:
    """Equality of JSON: 1 is 1.0, but neither is true."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return bool(a == b)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Json, Json], bool]:
    def holds(a: Json, b: Json) -> bool:
        both_text = isinstance(a, str) and isinstance(b, str)
        return (both_text or (_is_number(a) and _is_number(b))) and compare(a, b)

    return holds


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _of_text(holds: Callable[[str, str], bool]) -> Callable[[Json, Json], bool]:
    return lambda a, b: isinstance(a, str) and holds(a, b)


OPS: dict[str, Callable[[Json, Json], bool]] = {
    "==": same,
    "!=": lambda a, b: not same(a, b),
    "<": _ordered(lambda a, b: a < b),
    "<=": _ordered(lambda a, b: a <= b),
    ">": _ordered(lambda a, b: a > b),
    ">=": _ordered(lambda a, b: a >= b),
    "in": lambda a, b: any(same(a, one) for one in b),
    "startswith": _of_text(str.startswith),
    "endswith": _of_text(str.endswith),
    "exists": lambda a, b: True,
    "matches": _of_text(fnmatch.fnmatchcase),
    "equals_ignore_case": _of_text(lambda a, b: a.casefold() == b.casefold()),
}
INFIX = ("==", "!=", "<", "<=", ">", ">=")
TEXT_OPS = ("startswith", "endswith", "matches", "equals_ignore_case")


# -- fields --------------------------------------------------------------------------------


class Field:
    """A place in an event, to be compared with something."""

    __slots__ = ("path",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, path: tuple[str, ...]) -> None:
        self.path = path

    def __eq__(self, value: object) -> Predicate:  # type: ignore[override]
        return compare(self.path, "==", value)

    def __ne__(self, value: object) -> Predicate:  # type: ignore[override]
        return compare(self.path, "!=", value)

    def __lt__(self, value: Json) -> Predicate:
        return compare(self.path, "<", value)

    def __le__(self, value: Json) -> Predicate:
        return compare(self.path, "<=", value)

    def __gt__(self, value: Json) -> Predicate:
        return compare(self.path, ">", value)

    def __ge__(self, value: Json) -> Predicate:
        return compare(self.path, ">=", value)

    def in_(self, values: Iterable[Json]) -> Predicate:
        """It is one of these."""
        return compare(self.path, "in", list(values))

    def startswith(self, text: str) -> Predicate:
        """It is a text that begins so."""
        return compare(self.path, "startswith", text)

    def endswith(self, text: str) -> Predicate:
        """It is a text that ends so."""
        return compare(self.path, "endswith", text)

    def matches(self, glob: str) -> Predicate:
        """It is a text like this, where `*` stands for anything and `?` for one character."""
        return compare(self.path, "matches", glob)

    def exists(self) -> Predicate:
        """The event has it, be it null."""
        return Compare(self.path, "exists")

    def __bool__(self) -> NoReturn:
        raise BadPattern(
            f"{self!r} says nothing yet", hint=f"write {self!r} == True, or {self!r}.exists()"
        )

    def __repr__(self) -> str:
        return f"field({'.'.join(self.path)!r})"


def field(path: str, *more: str) -> Field:
    """A place in an event, for conditions: `field("data.total") > 100`.

    Parameters
    ----------
    path: keys with dots between them; a number is the place in a list (`data.items.0.id`,
        also written `data.items[0].id`).
    more: with several arguments each is one key as it stands, dots and all.
    """
    if more:
        return Field((path, *more))
    keys = tuple(re.sub(r"\[(\d+)\]", r".\1", path).split("."))
    if not all(keys):
        raise BadPattern(f"{path!r} is no path to a field", hint='write it like "data.total"')
    return Field(keys)


def compare(path: tuple[str, ...], op: str, value: Json, each: bool = False) -> Compare:
    """A comparison, checked. Raises `BadPattern`."""
    where = ".".join(path)
    if op not in OPS:
        raise BadPattern(f"{op!r} is no comparison", hint="one of " + ", ".join(OPS))
    if not _is_json(value):
        kind = type(value).__name__
        hint = "events are JSON: compare with text, numbers, true, false, null"
        raise BadPattern(f"{where} cannot be compared with a value of type {kind}", hint=hint)
    if op in TEXT_OPS and not isinstance(value, str):
        raise BadPattern(f"{op} of {where} needs a text, not {value!r}")
    if op == "in" and not isinstance(value, list):
        raise BadPattern(f"in_ of {where} needs a list, not {value!r}")
    if op in ("<", "<=", ">", ">=") and not (_is_number(value) or isinstance(value, str)):
        raise BadPattern(f"{where} {op} needs a number or a text, not {value!r}")
    return Compare(path, op, value, each)


def _is_json(value: object, depth: int = 0) -> bool:
    if depth > MAX_DEPTH:
        return False
    if isinstance(value, list):
        return all(_is_json(item, depth + 1) for item in value)
    if isinstance(value, dict):
        return all(
            isinstance(key, str) and _is_json(item, depth + 1) for key, item in value.items()
        )
    return value is None or isinstance(value, str | int | float | bool)


# -- reading conditions --------------------------------------------------------------------


def from_json(json: Json) -> Predicate:
    """The condition that `to_json` wrote. Raises `BadPattern`."""
    tree = json.get(WHERE) if isinstance(json, Mapping) else None
    return _from_tree(tree, 0)


def _from_tree(tree: Json, depth: int) -> Predicate:
    if not isinstance(tree, list) or not tree or depth > MAX_DEPTH:
        raise BadPattern(f"{str(tree)[:100]!r} is no stored condition")
    op, *rest = tree
    if op in ("and", "or"):
        parts = tuple(_from_tree(part, depth + 1) for part in rest)
        return All(parts) if op == "and" else AnyOf(parts)
    if op == "not" and len(rest) == 1:
        return Not(_from_tree(rest[0], depth + 1))
    if len(rest) not in (2, 3) or not isinstance(rest[0], list) or not isinstance(op, str):
        raise BadPattern(f"{str(tree)[:100]!r} is no stored condition")
    return compare(tuple(map(str, rest[0])), op, rest[1], len(rest) == 3)


def compile_where(where: Predicate | Mapping[str, Any] | None) -> Predicate | None:
    """What a user gave as `where=`, as a condition. Raises `BadPattern`.

    Parameters
    ----------
    where: a condition, its JSON, a pattern as in EventBridge (`{"data": {"total":
        [{"numeric": [">", 100]}]}}`; a plain value stands for a list of it), or None.
    """
    if where is None or isinstance(where, Predicate):
        return where
    if not isinstance(where, Mapping):
        raise BadPattern(
            f"a condition cannot be a value of type {type(where).__name__}",
            hint='write where=field("data.total") > 100',
        )
    return from_json(where) if WHERE in where else _eventbridge(where, (), 0)


def _eventbridge(pattern: Mapping[str, Any], path: tuple[str, ...], depth: int) -> Predicate:
    if depth > MAX_DEPTH:
        raise BadPattern("the pattern is nested too deeply")
    parts: list[Predicate] = []
    for key, value in pattern.items():
        if key == "$or" and isinstance(value, list):
            parts.append(AnyOf(tuple(_eventbridge(one, path, depth + 1) for one in value)))
        elif isinstance(value, Mapping):
            parts.append(_eventbridge(value, (*path, str(key)), depth + 1))
        else:
            choices = value if isinstance(value, list) else [value]
            found = tuple(_choice((*path, str(key)), choice) for choice in choices)
            parts.append(found[0] if len(found) == 1 else AnyOf(found))
    return parts[0] if len(parts) == 1 else All(tuple(parts))


def _choice(path: tuple[str, ...], choice: Json) -> Predicate:
    """One item of a pattern's list."""
    if not isinstance(choice, Mapping):
        return compare(path, "==", choice, each=True)
    if len(choice) != 1:
        raise BadPattern(f"{dict(choice)!r} at {'.'.join(path)} needs exactly one key")
    ((name, value),) = choice.items()
    if name not in CHOICES:
        hint = "one of " + ", ".join(CHOICES)
        raise BadPattern(f"{name!r} at {'.'.join(path)} is no pattern", hint=hint)
    return CHOICES[name](path, value)


def _exists(path: tuple[str, ...], value: Json) -> Predicate:
    if not isinstance(value, bool):
        raise BadPattern(f"exists at {'.'.join(path)} is true or false, not {value!r}")
    found = Compare(path, "exists", None)
    return found if value else Not(found)


def _numeric(path: tuple[str, ...], value: Json) -> Predicate:
    pairs = list(zip(value[::2], value[1::2], strict=False)) if isinstance(value, list) else []
    if not pairs or len(value) % 2:
        hint = 'write {"numeric": [">", 0, "<=", 100]}'
        raise BadPattern(f"numeric at {'.'.join(path)} needs pairs", hint=hint)
    parts = []
    for op, number in pairs:
        symbol = "==" if op == "=" else op
        if symbol not in INFIX or not _is_number(number):
            raise BadPattern(f"numeric at {'.'.join(path)}: {op!r} {number!r} is no comparison")
        parts.append(compare(path, symbol, number, each=True))
    return parts[0] if len(parts) == 1 else All(tuple(parts))


def _anything_but(path: tuple[str, ...], value: Json) -> Predicate:
    if isinstance(value, Mapping):
        refused = _choice(path, value)
    else:
        refused = compare(path, "in", value if isinstance(value, list) else [value], each=True)
    return All((Compare(path, "exists", None), Not(refused)))


def _text_choice(op: str) -> Callable[[tuple[str, ...], Json], Predicate]:
    return lambda path, value: compare(path, op, value, each=True)


CHOICES: dict[str, Callable[[tuple[str, ...], Json], Predicate]] = {
    "prefix": _text_choice("startswith"),
    "suffix": _text_choice("endswith"),
    "wildcard": _text_choice("matches"),
    "equals-ignore-case": _text_choice("equals_ignore_case"),
    "exists": _exists,
    "numeric": _numeric,
    "anything-but": _anything_but,
}
