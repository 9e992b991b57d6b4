"""JSONPath in the dialect of Amazon States Language, compiled once.

A path that can name one value only is *definite*: a missing value is an error. Any other gives
the list of what it finds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from json import loads
from typing import Any

DEPTH_MAX = 50
WORK_MAX = 1_000_000
"""How many values one path may look at: some tenths of a second."""
NAME = re.compile(r"[^\s.\[\]'\"()$@*,:?!=<>&|~]+")
LITERAL = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null")
INTEGER = re.compile(r"-?\d+")


class PathSyntax(Exception):
    """A text is no path. `message`: what is wrong; `offset`: where, from 0."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


class PathMissing(Exception):
    """A definite path leads nowhere.

    `name`: the member or index that is missing; `before`: the path up to it, in brackets.
    """

    def __init__(self, name: str | int, before: str, last: bool) -> None:
        super().__init__(f"{name} is missing")
        self.name = name
        self.before = before
        self.last = last


class PathTooLong(Exception):
    """A path looked at more values than a path may."""

    def __init__(self) -> None:
        super().__init__(f"it looks at more than {WORK_MAX:,} values")


class PathMismatch(Exception):
    """A value cannot be put where a path leads: something else than an object is in the way."""


class Work:
    """Counts the values that a path looks at, those of the paths in its filters too."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = WORK_MAX

    def counted(self, values: Iterable[Any]) -> Iterator[Any]:
        """The same values. Raises `PathTooLong`."""
        for value in values:
            self.left -= 1
            if self.left < 0:
                raise PathTooLong
            yield value


NO_WORK = Work()
Step = Callable[[Any, Work], Iterable[Any]]
Test = Callable[[Any, Work], bool]
Value = Callable[[Any, Work], Any]


@dataclass(frozen=True, slots=True)
class Path:
    """A compiled path.

    Parameters
    ----------
    text: as it was written. names: the members and indexes of a definite path; None otherwise.
    steps: of an indefinite one.
    """

    text: str
    names: tuple[str | int, ...] | None
    steps: tuple[Step, ...]

    @property
    def definite(self) -> bool:
        """Whether it can name one value only."""
        return self.names is not None

    def find(self, root: Any) -> Any:
        """The value that it names; a list where it may name several.

        Raises `PathMissing` where a definite path leads nowhere, `PathTooLong`.
        """
        return self.look(root, Work()) if self.names is None else self.look(root, NO_WORK)

    def look(self, root: Any, work: Work) -> Any:
        """As `find`, as part of a path that has done some work already."""
        names = self.names
        if names is None:
            found = [root]
            for step in self.steps:
                made: list[Any] = []
                for value in found:
                    made.extend(work.counted(step(value, work)))
                found = made
            return found
        here = root
        for at, name in enumerate(names):
            if type(name) is str:
                if isinstance(here, dict) and name in here:
                    here = here[name]
                    continue
            elif isinstance(here, list) and -len(here) <= name < len(here):  # type: ignore[operator]
                here = here[name]  # type: ignore[index]
                continue
            raise PathMissing(name, bracketed(names[:at]), at == len(names) - 1)
        return here


def bracketed(names: tuple[str | int, ...]) -> str:
    """A definite path in its long form: `$['a'][0]`."""
    return "$" + "".join(f"['{name}']" if isinstance(name, str) else f"[{name}]" for name in names)


def compile_path(text: str) -> Path:
    """A path made ready. Raises `PathSyntax`."""
    if not text.startswith("$"):
        raise PathSyntax("a path begins with $", 0)
    parser = _Parser(text, 1)
    names: list[str | int] | None = []
    steps: list[Step] = []
    while parser.at < len(text):
        name, step = parser.selector()
        steps.append(step)
        if names is not None:
            if name is None:
                names = None
            else:
                names.append(name)
    return Path(text, None if names is None else tuple(names), tuple(steps))


def put(root: Any, path: Path, value: Any) -> Any:
    """A copy of `root` with a value where the path leads; objects on the way are made.

    Raises `PathMismatch` where something else than an object, or an index that a list does not
    have, is in the way.
    """
    if path.names is None:
        raise PathMismatch(path.text)
    return _put(root, path.names, 0, value)


def _put(here: Any, names: tuple[str | int, ...], at: int, value: Any) -> Any:
    if at == len(names):
        return value
    name = names[at]
    if isinstance(name, int):
        if not isinstance(here, list) or not 0 <= name < len(here):
            raise PathMismatch(name)
        copy = list(here)
        copy[name] = _put(here[name], names, at + 1, value)
        return copy
    if not isinstance(here, dict):
        raise PathMismatch(name)
    inner = here.get(name)
    if at + 1 < len(names) and (inner is None or name not in here):
        inner = {}
    return {**here, name: _put(inner, names, at + 1, value)}


# -- selectors -----------------------------------------------------------------------------------


def _member(name: str) -> Step:
    def step(value: Any, work: Work) -> Iterable[Any]:
        return (value[name],) if isinstance(value, dict) and name in value else ()

    return step


def _index(at: int) -> Step:
    def step(value: Any, work: Work) -> Iterable[Any]:
        inside = isinstance(value, list) and -len(value) <= at < len(value)
        return (value[at],) if inside else ()

    return step


def _every(value: Any, work: Work) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _slice(start: int | None, stop: int | None, stride: int | None) -> Step:
    def step(value: Any, work: Work) -> Iterable[Any]:
        return value[start:stop:stride] if isinstance(value, list) else ()

    return step


def _union(steps: list[Step]) -> Step:
    def step(value: Any, work: Work) -> Iterable[Any]:
        for each in steps:
            yield from each(value, work)

    return step


def _below(value: Any, work: Work) -> Iterator[Any]:
    """A value and everything in it."""
    waiting = [value]
    while waiting:
        here = waiting.pop()
        yield here
        waiting.extend(reversed(list(_every(here, work))))


def _deep(inner: Step) -> Step:
    def step(value: Any, work: Work) -> Iterable[Any]:
        for each in work.counted(_below(value, work)):
            yield from inner(each, work)

    return step


def _filtered(holds: Test) -> Step:
    def step(value: Any, work: Work) -> Iterable[Any]:
        if isinstance(value, list):
            yield from (each for each in work.counted(value) if holds(each, work))
        elif isinstance(value, dict) and holds(value, work):
            yield value

    return step


class _Parser:
    """Reads one path from left to right."""

    def __init__(self, text: str, at: int) -> None:
        self.text = text
        self.at = at
        self.depth = 0

    def fail(self, message: str) -> PathSyntax:
        return PathSyntax(message, min(self.at, len(self.text)))

    def peek(self, token: str) -> bool:
        return self.text.startswith(token, self.at)

    def take(self, token: str) -> bool:
        if not self.peek(token):
            return False
        self.at += len(token)
        return True

    def space(self) -> None:
        while self.at < len(self.text) and self.text[self.at] in " \t\n":
            self.at += 1

    def expect(self, token: str) -> None:
        self.space()
        if not self.take(token):
            raise self.fail(f"`{token}` is missing")

    def selector(self) -> tuple[str | int | None, Step]:
        """The next selector: its name or index where it names one value, and its step."""
        if self.take(".."):
            if self.peek("["):
                return None, _deep(self.selector()[1])
            return None, _deep(self._dotted()[1])
        if self.take("."):
            return self._dotted()
        if self.take("["):
            return self._bracket()
        raise self.fail(f"`{self.text[self.at]}` is not expected here")

    def _dotted(self) -> tuple[str | int | None, Step]:
        if self.take("*"):
            return None, _every
        if self.peek("["):
            return self.selector()
        found = NAME.match(self.text, self.at)
        if found is None:
            raise self.fail("a name is missing")
        self.at = found.end()
        return found.group(), _member(found.group())

    def _bracket(self) -> tuple[str | int | None, Step]:
        self.space()
        if self.take("?"):
            self.expect("(")
            holds = self._either()
            self.expect(")")
            self.expect("]")
            return None, _filtered(holds)
        if self.take("*"):
            self.expect("]")
            return None, _every
        names: list[str | int | None] = []
        steps: list[Step] = []
        while True:
            name, step = self._one()
            names.append(name)
            steps.append(step)
            self.space()
            if self.take("]"):
                break
            if not self.take(","):
                raise self.fail("`]` is missing")
        return (names[0], steps[0]) if len(steps) == 1 else (None, _union(steps))

    def _one(self) -> tuple[str | int | None, Step]:
        self.space()
        if self.peek("'") or self.peek('"'):
            name = self._quoted()
            return name, _member(name)
        start = self._integer()
        if not self.take(":"):
            if start is None:
                raise self.fail("an index or a name is missing")
            return start, _index(start)
        stop = self._integer()
        stride = self._integer() if self.take(":") else None
        if stride == 0:
            raise self.fail("a slice cannot go by steps of 0")
        return None, _slice(start, stop, stride)

    def _integer(self) -> int | None:
        self.space()
        found = INTEGER.match(self.text, self.at)
        if found is None:
            return None
        self.at = found.end()
        self.space()
        return int(found.group())

    def _quoted(self) -> str:
        quote = self.text[self.at]
        self.at += 1
        made: list[str] = []
        while self.at < len(self.text):
            char = self.text[self.at]
            self.at += 1
            if char == quote:
                return "".join(made)
            if char == "\\" and self.at < len(self.text):
                char = self.text[self.at]
                self.at += 1
            made.append(char)
        raise self.fail(f"{quote} is missing")

    # -- filters ---------------------------------------------------------------------------

    def _either(self) -> Test:
        parts = [self._both()]
        self.space()
        while self.take("||"):
            parts.append(self._both())
            self.space()
        return (
            parts[0]
            if len(parts) == 1
            else lambda item, work: any(part(item, work) for part in parts)
        )

    def _both(self) -> Test:
        parts = [self._term()]
        self.space()
        while self.take("&&"):
            parts.append(self._term())
            self.space()
        return (
            parts[0]
            if len(parts) == 1
            else lambda item, work: all(part(item, work) for part in parts)
        )

    def _term(self) -> Test:
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise self.fail(f"a filter is nested more than {DEPTH_MAX} deep")
        found = self._condition()
        self.depth -= 1
        return found

    def _condition(self) -> Test:
        self.space()
        if self.peek("!") and not self.peek("!="):
            self.at += 1
            inner = self._term()
            return lambda item, work: not inner(item, work)
        if self.take("("):
            inner = self._either()
            self.expect(")")
            return inner
        left, is_path = self._operand()
        self.space()
        for sign, compare in COMPARE.items():
            if self.take(sign):
                right, _ = self._operand()
                return _comparison(left, right, compare)
        if not is_path:
            raise self.fail("a comparison is missing")
        return lambda item, work: left(item, work) is not _NOTHING

    def _operand(self) -> tuple[Value, bool]:
        self.space()
        if self.peek("'") or self.peek('"'):
            text = self._quoted()
            return (lambda item, work: text), False
        if self.peek("@") or self.peek("$"):
            begun, self.at = self.at, self.at + 1
            names: list[str | int] | None = []
            steps: list[Step] = []
            while self.at < len(self.text) and self.text[self.at] in ".[":
                name, step = self.selector()
                steps.append(step)
                names = None if names is None or name is None else [*names, name]
            known = None if names is None else tuple(names)
            path = Path(self.text[begun : self.at], known, tuple(steps))
            return (lambda item, work: _looked_up(path, item, work)), True
        found = LITERAL.match(self.text, self.at)
        if found is None:
            raise self.fail("a value is missing")
        self.at = found.end()
        value = loads(found.group())
        return (lambda item, work: value), False


_NOTHING = object()


def _looked_up(path: Path, item: Any, work: Work) -> Any:
    try:
        found = path.look(item, work)
    except PathMissing:
        return _NOTHING
    return found if path.definite or found else _NOTHING


def _comparison(left: Value, right: Value, compare: Callable[[Any, Any], bool]) -> Test:
    def holds(item: Any, work: Work) -> bool:
        first, second = left(item, work), right(item, work)
        if first is _NOTHING or second is _NOTHING:
            return False
        try:
            return compare(first, second)
        except TypeError:
            return False

    return holds


def _same(first: Any, second: Any) -> bool:
    return bool(first == second) and isinstance(first, bool) == isinstance(second, bool)


COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": _same,
    "!=": lambda first, second: not _same(first, second),
    "<=": lambda first, second: bool(first <= second),
    ">=": lambda first, second: bool(first >= second),
    "<": lambda first, second: bool(first < second),
    ">": lambda first, second: bool(first > second),
}
