"""`batuta simulate`: run a workflow many times in virtual time, and say how long and why."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from batuta.cli.check import show_problems
from batuta.cli.durations import durations_json, print_durations
from batuta.cli.executions import simulate_machine
from batuta.cli.live import Live, bar
from batuta.cli.models import from_executions, from_file, from_history
from batuta.cli.out import Column, Out, now, span
from batuta.cli.place import find
from batuta.cli.project import Project, load, load_file
from batuta.cli.scan import is_flow
from batuta.cli.storage import open_journal
from batuta.cli.usage import UsageError
from batuta.cli.values import call_values
from batuta.common.keyed import Stream
from batuta.kernel.event import Event
from batuta.kernel.journal import Batch
from batuta.kernel.sqlite import MEMORY, SqliteJournal
from batuta.real.validate import validate
from batuta.simulate.models import ArrivalModel, Models
from batuta.simulate.server import Server
from batuta.simulate.simulation import Simulation, Unobserved
from batuta.workflow.asl.machine import StateMachine
from batuta.workflow.asl.ran import AnySteps
from batuta.workflow.model import Definitions
from batuta.workflow.view import Node, RunView, run_view

TOGETHER = 100  # runs in one journal; each journal is forgotten before the next one begins
START = 1_700_000_000_000_000_000
FOREVER = START + 100 * 366 * 86_400 * 1_000_000_000
SHARES = (
    Column("operation"),
    Column("mean", right=True),
    Column("share", right=True),
    Column("tries", right=True),
    Column(""),
    Column("model", shrink=True),
)


def simulate(args: argparse.Namespace, out: Out) -> int:
    """Run a workflow n times and report."""
    if args.n < 1:
        raise UsageError("-n has to be 1 or more")
    project, flow = _wanted(args)
    show_problems(project, out)
    if flow is None:
        return 1
    if isinstance(flow, StateMachine):
        return simulate_machine(flow, args, models_of(args, flow), out)
    positional, named = call_values(args.args)
    definitions = replace(project.definitions, rules={}, schedules={})
    call = {"workflow": flow.name, "args": positional, "kwargs": named}
    validate(definitions, "run.start", "simulated", call, lambda: "")
    models = models_of(args)
    report = Report(flow.name, args.seed, models)
    began = now()
    with Live(out) as live:
        for done, view in enumerate(_runs(definitions, call, models, args.n, args.seed), 1):
            report.take(view)
            if live.due:
                live.show([f"{bar(done, args.n)} {done:,} of {args.n:,} runs"])
    if out.json:
        out.value(report.as_json())
    else:
        _print(report, out)
        out.done("Simulated", f"{args.n:,} runs of {flow.name}, seed {args.seed}", now() - began)
    return 0


def _wanted(args: argparse.Namespace) -> tuple[Project, Any]:
    """What is to be simulated: a workflow by its name, or the state machine in a file; None
    where the file has none without mistakes."""
    given = Path(args.workflow)
    if not (given.is_file() and is_flow(given.name)):
        project = load(find(args).project)
        return project, project.workflow(args.workflow)
    project = load_file(given)
    for flow in project.workflows.values():
        if isinstance(flow, StateMachine):
            flow.steps = AnySteps()  # the file alone does not have them, and none is performed
    if len(project.workflows) > 1:
        names = ", ".join(sorted(project.workflows))
        raise UsageError(
            f"`{given}` has several state machines ({names}): simulate one by its name"
        )
    return project, next(iter(project.workflows.values()), None)


def models_of(args: argparse.Namespace, machine: StateMachine | None = None) -> Models:
    """What is known of steps and signals; what a file says goes before the history.

    Parameters
    ----------
    machine: the one that is simulated: the history tells how its states went, and what they gave.
    """
    models = Models()
    if args.history:
        journal = open_journal(find(args), make=False)
        try:
            models = from_history(journal, results=machine is not None)
            if machine is not None:
                models.steps |= from_executions(journal, machine.name)
        finally:
            journal.close()
    if args.models:
        given = from_file(args.models)
        models.steps |= given.steps
        models.signals |= given.signals
        models.events |= given.events
    return models


def _runs(
    definitions: Definitions, call: dict[str, Any], models: Models, count: int, seed: int
) -> Iterator[RunView]:
    """The runs, each alone in the world: they share no queue and start at one instant."""
    for first in range(0, count, TOGETHER):
        journal = SqliteJournal(MEMORY, synchronous="OFF")
        try:
            ids = [f"run-{n}" for n in range(first, min(first + TOGETHER, count))]
            arrivals = Arrivals(models, seed)
            simulation = Simulation(
                definitions, journal, seed=seed, models=models, start=START, concurrency=None,
                observer=arrivals,
            )  # fmt: skip
            arrivals.simulation = simulation
            for id in ids:
                simulation.ask(START, "run.start", id, call)
            simulation.run(FOREVER)
            for id in ids:
                yield run_view(journal.histories([id]))
        finally:
            journal.close()


class Arrivals(Unobserved):
    """Brings what runs wait for: signals and events, when their models say so."""

    def __init__(self, models: Models, seed: int) -> None:
        self._models = models
        self._seed = seed
        self.simulation: Simulation | None = None

    def committed(self, server: Server, batch: Batch) -> None:
        """Look for runs that began to wait."""
        for event in batch.events:
            if event.type == "wait.set":
                self._answer(event)

    def _answer(self, event: Event) -> None:
        data, simulation = event.data, self.simulation
        assert simulation is not None
        of_signal = data.get("kind") == "signal"
        name = str(data.get("name", ""))
        model = self._models.signal(name) if of_signal else self._models.event(name)
        luck = Stream(self._seed, f"{event.subject}/{data.get('key', '')}")
        if luck.u(name, 1, "never") < model.never:
            return
        at = event.time + model.after.sample(luck.u(name, 1, "arrival"))
        if of_signal:
            value = {"name": name, "value": model.value}
            simulation.ask(at, "run.signal", event.subject, value)
        else:
            sent = {"type": name, "source": "simulation", "data": model.value}
            simulation.ask(at, "event.send", str(data.get("subject") or ""), sent)


# -- the report --------------------------------------------------------------------------------


@dataclass(slots=True)
class Share:
    """What all runs together spent in the operations of one name."""

    kind: str
    name: str
    taken: int = 0
    count: int = 0
    attempts: int = 0

    @property
    def title(self) -> str:
        """How it is called."""
        return (
            self.name if self.kind in ("function", "shell", "http") else f"{self.kind} {self.name}"
        )


@dataclass(slots=True)
class Report:
    """What came out of it."""

    workflow: str
    seed: int
    models: Models
    durations: list[int] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    shares: dict[tuple[str, str], Share] = field(default_factory=dict)

    def take(self, view: RunView) -> None:
        """Add one run."""
        self.statuses[view.status] += 1
        if view.ended is None:
            return
        self.durations.append(view.ended - view.started)
        if view.error:
            kind = str(view.error.get("type", "")).rpartition(":")[2]
            self.errors[f"{kind}: {view.error.get('message', '')}"] += 1
        for _, node in view.walk():
            if node.kind not in ("parallel", "branch", "emit", "patch"):
                self._add(node, view.ended)

    def _add(self, node: Node, end: int) -> None:
        share = self.shares.setdefault((node.kind, node.name), Share(node.kind, node.name))
        share.taken += (node.ended or end) - node.started
        share.count += 1
        share.attempts += max(1, len(node.attempts))

    def model(self, share: Share) -> str:
        """Where the belief about an operation comes from."""
        found: Any = None
        if share.kind == "signal":
            found = self.models.signal(share.name)
        elif share.kind == "event":
            found = self.models.event(share.name)
        elif share.kind in ("function", "shell", "http"):
            found = self.models.step(share.name)
        if found is None:
            return ""
        time = found.after if isinstance(found, ArrivalModel) else found.duration
        return f"{time.text} ({found.source})"

    def ordered(self) -> list[Share]:
        """What took longest first."""
        return sorted(self.shares.values(), key=lambda share: (-share.taken, share.title))

    def as_json(self) -> dict[str, Any]:
        """For programs; durations in ns."""
        runs = max(1, len(self.durations))
        return {
            "workflow": self.workflow,
            "seed": self.seed,
            "runs": sum(self.statuses.values()),
            "statuses": dict(sorted(self.statuses.items())),
            "errors": dict(self.errors.most_common()),
            "duration": durations_json(self.durations),
            "operations": [
                {
                    "kind": share.kind,
                    "name": share.name,
                    "mean": share.taken // runs,
                    "count": share.count,
                    "attempts": share.attempts,
                    "model": self.model(share),
                }
                for share in self.ordered()
            ],
        }


def _print(report: Report, out: Out) -> None:
    said = [
        f"{out.paint(word, out.status(word).colour)} {count:,}"
        for word, count in report.statuses.most_common()
    ]
    out.line("  ".join(said))
    for text, count in report.errors.most_common(5):
        out.line(f"  {count:,} × {text}")
    if not report.durations:
        out.note("No run ended: something that they wait for never comes")
        return
    out.line()
    print_durations(report.durations, out)
    out.line()
    _print_shares(report, out)


def _print_shares(report: Report, out: Out) -> None:
    runs, total = len(report.durations), sum(report.durations)
    rows = []
    for share in report.ordered():
        part = share.taken / total if total else 0.0
        tries = f"{share.attempts / share.count:.2f}" if share.kind == "function" else ""
        drawn = bar(round(part * 1000), 1000, 20).rstrip("░")
        rows.append(
            [
                share.title,
                span(share.taken // runs),
                f"{part:.0%}",
                tries,
                drawn,
                report.model(share),
            ]
        )
    out.table(SHARES, rows)
