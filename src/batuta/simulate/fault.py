"""What goes wrong in a simulation: for each seed another mix, so that rare mixes come up too."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from batuta.common.duration import MINUTE, SECOND
from batuta.common.keyed import Stream, u

Moment = Literal["before", "after"]
MILLISECOND = 1_000_000

KINDS = (
    "crash_at_commit", "crash_at_perform", "crash_at_outcome", "pause", "clock", "slow_disk",
    "doubled", "late", "lost_request", "doubled_request", "slow_inbox", "forgetful",
    "busy",
)  # fmt: skip
"""Each stands alone in the mix of a seed: drawn in or not, and how often."""


class Crash(Exception):
    """A server's process ended, here and now."""


@dataclass(slots=True)
class Faults:
    """The faults of one seed; everything is keyed, so it does not depend on the order of asking.

    Parameters
    ----------
    seed: of the simulation.
    until: from then on nothing goes wrong any more, ns.
    rates: kind -> probability per occasion; a kind that is missing never happens.
    """

    seed: int | str
    until: int
    rates: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    calm: bool = False

    def end(self) -> None:
        """From now on nothing goes wrong any more."""
        self.calm = True

    def happens(self, kind: str, *what: str | int) -> bool:
        """Whether a fault strikes on this occasion."""
        rate = self.rates.get(kind)
        if rate is None or self.calm:
            return False
        if u(self.seed, "fault", kind, *what) >= rate:
            return False
        self.counts[kind] = self.counts.get(kind, 0) + 1
        return True

    def _amount(self, kind: str, least: int, most: int, *what: str | int) -> int:
        # Drawn on a logarithmic scale: a moment and a minute are equally likely.
        return int(least * (most / least) ** u(self.seed, "amount", kind, *what))

    # -- the server ------------------------------------------------------------------------

    def at_commit(self, server: str, count: int) -> Moment | None:
        """A crash at a commit: before it is durable, or behind that but before anything is
        acknowledged or done."""
        if not self.happens("crash_at_commit", server, count):
            return None
        return "before" if u(self.seed, "moment", server, count) < 0.5 else "after"

    def at_perform(self, command: str, server: str) -> bool:
        """A crash when a command has just been handed out."""
        return self.happens("crash_at_perform", command, server)

    def at_outcome(self, command: str, server: str) -> bool:
        """A crash when an outcome has just come in."""
        return self.happens("crash_at_outcome", command, server)

    def down(self, server: str, count: int) -> int:
        """How long a crashed server is away, ns."""
        return self._amount("down", MILLISECOND, MINUTE, server, count)

    def pause(self, server: str, count: int) -> int | None:
        """For how long a server is suspended after a commit (beyond its lease, at times), ns."""
        if not self.happens("pause", server, count):
            return None
        return self._amount("pause", SECOND, MINUTE, server, count)

    def slow(self, server: str, count: int) -> tuple[int, bool] | None:
        """A slow disk: (how long a commit takes, ns; whether it is durable early in that)."""
        if not self.happens("slow_disk", server, count):
            return None
        early = u(self.seed, "early", server, count) < 0.5
        return self._amount("slow_disk", MILLISECOND, 10 * SECOND, server, count), early

    def jump(self, server: str, count: int) -> int | None:
        """How far a server's wall clock jumps, ns, forwards or backwards."""
        if not self.happens("clock", server, count):
            return None
        far = self._amount("clock", SECOND, 5 * MINUTE, server, count)
        return far if u(self.seed, "forward", server, count) < 0.5 else -far

    def idle_max(self, server: str) -> int:
        """How many runs that only wait a server keeps in memory."""
        return 0 if self.happens("forgetful", server) else 1000

    def busy(self, server: str, now: int) -> int:
        """How long a server is too busy for its next turn, ns: what comes in meanwhile is
        folded in one."""
        if not self.happens("busy", server, now):
            return 0
        return self._amount("busy", 50 * MILLISECOND, 5 * SECOND, server, now)

    # -- outcomes --------------------------------------------------------------------------

    def doubled(self, command: str) -> int | None:
        """An outcome comes again: how long behind the first, ns."""
        if not self.happens("doubled", command):
            return None
        return self._amount("doubled", 1, 10 * SECOND, command)

    def ends_late(self, command: str) -> bool:
        """A cancelled command goes on, and its outcome comes."""
        return self.happens("late", command)

    # -- messages --------------------------------------------------------------------------

    def loses_reply(self, request: str, attempt: int) -> bool:
        """What was acknowledged does not reach the client, which asks again."""
        return self.happens("lost_request", request, attempt)

    def doubles(self, request: str, attempt: int) -> bool:
        """A request arrives twice."""
        return self.happens("doubled_request", request, attempt)

    def inbox_delay(self, message: str) -> int:
        """How long a message stays unseen in the inbox of another server, ns."""
        if self.happens("slow_inbox", message):
            return self._amount("slow_inbox", MILLISECOND, 20 * SECOND, message)
        return 5 * MILLISECOND


RATES: dict[str, tuple[float, float]] = {
    "crash_at_commit": (0.01, 0.1),
    "crash_at_perform": (0.01, 0.1),
    "crash_at_outcome": (0.01, 0.1),
    "pause": (0.01, 0.05),
    "clock": (0.01, 0.1),
    "slow_disk": (0.02, 0.5),
    "doubled": (0.05, 0.5),
    "late": (0.2, 1.0),
    "lost_request": (0.05, 0.5),
    "doubled_request": (0.05, 0.5),
    "slow_inbox": (0.1, 0.9),
    "forgetful": (0.5, 1.0),
    "busy": (0.05, 0.9),
}
"""Between which rates the one of a seed is drawn."""


def draw_faults(seed: int, until: int) -> Faults:
    """The mix of faults for a seed: each kind is in or out, and at a rate of its own."""
    luck = Stream(seed, "mix")
    rates = {}
    # One seed in eight knows no faults: bounds on lateness are checked there.
    if luck.u("calm", 0, "") >= 0.125:
        share = luck.u("share", 0, "")
        for kind, (least, most) in RATES.items():
            if luck.u(kind, 0, "in") < 0.15 + 0.7 * share:
                rates[kind] = least * (most / least) ** luck.u(kind, 0, "rate")
    return Faults(seed, until, rates)
