"""The fast simulation comes to the same times as the one of whole servers, and tells them well."""

from __future__ import annotations

from typing import Any

import pytest
from tests.simulate.flows import MODELS, NARROW, PLAIN, Plan, perform
from tests.simulate.scenario import START, Maker, prepare

from batuta import (
    BatutaError,
    Event,
    emit,
    event,
    gather,
    queue,
    race,
    retry,
    signal,
    sleep,
    step,
    timeout,
    workflow,
)
from batuta.common.duration import SECOND
from batuta.kernel.sqlite import SqliteJournal
from batuta.simulate.calibrate import histories, merged
from batuta.simulate.fast import Fast
from batuta.simulate.models import Models, StepModel, models_of
from batuta.simulate.run import simulate
from batuta.simulate.simulation import Simulation

Endings = dict[str, tuple[int, str, Any]]


def whole(seed: int, plans: list[tuple[int, str, Plan]]) -> Endings:
    """When and how runs end in the simulation of whole servers."""
    journal = SqliteJournal(":memory:")
    simulation = Simulation(PLAIN, journal, seed=seed, models=MODELS, start=START)
    for at, run, plan in plans:
        data = {"workflow": "perform", "args": [plan], "kwargs": {}}
        simulation.ask(at, "run.start", run, data)
    simulation.run(START + 10**6 * SECOND)
    started = {run for _, run, _ in plans}
    found = {
        one.subject: (one.time, one.type, one.data.get("result"))
        for one in journal.read(0, 10**6, types=("run.completed", "run.failed"))
        if one.subject in started
    }
    journal.close()
    return found


def fast(seed: int, plans: list[tuple[int, str, Plan]]) -> Endings:
    """The same in the fast one."""
    found: Endings = {}

    def ended(process: Any, value: Any, error: BaseException | None) -> None:
        kind = "run.completed" if error is None else "run.failed"
        found[process.run] = world.now, kind, value

    narrow = queue("narrow", concurrency=NARROW)
    world = Fast(MODELS, seed=seed, queues=[narrow], start=START, ended=ended)
    for at, run, plan in plans:
        world.start(perform, (plan,), {}, run, at)
    world.run()
    return found


def alone(plan: Plan) -> Plan:
    """A plan that waits for nobody else."""
    if plan[0] in ("signal", "event", "continue"):
        return ["sleep", 2]
    return [alone(part) if isinstance(part, list) else part for part in plan]


def test_both_simulations_come_to_the_same_times() -> None:
    for seed in range(250):
        plans = [
            (START + at * 1_000_000_007, run, alone(plan))
            for at, (run, plan) in enumerate(Maker(seed).make().plans.items())
        ]
        assert fast(seed, plans) == whole(seed, plans), seed


@step(retry=retry(3, initial="10s", backoff=1, jitter=0))
def pay(amount: int) -> int:
    """Real code: gives back twice the amount."""
    return amount * 2


@step(timeout="3s")
def pack() -> list[str]:
    """Takes long at times."""
    return []


@workflow
async def order(amount: int) -> int:
    """A little of everything."""
    paid = await pay(amount)
    await gather(pack(), sleep("1s"))
    return paid


def test_a_report_says_how_long_and_where() -> None:
    models = models_of(
        {"steps": {"pay": {"duration": "2s", "value": 4}, "pack": "uniform(1s, 3s)"}}
    )
    report = simulate(order, [2], n=200, seed=3, models=models)
    assert len(report.durations) == 200
    assert report.failed == 0
    assert 3.9 < report.mean / SECOND < 4.1
    found = {place.name: place for place in report.places}
    assert found["pay"].running == 200 * 2 * SECOND
    assert found["pay"].critical == 200 * 2 * SECOND
    # `sleep` is never the longer branch, so it is on no critical path.
    assert found["pack"].critical_runs == 200
    assert "sleep" not in found
    assert sum(place.critical for place in report.places) == sum(report.durations)
    text = report.text()
    assert "200 runs in virtual time, seed 3" in text
    assert "p95" in text
    told = report.json()
    assert told["duration_s"]["p50"] == report.quantile(0.5) / SECOND
    assert told["steps"][0]["name"] in ("pay", "pack")


def test_the_same_seed_gives_the_same_report() -> None:
    models = models_of({"steps": {"pay": {"duration": "exponential(2s)", "fail": "30%"}}})
    first = simulate(order, [2], n=100, seed=5, models=models)
    assert first == simulate(order, [2], n=100, seed=5, models=models)
    assert first != simulate(order, [2], n=100, seed=6, models=models)


def test_failures_are_retried_and_end_the_run() -> None:
    models = models_of({"steps": {"pay": {"duration": "1s", "fail": 1, "failure": "OSError"}}})
    report = simulate(order, [2], n=10, models=models)
    assert report.errors == {"builtins:OSError": 10}
    # Three attempts of a second, ten seconds after each but the last.
    assert set(report.durations) == {23 * SECOND}
    pays = next(place for place in report.places if place.name == "pay")
    assert (pays.attempts, pays.retries, pays.failures) == (30, 20, 30)


def test_a_step_that_takes_too_long_times_out() -> None:
    models = models_of({"steps": {"pay": "1s", "pack": "1 minute"}})
    report = simulate(order, [2], n=5, models=models)
    assert report.errors == {"batuta:TimedOut": 5}
    assert set(report.durations) == {4 * SECOND}


def test_runs_that_share_a_queue_wait_for_each_other() -> None:
    @step(queue="till")
    def serve() -> None:
        """One at a time."""

    @workflow
    async def customer() -> None:
        await serve()

    models = Models({"serve": models_of({"steps": {"serve": "10s"}}).step("serve")})
    till = queue("till", concurrency=1)
    report = simulate(customer, n=4, models=models, arrivals="1s", queues=[till])
    assert report.durations == [one * SECOND for one in (10, 19, 28, 37)]
    assert report.places[0].waiting == (9 + 18 + 27) * SECOND
    assert simulate(customer, n=4, models=models, queues=[till]).mean == 10 * SECOND
    limited = [queue("till", rate="1/20s")]
    report = simulate(customer, n=3, models=models, arrivals="0s", queues=limited)
    assert report.durations == [one * SECOND for one in (10, 30, 50)]


def test_signals_events_and_real_code() -> None:
    @workflow
    async def wait(amount: int) -> list[Any]:
        said = await signal("go", str)
        seen: Event = await event("done", within="1h")
        index, _ = await race(sleep("1 minute"), sleep("2s"))
        try:
            await timeout(sleep("1 minute"), "5s")
        except Exception as late:
            said += type(late).__name__
        return [said, seen.data, index, await pay(amount)]

    found: list[Any] = []
    models = models_of(
        {
            "signals": {"go": {"after": "1 minute", "value": "yes"}},
            "events": {"done": {"after": "30s", "value": 7}},
            "steps": {"pay": {"duration": "1s", "run": True}},
        }
    )
    world = Fast(models, ended=lambda process, value, error: found.append((world.now, value)))
    world.start(wait, (21,), {}, "one", 0)
    world.run()
    assert found == [(98 * SECOND, ["yesTimedOut", 7, 1, 42])]


def test_runs_hear_the_events_of_each_other() -> None:
    @workflow
    async def listener() -> Any:
        return (await event("rung", subject="door")).id

    @workflow
    async def ringer() -> None:
        await sleep("3s")
        await emit("rung", subject="window")
        await emit("rung", subject="door")

    found: list[Any] = []
    world = Fast(Models(), ended=lambda process, value, error: found.append((process.run, value)))
    world.start(listener, (), {}, "l", 0)
    world.start(ringer, (), {}, "r", 0)
    world.run()
    assert found == [("r", None), ("l", "r/3")]


def test_what_no_model_covers_is_said() -> None:
    @workflow
    async def waits() -> None:
        await pack()
        await event("never")

    report = simulate(waits, n=3, models=Models())
    assert report.durations == []
    assert "no model for step pack" in report.notes[0]
    assert "3 of 3 runs never end" in report.notes[1]
    assert "never end" in report.text()


def test_history_becomes_models() -> None:
    simulation, _ = prepare(3)
    simulation.run(START + 600 * SECOND)
    found = histories(simulation.journal)
    models = found.models()
    solid = models.step("solid")
    assert solid.source.startswith("history: ")
    assert 0 < solid.duration.mean < 2 * SECOND
    assert "fewer than 30 attempts" in found.notes()[0]
    own = models_of({"steps": {"solid": "5s"}})
    assert merged(models, own).step("solid").source == "file"
    assert merged(models, own).step("queued") is models.step("queued")
    assert simulate(order, [1], n=3, models=merged(models, Models({"*": StepModel()}))).n == 3
    simulation.journal.close()


def test_input_that_does_not_fit_is_refused() -> None:
    with pytest.raises(BatutaError):
        simulate(order, ["many"], n=1)
    with pytest.raises(BatutaError, match="0 runs"):
        simulate(order, [1], n=0)
