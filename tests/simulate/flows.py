"""The workflows of the scenarios: one that performs any plan, and what rules and clocks start."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from batuta import (
    Event,
    continue_as_new,
    emit,
    event,
    every,
    gather,
    on,
    queue,
    race,
    retry,
    saga,
    signal,
    sleep,
    step,
    timeout,
    workflow,
)
from batuta.simulate.distribution import distribution
from batuta.simulate.models import Models, StepModel
from batuta.workflow.model import Definitions


@step
def solid(name: str) -> str:
    """Never fails."""
    raise NotImplementedError


@step(retry=retry(4, initial="1s"))
def shaky(name: str) -> str:
    """Fails at times, and is tried again."""
    raise NotImplementedError


@step
def doomed(name: str) -> str:
    """Fails at times, for good."""
    raise NotImplementedError


@step(timeout="5s", retry=retry(2, initial="20s"))
def slow(name: str) -> str:
    """Takes too long at times."""
    raise NotImplementedError


@step(queue="narrow")
def queued(name: str) -> str:
    """Shares a queue with a limit."""
    raise NotImplementedError


@step(repeatable=True, retry=retry(3, initial="1s"))
def again(name: str) -> str:
    """May begin before its asking is durable."""
    raise NotImplementedError


@step(retry=retry(None, initial="1s", maximum="10s"))
def release(name: str) -> None:
    """Undoes `reserve`; fails at times, but not for ever."""
    raise NotImplementedError


@step(undo=release)
def reserve(name: str) -> str:
    """Has to be undone where its saga fails."""
    raise NotImplementedError


Plan = list[Any]


@workflow
async def perform(plan: Plan) -> Any:
    """Perform a plan."""
    return await do(plan)


async def _saga(parts: list[Plan]) -> list[Any]:
    async with saga():
        return [await do(part) for part in parts]


async def do(plan: Plan) -> Any:
    """One operation of a plan and everything in it."""
    kind, *rest = plan
    return await OPERATIONS[kind](*rest)


async def _step(name: str, argument: str) -> Any:
    return await STEPS[name](argument)


async def _seq(*parts: Plan) -> Any:
    return [await do(part) for part in parts]


async def _try(part: Plan) -> Any:
    try:
        return await do(part)
    except Exception:  # whatever went wrong: that is what this operation is for
        return "failed"


async def _gather(*parts: Plan) -> Any:
    return list(await gather(*(do(part) for part in parts)))


async def _together(*names: str) -> Any:
    return list(await gather(*(STEPS[name](f"{at}") for at, name in enumerate(names))))


async def _race(*parts: Plan) -> Any:
    return list(await race(*(do(part) for part in parts)))


async def _timeout(part: Plan, within: float) -> Any:
    return await timeout(do(part), within)


async def _sleep(seconds: float) -> Any:
    await sleep(seconds)
    return None


async def _in_saga(*parts: Plan) -> Any:
    return (await gather(_saga(list(parts))))[0]


async def _signal(name: str, within: float | None) -> Any:
    return await signal(name, str, within=within)


async def _event(type: str, subject: str, within: float) -> Any:
    try:
        await event(type, subject=subject, within=within)
    except Exception:  # nothing came
        return "unseen"
    return "seen"


async def _emit(type: str, subject: str) -> Any:
    return await emit(type, subject=subject, data={"from": "a run"})


async def _child(plan: Plan) -> Any:
    return await perform(plan)


async def _continue(plan: Plan) -> Any:
    continue_as_new(plan)


OPERATIONS: dict[str, Any] = {
    "step": _step, "seq": _seq, "try": _try, "gather": _gather, "together": _together,
    "race": _race, "timeout": _timeout, "sleep": _sleep, "saga": _in_saga, "signal": _signal,
    "event": _event, "emit": _emit, "child": _child, "continue": _continue,
}  # fmt: skip

STEPS = {one.name: one for one in (solid, shaky, doomed, slow, queued, again, reserve, release)}


@on("thing.happened", retry=retry(3, initial="2s"))
async def react(happened: Event) -> str:
    """Reacts to each event of a subject in turn; fails at times."""
    await doomed(happened.id)
    return await shaky(happened.id)


@every("20m", missed="all")
async def tick(due: datetime) -> str:
    """Starts by the clock."""
    return await solid(due.isoformat())


NARROW = 2

PLAIN = Definitions.of(perform, react, queue("narrow", concurrency=NARROW))
CLOCKED = Definitions.of(perform, react, tick, queue("narrow", concurrency=NARROW))


def _named(step: str) -> Any:
    return lambda name: f"{step}:{name}"


def _model(name: str, duration: str, fail: float = 0.0) -> StepModel:
    value = (lambda name: None) if name == "release" else _named(name)
    failures = (("builtins:ConnectionError", 1.0),)
    return StepModel(distribution(duration), fail, failures, value=value)


MODELS = Models(
    {
        "solid": _model("solid", "uniform(1ms, 2s)"),
        "shaky": _model("shaky", "exponential(500ms)", 0.4),
        "doomed": _model("doomed", "uniform(10ms, 1s)", 0.4),
        "slow": _model("slow", "exponential(4s)", 0.05),
        "queued": _model("queued", "uniform(1s, 4s)"),
        "again": _model("again", "uniform(1ms, 3s)", 0.2),
        "reserve": _model("reserve", "uniform(10ms, 2s)", 0.1),
        "release": _model("release", "uniform(10ms, 1s)", 0.3),
    }
)
