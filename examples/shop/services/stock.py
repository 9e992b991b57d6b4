"""A warehouse: it reserves, releases and ships. `python -m services.stock --port 8702`

    POST /reservations {"order", "items"}  201, or 409: sold out; items are [[sku, count], …]
    POST /releases     {"order"}           200: what was reserved, if anything, is back
    POST /shipments    {"order"}           201 with the parcel, or 422: no carrier takes it

A release that arrives before its reservation closes the order, as the bank's refund does.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .web import (  # noqa: TID252 - the folder can be copied
    Answer,
    BadDay,
    Route,
    Service,
    chance,
    options,
    serve,
)

NO_CARRIER = 0.015  # of all orders, for good
SCHEMA = """
CREATE TABLE IF NOT EXISTS levels (
    sku TEXT PRIMARY KEY, opening INTEGER NOT NULL, level INTEGER NOT NULL CHECK (level >= 0)
);
CREATE TABLE IF NOT EXISTS reservations (
    order_id TEXT PRIMARY KEY, status TEXT NOT NULL, items TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS shipments (
    parcel INTEGER PRIMARY KEY, order_id TEXT NOT NULL, items TEXT NOT NULL
);
"""


def reserve(stock: sqlite3.Connection, request: Mapping[str, Any]) -> Answer:
    """Take all the items off the shelf, or none."""
    order, wanted = request["order"], wanted_items(request)
    if status(stock, order) is not None:
        return Answer(409, {"error": f"{order} was released already"})
    levels = dict(stock.execute("SELECT sku, level FROM levels").fetchall())
    for sku, count in wanted.items():
        if levels.get(sku, 0) < count:
            return Answer(409, {"error": f"{sku} is sold out"})
    change = "UPDATE levels SET level = level - ? WHERE sku = ?"
    stock.executemany(change, [(count, sku) for sku, count in wanted.items()])
    row = (order, "reserved", json.dumps(wanted))
    stock.execute("INSERT INTO reservations VALUES (?, ?, ?)", row)
    return Answer(201, {"order": order, "reserved": wanted})


def release(stock: sqlite3.Connection, request: Mapping[str, Any]) -> Answer:
    """Put back what is reserved, and let nothing more be reserved for the order."""
    order = request["order"]
    before = status(stock, order)
    if before == "shipped":
        return Answer(409, {"error": f"{order} was shipped already"})
    if before is None:
        stock.execute("INSERT INTO reservations VALUES (?, 'released', '{}')", (order,))
    if before == "reserved":
        change = "UPDATE levels SET level = level + ? WHERE sku = ?"
        stock.executemany(change, [(count, sku) for sku, count in reserved_items(stock, order)])
        mark(stock, order, "released")
    return Answer(200, {"order": order, "released": before == "reserved"})


def ship(stock: sqlite3.Connection, order: str, *, carrier: bool) -> Answer:
    """Hand the reserved items to a carrier."""
    if status(stock, order) != "reserved":
        return Answer(409, {"error": f"nothing is reserved for {order}"})
    if not carrier:
        return Answer(422, {"error": "no carrier delivers to this address"})
    items = json.dumps(dict(reserved_items(stock, order)))
    write = "INSERT INTO shipments (order_id, items) VALUES (?, ?)"
    parcel = stock.execute(write, (order, items)).lastrowid
    mark(stock, order, "shipped")
    return Answer(201, {"order": order, "parcel": f"parcel-{parcel}"})


def wanted_items(request: Mapping[str, Any]) -> dict[str, int]:
    wanted: Counter[str] = Counter()
    for sku, count in request["items"]:
        wanted[sku] += int(count)
    if not wanted or min(wanted.values()) <= 0:
        raise ValueError("items need a count of one or more")
    return dict(wanted)


def reserved_items(stock: sqlite3.Connection, order: str) -> list[tuple[str, int]]:
    find = "SELECT items FROM reservations WHERE order_id = ?"
    return list(json.loads(stock.execute(find, (order,)).fetchone()[0]).items())


def status(stock: sqlite3.Connection, order: str) -> str | None:
    find = "SELECT status FROM reservations WHERE order_id = ?"
    row = stock.execute(find, (order,)).fetchone()
    return row[0] if row else None


def mark(stock: sqlite3.Connection, order: str, status: str) -> None:
    stock.execute("UPDATE reservations SET status = ? WHERE order_id = ?", (status, order))


def stock(
    database: Path, catalogue: Mapping[str, int], bad_day: BadDay | None = None, seed: int = 0
) -> Service:
    """The warehouse over its file, its shelves filled from the catalogue (SKU: pieces)."""
    rows = [(sku, count, count) for sku, count in catalogue.items()]

    def shipment(connection: sqlite3.Connection, request: Mapping[str, Any]) -> Answer:
        order = request["order"]
        carrier = chance(seed, "carrier", order) >= NO_CARRIER
        return ship(connection, order, carrier=carrier)

    routes: dict[str, Route] = {
        "/reservations": reserve, "/releases": release, "/shipments": shipment
    }  # fmt: skip
    fill = ("INSERT OR IGNORE INTO levels VALUES (?, ?, ?)", rows)
    return Service(database, SCHEMA, routes, bad_day, fill)


def main() -> None:
    asked = options("A warehouse that reserves, releases and ships.")
    goods = json.loads(asked.catalogue.read_text(encoding="utf-8"))
    shelves = {sku: goods[sku]["stock"] for sku in goods}
    late = {"/reservations": 0.01, "/shipments": 0.01}
    bad_day = BadDay(asked.seed, {"/reservations": 0.02, "/shipments": 0.02}, late)
    serve(stock(asked.data / "stock.sqlite", shelves, bad_day, asked.seed), asked.port)


if __name__ == "__main__":
    main()
