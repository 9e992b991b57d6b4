"""The fields of a cron expression: which seconds, minutes, hours, days and months they name."""

from __future__ import annotations

import calendar
import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from batuta.kernel.errors import BatutaError

MONTHS = {name.lower(): number for number, name in enumerate(calendar.month_abbr) if name}
WEEKDAYS = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}
MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
HINT = 'five fields: minute hour day month weekday, like "30 9 * * mon-fri"'


class BadCron(BatutaError, ValueError):
    """A schedule that cannot be understood."""


Special = Callable[[int, int], int | None]
"""(year, month) -> the day of the month that an `L`, `W` or `#` means there."""


@dataclass(frozen=True, slots=True)
class Range:
    """What one field may contain."""

    name: str
    low: int
    high: int
    names: dict[str, int]


SECONDS = Range("second", 0, 59, {})
MINUTES = Range("minute", 0, 59, {})
HOURS = Range("hour", 0, 23, {})
DAYS = Range("day of the month", 1, 31, {})
MONTH = Range("month", 1, 12, MONTHS)
WEEKDAY = Range("day of the week", 0, 7, WEEKDAYS)


@dataclass(frozen=True, slots=True)
class Fields:
    """A parsed expression.

    Parameters
    ----------
    seconds, minutes, hours: sorted. months: 1 to 12.
    days, weekdays: plain numbers (0: Sunday) and the special ones beside them.
    both: a day has to match day and weekday, since one of them begins with `*`.
    follows_real_time: minute or hour begins with `*`.
    """

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    special_days: tuple[Special, ...]
    months: frozenset[int]
    weekdays: frozenset[int]
    special_weekdays: tuple[Special, ...]
    both: bool
    follows_real_time: bool

    def time_from(self, second: int) -> int | None:
        """The first matching time of a day at or after this second of the day."""
        hour, rest = divmod(max(0, second), 3600)
        minute, second = divmod(rest, 60)
        at = bisect_left(self.hours, hour)
        if at == len(self.hours):
            return None
        if self.hours[at] > hour:
            return self.hours[at] * 3600 + self.minutes[0] * 60 + self.seconds[0]
        in_minute = bisect_left(self.minutes, minute)
        if in_minute < len(self.minutes) and self.minutes[in_minute] == minute:
            in_second = bisect_left(self.seconds, second)
            if in_second < len(self.seconds):
                return hour * 3600 + minute * 60 + self.seconds[in_second]
            in_minute += 1
        if in_minute < len(self.minutes):
            return hour * 3600 + self.minutes[in_minute] * 60 + self.seconds[0]
        if at + 1 == len(self.hours):
            return None
        return self.hours[at + 1] * 3600 + self.minutes[0] * 60 + self.seconds[0]

    def days_of(self, year: int, month: int) -> list[int]:
        """The matching days of a month, sorted."""
        first, length = calendar.monthrange(year, month)
        by_day = {day for day in self.days if day <= length}
        by_day |= _resolved(self.special_days, year, month)
        # monthrange counts from Monday as 0, cron from Sunday.
        by_weekday = {
            day for day in range(1, length + 1) if (first + day) % 7 in self.weekdays
        } | _resolved(self.special_weekdays, year, month)
        return sorted(by_day & by_weekday if self.both else by_day | by_weekday)


def _resolved(specials: Sequence[Special], year: int, month: int) -> set[int]:
    found = {special(year, month) for special in specials}
    return {day for day in found if day is not None}


@lru_cache(maxsize=1024)
def parse(expression: str) -> Fields:
    """The fields of an expression. Raises `BadCron`."""
    text = expression.strip().lower()
    if text.startswith("@"):
        if text not in MACROS:
            hint = "one of " + ", ".join(MACROS)
            if text.startswith("@every"):
                hint = 'use an interval: every("15m")'
            raise BadCron(f"{expression!r} is no schedule", hint=hint)
        text = MACROS[text]
    fields = text.split()
    if len(fields) not in (5, 6) or len(text) > 1000:
        shown = expression if len(expression) < 60 else expression[:59] + "…"
        raise BadCron(f"{shown!r} has {len(fields)} fields", hint=HINT)
    second, minute, hour, day, month, weekday = fields if len(fields) == 6 else ["0", *fields]
    days, special_days = _days(day)
    weekdays, special_weekdays = _weekdays(weekday)
    return Fields(
        seconds=tuple(sorted(_numbers(second, SECONDS))),
        minutes=tuple(sorted(_numbers(minute, MINUTES))),
        hours=tuple(sorted(_numbers(hour, HOURS))),
        days=frozenset(days),
        special_days=tuple(special_days),
        months=frozenset(_numbers(month, MONTH)),
        weekdays=frozenset(number % 7 for number in weekdays),
        special_weekdays=tuple(special_weekdays),
        both=day[0] in "*?" or weekday[0] in "*?",
        follows_real_time=minute[0] == "*" or hour[0] == "*",
    )


def _numbers(text: str, allowed: Range) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        found |= _part(part, allowed)
    return found


def _part(part: str, allowed: Range) -> set[int]:
    """`*`, `5`, `1-5`, `*/15`, `10-40/5` or `5/15` (from 5 on)."""
    span, slash, step_text = part.partition("/")
    step = 1
    if slash:
        if not (step_text.isascii() and step_text.isdigit()) or int(step_text) < 1:
            raise BadCron(f"{part!r} has no valid step", hint="write */15 or 10-40/5")
        step = int(step_text)
    if span in ("*", "?"):
        low, high = allowed.low, 6 if allowed is WEEKDAY else allowed.high
    elif "-" in span:
        first, _, last = span.partition("-")
        low, high = _number(first, allowed), _number(last, allowed)
        if low > high and allowed is WEEKDAY:
            high += 7  # fri-mon
        if low > high:
            hint = f"write {low}-{allowed.high},{allowed.low}-{high}"
            raise BadCron(f"the {allowed.name} range {part!r} runs backwards", hint=hint)
    else:
        low = _number(span, allowed)
        high = allowed.high if slash else low
    return set(range(low, high + 1, step))


def _number(text: str, allowed: Range) -> int:
    if text in allowed.names:
        return allowed.names[text]
    if text.isascii() and text.isdigit() and allowed.low <= int(text[:9]) <= allowed.high:
        return int(text)
    hint = f"{allowed.low} to {allowed.high}"
    if allowed.names:
        hint += ", or " + ", ".join(allowed.names)
    raise BadCron(f"{text!r} is no {allowed.name}", hint=hint)


# -- L, W and # ----------------------------------------------------------------------------


def _length(year: int, month: int) -> int:
    return calendar.monthrange(year, month)[1]


def _days(text: str) -> tuple[set[int], list[Special]]:
    plain: set[int] = set()
    special: list[Special] = []
    for part in text.split(","):
        last = re.fullmatch(r"l(?:-(\d{1,2}))?(w?)", part, re.ASCII)
        near = re.fullmatch(r"(\d{1,2})w", part, re.ASCII)
        if last:
            special.append(_last_day(int(last[1] or 0), bool(last[2])))
        elif near:
            special.append(_near_weekday(_number(near[1], DAYS)))
        else:
            plain |= _part(part, DAYS)
    return plain, special


def _last_day(before: int, working: bool) -> Special:
    def day(year: int, month: int) -> int | None:
        number = _length(year, month) - before
        if number < 1:
            return None
        return _nearest(year, month, number) if working else number

    return day


def _near_weekday(number: int) -> Special:
    def day(year: int, month: int) -> int | None:
        return _nearest(year, month, number) if number <= _length(year, month) else None

    return day


def _nearest(year: int, month: int, number: int) -> int:
    """The day from Monday to Friday nearest to this one, in the same month."""
    weekday = calendar.weekday(year, month, number)
    if weekday == calendar.SATURDAY:
        return number - 1 if number > 1 else number + 2
    if weekday == calendar.SUNDAY:
        return number + 1 if number < _length(year, month) else number - 2
    return number


def _weekdays(text: str) -> tuple[set[int], list[Special]]:
    plain: set[int] = set()
    special: list[Special] = []
    for part in text.split(","):
        name, hash_mark, count = part.partition("#")
        if hash_mark:
            if count not in ("1", "2", "3", "4", "5"):
                raise BadCron(f"{part!r} is no day of the week", hint="write fri#2, #1 to #5")
            special.append(_nth(_number(name, WEEKDAY) % 7, int(count)))
        elif part.endswith("l") and len(part) > 1:
            special.append(_nth(_number(part[:-1], WEEKDAY) % 7, -1))
        else:
            plain |= _part(part, WEEKDAY)
    return plain, special


def _nth(weekday: int, count: int) -> Special:
    """The n-th such weekday of a month; -1: the last."""

    def day(year: int, month: int) -> int | None:
        first, length = calendar.monthrange(year, month)
        days = [one for one in range(1, length + 1) if (first + one) % 7 == weekday]
        if count < 0:
            return days[-1]
        return days[count - 1] if count <= len(days) else None

    return day
