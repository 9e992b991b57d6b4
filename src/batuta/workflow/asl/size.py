"""How large a computed value may be: little text can make data without measure out of little."""

from __future__ import annotations

from typing import Any

from batuta.workflow.asl.errors import DATA_LIMIT_EXCEEDED, StateFailed

VALUE_MAX = 16 * 1024 * 1024
"""As JSON, about: a value that is shared counts as often as it stands in the whole."""
DEPTH_MAX = 200
PLAIN = (int, float, bool, type(None))


class TooMuch(Exception):
    """A value is too large, or nested too deeply. `what`: which of the two, with the limit."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


def weigh(value: Any, most: int = VALUE_MAX) -> int:
    """About how many bytes a value has as JSON; what is too large is not looked at to its end.

    Raises `TooMuch`.
    """
    if type(value) in PLAIN:
        return 8
    total = depth = 0
    level = [value]
    while level:
        depth += 1
        if depth > DEPTH_MAX:
            raise TooMuch(f"is nested more than {DEPTH_MAX} deep")
        below: list[Any] = []
        for each in level:
            kind = type(each)
            if kind is str:
                total += len(each) + 8
            elif kind is dict:
                total += 8 + sum(map(len, each)) + 4 * len(each)
                below.extend(each.values())
            elif kind is list:
                total += 8
                below.extend(each)
            else:
                total += 8
            if total + len(below) > most:
                raise TooMuch(f"has more than {most:,} bytes as JSON")
        level = below
    return total


def within(value: Any, field: str) -> Any:
    """The same value.

    Parameters
    ----------
    field: what computed it (`Output`), for the message.

    Raises `StateFailed` (States.DataLimitExceeded) for one that is too large.
    """
    if type(value) in PLAIN:
        return value
    try:
        weigh(value)
    except TooMuch as much:
        said = f"The value of the field '{field}' {much}"
        raise StateFailed(DATA_LIMIT_EXCEEDED, said, field) from much
    return value
