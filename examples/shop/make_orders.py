"""Makes the shop's morning: orders with good and bad carts, and a catalogue that partly runs out.

python make_orders.py                  # writes orders.jsonl and catalogue.json beside this file
python make_orders.py --orders 50 --seed 7 --into small
"""

from __future__ import annotations

import argparse
import json
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")

SEED = 2026
ORDERS = 1000

# SKU: price in euro, pieces in stock. The last three sell out long before the orders end.
CATALOGUE = {
    "tea-sencha": ("8.90", 9000),
    "tea-assam": ("6.45", 9000),
    "tea-rooibos": ("5.20", 9000),
    "tea-darjeeling": ("11.75", 9000),
    "pot-glass": ("34.00", 5000),
    "pot-iron": ("79.90", 5000),
    "cup-white": ("7.15", 9000),
    "cup-blue": ("7.15", 9000),
    "whisk-bamboo": ("13.99", 5000),
    "tin-small": ("3.33", 9000),
    "tin-large": ("4.99", 9000),
    "kettle": ("54.50", 5000),
    "strainer": ("9.05", 9000),
    "cup-first-edition": ("120.00", 4),
    "tea-first-flush": ("42.42", 9),
    "pot-by-hand": ("249.95", 3),
}
SCARCE = ("cup-first-edition", "tea-first-flush", "pot-by-hand")
PLENTY = tuple(sku for sku in CATALOGUE if sku not in SCARCE)
FIRST = ("Ada", "Bela", "Chidi", "Dana", "Emil", "Fatou", "Goran", "Hana", "Ines", "Jonas")
LAST = ("Abel", "Berg", "Cruz", "Dogan", "Eriksen", "Fabre", "Gomez", "Hartl", "Ito", "Jansen")

# What is odd about an order: share of all orders, and the word in its card's token.
DECLINED, STOLEN, SLOW, BAD_CART, WANTS_SCARCE = 0.03, 0.01, 0.006, 0.03, 0.06


def make_orders(count: int, seed: int) -> list[dict[str, Any]]:
    """The first `count` orders of this seed; a longer list begins with the shorter one."""
    return [make_order(number, Random(f"{seed}/{number}")) for number in range(1, count + 1)]


def make_order(number: int, chance: Random) -> dict[str, Any]:
    """One order, from random numbers that no other order shares."""
    first, last = pick(chance, FIRST), pick(chance, LAST)
    items = [make_item(chance) for _ in range(1 + int(chance.random() * 4))]
    order: dict[str, Any] = {
        "id": f"order-{number:04}",
        "customer": f"{first} {last}",
        "email": f"{first}.{last}.{number}@example.org".lower(),
        "items": items,
        "total": str(sum(Decimal(item["price"]) * item["count"] for item in items)),
        "card": make_card(chance),
    }
    return spoil(order, chance) if chance.random() < BAD_CART else order


def make_item(chance: Random) -> dict[str, Any]:
    sku = pick(chance, SCARCE if chance.random() < WANTS_SCARCE / 2 else PLENTY)
    return {"sku": sku, "count": 1 + int(chance.random() * 3), "price": CATALOGUE[sku][0]}


def make_card(chance: Random) -> str:
    """A token as a payment provider gives it out; its middle tells the bank how to behave."""
    luck, digits = chance.random(), f"{int(chance.random() * 100_000_000):08}"
    for share, kind in ((DECLINED, "empty"), (STOLEN, "stolen"), (SLOW, "slow")):
        if luck < share:
            return f"card-{kind}-{digits}"
        luck -= share
    return f"card-good-{digits}"


def spoil(order: dict[str, Any], chance: Random) -> dict[str, Any]:
    """The same order with a cart that no shop may accept."""
    wrong_total = str(Decimal(order["total"]) + Decimal("0.01"))
    none_of_it = [{**order["items"][0], "count": 0}, *order["items"][1:]]
    less_than_none = [*order["items"], {"sku": "kettle", "count": -1, "price": "54.50"}]
    ways: tuple[dict[str, Any], ...] = (
        {"items": [], "total": "0.00"},
        {"total": wrong_total},
        {"items": none_of_it},
        {"items": less_than_none, "total": str(Decimal(order["total"]) - Decimal("54.50"))},
    )
    return {**order, **pick(chance, ways)}


def pick(chance: Random, options: tuple[T, ...]) -> T:
    # Of all of Random only random() is promised to be the same in every version of Python.
    return options[int(chance.random() * len(options))]


def write(folder: Path, count: int, seed: int) -> None:
    """Write `orders.jsonl` and `catalogue.json` into a folder."""
    lines = (json.dumps(order) + "\n" for order in make_orders(count, seed))
    (folder / "orders.jsonl").write_text("".join(lines), encoding="utf-8")
    catalogue = {sku: {"price": price, "stock": stock} for sku, (price, stock) in CATALOGUE.items()}
    text = json.dumps(catalogue, indent=2) + "\n"
    (folder / "catalogue.json").write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--orders", type=int, default=ORDERS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--into", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    write(options.into, options.orders, options.seed)


if __name__ == "__main__":
    main()
