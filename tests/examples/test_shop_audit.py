"""The audit passes a right world, and sees every way to break it."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from examples.shop import audit as audit_module
from examples.shop.audit import Report, audit
from examples.shop.services.bank import bank
from examples.shop.services.mail import Mailbox
from examples.shop.services.stock import stock
from examples.shop.services.web import Service

ORDERS = {
    "shipped": ("card-good-1", 2, "25.00"),
    "shipped-too": ("card-good-2", 1, "12.50"),
    "sold-out": ("card-good-3", 99, "1237.50"),
    "no-carrier": ("card-good-4", 1, "12.50"),
    "declined": ("card-empty-5", 1, "12.50"),
    "bad-cart": ("card-good-6", 1, "12.51"),
}


class World:
    """Three books and a list of orders, filled as a checkout without any crash would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.orders = folder / "orders.jsonl"
        lines = [json.dumps(order_line(id)) + "\n" for id in ORDERS]
        self.orders.write_text("".join(lines))
        self.bank = bank(folder / "bank.sqlite")
        self.stock = stock(folder / "stock.sqlite", {"tea": 10, "pot": 3})
        self.mail = Mailbox(folder / "mail.sqlite")
        with closing(self.bank), closing(self.stock), closing(self.mail):
            self.live()

    def live(self) -> None:
        for id, (card, count, total) in ORDERS.items():
            if id == "bad-cart":
                continue
            paid = ask(self.bank, "/charges", id, card=card, amount=total)
            reserved = paid and ask(self.stock, "/reservations", id, items=[["tea", count]])
            if reserved:
                self.send(id, "confirmation")
            if reserved and id != "no-carrier":
                ask(self.stock, "/shipments", id)
                continue
            ask(self.stock, "/releases", id)
            ask(self.bank, "/refunds", id)
            self.send(id, "apology")

    def send(self, id: str, kind: str) -> None:
        headers = f"Message-ID: <{id}.{kind}@shop.example>\r\nX-Order: {id}\r\n\r\n"
        self.mail.keep("shop@shop.example", [f"{id}@example.org"], headers.encode())

    def change(self, book: str, sql: str) -> None:
        with closing(sqlite3.connect(self.folder / f"{book}.sqlite")) as database, database:
            assert database.execute(sql).rowcount > 0

    def audit(self) -> Report:
        return audit(self.folder, self.orders)


def order_line(id: str) -> dict[str, Any]:
    card, count, total = ORDERS[id]
    items = [{"sku": "tea", "count": count, "price": "12.50"}]
    return {"id": id, "email": f"{id}@example.org", "items": items, "total": total, "card": card}


def ask(service: Service, path: str, order: str, **more: Any) -> bool:
    return service.post(path, f"{order}{path}", {"order": order, **more}).status < 400


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_right_world_passes(world: World) -> None:
    report = world.audit()
    assert report.violations == []
    assert report.outcomes == {"shipped": 2, "compensated": 3, "rejected": 1}
    assert (report.books.mails, report.books.repeated_mails) == (6, 0)


def test_a_repeated_mail_is_reported_but_right(world: World) -> None:
    columns = "message_id, sender, recipients, subject, order_id, raw"
    repeat = f"INSERT INTO messages ({columns}) SELECT {columns} FROM messages"
    world.change("mail", f"{repeat} WHERE order_id = 'shipped'")
    report = world.audit()
    assert (report.violations, report.books.repeated_mails) == ([], 1)


PARCEL = "INSERT INTO shipments (order_id, items) VALUES"
MESSAGE = "INSERT INTO messages (message_id, sender, recipients, subject, order_id, raw) VALUES"


def entries(order: str, what: str, card: str, cents: int) -> str:
    both = f"('{order}', '{what}', '{card}', {cents}), ('{order}', '{what}', 'shop', {-cents})"
    return f"INSERT INTO ledger (order_id, what, account, cents) VALUES {both}"


BREAKS = {
    "one cent less earned": (
        "bank",
        "UPDATE ledger SET cents = cents - 1 WHERE account = 'shop' AND order_id = 'shipped'",
        "ledger: its entries add up to -0.01 €",
    ),
    "one cent more charged": (
        "bank",
        "UPDATE ledger SET cents = cents - 1 WHERE account != 'shop' AND order_id = 'shipped'",
        "shipped (shipped): paid 25.01 € on balance, its total is 25.00 €",
    ),
    "one cent gone from a balance": (
        "bank",
        "UPDATE accounts SET balance = balance - 1 WHERE name = 'card-good-1'",
        "account card-good-1: 4,974.99 € is not what its ledger adds up to",
    ),
    "one cent gone from the shop": (
        "bank",
        "UPDATE accounts SET balance = balance - 1 WHERE name = 'shop'",
        "account shop: 37.49 € is not what its ledger adds up to",
    ),
    "a lost refund": (
        "bank",
        "DELETE FROM ledger WHERE what = 'refund' AND order_id = 'sold-out'",
        "sold-out (compensated): paid 1,237.50 € on balance, though it was not shipped",
    ),
    "a second charge": (
        "bank",
        entries("shipped", "charge", "card-good-1", -2500),
        "shipped (shipped): charged 2 times",
    ),
    "a refund of a shipped order": (
        "bank",
        entries("shipped", "refund", "card-good-1", 2500),
        "shipped (shipped): paid 0.00 € on balance, its total is 25.00 €",
    ),
    "somebody else pays": (
        "bank",
        "UPDATE ledger SET account = 'card-good-2' WHERE account = 'card-good-1'",
        "shipped (shipped): money moved on somebody else's card",
    ),
    "money for nothing": (
        "bank",
        entries("ghost", "charge", "card-good-1", -1),
        "ghost: nobody ordered this",
    ),
    "an account that was never opened": (
        "bank",
        "DELETE FROM accounts WHERE name = 'card-good-1'",
        "account card-good-1: in the ledger only",
    ),
    "a bad cart that was charged": (
        "bank",
        entries("bad-cart", "charge", "card-good-6", -1251),
        "bad-cart (rejected): its cart was bad, but something happened",
    ),
    "a doubled shipment": (
        "stock",
        f"{PARCEL} ('shipped', '{{\"tea\": 2}}')",
        "shipped (shipped): shipped 2 times",
    ),
    "a lost shipment": (
        "stock",
        "DELETE FROM shipments WHERE order_id = 'shipped'",
        "shipped (compensated): paid 25.00 € on balance, though it was not shipped",
    ),
    "other items shipped": (
        "stock",
        "UPDATE shipments SET items = '{\"pot\": 2}' WHERE order_id = 'shipped'",
        "shipped (shipped): other items left than were ordered",
    ),
    "a lost release": (
        "stock",
        "UPDATE reservations SET status = 'reserved' WHERE order_id = 'no-carrier'",
        "no-carrier (compensated): its items are still reserved",
    ),
    "a shipment without reservation": (
        "stock",
        "DELETE FROM reservations WHERE order_id = 'shipped'",
        "shipped (shipped): its reservation is None",
    ),
    "one piece gone": (
        "stock",
        "UPDATE levels SET level = level - 1 WHERE sku = 'tea'",
        "stock tea: 4 pieces are gone, 3 were shipped",
    ),
    "one piece too many": (
        "stock",
        "UPDATE levels SET level = level + 1 WHERE sku = 'pot'",
        "stock pot: -1 pieces are gone, 0 were shipped",
    ),
    "a missing confirmation": (
        "mail",
        "DELETE FROM messages WHERE order_id = 'shipped'",
        "shipped (shipped): 0 confirmations",
    ),
    "a second confirmation": (
        "mail",
        f"{MESSAGE} ('<2.confirmation@x>', '', 'shipped@example.org', '', 'shipped', '')",
        "shipped (shipped): 2 confirmations",
    ),
    "a missing apology": (
        "mail",
        "DELETE FROM messages WHERE order_id = 'declined'",
        "declined (compensated): 0 apologies",
    ),
    "an apology for a shipped order": (
        "mail",
        f"{MESSAGE} ('<shipped.apology@x>', '', 'shipped@example.org', '', 'shipped', '')",
        "shipped (shipped): apologised for, though it was shipped",
    ),
    "a second confirmation of what never came": (
        "mail",
        f"{MESSAGE} ('<2.confirmation@x>', '', 'no-carrier@example.org', '', 'no-carrier', '')",
        "no-carrier (compensated): 2 confirmations",
    ),
    "a mail to somebody else": (
        "mail",
        "UPDATE messages SET recipients = 'eve@example.org' WHERE order_id = 'shipped'",
        "shipped (shipped): a mail went to somebody else",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_what_is_broken_is_seen(world: World, name: str) -> None:
    book, sql, complaint = BREAKS[name]
    world.change(book, sql)
    violations = world.audit().violations
    assert any(found.startswith(complaint) for found in violations), violations


def test_an_order_that_never_ran_is_seen(world: World) -> None:
    line = {**order_line("shipped"), "id": "forgotten"}
    with world.orders.open("a") as orders:
        orders.write(json.dumps(line) + "\n")
    assert world.audit().violations == ["forgotten (compensated): 0 apologies"]


@pytest.mark.parametrize(("broken", "code"), [(False, 0), (True, 1)])
def test_the_command_prints_counts_and_violations(world: World, broken: bool, code: int) -> None:
    if broken:
        world.change("bank", "UPDATE accounts SET balance = balance + 1 WHERE name = 'shop'")
    command = [sys.executable, audit_module.__file__, "--data", str(world.folder)]
    done = subprocess.run(
        [*command, "--orders", str(world.orders)], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == code
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert (lines["orders"], lines["shipped"], lines["compensated"]) == ("6", "2", "3")
    assert lines["earned"] == "37.50 €"
    assert lines["violations"] == str(code)
    assert ("violation: account shop" in done.stderr) == broken


def test_missing_books_are_named(world: World) -> None:
    (world.folder / "stock.sqlite").unlink()
    with pytest.raises(SystemExit, match=r"stock\.sqlite is not there"):
        world.audit()
