"""The checkout of an online shop: validate, pay, reserve, confirm, ship; or take it all back."""

import os
import smtplib
from dataclasses import dataclass
from decimal import Decimal
from email.mime.text import MIMEText
from typing import Any

import httpx

from batuta import NotRetryable, TimedOut, retry, saga, set_attributes, step, workflow

BANK = os.environ.get("SHOP_BANK", "http://127.0.0.1:8701")
STOCK = os.environ.get("SHOP_STOCK", "http://127.0.0.1:8702")
MAIL = os.environ.get("SHOP_MAIL", "127.0.0.1:8703")
web = httpx.Client(timeout=1)
few_tries = retry(4, initial="100ms")  # 100 ms, 200 ms, 400 ms
many_tries = retry(20, initial="100ms", maximum="10s")


@dataclass(frozen=True)
class Item:
    sku: str
    count: int
    price: Decimal


@dataclass(frozen=True)
class Order:
    id: str
    customer: str
    email: str
    items: list[Item]
    total: Decimal
    card: str


class Refused(NotRetryable):
    """A definite no: trying again cannot help."""


class Unavailable(Exception):
    """No answer, or none that says what happened: trying again may help."""


@workflow
async def checkout(order: Order) -> str:
    await validate(order)  # a bad cart ends the run here: nothing was done yet
    try:
        async with saga() as undo:
            # Noted down before the charge: when the bank does not answer in time, nobody
            # knows whether it charged. To refund what was never charged does no harm.
            undo(refund, order.id)
            await pay(order)
            undo(release, order.id)
            await reserve(order)
            await send_mail(order, "confirmation", f"Thank you for your {order.total} euro.")
            return f"shipped: {await ship(order)}"
    except (Refused, Unavailable, TimedOut) as reason:
        await send_mail(order, "apology", f"We cannot deliver: {reason}. You pay nothing.")
        await set_attributes(outcome="compensated")  # `batuta ps` can search for it
        return f"compensated: {reason}"


@step
def validate(order: Order) -> None:
    if not order.items or any(item.count < 1 for item in order.items):
        raise Refused("there is nothing in the cart")
    if order.total != sum(item.price * item.count for item in order.items):
        raise Refused("the total is not the sum of the items")


@step(retry=few_tries, timeout="5s")
def pay(order: Order) -> None:
    post(BANK, "/charges", order.id, card=order.card, amount=str(order.total))


@step(retry=many_tries, timeout="5s")
def refund(order: str) -> None:
    post(BANK, "/refunds", order)


@step(retry=few_tries, timeout="5s")
def reserve(order: Order) -> None:
    post(STOCK, "/reservations", order.id, items=[(item.sku, item.count) for item in order.items])


@step(retry=many_tries, timeout="5s")
def release(order: str) -> None:
    post(STOCK, "/releases", order)


@step(retry=many_tries, timeout="5s")
def ship(order: Order) -> str:
    return str(post(STOCK, "/shipments", order.id)["parcel"])


@step(retry=many_tries, timeout="5s")
def send_mail(order: Order, kind: str, text: str) -> None:
    mail = MIMEText(f"Dear {order.customer},\n\n{text}\n")
    mail["From"], mail["To"], mail["X-Order"] = "shop@shop.example", order.email, order.id
    mail["Subject"] = f"Your order {order.id}: {kind}"
    mail["Message-ID"] = f"<{order.id}.{kind}@shop.example>"  # the same one if it is sent again
    with smtplib.SMTP(MAIL, local_hostname="shop.example", timeout=2) as server:
        server.send_message(mail)


def post(service: str, path: str, order: str, **more: Any) -> Any:
    """Ask a service; every try has the same key, under which the service acts only once."""
    body, key = {"order": order, **more}, {"Idempotency-Key": f"{order}{path}"}
    try:
        answer = web.post(service + path, json=body, headers=key)
    except httpx.TransportError as error:
        raise Unavailable(f"no answer from {path}: {error}") from error
    if answer.is_success:
        return answer.json()
    raise (Refused if answer.is_client_error else Unavailable)(answer.json()["error"])
