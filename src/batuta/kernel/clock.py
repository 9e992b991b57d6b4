"""The real time of this machine as a clock that never goes back: the one reader of it here."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

CHECK_EVERY_NS = 1_000_000_000
TOLERATED_NS = 1_000_000


@dataclass(frozen=True, slots=True)
class _Pace:
    """From the steady instant `since` on, time goes on from `base`, at full or at half speed."""

    base: int
    since: int
    check_at: int
    slow: bool

    def at(self, steady: int) -> int:
        passed = steady - self.since
        if passed < 0:  # another thread has just replaced the pace
            return self.base
        return self.base + (passed >> 1 if self.slow else passed)


class RealClock:
    """Nanoseconds since 1970-01-01 UTC that never decrease within a process.

    It counts with the machine's steady clock and looks at the wall clock once a second.
    A wall clock that jumped ahead (a machine that slept, a first synchronisation) is
    followed at once; behind one that was set back this clock goes at half speed until
    both agree, so that neither order nor calendar is lost for good.

    Parameters
    ----------
    wall: the wall clock, ns.
    steady: a clock that nobody sets, ns.
    """

    def __init__(
        self,
        wall: Callable[[], int] = time.time_ns,
        steady: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._wall = wall
        self._steady = steady
        since = steady()
        self._pace = _Pace(wall(), since, since + CHECK_EVERY_NS, slow=False)
        self.jumps = 0

    def now(self) -> int:
        """The present time, ns; may be called from any thread."""
        # The pace is one value that is replaced as a whole, so threads need no lock.
        steady = self._steady()
        pace = self._pace
        if steady >= pace.check_at:
            pace = self._follow(pace, steady)
        passed = steady - pace.since
        if pace.slow or passed < 0:
            return pace.at(steady)
        return pace.base + passed

    def _follow(self, pace: _Pace, steady: int) -> _Pace:
        present, wall = pace.at(steady), self._wall()
        ahead = present - wall
        if not pace.slow and abs(ahead) > TOLERATED_NS:
            self.jumps += 1
        slow = ahead > TOLERATED_NS
        # At half speed the lead shrinks by half of what passes: look again when it is gone.
        again = min(CHECK_EVERY_NS, 2 * ahead) if slow else CHECK_EVERY_NS
        self._pace = _Pace(max(present, wall), steady, steady + again, slow)
        return self._pace
