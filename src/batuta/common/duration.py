"""Durations as users write them: "90s", "1m 30s", "2 days", "PT5M", a timedelta, a number."""

from __future__ import annotations

import datetime as dt
import math
import re
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

from batuta.kernel.errors import BatutaError

Duration = str | int | float | dt.timedelta | Decimal

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WEEK = 7 * DAY

MAX_NANOSECONDS = 10_000 * 366 * DAY  # longer than that is a mistake, not a plan

HINT = 'write it like "90s", "1m 30s", "2 days", "250ms" or "PT5M"; a plain number is seconds'


class BadDuration(BatutaError, ValueError):
    """A text or value that is no duration."""


def _units() -> dict[str, int]:
    words = {
        1: "ns nanosecond nanoseconds nanos",
        1_000: "us µs μs microsecond microseconds micros",
        1_000_000: "ms msec msecs millisecond milliseconds millis",
        SECOND: "s sec secs second seconds",
        MINUTE: "m min mins minute minutes",
        HOUR: "h hr hrs hour hours",
        DAY: "d day days",
        WEEK: "w week weeks",
    }
    return {word: size for size, names in words.items() for word in names.split()}


UNITS = _units()

_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([a-zµμ]*)(?:\s*(?:,|and\b)?\s*)", re.ASCII)
_ISO = re.compile(
    r"P(?:(?P<w>\d+(?:[.,]\d+)?)W)?(?:(?P<d>\d+(?:[.,]\d+)?)D)?"
    r"(?:T(?:(?P<h>\d+(?:[.,]\d+)?)H)?(?:(?P<m>\d+(?:[.,]\d+)?)M)?(?:(?P<s>\d+(?:[.,]\d+)?)S)?)?",
    re.ASCII,
)


def nanoseconds(value: Duration) -> int:
    """A duration as exact nanoseconds.

    Parameters
    ----------
    value: text in words or ISO 8601, a timedelta, or a number of seconds. May be negative
        as a text with a leading minus, a negative number or timedelta.

    Raises
    ------
    BadDuration: it is no duration, not finite, or longer than 10,000 years.
    """
    if isinstance(value, str):
        nanos = _parse(value)
    elif isinstance(value, dt.timedelta):
        nanos = ((value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds) * 1_000
    elif isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        kind = type(value).__name__
        raise BadDuration(f"a duration cannot be a value of type {kind}", hint=HINT)
    elif not math.isfinite(value):
        raise BadDuration(f"a duration cannot be {value}", hint=HINT)
    elif isinstance(value, float):
        nanos = round(Fraction(str(value)) * SECOND)
    else:
        nanos = round(value * SECOND)
    if abs(nanos) > MAX_NANOSECONDS:
        raise BadDuration(f"{value!r} is longer than 10,000 years", hint=HINT)
    return nanos


def seconds(value: Duration) -> float:
    """A duration as seconds; see `nanoseconds`."""
    return nanoseconds(value) / SECOND


@lru_cache(1024)  # a workflow sleeps for the same few durations again and again
def _parse(text: str) -> int:
    plain = text.strip()
    sign = 1
    if plain[:1] in ("-", "+"):
        sign = -1 if plain[0] == "-" else 1
        plain = plain[1:].lstrip()
    if len(plain) > 100:
        raise BadDuration(f"{plain[:40] + '…'!r} is no duration", hint=HINT)
    return sign * (_iso(plain, text) if plain[:1] in ("P", "p") else _words(plain, text))


def _iso(plain: str, text: str) -> int:
    upper = plain.upper()
    match = _ISO.fullmatch(upper)
    if match is None or upper.endswith(("P", "T")):
        hint = HINT
        if re.fullmatch(r"P[\d.,]*[YM\d].*", upper):
            hint = "years and months have no fixed length: write days, like P30D"
        raise BadDuration(f"{text!r} is no ISO 8601 duration", hint=hint)
    sizes = {"w": WEEK, "d": DAY, "h": HOUR, "m": MINUTE, "s": SECOND}
    found = ((number, sizes[name]) for name, number in match.groupdict().items() if number)
    return round(sum(Fraction(number.replace(",", ".")) * size for number, size in found))


def _words(plain: str, text: str) -> int:
    total = Fraction(0)
    at = 0
    lower = plain.lower()
    while at < len(lower):
        match = _PART.match(lower, at)
        if match is None:
            raise BadDuration(f"{text!r} is no duration", hint=HINT)
        number, unit = match.groups()
        if not unit:
            if at == 0 and match.end() == len(lower):
                return round(Fraction(number) * SECOND)
            raise BadDuration(f"{text!r}: {number} of what?", hint=HINT)
        if unit not in UNITS:
            hint = "use days: a month or year has no fixed length" if unit[0] in "my" else HINT
            raise BadDuration(f"{text!r}: {unit!r} is no unit of time", hint=hint)
        total += Fraction(number) * UNITS[unit]
        at = match.end()
    if not lower:
        raise BadDuration("an empty text is no duration", hint=HINT)
    return round(total)


def show(value: int | float) -> str:
    """A short text for people, of the two largest units that matter.

    Parameters
    ----------
    value: nanoseconds as int, or seconds as float.

    Returns
    -------
    `0s`, `250ms`, `1.5s`, `1m 30s`, `2h`, `3d 4h`, `12d`.
    """
    nanos = round(value * SECOND) if isinstance(value, float) else value
    if nanos < 0:
        return "-" + show(-nanos)
    if nanos >= MINUTE - 5 * 10**7:
        return _show_long(nanos)
    for size, unit in ((SECOND, "s"), (1_000_000, "ms"), (1_000, "µs")):
        # 999.6 ms would round to "1000ms": from there on the larger unit is shown.
        if nanos >= size * 0.9995:
            number = nanos / size
            digits = 0 if number >= 99.95 else 1
            return f"{number:.{digits}f}".removesuffix(".0") + unit
    return f"{nanos}ns" if nanos else "0s"


def _show_long(nanos: int) -> str:
    days = (nanos + DAY // 2) // DAY
    if days >= 10:
        return f"{days}d"
    for size, unit, small, small_unit in (
        (DAY, "d", HOUR, "h"),
        (HOUR, "h", MINUTE, "m"),
        (MINUTE, "m", SECOND, "s"),
    ):
        rounded = (nanos + small // 2) // small * small
        if rounded >= size:
            whole, rest = divmod(rounded, size)
            more = f" {rest // small}{small_unit}" if rest else ""
            return f"{whole}{unit}{more}"
    return f"{nanos // SECOND}s"
