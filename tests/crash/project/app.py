"""Workflows whose every effect is written into a file: the ground truth of the crash tests."""

from __future__ import annotations

import os
import time

from batuta import (
    current,
    emit,
    event,
    gather,
    queue,
    retry,
    saga,
    signal,
    sleep,
    start,
    step,
    workflow,
)

EFFECTS = os.environ["CRASH_EFFECTS"]
NAME = os.environ["CRASH_SERVER"]

queue("narrow", concurrency=10)


def note(what: str) -> None:
    """One line, written at once: begin or end, command, attempt, server, time in ns."""
    here = current()
    line = f"{what} {here.id} {here.attempt} {NAME} {time.time_ns()}\n"
    file = os.open(EFFECTS, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


def work(pause_s: float) -> None:
    """What every step does."""
    note("begin")
    time.sleep(pause_s)
    note("end")


@step
def undone(n: int) -> int:
    work(0.001)
    return n


@step(undo=undone)
def charge(n: int) -> int:
    work(0.004)
    return n * 2


@step(retry=retry(5, initial="20ms", backoff=1.5, jitter=0))
def flaky(n: int) -> int:
    note("begin")
    if current().attempt <= n % 3:
        raise ConnectionError(f"attempt {current().attempt}")
    note("end")
    return n + 1


@step(queue="narrow")
def narrow(n: int) -> int:
    work(0.03)
    return n


@step
def slow(n: int) -> int:
    work(0.4)
    return n


@step
def declined(n: int) -> int:
    note("begin")
    raise ValueError(f"declined {n}")


@step
def unsteady(n: int, tries: int) -> int:
    note("begin")
    if tries < n % 3:
        raise ConnectionError(f"try {tries}")
    note("end")
    return n + 1


@step
def tiny(n: int) -> int:
    work(0)
    return -n


@workflow
async def child(n: int) -> int:
    await sleep("30ms")
    return await flaky(n)


@workflow
async def beside(n: int) -> int:
    value = await charge(n)
    await emit("beside.done", subject=f"beside-{n}", data={"n": n})
    return value


@workflow
async def plain(n: int) -> int:
    a = await charge(n)
    b, c = await gather(flaky(n), charge(n + 1))
    await sleep("50ms")
    d = await child(n)
    return a + b + c + d


@workflow
async def asks(n: int) -> int:
    a = await charge(n)
    b = await signal("answer", int, within="1 day")
    return a + b


@workflow
async def undoes(n: int) -> str:
    try:
        async with saga():
            await charge(n)
            await flaky(n)
            await declined(n)
    except ValueError as error:
        return str(error)
    return "not declined"


@workflow
async def waits(n: int) -> int:
    await start(beside(n), id=f"beside-of-{n}")
    done = await event("ping", subject=f"ping-{n}", within="1 day")
    return int(done.data["n"]) + await charge(n)


@workflow
async def pings(n: int) -> int:
    await charge(n)
    await emit("ping", subject=f"ping-{n}", data={"n": n})
    return n


@workflow
async def narrows(n: int) -> int:
    return sum(await gather(*[narrow(n + i) for i in range(4)]))


@workflow
async def slows(n: int) -> int:
    a = await slow(n)
    return a + await slow(n + 1)


def expected(flow: str, given: object) -> object:
    """What a run of a workflow or a state machine has to give."""
    n = given["n"] if isinstance(given, dict) else given
    assert isinstance(n, int)
    results: dict[str, object] = {
        "plain": 2 * n + (n + 1) + 2 * (n + 1) + (n + 1),
        "asks": 2 * n + n + 7,
        "undoes": f"declined {n}",
        "waits": n + 2 * n,
        "pings": n,
        "beside": 2 * n,
        "narrows": 4 * n + 6,
        "slows": 2 * n + 1,
        "parcel": 2 * n + (n + 1) + 2 * (n + 1) + 2 * (1 + 2 + 3) + n,
    }
    return results[flow]
