"""Simulate a workflow many times in virtual time: how long it takes, how it fails, and where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from batuta.common.failure import failure_of
from batuta.common.keyed import u
from batuta.kernel.dispatch import Queue
from batuta.kernel.errors import BatutaError
from batuta.simulate.distribution import Distribution, distribution
from batuta.simulate.fast import Fast, Start
from batuta.simulate.models import Models
from batuta.simulate.process import Process
from batuta.simulate.report import Place, Report
from batuta.workflow.model import Workflow
from batuta.workflow.run import failure_data


class Tally:
    """Gathers what becomes of the runs."""

    def __init__(self) -> None:
        self.fast: Fast
        self.durations: list[int] = []
        self.errors: dict[str, int] = {}
        self.critical: dict[str, list[int]] = {}

    def ended(self, process: Process, value: Any, error: BaseException | None) -> None:
        """A run has ended."""
        self.durations.append(self.fast.now - process.began)
        if error is not None:
            type = failure_data(failure_of(error), None)["type"]
            self.errors[type] = self.errors.get(type, 0) + 1
        path, critical = process.path, self.critical
        seen: set[str] = set()
        while path is not None:
            path, name, running, waiting, retrying = path
            into = critical.get(name)
            if into is None:
                into = critical[name] = [0, 0, 0, 0]
            into[0] += running
            into[1] += waiting
            into[2] += retrying
            if name not in seen:
                seen.add(name)
                into[3] += 1


def simulate(
    workflow: Workflow[Any, Any],
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    n: int = 1000,
    seed: int = 0,
    models: Models | None = None,
    arrivals: Any = None,
    queues: Iterable[Queue] = (),
    concurrency: int | None = None,
    notes: Sequence[str] = (),
) -> Report:
    """Run a workflow `n` times in virtual time.

    Parameters
    ----------
    workflow: its own code runs; its steps are performed by their models.
    args, kwargs: the same for every run.
    seed: what luck is keyed with: the same seed gives the same report.
    models: how steps go, when signals and events come; a step without one takes a second.
    arrivals: the time between the starts of two runs, as a distribution in words; without it
        each run has the world (and the queues) for itself.
    queues: limits on steps. concurrency: how many other steps may run at once.
    notes: shown in the report beside its own.

    Raises
    ------
    BatutaError: an argument does not fit the workflow's signature, or `n` is not positive.
    """
    if n < 1:
        raise BatutaError(f"a simulation of {n} runs makes no sense", hint="write -n 1000")
    stored, named = workflow.codec.encode_call(tuple(args), dict(kwargs or {}))
    given, by_name = workflow.codec.decode_call(stored, named)
    tally = Tally()
    used = models or Models()
    between = None if arrivals is None else distribution(arrivals)
    queues = list(queues)
    if between is not None:
        fast = Fast(used, seed=seed, queues=queues, concurrency=concurrency, ended=tally.ended)
        tally.fast = fast
        fast.feed(_starts(workflow, given, by_name, n, seed, between))
        fast.run()
        return _report(workflow, n, seed, tally, [fast], notes)
    alone = []
    known: dict[Any, Any] = {}
    for number in range(n):
        fast = Fast(used, seed=seed, queues=queues, concurrency=concurrency, ended=tally.ended)
        fast.performing.steps = known  # counted together; each has queues of its own
        for step in known.values():
            step.lane = fast.performing.lane_of(step.queue)
        tally.fast = fast
        fast.start(workflow, given, by_name, f"{workflow.name}-{number}", 0)
        fast.run()
        alone.append(fast)
    return _report(workflow, n, seed, tally, alone, notes)


def _starts(
    workflow: Workflow[Any, Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    n: int,
    seed: int,
    between: Distribution,
) -> Iterator[Start]:
    at = 0
    for number in range(n):
        yield at, workflow, args, kwargs, f"{workflow.name}-{number}"
        at += between.sample(u(seed, workflow.name, number, "arrival"))


def _report(
    workflow: Workflow[Any, Any],
    n: int,
    seed: int,
    tally: Tally,
    worlds: list[Fast],
    notes: Sequence[str],
) -> Report:
    assumed = sorted({name for world in worlds for name in world.assumed})
    alive = sum(world.alive for world in worlds)
    told = list(notes)
    if assumed:
        told.append(f"no model for {', '.join(assumed)}: taken to last one second and to succeed")
    if alive:
        told.append(f"{alive} of {n} runs never end: they wait for what no model lets come")
    places = {one.name: _place(one) for one in worlds[0].steps.values()}
    for name, (running, waiting, retrying, runs) in tally.critical.items():
        place = places.setdefault(name, Place(name))
        place.critical = running + waiting + retrying
        place.critical_runs = runs
    found = list(places.values())
    return Report(workflow.name, n, seed, tally.durations, tally.errors, found, told)


def _place(step: Any) -> Place:
    return Place(
        step.name, step.attempts, step.retries, sum(step.failures.values()), step.running,
        step.waiting, step.paused, source=step.model.source,
    )  # fmt: skip
