"""A definition's text, JSON or YAML, as data with the position of every value in it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

import yaml

TEXT_MAX = 2_000_000
DEPTH_MAX = 200
NODES_MAX = 1_000_000
TOKEN = re.compile(r'[ \t\r\n]*(?:("(?:[^"\\]|\\.)*")|([{}\[\]:,])|([^\s{}\[\]:,"]+))', re.DOTALL)
OPENERS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)

Position = tuple[int, int]


class Unreadable(Exception):
    """A text is no definition. `line`, `column`: where, from 1."""

    def __init__(self, message: str, line: int = 1, column: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column


@dataclass(slots=True)
class Source:
    """A definition that could be read.

    Parameters
    ----------
    text: as it was written. value: plain data. yaml: whether it is YAML.
    """

    text: str
    value: Any
    yaml: bool = False
    _positions: dict[str, Position] | None = field(default=None)

    def at(self, pointer: str) -> Position:
        """Line and column, from 1, of what a pointer (`/States/Pay/Next`) leads to; the
        position of the nearest thing around it where there is no such place."""
        positions = self.positions
        while pointer and pointer not in positions:
            pointer = pointer.rpartition("/")[0]
        return positions.get(pointer, (1, 1))

    def has(self, pointer: str) -> bool:
        """Whether a pointer, or `POINTER#` for a member's name, leads to something."""
        return pointer in self.positions

    @property
    def positions(self) -> dict[str, Position]:
        """All positions; made when they are wanted for the first time."""
        if self._positions is None:
            make = _yaml_positions if self.yaml else _json_positions
            self._positions = make(self.text)
        return self._positions

    @property
    def json(self) -> str:
        """The definition as JSON."""
        return self.text if not self.yaml else json.dumps(self.value, indent=2)


def parse(text: str, *, is_yaml: bool = False) -> Source:
    """Read a definition.

    Raises `Unreadable` for a text that is too long, nested too deeply, or not of its language.
    """
    if len(text) > TEXT_MAX:
        raise Unreadable(f"the definition has {len(text):,} characters; {TEXT_MAX:,} are the most")
    return _parse_yaml(text) if is_yaml else _parse_json(text)


# -- JSON ----------------------------------------------------------------------------------------


def _parse_json(text: str) -> Source:
    _check_depth(text)
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except json.JSONDecodeError as wrong:
        raise Unreadable(f"not valid JSON: {wrong.msg}", wrong.lineno, wrong.colno) from wrong
    except _Twice as twice:
        line, column = _second(text, twice.name)
        raise Unreadable(f"the name `{twice.name}` stands twice", line, column) from twice
    except ValueError as wrong:
        raise Unreadable(f"not valid JSON: {wrong}") from wrong
    return Source(text, value)


class _Twice(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _Twice(name)
            seen.add(name)
    return made


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _check_depth(text: str) -> None:
    depth = 0
    for found in OPENERS.finditer(text):
        sign = found.group()
        if sign in "[{":
            depth += 1
            if depth > DEPTH_MAX:
                line, column = _line_column(text, found.start())
                raise Unreadable(
                    f"the definition is nested more than {DEPTH_MAX} deep", line, column
                )
        elif sign in "]}":
            depth -= 1


def _line_column(text: str, offset: int) -> Position:
    line = text.count("\n", 0, offset) + 1
    return line, offset - text.rfind("\n", 0, offset)


def _second(text: str, name: str) -> Position:
    """Where a name stands for the second time as a member."""
    found = [each.start() for each in re.finditer(re.escape(json.dumps(name)) + r"\s*:", text)]
    return _line_column(text, found[1] if len(found) > 1 else found[0] if found else 0)


def _escaped(name: str | int) -> str:
    return str(name).replace("~", "~0").replace("/", "~1")


def _json_positions(text: str) -> dict[str, Position]:
    """The position of every value, and of every member's name under `POINTER#`."""
    found: dict[str, Position] = {}
    starts = [0, *(each.end() for each in re.finditer("\n", text))]
    line = 0
    # Around what is read: (pointer, the next index of a list or None for an object).
    around: list[tuple[str, int | None]] = []
    name: str | None = None
    for token in TOKEN.finditer(text):
        group = token.lastindex or 0
        word, start = token.group(group), token.start(group)
        while line + 1 < len(starts) and starts[line + 1] <= start:
            line += 1
        here = (line + 1, start - starts[line] + 1)
        if word in ("}", "]"):
            around.pop()
            name = None
            continue
        if word == ",":
            if around and around[-1][1] is not None:
                around[-1] = around[-1][0], around[-1][1] + 1
            name = None
            continue
        if word == ":":
            continue
        pointer = ""
        if around:
            base, index = around[-1]
            if index is None and name is None:
                name = json.loads(word)
                found[f"{base}/{_escaped(name or '')}#"] = here
                continue
            pointer = f"{base}/{_escaped(name if index is None else index)}"  # type: ignore[arg-type]
        found[pointer] = here
        if word in ("{", "["):
            around.append((pointer, None if word == "{" else 0))
            name = None
    return found


# -- YAML ----------------------------------------------------------------------------------------


def _parse_yaml(text: str) -> Source:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        value = None if node is None else _value(node, 0, [0])
    except yaml.YAMLError as wrong:
        mark = getattr(wrong, "problem_mark", None)
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        problem = getattr(wrong, "problem", None) or str(wrong)
        raise Unreadable(f"not valid YAML: {problem}", line, column) from wrong
    except RecursionError as deep:
        raise Unreadable(f"the definition is nested more than {DEPTH_MAX} deep") from deep
    return Source(text, value, yaml=True)


def _value(node: yaml.Node, depth: int, count: list[int]) -> Any:
    """Plain data of a node; aliases are followed, so their number is bounded."""
    count[0] += 1
    where = node.start_mark.line + 1, node.start_mark.column + 1
    if depth > DEPTH_MAX or count[0] > NODES_MAX:
        what = "nested too deeply" if depth > DEPTH_MAX else "too large with its aliases followed"
        raise Unreadable(f"the definition is {what}", *where)
    if isinstance(node, yaml.SequenceNode):
        return [_value(each, depth + 1, count) for each in node.value]
    if isinstance(node, yaml.MappingNode):
        made: dict[str, Any] = {}
        for key, each in node.value:
            if key.value in made:
                at = key.start_mark
                raise Unreadable(f"the name `{key.value}` stands twice", at.line + 1, at.column + 1)
            made[str(key.value)] = _value(each, depth + 1, count)
        return made
    return _scalar(node)


def _scalar(node: yaml.Node) -> Any:
    kind = node.tag.rpartition(":")[2]
    text = node.value
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() in ("true", "yes", "on")
    if kind in ("int", "float"):
        return yaml.safe_load(text)
    return text  # also what looks like a date: definitions have timestamps as text


def _yaml_positions(text: str) -> dict[str, Position]:
    found: dict[str, Position] = {}
    top = yaml.compose(text, Loader=yaml.SafeLoader)
    waiting: list[tuple[str, yaml.Node]] = [] if top is None else [("", top)]
    while waiting:
        pointer, node = waiting.pop()
        found[pointer] = node.start_mark.line + 1, node.start_mark.column + 1
        if isinstance(node, yaml.SequenceNode):
            waiting += [(f"{pointer}/{at}", each) for at, each in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            for key, each in node.value:
                inner = f"{pointer}/{_escaped(key.value)}"
                found[f"{inner}#"] = key.start_mark.line + 1, key.start_mark.column + 1
                waiting.append((inner, each))
    return found
