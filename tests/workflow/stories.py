"""Workflows and what happens to them, told once: each story has to end the same under any crash."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as of
from datetime import datetime
from typing import Any

from tests.workflow.harness import HOLD, Stage, Story

from batuta import (
    Cancelled,
    Event,
    TimedOut,
    continue_as_new,
    emit,
    event,
    every,
    field,
    gather,
    now,
    on,
    patched,
    query,
    race,
    random,
    retry,
    saga,
    set_attributes,
    signal,
    sleep,
    step,
    timeout,
    uuid,
    workflow,
)


@step
def one() -> int:
    return 1


@step
def double(x: int) -> int:
    return 2 * x


@step
async def add(a: int, b: int) -> int:
    return a + b


@step
def fails() -> int:
    raise ValueError("no")


@step
def slow(name: str) -> str:
    return name


@step
def undo_pay(receipt: str) -> None:
    assert receipt


@step(undo=undo_pay)
def pay(amount: int) -> str:
    return f"receipt-{amount}"


@step
def release(what: str) -> str:
    return what


@step(retry=retry(4, initial="10s", backoff=2, jitter=0))
def flaky() -> str:
    return "never called"


@workflow
async def chain() -> int:
    a = await one()
    b = await double(a)
    return await add(a, b)


@workflow
async def retries() -> str:
    return await flaky()


@workflow
async def sleeper() -> list[str]:
    begun = now()
    await sleep("1ms")
    await sleep("3s")
    await sleep("400 days")
    return [str(now() - begun), str(uuid()), str(random().random())]


@workflow
async def fan(count: int) -> int:
    return sum(await gather(*[double(x) for x in range(count)]))


@workflow
async def nested() -> list[Any]:
    async def left() -> tuple[int, ...]:
        a = await one()
        return await gather(double(a), double(a + 1))

    async def never() -> int:
        await sleep("1 day")
        return 0

    async def right() -> tuple[int, int]:
        await sleep("5s")
        return await race(never(), double(8))

    a, b, c, d = await gather(left(), right(), gather(one(), one()), timeout(one(), "5s"))
    return [list(a), list(b), list(c), d]


@workflow
async def racer() -> tuple[int, str]:
    return await race(slow("a"), slow("b"), slow("c"))


@workflow
async def impatient() -> str:
    async def inner() -> str:
        try:
            return await slow("x")
        finally:
            await release("inner")

    try:
        return await timeout(inner(), "10s")
    except TimedOut:
        await release("outer")
        return "late"


@workflow
async def compensates() -> None:
    async with saga() as undo:
        undo(release, "before")
        await pay(1)
        await pay(2)
        await fails()


@workflow
async def branch_saga() -> str:
    async def buying() -> None:
        async with saga():
            await pay(1)
            await sleep("1h")

    try:
        await gather(buying(), fails())
    except ValueError as error:
        return f"caught {error}"
    return "no"


@workflow
async def waits() -> list[Any]:
    first = await signal("go", int)
    await sleep("10s")
    second = await signal("go", int)
    third = "some"
    try:
        await signal("never", within="1 day")
    except TimedOut:
        third = "none"
    return [first, second, third]


@workflow
async def hears() -> list[Any]:
    met = await event("parcel", subject="p1", where=field("data.size") > 3, within="2 days")
    try:
        await event("parcel", subject="p1", within="2 days")
    except TimedOut:
        return [met.id, met.data, met.subject, met.source]
    return []


@workflow
async def parent() -> list[Any]:
    a, b = await gather(fan(3), chain())
    return [a, b]


@workflow
async def counts(n: int) -> int:
    query("n", lambda: n)
    more = await signal("more", int)
    if more:
        continue_as_new(n + more)
    return n


@workflow
async def cancellable() -> str:
    async with saga():
        await pay(7)
        try:
            await sleep("10 days")
        except Cancelled:
            await release("cleanup")
            raise
    return "no"


@workflow
async def marks() -> str:
    await set_attributes(colour="red")
    id = await emit("paid", subject="o1", data={"total": 7})
    await emit("paid", subject="o1", data={"total": 3})
    new = patched("v2")
    await one()
    return f"{id} {new}"


@on("paid", where=field("data.total") >= 3, retry=retry(3, initial="1min", jitter=0))
async def reward(paid: Event) -> Any:
    await sleep("20s")
    await flaky()
    return paid.data


@every("1h")
async def hourly(due: datetime) -> str:
    await one()
    return due.isoformat()


@dataclass(frozen=True)
class Told:
    """One story: who plays, by which script, and what happens."""

    name: str
    things: tuple[object, ...]
    story: Story
    ends: dict[str, Any]
    script: dict[str, list[Any]] = of(default_factory=dict)


def _plain(flow: Any, *args: Any) -> Story:
    def story(stage: Stage) -> None:
        stage.start(flow, *args)
        stage.play()

    return story


def _race_story(stage: Stage) -> None:
    stage.start(racer)
    stage.settle()
    stage.finish("slow", "won")
    stage.play()


def _waits_story(stage: Stage) -> None:
    stage.start(waits)
    stage.settle()
    stage.signal("go", 1)
    stage.signal("go", 2)
    stage.play()


def _hears_story(stage: Stage) -> None:
    stage.start(hears)
    stage.settle()
    stage.send("parcel", "p1", {"size": 1})
    stage.send("parcel", "p2", {"size": 9})
    stage.send("other", "p1", {"size": 9})
    stage.advance(10)
    stage.send("parcel", "p1", {"size": 4}, id="e4")
    stage.play()


def _counts_story(stage: Stage) -> None:
    stage.start(counts, 1)
    stage.settle()
    stage.signal("more", 2)
    stage.signal("more", 3)
    stage.signal("more", 0, id="run~3")
    stage.play()


def _cancel_story(stage: Stage) -> None:
    stage.start(cancellable)
    stage.advance(100)
    stage.ask("run.cancel", "run", reason="enough")
    stage.settle()
    stage.ask("run.cancel", "run", reason="again")
    stage.play()


def _hours_story(stage: Stage) -> None:
    stage.settle()
    stage.turn()
    stage.advance(3 * 3600)


STORIES = [
    Told("chain", (chain,), _plain(chain), {"run": 3}),
    Told(
        "retries", (retries,), _plain(retries), {"run": "ok"},
        {"flaky": [ValueError("1"), ValueError("2"), "ok"]},
    ),
    Told(
        "retries end", (retries,), _plain(retries), {"run": "builtins:ValueError"},
        {"flaky": [ValueError(str(n)) for n in range(4)]},
    ),
    Told("sleeper", (sleeper,), _plain(sleeper), {}),
    Told("fan", (fan,), _plain(fan, 20), {"run": 380}),
    Told("fan of none", (fan,), _plain(fan, 0), {"run": 0}),
    Told("nested", (nested,), _plain(nested), {"run": [[2, 4], [1, 16], [1, 1], 1]}),
    Told("race", (racer,), _race_story, {"run": [0, "won"]}, {"slow": [HOLD] * 3}),
    Told(
        "timeout", (impatient,), _plain(impatient), {"run": "late"}, {"slow": [HOLD]}
    ),
    Told("saga", (compensates,), _plain(compensates), {"run": "builtins:ValueError"}),
    Told("saga in a branch", (branch_saga,), _plain(branch_saga), {"run": "caught no"}),
    Told("signals", (waits,), _waits_story, {"run": [1, 2, "none"]}),
    Told("events", (hears,), _hears_story, {"run": ["e4", {"size": 4}, "p1", ""]}),
    Told(
        "children", (parent, fan, chain), _plain(parent), {"run": [6, 3], "run/1.0": 6}
    ),
    Told("continue", (counts,), _counts_story, {"run~3": 6}),
    Told("cancel", (cancellable,), _cancel_story, {"run": "cancelled"}),
    Told(
        "rules", (marks, reward), _plain(marks),
        {"run": "run/2 True", "reward:run/3": {"total": 3}},
        {"flaky": [*[ValueError("x")] * 4, "a", "b"]},
    ),
    Told("schedule", (hourly,), _hours_story, {}),
]  # fmt: skip
