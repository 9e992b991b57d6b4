"""`batuta simulate` of a state machine: how long, where the time goes, and what it costs."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from batuta.cli.durations import durations_json, print_durations
from batuta.cli.live import Live, bar
from batuta.cli.out import Column, Out, now, span
from batuta.cli.usage import UsageError
from batuta.cli.values import call_values
from batuta.simulate.executions import executions, transitions
from batuta.simulate.machine import Result
from batuta.simulate.models import Models
from batuta.workflow.asl.machine import StateMachine
from batuta.workflow.asl.ran import State, states_in

SHARES = (
    Column("state"),
    Column("type"),
    Column("visits", right=True),
    Column("mean", right=True),
    Column("share", right=True),
    Column("failed", right=True),
    Column(""),
)
COLOURS = {"SUCCEEDED": "green", "FAILED": "red", "TIMED_OUT": "red", "RUNNING": "yellow"}
THOUSAND = 1000


def simulate_machine(
    machine: StateMachine, args: argparse.Namespace, models: Models, out: Out
) -> int:
    """Run a state machine n times and report."""
    positional, named = call_values(args.args)
    if positional and named:
        raise UsageError("a state machine has one input: give a value, or members as NAME=VALUE")
    input = positional[0] if positional else named
    report = Report(machine.name, machine.type, args.seed)
    began = now()
    with Live(out) as live:
        found = executions(machine, input, models, args.n, args.seed, set())
        for done, result in enumerate(found, 1):
            report.take(result)
            if live.due:
                live.show([f"{bar(done, args.n)} {done:,} of {args.n:,} executions"])
    if out.json:
        out.value(report.as_json(args.price))
        return 0
    _print(report, args.price, out)
    said = f"{args.n:,} executions of {machine.name}, seed {args.seed}"
    out.done("Simulated", said, now() - began)
    return 0


@dataclass(slots=True)
class Share:
    """What all executions together spent in the states of one name."""

    name: str
    type: str
    visits: int = 0
    taken: int = 0
    failed: int = 0


@dataclass(slots=True)
class Report:
    """What came out of it; durations in ns."""

    machine: str
    type: str
    seed: int
    statuses: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    durations: list[int] = field(default_factory=list)
    shares: dict[str, Share] = field(default_factory=dict)
    transitions: int = 0

    def take(self, result: Result) -> None:
        """Add one execution."""
        self.statuses[result.status] += 1
        if result.error is not None:
            self.errors[f"{result.error}: {result.cause or ''}".removesuffix(": ")] += 1
        self.transitions += transitions(result)
        if result.status == "RUNNING":
            return
        self.durations.append(result.duration)
        end = result.history[-1].time
        for state in _all(states_in(result.history)):
            share = self.shares.setdefault(state.name, Share(state.name, state.type))
            share.visits += 1
            share.taken += (end if state.ended is None else state.ended) - state.started
            share.failed += len(state.tries)

    @property
    def count(self) -> int:
        """How many executions there were."""
        return sum(self.statuses.values())

    def ordered(self) -> list[Share]:
        """What took longest first."""
        return sorted(self.shares.values(), key=lambda share: (-share.taken, share.name))

    def cost(self, price: float | None) -> float | None:
        """What a thousand executions cost, for a price of a thousand transitions."""
        if price is None or self.type != "STANDARD":
            return None
        return self.transitions / self.count * price

    def as_json(self, price: float | None) -> dict[str, Any]:
        """For programs."""
        return {
            "machine": self.machine, "type": self.type, "seed": self.seed,
            "executions": self.count, "statuses": dict(sorted(self.statuses.items())),
            "errors": dict(self.errors.most_common()),
            "duration": durations_json(self.durations),
            "transitions": self.transitions / self.count, "cost_of_1000": self.cost(price),
            "states": [
                {
                    "name": share.name, "type": share.type,
                    "mean": share.taken // max(1, len(self.durations)),
                    "visits": share.visits, "failed": share.failed,
                }
                for share in self.ordered()
            ],
        }  # fmt: skip


def _all(states: list[State]) -> Iterator[State]:
    for state in states:
        yield state
        yield from _all(state.states)


def _print(report: Report, price: float | None, out: Out) -> None:
    said = [
        f"{out.paint(word, COLOURS[word])} {count:,}"
        for word, count in report.statuses.most_common()
    ]
    out.line("  ".join(said))
    for text, count in report.errors.most_common(5):
        out.line(f"  {count:,} × {text}")
    if not report.durations:
        out.note("No execution ended: something that they wait for never comes")
        return
    out.line()
    print_durations(report.durations, out)
    out.line()
    out.table(SHARES, list(_rows(report)))
    out.line()
    out.line(_costs(report, price))


def _rows(report: Report) -> Iterator[list[str]]:
    runs, total = len(report.durations), sum(report.durations)
    for share in report.ordered():
        part = share.taken / total if total else 0.0
        drawn = bar(round(part * THOUSAND), THOUSAND, 20).rstrip("░")
        yield [
            share.name, share.type, f"{share.visits / runs:.2f}", span(share.taken // runs),
            f"{part:.0%}", f"{share.failed:,}" if share.failed else "", drawn,
        ]  # fmt: skip


def _costs(report: Report, price: float | None) -> str:
    mean = report.transitions / report.count
    text = f"transitions  {mean:.2f} each, {mean * 1_000_000:,.0f} for a million executions"
    cost = report.cost(price)
    if report.type != "STANDARD":
        return f"{text} (EXPRESS is paid by its duration)"
    return text if cost is None else f"{text}: {cost * THOUSAND:,.2f} at {price:g} a thousand"
