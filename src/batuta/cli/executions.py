"""`batuta simulate` of a state machine: how long, where the time goes, and what it costs."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from batuta.cli.durations import durations_json, print_durations
from batuta.cli.live import Live, bar
from batuta.cli.out import Column, Out, clean, now, span
from batuta.cli.usage import UsageError
from batuta.cli.values import call_values
from batuta.simulate.executions import executions, transitions
from batuta.simulate.machine import Result
from batuta.simulate.models import Models, StepModel
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
    Column("model", shrink=True),
)
COLOURS = {"SUCCEEDED": "green", "FAILED": "red", "TIMED_OUT": "red", "RUNNING": "yellow"}
ERRORS_SHOWN = 5
THOUSAND, MILLION = 1000, 1_000_000
BILLED = 100_000_000
"""EXPRESS is paid by its duration, each begun 100 ms."""
GB_HOUR = 16 * 3600 * 1_000_000_000
"""So many ns at 64 MB, the least that EXPRESS is paid for, are one GB-hour."""


def simulate_machine(
    machine: StateMachine, args: argparse.Namespace, models: Models, out: Out
) -> int:
    """Run a state machine n times and report."""
    positional, named = call_values(args.args)
    if len(positional) + bool(named) > 1:
        raise UsageError("a state machine has one input: give a value, or members as NAME=VALUE")
    input = positional[0] if positional else named
    report = Report(machine.name, machine.type, args.seed)
    began = now()
    with Live(out) as live:
        found = executions(machine, input, models, args.n, args.seed, report.used)
        for done, result in enumerate(found, 1):
            report.take(result)
            if live.due:
                live.show([f"{bar(done, args.n)} {done:,} of {args.n:,} executions"])
    if out.json:
        out.value(report.as_json(args.price))
        return 0
    _print(report, args.price, out)
    _note_assumed(report, models, out)
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
    """What came out of it; durations in ns.

    `used`: the model of each task that was reached, by its state.
    """

    machine: str
    type: str
    seed: int
    statuses: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    durations: list[int] = field(default_factory=list)
    shares: dict[str, Share] = field(default_factory=dict)
    used: dict[str, StepModel] = field(default_factory=dict)
    transitions: int = 0
    billed: int = 0

    def take(self, result: Result) -> None:
        """Add one execution."""
        self.statuses[result.status] += 1
        if result.error is not None:
            self.errors[f"{result.error}: {result.cause or ''}".removesuffix(": ")] += 1
        self.transitions += transitions(result)
        if result.status == "RUNNING":
            return
        self.durations.append(result.duration)
        self.billed += -(-result.duration // BILLED) * BILLED
        self._add(result)

    def _add(self, result: Result) -> None:
        """The states of an execution, and those of its children."""
        end = result.history[-1].time
        for state in _all(states_in(result.history)):
            share = self.shares.setdefault(state.name, Share(state.name, state.type))
            share.visits += 1
            share.taken += (end if state.ended is None else state.ended) - state.started
            share.failed += len(state.tries)
        for child in result.children:
            self._add(child)

    @property
    def count(self) -> int:
        """How many executions there were."""
        return sum(self.statuses.values())

    def ordered(self) -> list[Share]:
        """What took longest first."""
        return sorted(self.shares.values(), key=lambda share: (-share.taken, share.name))

    def share(self, share: Share) -> float:
        """How much of the time of all executions a state has; what is concurrent counts twice."""
        total = sum(self.durations)
        return share.taken / total if total else 0.0

    def model(self, share: Share) -> str:
        """Where the belief about a state's task comes from; nothing where it has none."""
        model = self.used.get(share.name)
        if model is None:
            return ""
        fails = f", fails {model.fail:.1%}" if model.fail else ""
        return f"{model.duration.text}{fails} ({model.source})"

    def cost(self, price: float | None) -> float | None:
        """What a thousand executions cost, for a price of a thousand transitions."""
        if price is None or self.type != "STANDARD":
            return None
        return self.transitions / self.count * price

    def as_json(self, price: float | None) -> dict[str, Any]:
        """For programs; durations in ns."""
        return {
            "machine": self.machine, "type": self.type, "seed": self.seed,
            "executions": self.count, "statuses": dict(sorted(self.statuses.items())),
            "errors": dict(self.errors.most_common()),
            "duration": durations_json(self.durations),
            "transitions": self.transitions / self.count, "cost_of_1000": self.cost(price),
            "billed": self.billed // self.count if self.type == "EXPRESS" else None,
            "assumed": assumed(self.used),
            "states": [
                {
                    "name": share.name, "type": share.type,
                    "mean": share.taken // max(1, len(self.durations)),
                    "share": self.share(share), "visits": share.visits, "failed": share.failed,
                    "model": self.model(share),
                }
                for share in self.ordered()
            ],
        }  # fmt: skip


def _all(states: list[State]) -> Iterator[State]:
    for state in states:
        yield state
        yield from _all(state.states)


def assumed(used: Mapping[str, StepModel]) -> list[str]:
    """The tasks that no model covers."""
    return sorted(name for name, model in used.items() if model.source == "default")


def _print(report: Report, price: float | None, out: Out) -> None:
    said = [
        f"{out.paint(word, COLOURS[word])} {count:,} ({count / report.count:.1%})"
        for word, count in report.statuses.most_common()
    ]
    out.line("  ".join(said))
    for text, count in report.errors.most_common(ERRORS_SHOWN):
        out.line(f"  {count:,} ({count / report.count:.1%}) {clean(text)}")
    more = len(report.errors) - ERRORS_SHOWN
    if more > 0:
        out.line(f"  and {more} other errors")
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
    runs = len(report.durations)
    for share in report.ordered():
        part = report.share(share)
        drawn = bar(min(THOUSAND, round(part * THOUSAND)), THOUSAND, 20).rstrip("░")
        yield [
            share.name, share.type, f"{share.visits / runs:.2f}", span(share.taken // runs),
            f"{part:.0%}", f"{share.failed:,}" if share.failed else "", drawn,
            report.model(share),
        ]  # fmt: skip


def _costs(report: Report, price: float | None) -> str:
    mean = report.transitions / report.count
    if report.type != "STANDARD":
        billed = report.billed / report.count
        hours = billed * MILLION / GB_HOUR
        return (
            f"billed       {span(round(billed))} each, {hours:,.2f} GB-hours at 64 MB for a million"
            " executions (EXPRESS is paid by its duration, in steps of 100 ms, and by execution)"
        )
    text = f"transitions  {mean:.2f} each, {mean * MILLION:,.0f} for a million executions"
    cost = report.cost(price)
    return text if cost is None else f"{text}: {cost * THOUSAND:,.2f} at {price:g} a thousand"


def _note_assumed(report: Report, models: Models, out: Out) -> None:
    """Tell which tasks no model covers, and a model that may have been meant."""
    names = assumed(report.used)
    if not names:
        return
    taken = {id(model) for model in report.used.values()}
    spare = [name for name, model in models.steps.items() if id(model) not in taken]
    near = [
        f"there is a model of `{found[0]}`: is it meant for `{name}`?"
        for name in names
        if (found := get_close_matches(name, spare, 1))
    ]
    out.warn(
        f"no model for {', '.join(f'`{name}`' for name in names)}: taken to last a second and "
        "to give {}",
        hint=near[0] if near else "name them in a file (--models), or take --history",
    )
