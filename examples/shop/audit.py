"""Reads the books of bank, warehouse and mailbox and says whether every order came out right.

    python audit.py --data FOLDER --orders orders.jsonl

It knows nothing of Batuta and trusts nobody's word for how an order ended: only money that
moved, parcels that left and mails that arrived count. An order is right when it was

- shipped once, paid once with its exact total, confirmed by one mail, or
- compensated: nothing paid on balance, nothing reserved or shipped, one mail of apology, or
- rejected: its cart was bad, and nothing at all happened.

A server that dies between sending a mail and noting that down sends it again with the same
Message-ID, which a mail program shows once. Mails count by their Message-ID here; repeats are
reported beside them.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

SHOP = "shop"
OUTCOMES = ("shipped", "compensated", "rejected")


@dataclass(frozen=True, slots=True)
class Order:
    """An order as the customer sent it; money in cents."""

    id: str
    email: str
    items: Counter[str]
    total: int
    card: str
    valid: bool


@dataclass(slots=True)
class Facts:
    """What the books say about one order."""

    charges: list[tuple[str, int]] = field(default_factory=list)  # account, cents
    refunds: list[tuple[str, int]] = field(default_factory=list)
    reservation: str | None = None
    shipments: list[Counter[str]] = field(default_factory=list)
    mails: set[tuple[str, str, str]] = field(default_factory=set)  # Message-ID, kind, recipients

    @property
    def paid(self) -> int:
        return sum(cents for _, cents in self.charges) - sum(cents for _, cents in self.refunds)

    def mails_of(self, kind: str) -> int:
        return sum(1 for _, found, _ in self.mails if found == kind)


@dataclass(slots=True)
class Books:
    """Everything that was read."""

    orders: dict[str, Order]
    facts: defaultdict[str, Facts] = field(default_factory=lambda: defaultdict(Facts))
    accounts: dict[str, tuple[int, int]] = field(default_factory=dict)  # opening, balance
    moved: Counter[str] = field(default_factory=Counter)  # account: sum of its ledger entries
    levels: dict[str, tuple[int, int]] = field(default_factory=dict)  # opening, level
    mails: int = 0
    repeated_mails: int = 0


@dataclass(slots=True)
class Report:
    """How many orders ended how, and everything that is wrong."""

    books: Books
    outcomes: Counter[str]
    violations: list[str]


def audit(data: Path, orders: Path) -> Report:
    """Read the books and judge every order and every sum."""
    books = Books({order.id: order for order in read_orders(orders)})
    read_bank(data / "bank.sqlite", books)
    read_stock(data / "stock.sqlite", books)
    read_mail(data / "mail.sqlite", books)
    outcomes: Counter[str] = Counter()
    violations = []
    for order in books.orders.values():
        outcome, complaints = judge(order, books.facts[order.id])
        outcomes[outcome] += 1
        violations += [f"{order.id} ({outcome}): {complaint}" for complaint in complaints]
    violations += wrong_sums(books)
    return Report(books, outcomes, violations)


# -- reading -------------------------------------------------------------------------------------


def read_orders(path: Path) -> Iterator[Order]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield read_order(json.loads(line))


def read_order(order: dict[str, Any]) -> Order:
    items: Counter[str] = Counter()
    for item in order["items"]:
        items[item["sku"]] += item["count"]
    total = Decimal(order["total"])
    right_total = sum(Decimal(item["price"]) * item["count"] for item in order["items"])
    counts = [item["count"] for item in order["items"]]
    valid = bool(counts) and min(counts) >= 1 and total == right_total
    return Order(order["id"], order["email"], items, int(total * 100), order["card"], valid)


def read_bank(path: Path, books: Books) -> None:
    for name, opening, balance in rows(path, "SELECT name, opening, balance FROM accounts"):
        books.accounts[name] = opening, balance
    entries = rows(path, "SELECT order_id, what, account, cents FROM ledger ORDER BY id")
    for order, what, account, cents in entries:
        books.moved[account] += cents
        if account != SHOP and what == "charge":
            books.facts[order].charges.append((account, -cents))
        elif account != SHOP:
            books.facts[order].refunds.append((account, cents))


def read_stock(path: Path, books: Books) -> None:
    for sku, opening, level in rows(path, "SELECT sku, opening, level FROM levels"):
        books.levels[sku] = opening, level
    for order, status in rows(path, "SELECT order_id, status FROM reservations"):
        books.facts[order].reservation = status
    for order, items in rows(path, "SELECT order_id, items FROM shipments"):
        books.facts[order].shipments.append(Counter(json.loads(items)))


def read_mail(path: Path, books: Books) -> None:
    found = "SELECT order_id, message_id, recipients, count(*) FROM messages GROUP BY 1, 2, 3"
    for order, message_id, recipients, count in rows(path, found):
        kind = message_id.partition("@")[0].rpartition(".")[2]
        books.facts[order].mails.add((message_id, kind, recipients))
        books.mails += 1
        books.repeated_mails += count - 1


def rows(path: Path, query: str) -> list[Any]:
    if not path.exists():
        raise SystemExit(f"{path} is not there: --data names the folder of the three books")
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as book:
        return book.execute(query).fetchall()


# -- judging -------------------------------------------------------------------------------------


def judge(order: Order, facts: Facts) -> tuple[str, list[str]]:
    """How the order came out, and what is wrong with that."""
    if not order.valid:
        complaints = [] if facts == Facts() else ["its cart was bad, but something happened"]
        return "rejected", complaints
    ended = wrong_shipped if facts.shipments else wrong_compensated
    complaints = [*ended(order, facts), *wrong_anyway(order, facts)]
    return "shipped" if facts.shipments else "compensated", complaints


def wrong_shipped(order: Order, facts: Facts) -> Iterator[str]:
    if len(facts.shipments) != 1:
        yield f"shipped {len(facts.shipments)} times"
    if any(items != order.items for items in facts.shipments):
        yield "other items left than were ordered"
    if facts.reservation != "shipped":
        yield f"its reservation is {facts.reservation}"
    if facts.paid != order.total or facts.refunds:
        yield f"paid {euro(facts.paid)} on balance, its total is {euro(order.total)}"
    if facts.mails_of("confirmation") != 1:
        yield f"{facts.mails_of('confirmation')} confirmations"
    if facts.mails_of("apology"):
        yield "apologised for, though it was shipped"


def wrong_compensated(order: Order, facts: Facts) -> Iterator[str]:
    if facts.paid:
        yield f"paid {euro(facts.paid)} on balance, though it was not shipped"
    if facts.reservation not in (None, "released"):
        yield f"its items are still {facts.reservation}"
    if facts.mails_of("apology") != 1:
        yield f"{facts.mails_of('apology')} apologies"
    if facts.mails_of("confirmation") > 1:
        yield f"{facts.mails_of('confirmation')} confirmations"


def wrong_anyway(order: Order, facts: Facts) -> Iterator[str]:
    if len(facts.charges) > 1:
        yield f"charged {len(facts.charges)} times"
    if any(cents != order.total for _, cents in facts.charges):
        yield f"a charge is not its total of {euro(order.total)}"
    if any(account != order.card for account, _ in facts.charges + facts.refunds):
        yield "money moved on somebody else's card"
    if any(recipients != order.email for _, _, recipients in facts.mails):
        yield "a mail went to somebody else"


def wrong_sums(books: Books) -> Iterator[str]:
    """Money and goods are neither made nor lost, and belong to orders that exist."""
    for stranger in sorted(books.facts.keys() - books.orders.keys()):
        yield f"{stranger}: nobody ordered this"
    for name, (opening, balance) in books.accounts.items():
        if balance != opening + books.moved[name]:
            yield f"account {name}: {euro(balance)} is not what its ledger adds up to"
    for name in books.moved.keys() - books.accounts.keys():
        yield f"account {name}: in the ledger only"
    if total := sum(books.moved.values()):
        yield f"ledger: its entries add up to {euro(total)} instead of nothing"
    shipped = [books.orders[id] for id, facts in known(books) if facts.shipments]
    earned, due = books.moved[SHOP], sum(order.total for order in shipped)
    if earned != due:
        yield f"shop: earned {euro(earned)}, but the orders it shipped cost {euro(due)}"
    left = Counter[str]()
    for order in shipped:
        left.update(order.items)
    for sku, (opening, level) in books.levels.items():
        if opening - level != left[sku]:
            yield f"stock {sku}: {opening - level} pieces are gone, {left[sku]} were shipped"


def known(books: Books) -> Iterable[tuple[str, Facts]]:
    return [(id, facts) for id, facts in books.facts.items() if id in books.orders]


# -- telling -------------------------------------------------------------------------------------


def euro(cents: int) -> str:
    return f"{Decimal(cents).scaleb(-2):,} €"


def table(report: Report) -> Iterator[tuple[str, str]]:
    """What to print, a name and a value for each line."""
    books = report.books
    facts = list(books.facts.values())
    refunds = [cents for fact in facts for _, cents in fact.refunds]
    yield "orders", f"{len(books.orders):,}"
    for outcome in OUTCOMES:
        yield f"  {outcome}", f"{report.outcomes[outcome]:,}"
    yield "refunds", f"{len(refunds):,}  ({euro(sum(refunds))})"
    yield "earned", euro(books.moved[SHOP])
    yield "parcels", f"{sum(len(fact.shipments) for fact in facts):,}"
    yield "mails", f"{books.mails:,}  ({books.repeated_mails} of them arrived more than once)"
    yield "violations", f"{len(report.violations):,}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Audit bank, warehouse and mailbox of the shop.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the three books")
    parser.add_argument("--orders", type=Path, default=Path(__file__).with_name("orders.jsonl"))
    options = parser.parse_args()
    report = audit(options.data, options.orders)
    for name, value in table(report):
        print(f"{name:<14}{value:>14}" if "(" not in value else f"{name:<14}{value}")
    for violation in report.violations:
        print(f"violation: {violation}", file=sys.stderr)
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
