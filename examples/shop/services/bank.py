"""A bank: it charges cards and gives money back. `python -m services.bank --port 8701`

    POST /charges {"order", "card", "amount"}   201, or 402: the card is declined
    POST /refunds {"order"}                     200: what was charged, if anything, is given back

Money is whole cents in a ledger of double entries. A refund that arrives before its charge
closes the order: a charge that was slow on its way finds the door shut.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from .web import Answer, BadDay, Service, options, serve  # noqa: TID252 - the folder can be copied

SHOP = "shop"
OPENING = {"good": 500_000, "slow": 500_000, "empty": 1, "stolen": 500_000}  # cents on a new card
SCHEMA = """
CREATE TABLE IF NOT EXISTS accounts (
    name TEXT PRIMARY KEY, opening INTEGER NOT NULL, balance INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS ledger (
    id INTEGER PRIMARY KEY, order_id TEXT NOT NULL, what TEXT NOT NULL,
    account TEXT NOT NULL REFERENCES accounts, cents INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS ledger_order ON ledger (order_id);
CREATE TABLE IF NOT EXISTS closed (order_id TEXT PRIMARY KEY);
INSERT OR IGNORE INTO accounts VALUES ('shop', 0, 0);
"""


def charge(bank: sqlite3.Connection, request: Mapping[str, Any]) -> Answer:
    """Move the amount from the card to the shop."""
    order, card, cents = request["order"], request["card"], to_cents(request["amount"])
    kind = card.split("-")[1]
    if bank.execute("SELECT 1 FROM closed WHERE order_id = ?", (order,)).fetchone():
        return Answer(409, {"error": f"{order} was refunded already"})
    if kind == "stolen":
        return Answer(402, {"error": "this card is reported stolen"})
    opening = OPENING[kind]
    bank.execute("INSERT OR IGNORE INTO accounts VALUES (?, ?, ?)", (card, opening, opening))
    find = "SELECT balance FROM accounts WHERE name = ?"
    if bank.execute(find, (card,)).fetchone()[0] < cents:
        return Answer(402, {"error": "there is not enough money on this card"})
    transfer(bank, order, "charge", card, SHOP, cents)
    receipt = {"receipt": f"receipt-{order}", "order": order, "amount": to_text(cents)}
    return Answer(201, receipt, late=kind == "slow")


def refund(bank: sqlite3.Connection, request: Mapping[str, Any]) -> Answer:
    """Give back what is still charged for the order, and let nothing more be charged for it."""
    order = request["order"]
    bank.execute("INSERT OR IGNORE INTO closed VALUES (?)", (order,))
    find = "SELECT account, -sum(cents) FROM ledger WHERE order_id = ? AND account != ? GROUP BY 1"
    paid = bank.execute(find, (order, SHOP)).fetchall()
    for card, cents in paid:
        if cents > 0:
            transfer(bank, order, "refund", SHOP, card, cents)
    return Answer(200, {"order": order, "refunded": to_text(sum(cents for _, cents in paid))})


def transfer(
    bank: sqlite3.Connection, order: str, what: str, source: str, target: str, cents: int
) -> None:
    """Write both entries and both balances."""
    entries = [(order, what, source, -cents), (order, what, target, cents)]
    write = "INSERT INTO ledger (order_id, what, account, cents) VALUES (?, ?, ?, ?)"
    bank.executemany(write, entries)
    change = "UPDATE accounts SET balance = balance + ? WHERE name = ?"
    bank.executemany(change, [(-cents, source), (cents, target)])


def to_cents(amount: str) -> int:
    """`"12.30"` as 1230; a fraction of a cent is an error."""
    cents = Decimal(amount) * 100
    if cents != cents.to_integral_value() or cents <= 0:
        raise ValueError(f"{amount} is not an amount of money")
    return int(cents)


def to_text(cents: int) -> str:
    return str(Decimal(cents).scaleb(-2))


def bank(database: Path, bad_day: BadDay | None = None) -> Service:
    """The bank over its file."""
    return Service(database, SCHEMA, {"/charges": charge, "/refunds": refund}, bad_day)


def main() -> None:
    asked = options("A bank that charges cards and gives money back.")
    down, late = {"/charges": 0.06, "/refunds": 0.04}, {"/charges": 0.03}
    serve(bank(asked.data / "bank.sqlite", BadDay(asked.seed, down, late)), asked.port)


if __name__ == "__main__":
    main()
