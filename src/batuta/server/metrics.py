"""Metrics in the text format of Prometheus: counters, gauges and histograms."""

from __future__ import annotations

import re
import threading
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from batuta.server.port import System

MEDIA = "text/plain; version=0.0.4; charset=utf-8"
BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)  # seconds
NAME = re.compile(r"[^a-zA-Z0-9_:]")
Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Metric:
    """A family of samples.

    Parameters
    ----------
    kind: `counter`, `gauge` or `histogram`.
    samples: (suffix of the name, labels, value).
    """

    name: str
    kind: str
    help: str
    samples: list[tuple[str, Labels, float]]


def render(metrics: Iterable[Metric]) -> str:
    """The text that Prometheus reads."""
    lines: list[str] = []
    for metric in metrics:
        text = metric.help.replace("\\", "\\\\").replace("\n", "\\n")
        lines += [f"# HELP {metric.name} {text}", f"# TYPE {metric.name} {metric.kind}"]
        for suffix, labels, value in metric.samples:
            lines.append(f"{metric.name}{suffix}{_labels(labels)} {_number(value)}")
    return "\n".join(lines) + "\n"


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items()) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    return repr(int(value)) if value == int(value) else repr(float(value))


@dataclass(slots=True)
class Histogram:
    """How long requests took, by method, address and status."""

    counts: dict[tuple[str, str, str], list[int]] = field(default_factory=dict)
    sums: dict[tuple[str, str, str], float] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        key = (method, route, str(status))
        with self.lock:
            counts = self.counts.setdefault(key, [0] * (len(BOUNDS) + 1))
            counts[bisect_left(BOUNDS, seconds)] += 1
            self.sums[key] = self.sums.get(key, 0.0) + seconds

    def metric(self) -> Metric:
        """As samples with cumulative buckets."""
        samples: list[tuple[str, Labels, float]] = []
        with self.lock:
            for (method, route, status), counts in self.counts.items():
                labels = {"method": method, "route": route, "status": status}
                total = 0
                for bound, count in zip((*BOUNDS, float("inf")), counts, strict=True):
                    total += count
                    samples.append(("_bucket", {**labels, "le": _number(bound)}, total))
                samples.append(("_sum", labels, self.sums[(method, route, status)]))
                samples.append(("_count", labels, total))
        return Metric(
            "batuta_http_request_seconds", "histogram", "How long requests took.", samples
        )


def collect(system: System, requests: Histogram) -> list[Metric]:
    """All metrics of a system and of its server."""
    journal = system.journal
    found = [
        Metric("batuta_runs", "gauge", "Runs by workflow and status.", [
            ("", {"workflow": name, "status": status}, count)
            for (name, status), count in sorted(journal.counts("run").items())
        ]),
        Metric("batuta_deliveries", "gauge", "Deliveries of events to rules, by status.", [
            ("", {"rule": name, "status": status}, count)
            for (name, status), count in sorted(journal.counts("delivery").items())
        ]),
        Metric("batuta_journal_seq", "gauge", "Position of the newest event.", [
            ("", {}, journal.head())
        ]),
    ]  # fmt: skip
    taken = {metric.name for metric in found}
    found.extend(metric for metric in from_stats(system.stats()) if metric.name not in taken)
    return [*found, requests.metric()]


COUNTERS = frozenset({"commits", "commit_seconds", "events", "steps", "performed"})


def from_stats(stats: Mapping[str, float]) -> list[Metric]:
    """The system's own numbers: `queue_running.bank` is a gauge with a label, `steps` and
    its like are counters, the others gauges."""
    families: dict[str, list[tuple[str, Labels, float]]] = {}
    for key, value in stats.items():
        name, labels = key, dict[str, str]()
        if key.startswith("queue_"):
            name, _, queue = key.partition(".")
            labels = {"queue": queue} if queue else {}
        counter = name.removeprefix("world.") in COUNTERS
        name = f"batuta_{NAME.sub('_', name)}" + ("_total" if counter else "")
        families.setdefault(name, []).append(("", labels, value))
    return [
        Metric(name, "counter" if name.endswith("_total") else "gauge", _help(name), samples)
        for name, samples in sorted(families.items())
    ]


def _help(name: str) -> str:
    words = name.removeprefix("batuta_").removesuffix("_total").replace("_", " ")
    return f"{words.capitalize()}, of this server."
