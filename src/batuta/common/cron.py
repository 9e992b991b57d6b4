"""Schedules: cron expressions in a time zone, fixed intervals, and what was missed.

Daylight saving follows Vixie cron as cronie documents it in `cron(8)`. An entry at fixed times
whose wall time is skipped fires once at the moment after the gap (several of them together:
once), and once, the first time, where its wall time occurs twice. An entry whose minute or hour
begins with `*` follows real time: it fires at every real occurrence and at none that does not
exist.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol
from zoneinfo import ZoneInfo

from batuta.common.cronfields import BadCron, Fields, parse
from batuta.common.duration import SECOND

Missed = Literal["skip", "once", "all"]

DAY_S = 86_400
EPOCH_DAY = dt.date(1970, 1, 1).toordinal()
LAST_YEAR = 9998
SEARCH_YEARS = 60  # 29 February on a given weekday comes back after at most 40 years


class Schedule(Protocol):
    """Points in time that follow a rule."""

    def next(self, after: int) -> int | None:
        """The first one later than `after`, ns; None where there is none."""

    def between(self, start: int, end: int, limit: int = 1000) -> list[int]:
        """Those with `start < t <= end`, the earliest `limit` of them."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of real time in which the zone's offset does not change, in seconds."""

    start: int
    end: int
    offset: int


class Cron:
    """A cron expression in a time zone.

    Parameters
    ----------
    expression: `minute hour day month weekday`, with an optional field of seconds before
        them, or `@daily` and the like. Lists, ranges, steps, names; `L`, `15W`, `LW` and
        `L-3` as days; `fri#2`, `5L` as weekdays. A day matches either of day and weekday
        where neither of them begins with `*`, as in Vixie cron.
    timezone: an IANA name.

    Raises
    ------
    BadCron: it is no cron expression, or there is no such zone.
    """

    def __init__(self, expression: str, timezone: str = "UTC") -> None:
        self.expression = expression
        self.timezone = timezone
        self.fields: Fields = parse(expression)
        try:
            self.zone = ZoneInfo(timezone)
        except (LookupError, ValueError, OSError):
            hint = 'write it like "Europe/Berlin" or "UTC"'
            raise BadCron(f"there is no time zone {timezone!r}", hint=hint) from None

    def __repr__(self) -> str:
        return f"Cron({self.expression!r}, {self.timezone!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Cron):
            return NotImplemented
        return (self.expression, self.timezone) == (other.expression, other.timezone)

    def __hash__(self) -> int:
        return hash((self.expression, self.timezone))

    def next(self, after: int) -> int | None:
        """The first time later than `after`, ns; None where there is none in 60 years."""
        second = after // SECOND + 1
        best: int | None = None
        # A day may begin up to 26 hours off where clocks are set, so one day earlier.
        today = (second + self._offset(second)) // DAY_S
        for day in self._days(today - 1):
            if best is not None and (day - 1) * DAY_S - DAY_S // 2 > best:
                break
            found = self._in_day(day, second)
            if found is not None and (best is None or found < best):
                best = found
            if best is not None and len(self._segments(day)) == 1:
                break
        return None if best is None else best * SECOND

    def between(self, start: int, end: int, limit: int = 1000) -> list[int]:
        """The times with `start < t <= end`, the earliest `limit` of them."""
        return _between(self, start, end, limit)

    # -- days ------------------------------------------------------------------------------

    def _days(self, first: int) -> Iterator[int]:
        """The matching days from `first` on, counted from 1970-01-01."""
        date = dt.date.fromordinal(max(1, first + EPOCH_DAY))
        year, month = date.year, date.month
        last_year = min(LAST_YEAR, year + SEARCH_YEARS)
        while year <= last_year:
            if month in self.fields.months:
                start = dt.date(year, month, 1).toordinal() - EPOCH_DAY - 1
                for number in self.fields.days_of(year, month):
                    if start + number >= first:
                        yield start + number
            year, month = (year + 1, 1) if month == 12 else (year, month + 1)

    # -- times of one day ------------------------------------------------------------------

    def _in_day(self, day: int, earliest: int) -> int | None:
        """The first time of a local day that is not before `earliest`, in seconds."""
        begin, end = day * DAY_S, (day + 1) * DAY_S
        fixed = not self.fields.follows_real_time
        covered = begin
        before: Segment | None = None
        for segment in self._segments(day):
            local_start = segment.start + segment.offset
            local_end = segment.end + segment.offset
            if fixed and before is not None:
                gap = max(begin, before.end + before.offset), min(end, local_start)
                if segment.start >= earliest and self._time_in(day, *gap) is not None:
                    return segment.start
            low = max(begin, local_start, earliest + segment.offset)
            if fixed:
                low = max(low, covered)
                covered = max(covered, min(end, local_end))
            found = self._time_in(day, low, min(end, local_end))
            if found is not None:
                return found - segment.offset
            before = segment
        return None

    def _time_in(self, day: int, low: int, high: int) -> int | None:
        """The first matching wall time in [low, high), in local seconds."""
        if low >= high:
            return None
        found = self.fields.time_from(low - day * DAY_S)
        if found is None or found + day * DAY_S >= high:
            return None
        return found + day * DAY_S

    # -- the zone --------------------------------------------------------------------------

    def _offset(self, second: int) -> int:
        if not -62_000_000_000 < second < 253_000_000_000:
            return 0
        offset = dt.datetime.fromtimestamp(second, self.zone).utcoffset()
        return 0 if offset is None else offset.days * DAY_S + offset.seconds

    def _segments(self, day: int) -> list[Segment]:
        """The stretches of one offset around a local day."""
        low, high = (day - 1) * DAY_S, (day + 2) * DAY_S
        first = self._offset(low)
        if first == self._offset((low + high) // 2) == self._offset(high):
            return [Segment(low, high, first)]
        segments = []
        start, offset = low, first
        for hour in range(low + 3600, high + 1, 3600):
            now = self._offset(hour)
            if now != offset:
                changed = self._change(hour - 3600, hour, offset)
                segments.append(Segment(start, changed, offset))
                start, offset = changed, now
        segments.append(Segment(start, high, offset))
        return segments

    def _change(self, low: int, high: int, offset: int) -> int:
        """The first second in (low, high] whose offset is no longer `offset`."""
        while high - low > 1:
            middle = (low + high) // 2
            if self._offset(middle) == offset:
                low = middle
            else:
                high = middle
        return high


class Every:
    """A fixed interval of real time.

    Parameters
    ----------
    interval: ns, at least a millisecond.
    anchor: one of its points, ns; it begins there. 1970-01-01 by default, so that "every
        15 minutes" means at :00, :15, :30 and :45.
    """

    def __init__(self, interval: int, anchor: int = 0) -> None:
        if interval < 1_000_000:
            hint = 'write it like "15m"; a millisecond is the least'
            raise BadCron("an interval has to be longer than nothing", hint=hint)
        self.interval = interval
        self.anchor = anchor

    def __repr__(self) -> str:
        return f"Every({self.interval}, {self.anchor})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Every):
            return NotImplemented
        return (self.interval, self.anchor) == (other.interval, other.anchor)

    def __hash__(self) -> int:
        return hash((self.interval, self.anchor))

    def next(self, after: int) -> int | None:
        """The first time later than `after`, ns."""
        if after < self.anchor:
            return self.anchor
        return self.anchor + ((after - self.anchor) // self.interval + 1) * self.interval

    def between(self, start: int, end: int, limit: int = 1000) -> list[int]:
        """The times with `start < t <= end`, the earliest `limit` of them."""
        return _between(self, start, end, limit)


def _between(schedule: Schedule, start: int, end: int, limit: int) -> list[int]:
    found: list[int] = []
    at = schedule.next(start)
    while at is not None and at <= end and len(found) < limit:
        found.append(at)
        at = schedule.next(at)
    return found


def latest(schedule: Schedule, after: int, until: int) -> int | None:
    """The last time with `after < t <= until`, ns; found by halving, not by counting."""
    found = schedule.next(after)
    if found is None or found > until:
        return None
    low, high = found, until  # the last time is at least `low` and at most `high`
    while low < high:
        middle = (low + high) // 2
        following = schedule.next(middle)
        if following is None or following > high:
            high = middle  # nothing in (middle, high]
        else:
            low = following
    return low


def missed(schedule: Schedule, last: int, now: int, policy: Missed, limit: int = 1000) -> list[int]:
    """Which times that passed unnoticed (`last < t <= now`) shall still fire.

    Parameters
    ----------
    schedule: the rule.
    last: the last time that was dealt with, ns.
    now: ns.
    policy: `skip`: none; `once`: the last one; `all`: all of them.
    limit: with `all`, no more than the earliest so many; ask again for the others.
    """
    if policy == "skip":
        return []
    if policy == "all":
        return schedule.between(last, now, limit)
    found = latest(schedule, last, now)
    return [] if found is None else [found]
