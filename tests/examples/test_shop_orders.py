"""The example's orders are what its seed makes, and hold every kind of trouble."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from pathlib import Path

from examples.shop import make_orders
from examples.shop.audit import read_orders

SHOP = Path(make_orders.__file__).parent


def test_the_committed_files_are_what_the_seed_makes(tmp_path: Path) -> None:
    make_orders.write(tmp_path, make_orders.ORDERS, make_orders.SEED)
    for name in ("orders.jsonl", "catalogue.json"):
        assert (tmp_path / name).read_bytes() == (SHOP / name).read_bytes()


def test_another_seed_makes_other_orders() -> None:
    assert make_orders.make_orders(5, 1) != make_orders.make_orders(5, 2)


def test_fewer_orders_are_the_first_of_more() -> None:
    assert make_orders.make_orders(20, 7) == make_orders.make_orders(50, 7)[:20]


def test_the_orders_hold_every_kind_of_trouble() -> None:
    orders = list(read_orders(SHOP / "orders.jsonl"))
    assert len({order.id for order in orders}) == 1000
    assert 15 <= sum(not order.valid for order in orders) <= 60
    cards = Counter(order.card.split("-")[1] for order in orders)
    assert min(cards[kind] for kind in ("empty", "stolen", "slow")) >= 3
    wanted: Counter[str] = Counter()
    for order in orders:
        wanted.update(order.items)
    for sku, (_, stock) in make_orders.CATALOGUE.items():
        assert (wanted[sku] > stock) == (sku in make_orders.SCARCE)


def test_totals_are_decimal_text_and_exact() -> None:
    for order in make_orders.make_orders(200, 3):
        assert Decimal(order["total"]).as_tuple().exponent == -2
        assert json.loads(json.dumps(order)) == order
