"""Models that name several results: a workflow goes the way that they lead, as often as they do."""

from __future__ import annotations

import pytest

from batuta import sleep, step, workflow
from batuta.kernel.sqlite import MEMORY, SqliteJournal
from batuta.simulate.models import models_of
from batuta.simulate.run import simulate
from batuta.simulate.simulation import Simulation
from batuta.workflow.model import Definitions
from batuta.workflow.view import run_view

MODELS = {"steps": {"approved": {"duration": "1s", "values": [True, False, False, False]}}}
START = 1_700_000_000_000_000_000
DAY = 86_400 * 10**9


@step
def approved() -> bool:
    raise AssertionError("a simulation performs nothing")


@workflow
async def asking() -> bool:
    answer = await approved()
    if answer:
        await sleep("1 day")
    return answer


def test_in_the_fast_simulation() -> None:
    found = simulate(asking, n=1000, models=models_of(MODELS)).durations
    assert sum(taken > DAY for taken in found) == pytest.approx(250, abs=40)


def test_in_the_whole_simulation() -> None:
    definitions = Definitions({"asking": asking})
    journal = SqliteJournal(MEMORY, synchronous="OFF")
    simulation = Simulation(definitions, journal, seed=1, models=models_of(MODELS), start=START)
    call = {"workflow": "asking", "args": [], "kwargs": {}}
    for number in range(400):
        simulation.ask(START, "run.start", f"asking-{number}", call)
    simulation.run(START + 10 * DAY)
    results = [run_view(journal.histories([f"asking-{n}"])).result for n in range(400)]
    journal.close()
    assert sum(results) == pytest.approx(100, abs=25)
    assert {type(each) for each in results} == {bool}
