"""What came of a simulation, as numbers and as text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from batuta.common.duration import SECOND, show

BARS = 12
WIDTH = 40


@dataclass(slots=True)
class Place:
    """Where time goes: one step (or sleep, signal, event), over all runs.

    Parameters
    ----------
    name: of the step. attempts, retries, failures: how many of each.
    running, waiting, retrying: ns in attempts, in queues, between attempts.
    critical: ns on the critical paths of all runs: by this much they would be shorter at most.
    critical_runs: on how many runs' critical path it lies.
    source: where its model comes from.
    """

    name: str
    attempts: int = 0
    retries: int = 0
    failures: int = 0
    running: int = 0
    waiting: int = 0
    retrying: int = 0
    critical: int = 0
    critical_runs: int = 0
    source: str = ""


@dataclass(slots=True)
class Report:
    """The outcome of a simulation.

    Parameters
    ----------
    workflow: its name. n: how many runs. seed: which luck.
    durations: ns, of the runs that ended. errors: failure type -> how many runs.
    places: where time went. notes: what the reader has to know.
    """

    workflow: str
    n: int
    seed: int
    durations: list[int]
    errors: dict[str, int] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.durations = sorted(self.durations)

    def quantile(self, share: float) -> int:
        """The duration, ns, that this share of runs does not exceed."""
        durations = self.durations
        return durations[min(len(durations) - 1, int(share * len(durations)))] if durations else 0

    @property
    def mean(self) -> float:
        """The mean duration, ns."""
        return sum(self.durations) / len(self.durations) if self.durations else 0.0

    @property
    def failed(self) -> float:
        """The share of runs that fail."""
        return sum(self.errors.values()) / self.n

    def histogram(self, bars: int = BARS) -> list[tuple[int, int, int]]:
        """(from ns, to ns, how many runs), up to the 99th percentile; the last takes the rest."""
        durations = self.durations
        if not durations:
            return []
        low, high = durations[0], self.quantile(0.99)
        if high == low:
            return [(low, durations[-1], len(durations))]
        counts = [0] * bars
        for one in durations:
            counts[min(bars - 1, (one - low) * bars // (high - low))] += 1
        edges = [low + (high - low) * at // bars for at in range(bars)] + [durations[-1]]
        return [(edges[at], edges[at + 1], count) for at, count in enumerate(counts)]

    def json(self) -> dict[str, Any]:
        """Everything as JSON; times in seconds."""
        return {
            "workflow": self.workflow,
            "n": self.n,
            "seed": self.seed,
            "ended": len(self.durations),
            "duration_s": {
                "mean": self.mean / SECOND,
                **{
                    name: self.quantile(share) / SECOND
                    for name, share in (
                        ("min", 0.0), ("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99),
                        ("max", 1.0),
                    )
                },
            },
            "histogram": [
                {"from_s": low / SECOND, "to_s": high / SECOND, "runs": count}
                for low, high, count in self.histogram()
            ],
            "failed": self.failed,
            "errors": dict(sorted(self.errors.items())),
            "steps": [self._place(place) for place in self._ordered()],
            "notes": self.notes,
        }  # fmt: skip

    def _ordered(self) -> list[Place]:
        return sorted(self.places, key=lambda one: (-one.critical, -one.running, one.name))

    def _place(self, place: Place) -> dict[str, Any]:
        return {
            "name": place.name,
            "model": place.source,
            "attempts": place.attempts,
            "retries": place.retries,
            "failures": place.failures,
            "running_s": place.running / self.n / SECOND,
            "waiting_s": place.waiting / self.n / SECOND,
            "retrying_s": place.retrying / self.n / SECOND,
            "critical_s": place.critical / self.n / SECOND,
            "share": self._share(place),
            "critical_runs": place.critical_runs / self.n,
        }

    def _share(self, place: Place) -> float:
        total = sum(self.durations)
        return place.critical / total if total else 0.0

    def text(self) -> str:
        """The report for a terminal, without colours."""
        lines = [f"{self.workflow}: {self.n:,} runs in virtual time, seed {self.seed}", ""]
        if self.durations:
            named = [
                ("mean", int(self.mean)), ("p50", self.quantile(0.5)), ("p90", self.quantile(0.9)),
                ("p95", self.quantile(0.95)), ("p99", self.quantile(0.99)),
                ("min", self.durations[0]), ("max", self.durations[-1]),
            ]  # fmt: skip
            lines.append("duration  " + "   ".join(f"{name} {show(ns)}" for name, ns in named))
            lines += ["", *self._bars()]
        lines += ["", f"failed    {self.failed:.1%} of the runs"]
        for type, count in sorted(self.errors.items(), key=lambda one: (-one[1], one[0])):
            name = type.rpartition(":")[2]
            lines.append(f"          {count / self.n:6.1%}  {name}")
        lines += ["", *self._table()]
        for note in self.notes:
            lines += ["", f"note: {note}"]
        return "\n".join(lines)

    def _bars(self) -> list[str]:
        histogram = self.histogram()
        most = max(count for _, _, count in histogram)
        lines = []
        for low, high, count in histogram:
            bar = "█" * round(WIDTH * count / most)
            lines.append(f"{show(low):>9} – {show(high):<9} {bar:<{WIDTH}} {count:,}")
        return lines

    def _table(self) -> list[str]:
        """Where the time goes, mean per run."""
        rows = [("where the time goes", "running", "queued", "retrying", "of the time", "runs")]
        rows += map(self._row, self._ordered())
        widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
        return [
            "  ".join(
                cell.ljust(width) if at == 0 else cell.rjust(width)
                for at, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]

    def _row(self, place: Place) -> tuple[str, str, str, str, str, str]:
        return (
            place.name,
            show(place.running // self.n) if place.attempts else "",
            show(place.waiting // self.n) if place.waiting else "",
            show(place.retrying // self.n) if place.retrying else "",
            f"{self._share(place):.0%}",
            f"{place.critical_runs / self.n:.0%}",
        )
