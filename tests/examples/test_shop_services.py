"""Bank and warehouse: once per key, exact to the cent, and troubled the same way each time."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from examples.shop.services.bank import bank, to_cents
from examples.shop.services.stock import stock
from examples.shop.services.web import TROUBLED_TIMES, BadDay, Server, Service, chance


@pytest.fixture
def till(tmp_path: Path) -> Iterator[Service]:
    with closing(bank(tmp_path / "bank.sqlite")) as service:
        yield service


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Service]:
    with closing(stock(tmp_path / "stock.sqlite", {"tea": 5, "pot": 1})) as service:
        yield service


def ask(
    service: Service, path: str, order: str, key: str | None = None, **more: Any
) -> tuple[int, Any]:
    answer = service.post(path, key or f"{order}{path}", {"order": order, **more})
    return answer.status, answer.body


def rows(service: Service, query: str) -> list[Any]:
    return service._database.execute(query).fetchall()


def balance(till: Service, account: str) -> int:
    return int(rows(till, f"SELECT balance FROM accounts WHERE name = '{account}'")[0][0])


# -- the bank --------------------------------------------------------------------------------------


def test_a_charge_moves_the_exact_amount_once(till: Service) -> None:
    for _ in range(3):
        status, receipt = ask(till, "/charges", "o1", card="card-good-1", amount="12.34")
        assert (status, receipt["amount"]) == (201, "12.34")
    assert balance(till, "shop") == 1234
    assert balance(till, "card-good-1") == 500_000 - 1234
    assert rows(till, "SELECT sum(cents), count(*) FROM ledger") == [(0, 2)]


def test_a_key_cannot_be_used_for_another_request(till: Service) -> None:
    ask(till, "/charges", "o1", card="card-good-1", amount="12.34")
    status, _ = ask(till, "/charges", "o1", card="card-good-1", amount="12.35")
    assert status == 422
    assert balance(till, "shop") == 1234


@pytest.mark.parametrize("card", ["card-empty-1", "card-stolen-1"])
def test_a_declined_card_is_declined_for_good(till: Service, card: str) -> None:
    for _ in range(2):
        assert ask(till, "/charges", "o1", card=card, amount="12.34")[0] == 402
    assert rows(till, "SELECT count(*) FROM ledger") == [(0,)]


def test_a_refund_gives_back_what_was_charged_once(till: Service) -> None:
    ask(till, "/charges", "o1", card="card-good-1", amount="12.34")
    ask(till, "/charges", "o2", card="card-good-2", amount="1.00")
    for _ in range(2):
        assert ask(till, "/refunds", "o1")[1]["refunded"] == "12.34"
    assert ask(till, "/refunds", "o1", key="another")[1]["refunded"] == "0.00"
    assert balance(till, "shop") == 100
    assert balance(till, "card-good-1") == 500_000


def test_a_refund_before_the_charge_keeps_the_charge_out(till: Service) -> None:
    assert ask(till, "/refunds", "o1") == (200, {"order": "o1", "refunded": "0.00"})
    assert ask(till, "/charges", "o1", card="card-good-1", amount="12.34")[0] == 409
    assert rows(till, "SELECT count(*) FROM ledger") == [(0,)]


@pytest.mark.parametrize("amount", ["0.001", "0", "-1.00", "NaN"])
def test_only_whole_positive_cents_are_money(amount: str) -> None:
    with pytest.raises((ValueError, ArithmeticError)):
        to_cents(amount)


def test_a_broken_request_changes_nothing(till: Service) -> None:
    with pytest.raises(KeyError):
        ask(till, "/charges", "o1", card="card-good-1")
    assert not till._database.in_transaction
    assert ask(till, "/charges", "", key="k", card="card-good-1", amount="1.00")[0] == 201
    assert till.post("/charges", "", {"order": "o1"}).status == 400
    assert ask(till, "/nowhere", "o1")[0] == 404


def test_the_bank_survives_a_restart(tmp_path: Path) -> None:
    for _ in range(2):
        with closing(bank(tmp_path / "bank.sqlite")) as service:
            ask(service, "/charges", "o1", card="card-good-1", amount="12.34")
            assert balance(service, "shop") == 1234


# -- the warehouse ---------------------------------------------------------------------------------


def level(shelf: Service, sku: str) -> int:
    return int(rows(shelf, f"SELECT level FROM levels WHERE sku = '{sku}'")[0][0])


def test_a_reservation_takes_all_or_nothing(shelf: Service) -> None:
    assert ask(shelf, "/reservations", "o1", items=[["tea", 2], ["tea", 1]])[0] == 201
    status, body = ask(shelf, "/reservations", "o2", items=[["tea", 1], ["pot", 2]])
    assert (status, body["error"]) == (409, "pot is sold out")
    assert (level(shelf, "tea"), level(shelf, "pot")) == (2, 1)
    assert ask(shelf, "/reservations", "o3", items=[["unknown", 1]])[0] == 409


def test_reserving_again_with_the_key_takes_nothing_more(shelf: Service) -> None:
    for _ in range(3):
        assert ask(shelf, "/reservations", "o1", items=[["tea", 2]])[0] == 201
    assert level(shelf, "tea") == 3


def test_a_release_puts_back_once(shelf: Service) -> None:
    ask(shelf, "/reservations", "o1", items=[["tea", 2]])
    assert ask(shelf, "/releases", "o1")[1]["released"] is True
    assert ask(shelf, "/releases", "o1", key="again")[1]["released"] is False
    assert level(shelf, "tea") == 5
    assert ask(shelf, "/shipments", "o1")[0] == 409


def test_a_release_before_the_reservation_keeps_it_out(shelf: Service) -> None:
    ask(shelf, "/releases", "o1")
    assert ask(shelf, "/reservations", "o1", items=[["tea", 2]])[0] == 409
    assert level(shelf, "tea") == 5


def test_an_order_ships_once_and_is_not_released_after(shelf: Service) -> None:
    ask(shelf, "/reservations", "o1", items=[["tea", 2]])
    first = ask(shelf, "/shipments", "o1")
    assert first == ask(shelf, "/shipments", "o1")
    assert ask(shelf, "/shipments", "o1", key="again")[0] == 409
    assert ask(shelf, "/releases", "o1")[0] == 409
    assert rows(shelf, "SELECT order_id, items FROM shipments") == [("o1", '{"tea": 2}')]
    assert level(shelf, "tea") == 3


def test_some_addresses_have_no_carrier(tmp_path: Path) -> None:
    refused = next(f"o{n}" for n in range(10_000) if chance(4, "carrier", f"o{n}") < 0.015)
    with closing(stock(tmp_path / "s.sqlite", {"tea": 5}, seed=4)) as shelf:
        ask(shelf, "/reservations", refused, items=[["tea", 1]])
        assert ask(shelf, "/shipments", refused)[0] == 422
        assert ask(shelf, "/releases", refused)[1]["released"] is True


@pytest.mark.parametrize("items", [[], [["tea", 0]], [["tea", -1]]])
def test_nothing_cannot_be_reserved(shelf: Service, items: list[list[Any]]) -> None:
    with pytest.raises(ValueError, match="count"):
        ask(shelf, "/reservations", "o1", items=items)


# -- bad days --------------------------------------------------------------------------------------


def test_trouble_follows_from_seed_order_and_try() -> None:
    day = BadDay(7, {"/charges": 0.3}, {"/charges": 0.3})
    orders = [f"o{n}" for n in range(300)]
    seen = [day.trouble("/charges", order, 1) for order in orders]
    assert seen == [day.trouble("/charges", order, 1) for order in orders]
    assert seen != [day.trouble("/charges", order, 2) for order in orders]
    assert seen != [BadDay(8, day.down, day.late).trouble("/charges", o, 1) for o in orders]
    assert 60 <= seen.count("down") <= 120
    assert 60 <= seen.count("late") <= 120
    assert not any(day.trouble("/charges", o, TROUBLED_TIMES + 1) for o in orders)
    assert not any(day.trouble("/refunds", order, 1) for order in orders)


def test_an_outage_changes_nothing_and_ends(tmp_path: Path) -> None:
    day = BadDay(1, {"/charges": 1.0})
    with closing(bank(tmp_path / "bank.sqlite", day)) as till:
        order = {"card": "card-good-1", "amount": "12.34"}
        tries = [ask(till, "/charges", "o1", **order)[0] for _ in range(TROUBLED_TIMES + 1)]
        assert tries == [503] * TROUBLED_TIMES + [201]
        assert balance(till, "shop") == 1234


def test_a_late_answer_has_done_its_work(tmp_path: Path) -> None:
    with closing(bank(tmp_path / "bank.sqlite", BadDay(1, late={"/charges": 1.0}))) as till:
        request = {"order": "o1", "card": "card-good-1", "amount": "12.34"}
        late = [till.post("/charges", "k", request).late for _ in range(TROUBLED_TIMES + 1)]
        assert late == [True] * TROUBLED_TIMES + [False]
        assert balance(till, "shop") == 1234


def test_a_slow_card_is_late_every_time(till: Service) -> None:
    request = {"order": "o1", "card": "card-slow-1", "amount": "12.34"}
    answers = [till.post("/charges", "k", request) for _ in range(TROUBLED_TIMES + 3)]
    assert {(answer.status, answer.late) for answer in answers} == {(201, True)}
    assert balance(till, "shop") == 1234


# -- over HTTP -------------------------------------------------------------------------------------


@contextmanager
def listening(service: Service, late_s: float = 0.0) -> Iterator[str]:
    with Server(service, late_s=late_s) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.url
        finally:
            server.shutdown()
            thread.join()


def over_http(url: str, body: bytes, key: str = "k", timeout_s: float = 5) -> tuple[int, Any]:
    request = Request(url, body, {"Idempotency-Key": key})
    try:
        with urlopen(request, timeout=timeout_s) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_the_bank_answers_over_http(till: Service) -> None:
    with listening(till) as url:
        body = json.dumps({"order": "o1", "card": "card-good-1", "amount": "12.34"}).encode()
        assert over_http(f"{url}/charges", body)[0] == 201
        assert over_http(f"{url}/charges", body, key="")[0] == 400
        assert over_http(f"{url}/nowhere", body)[0] == 404
        assert over_http(f"{url}/charges", b"no json")[0] == 400
        assert over_http(f"{url}/charges", b'{"order": "o2"}', key="k2")[0] == 400
        assert over_http(f"{url}/charges", b"[]", key="k3")[0] == 400
        with urlopen(url, timeout=5) as answer:
            assert json.load(answer) == {"status": "open"}
    assert balance(till, "shop") == 1234


def test_a_client_that_gave_up_was_charged_all_the_same(till: Service) -> None:
    body = json.dumps({"order": "o1", "card": "card-slow-1", "amount": "12.34"}).encode()
    with listening(till, late_s=0.3) as url, pytest.raises(TimeoutError):
        over_http(f"{url}/charges", body, timeout_s=0.1)
    assert balance(till, "shop") == 1234


def test_many_clients_at_once_reserve_no_more_than_there_is(shelf: Service) -> None:
    with listening(shelf) as url, ThreadPoolExecutor(16) as pool:
        bodies = [json.dumps({"order": f"o{n}", "items": [["tea", 1]]}).encode() for n in range(40)]
        answers = pool.map(
            lambda body: over_http(f"{url}/reservations", body, key=body.decode()), bodies
        )
        assert sorted(status for status, _ in answers) == [201] * 5 + [409] * 35
    assert level(shelf, "tea") == 0


def test_levels_cannot_fall_below_nothing(shelf: Service) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        shelf._database.execute("UPDATE levels SET level = -1 WHERE sku = 'tea'")
