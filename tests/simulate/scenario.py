"""One scenario for each seed: how many servers, which runs, what clients ask for and when."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from tests.simulate.flows import CLOCKED, MODELS, PLAIN, Plan
from tests.simulate.machines import FLOWS, machines, token_signal
from tests.simulate.oracle import Oracle

from batuta.common.duration import MINUTE, SECOND
from batuta.common.keyed import bits, u
from batuta.kernel.sqlite import SqliteJournal
from batuta.simulate.fault import Faults, draw_faults
from batuta.simulate.simulation import Simulation

START = 1_700_000_000 * SECOND
TROUBLED = 3 * MINUTE
HORIZON = 2400 * SECOND


class Dice:
    """A stream of choices for making scenarios; used before anything runs."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._count = 0

    def below(self, most: int) -> int:
        """A number below another one."""
        self._count += 1
        return bits(self._seed, "scenario", self._count) % most

    def chance(self, share: float) -> bool:
        """Whether something with this probability happens."""
        self._count += 1
        return u(self._seed, "scenario", self._count) < share

    def one_of(self, things: Any) -> Any:
        """One of these."""
        return things[self.below(len(things))]


@dataclass(slots=True)
class Scenario:
    """What happens, but for the faults.

    Parameters
    ----------
    plans: run id -> what it performs. executions: run id -> the state machine and its input.
    requests: (time, type, subject, data) of clients.
    """

    seed: int
    servers: int
    partitions: int
    clocked: bool
    plans: dict[str, Plan] = field(default_factory=dict)
    executions: dict[str, tuple[str, Any]] = field(default_factory=dict)
    requests: list[tuple[int, str, str, dict[str, Any]]] = field(default_factory=list)


STEP_NAMES = ("solid", "solid", "shaky", "shaky", "doomed", "slow", "queued", "queued", "again")


class Maker:
    """Makes the scenario of a seed."""

    def __init__(self, seed: int) -> None:
        dice = self.dice = Dice(seed)
        partitions = dice.one_of((1, 1, 2, 3))
        servers = 1 if partitions == 1 and dice.chance(0.7) else dice.one_of((1, 2, 2))
        self.scenario = Scenario(seed, servers, partitions, dice.chance(0.15))
        self.signals: list[str] = []
        self.tags = 0
        # Some scenarios mostly wait, in others most things need a place in the queue.
        self.patient = dice.chance(0.3)
        self.crowded = dice.chance(0.3)

    def make(self) -> Scenario:
        """The scenario."""
        dice, scenario = self.dice, self.scenario
        for at in range(2 + dice.below(4)):
            run = f"run{at}"
            self.signals = []
            self.budget = 9
            plan = ["seq", *(self.part(2) for _ in range(1 + dice.below(3)))]
            if dice.chance(0.1):
                plan.append(["continue", self.part(1)])
            self._start(run, plan)
        subjects = ("apple", "pear")
        for at in range(dice.below(5)):
            data = {"type": "thing.happened", "id": f"event{at}", "source": "test"}
            self._ask("event.send", dice.one_of(subjects), data)
        for at in range(dice.one_of((0, 0, 1, 2))):
            self._execute(dice.one_of(sorted(FLOWS)), at)
        return scenario

    def _execute(self, machine: str, at: int) -> None:
        """An execution of a state machine."""
        dice = self.dice
        run = f"{machine}:e{at}"
        input = {"express": dice.chance(0.5), "items": list(range(1 + dice.below(3)))}
        self.scenario.executions[run] = machine, input
        data: dict[str, Any] = {"workflow": machine, "args": [input], "kwargs": {}}
        begun = self._ask("run.start", run, data)
        if machine == "ask":
            later = begun + 1 + dice.below(40) * SECOND
            self._ask("run.signal", run, token_signal(run), later)
        if dice.chance(0.1):
            kind = dice.one_of(("run.cancel", "run.terminate"))
            self._ask(kind, run, {"reason": "a test"}, begun + 1 + dice.below(20) * SECOND)

    def _ask(self, type: str, subject: str, data: dict[str, Any], after: int = 0) -> int:
        at = after or START + self.dice.below(60) * SECOND
        self.scenario.requests.append((at, type, subject, data))
        return at

    def _start(self, run: str, plan: Plan) -> None:
        dice = self.dice
        self.scenario.plans[run] = plan
        data: dict[str, Any] = {"workflow": "perform", "args": [plan], "kwargs": {}}
        if dice.chance(0.08):
            data["deadline"] = START + (30 + dice.below(120)) * SECOND
        at = self._ask("run.start", run, data)
        if dice.chance(0.1):
            self._ask("run.start", run, data)
        for name in self.signals:
            value = {"name": name, "value": f"value of {name}"}
            self._ask("run.signal", run, value, at + dice.below(40) * SECOND)
        if dice.chance(0.1):
            kind = dice.one_of(("run.cancel", "run.cancel", "run.terminate"))
            self._ask(kind, run, {"reason": "a test"}, at + 1 + dice.below(30) * SECOND)

    def part(self, depth: int) -> Plan:
        """An operation, with others in it down to a depth."""
        dice = self.dice
        self.budget -= 1
        if depth == 0 or self.budget < 0 or dice.chance(0.3):
            return self._leaf()
        kind = dice.one_of(
            ("seq", "try", "gather", "gather", "race", "timeout", "saga", "saga", "child")
        )
        return getattr(self, "_" + kind)(depth - 1)  # type: ignore[no-any-return]

    def _leaf(self) -> Plan:
        dice = self.dice
        kind = dice.below(7 if self.patient else 20)
        self.tags += 1
        if kind < 2:
            return ["sleep", dice.one_of((1, 3, 20, 90))]
        if kind == 2:
            return ["emit", "thing.happened", dice.one_of(("apple", "pear"))]
        if kind == 3:
            return ["event", "thing.happened", dice.one_of(("apple", "pear")), 45]
        if kind == 4:
            name = f"signal{self.tags}"
            self.signals.append(name)
            return ["signal", name, dice.one_of((None, None, 30))]
        if kind == 5:
            return ["together", *(dice.one_of(STEP_NAMES) for _ in range(2))]
        name = "queued" if self.crowded and dice.chance(0.5) else dice.one_of(STEP_NAMES)
        return ["step", name, f"{self.tags}"]

    def _parts(self, depth: int, most: int) -> list[Plan]:
        return [self.part(depth) for _ in range(1 + self.dice.below(most))]

    def _seq(self, depth: int) -> Plan:
        return ["seq", *self._parts(depth, 3)]

    def _try(self, depth: int) -> Plan:
        return ["try", self.part(depth)]

    def _gather(self, depth: int) -> Plan:
        return ["gather", self.part(depth), *self._parts(depth, 2)]

    def _race(self, depth: int) -> Plan:
        return ["race", self.part(depth), self.part(depth)]

    def _timeout(self, depth: int) -> Plan:
        part = ["together", "shaky", "shaky"] if self.dice.chance(0.4) else self.part(depth)
        return ["try", ["timeout", part, self.dice.one_of((1, 2, 4, 15))]]

    def _saga(self, depth: int) -> Plan:
        self.tags += 1
        tag = self.tags
        reserves: list[Plan] = [
            ["step", "reserve", f"s{tag}.{at}"] for at in range(1 + self.dice.below(2))
        ]
        if len(reserves) == 2 and self.dice.chance(0.4):
            reserves = [["gather", *reserves]]
        elif self.dice.chance(0.4):
            reserves = [["gather", *reserves, ["step", "doomed", f"{tag}"]]]
        return ["try", ["saga", *reserves, *self._parts(min(depth, 1), 2)]]

    def _child(self, depth: int) -> Plan:
        before, self.signals = self.signals, []
        plan = _without_signals(self.part(depth))
        self.signals = before
        return ["try", ["child", plan]]


def _without_signals(plan: Plan) -> Plan:
    """People signal runs that they know of, not children."""
    if plan[0] == "signal":
        return ["sleep", 2]
    return [_without_signals(part) if isinstance(part, list) else part for part in plan]


for definitions in (PLAIN, CLOCKED):
    machines(definitions)


@cache
def _empty(partitions: int) -> bytes:
    """An empty journal's file: making its tables anew for each seed would take long."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    SqliteJournal(":memory:", partitions=partitions, connector=lambda path, busy: connection)
    return connection.serialize()


def empty_journal(partitions: int) -> SqliteJournal:
    """A journal in memory with nothing in it."""

    def connect(path: str, busy_s: float) -> sqlite3.Connection:
        connection = sqlite3.connect(":memory:", isolation_level=None, cached_statements=256)
        connection.deserialize(_empty(partitions))
        return connection

    return SqliteJournal(":memory:", partitions=partitions, connector=connect)


def prepare(seed: int, faults: Faults | None = None) -> tuple[Simulation, Oracle]:
    """The simulation of a seed, ready to run, and who watches it."""
    scenario = Maker(seed).make()
    if faults is None:
        faults = draw_faults(seed, START + TROUBLED)
    journal = empty_journal(scenario.partitions)
    oracle = Oracle(scenario)
    simulation = Simulation(
        CLOCKED if scenario.clocked else PLAIN, journal, seed=seed, models=MODELS,
        servers=scenario.servers, faults=faults, observer=oracle, start=START, lease_s=24.0,
    )  # fmt: skip
    oracle.simulation = simulation
    for at, type, subject, data in scenario.requests:
        simulation.ask(at, type, subject, data)
    return simulation, oracle


def run(seed: int, faults: Faults | None = None) -> Oracle:
    """Run a seed to its end and check everything. Raises `Violation`."""
    simulation, oracle = prepare(seed, faults)
    try:
        simulation.run(START + HORIZON)
        oracle.check()
    finally:
        simulation.journal.close()
    return oracle
