"""Read by mypy, never run: a line that has to be an error says so; mypy says where it is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, assert_type

from batuta import (
    Event,
    HttpResult,
    Run,
    ShellResult,
    event,
    gather,
    http,
    on,
    race,
    saga,
    sh,
    signal,
    sleep,
    start,
    step,
    timeout,
    workflow,
)


@dataclass(frozen=True)
class Order:
    id: str


@dataclass(frozen=True)
class Receipt:
    id: str


@step
def refund(receipt: Receipt) -> None: ...


@step(timeout="30s", undo=refund)
async def charge(order: Order, *, fast: bool = False) -> Receipt:
    return Receipt(order.id)


@step
def plain(n: int) -> str:
    return str(n)


@step(repeatable=True)
def counted() -> int:
    return 1


@workflow
async def child(n: int) -> bytes:
    return bytes(n)


@workflow(name="shop", deadline="1 day")
async def checkout(order: Order) -> str:
    assert_type(await charge(order), Receipt)
    assert_type(await charge(order, fast=True), Receipt)
    assert_type(await plain(3), str)
    assert_type(await counted(), int)
    assert_type(await child(3), bytes)
    await charge()  # type: ignore[call-arg]
    await charge("order")  # type: ignore[arg-type]
    await charge(order, fast="no")  # type: ignore[arg-type]
    await charge(order, slow=True)  # type: ignore[call-arg]
    await plain("3")  # type: ignore[arg-type]
    await child("3")  # type: ignore[arg-type]

    assert_type(await gather(plain(1), counted()), tuple[str, int])
    assert_type(await gather(plain(1), sleep("1s"), child(2)), tuple[str, None, bytes])
    assert_type(await gather(*[counted() for _ in range(3)]), tuple[int, ...])
    assert_type(await race(plain(1), plain(2)), tuple[int, str])
    assert_type(await timeout(charge(order), "10s"), Receipt)
    timeout(3, "10s")  # type: ignore[arg-type]
    gather(1)  # type: ignore[call-overload]

    assert_type(await signal("approve", bool), bool)
    assert_type(await signal("any"), Any)
    assert_type(await sh("true"), ShellResult)
    assert_type(await http("GET", "http://shop.example"), HttpResult)
    await event("parcel", within="1 day")
    await start(child, 3)
    await start(child(3), id="x")

    async with saga() as undo:
        receipt = await charge(order)
        undo(refund, receipt)
        undo(refund, order)  # type: ignore[arg-type]
        undo(refund)  # type: ignore[call-arg]
        undo(charge, order, fast=True)
        undo(charge, order, quick=True)  # type: ignore[call-arg]
    return receipt.id


@on("order.paid")
async def reward(paid: Event) -> None:
    assert_type(paid.subject, str)


def outside(order: Order) -> None:
    run: Run[str] = start(checkout, order)
    assert_type(run.result(), str)
    start(checkout(order), id="x")
    checkout("order")  # type: ignore[arg-type]


@workflow  # type: ignore[arg-type]
def not_async(n: int) -> int:
    return n
