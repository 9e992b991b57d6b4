"""How large a computed value may be: little text can make data without measure out of little."""

from __future__ import annotations

from typing import Any

from batuta.workflow.asl.env import Allowance
from batuta.workflow.asl.errors import DATA_LIMIT_EXCEEDED, StateFailed

VALUE_MAX = 16 * 1024 * 1024
"""As JSON, about: a value that is shared counts as often as it stands in the whole."""
DEPTH_MAX = 200
KNOWN_MIN = 4096
Known = dict[int, tuple[Any, int, int]]
PLAIN = (int, float, bool, type(None))


class TooMuch(Exception):
    """A value is too large, or nested too deeply. `what`: which of the two, with the limit."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


class Scale:
    """Weighs values.

    Parameters
    ----------
    known: values that were weighed before, by identity; those of some size are added.

    `visited`: how many values were looked at, without those that were known.
    """

    __slots__ = ("known", "visited")

    def __init__(self, known: Known | None = None) -> None:
        self.known: Known = {} if known is None else known
        self.visited = 0

    def weigh(self, value: Any, most: int = VALUE_MAX) -> int:
        """About how many bytes a value has as JSON; what is too large is not looked at to its
        end. Raises `TooMuch`.
        """
        kind = type(value)
        if kind is str:
            total = len(value) + 8
        elif kind is dict or kind is list:
            total, _ = self._inside(value, most, most, 1)
        else:
            total = 8
        if total > most:
            raise TooMuch(_large(most))
        return total

    def _inside(self, value: Any, left: int, most: int, depth: int) -> tuple[int, int]:
        """The weight of an object or list, and how deeply it is nested."""
        known = self.known.get(id(value))
        height = known[2] if known is not None else 1
        if depth + height - 1 > DEPTH_MAX:
            raise TooMuch(f"is nested more than {DEPTH_MAX} deep")
        if known is not None:
            return known[1], height
        self.visited += 1 + len(value)
        total = 8
        items = value
        if type(value) is dict:
            total += sum(map(len, value)) + 4 * len(value)
            items = value.values()
        for each in items:
            kind = type(each)
            if kind is str:
                total += len(each) + 8
            elif kind is dict or kind is list:
                weight, inner = self._inside(each, left - total, most, depth + 1)
                total += weight
                height = max(height, inner + 1)
            else:
                total += 8
            if total > left:
                raise TooMuch(_large(most))
        if total > KNOWN_MIN:
            self.known[id(value)] = value, total, height
        return total, height


def _large(most: int) -> str:
    return f"has more than {most:,} bytes as JSON"


def within(value: Any, field: str, allowance: Allowance) -> Any:
    """The same value.

    Parameters
    ----------
    field: what computed it (`Output`), for the message.

    Raises `StateFailed` (States.DataLimitExceeded) for one that is too large.
    """
    if type(value) in PLAIN:
        return value
    scale = Scale(allowance.weighed)
    try:
        scale.weigh(value)
    except TooMuch as much:
        allowance.spend(scale.visited)
        raise _refused(field, much.what) from much
    allowance.spend(scale.visited)
    return value


def too_large(field: str) -> StateFailed:
    """The failure of a field whose value has more than `VALUE_MAX` bytes."""
    return _refused(field, _large(VALUE_MAX))


def _refused(field: str, what: str) -> StateFailed:
    return StateFailed(DATA_LIMIT_EXCEEDED, f"The value of the field '{field}' {what}", field)
