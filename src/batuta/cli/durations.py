"""How a distribution of durations is told: a line of figures and a histogram."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from batuta.cli.live import bar
from batuta.cli.out import Out, span

BARS = 10
QUANTILES = {"p5": 0.05, "median": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


def quantile(durations: Sequence[int], q: float) -> int:
    """The duration that this share of the runs kept below."""
    ordered = sorted(durations)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def durations_json(durations: Sequence[int]) -> dict[str, Any] | None:
    """For programs, in ns; None where nothing ended."""
    if not durations:
        return None
    return {
        "mean": sum(durations) // len(durations),
        **{name: quantile(durations, q) for name, q in QUANTILES.items()},
        "min": min(durations),
        "max": max(durations),
    }


def print_durations(durations: Sequence[int], out: Out) -> None:
    """The figures, and how many runs took how long."""
    low, high = min(durations), max(durations)
    mean = sum(durations) // len(durations)
    quantiles = {name: quantile(durations, q) for name, q in QUANTILES.items()}
    facts = {"mean": mean, **quantiles, "max": high}
    out.line("duration  " + "  ".join(f"{name} {span(taken)}" for name, taken in facts.items()))
    width = max(1, -(-(high - low + 1) // BARS))
    counts = Counter((taken - low) // width for taken in durations)
    most = max(counts.values())
    labels = [span(low + at * width) for at in range(BARS if high > low else 1)]
    room = max(len(label) for label in labels)
    for at, label in enumerate(labels):
        count = counts.get(at, 0)
        drawn = bar(count, most).rstrip("░")
        out.line(
            f"  {label.rjust(room)}  {drawn} {count:,}".rstrip()
            if count
            else f"  {label.rjust(room)}"
        )
