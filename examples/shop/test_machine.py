"""The checkout's state machine on a virtual clock: every way that an order can go."""

from pathlib import Path

from batuta.testing import Machine, fails, machine, times_out

FLOW = Path(__file__).with_name("flows") / "checkout-machine.asl.json"
ORDER = {"id": "order-7", "total": "12.50"}


def checkout() -> Machine:
    """The machine in a world where all goes well."""
    made = machine(FLOW)
    for state in ("Validate cart", "Process payment", "Update inventory", "Send confirmation"):
        made.task(state)
    for state in ("Release stock", "Refund", "Apologise"):
        made.task(state)
    return made.task("Trigger shipping", "parcel-1")


def test_an_order_is_shipped() -> None:
    run = checkout().run(ORDER)
    assert run.output == "shipped: parcel-1"
    assert run.path == [
        "Validate cart", "Process payment", "Update inventory", "Send confirmation",
        "Trigger shipping", "Shipped",
    ]  # fmt: skip


def test_a_bad_cart_is_rejected_and_nothing_is_taken_back() -> None:
    run = checkout().task("Validate cart", fails("Refused", "the cart is empty")).run(ORDER)
    assert (run.status, run.error, run.path) == ("FAILED", "Refused", ["Validate cart"])


def test_a_bank_that_is_out_of_order_is_asked_again() -> None:
    run = checkout().task("Process payment", fails("Unavailable"), times_out(), None).run(ORDER)
    assert run.succeeded
    assert run.retries("Process payment") == 2


def test_what_was_paid_is_refunded_where_the_articles_are_sold_out() -> None:
    run = checkout().task("Update inventory", fails("Refused", "sold out")).run(ORDER)
    assert run.output == "compensated: sold out"
    assert run.path[-4:] == ["Release stock", "Refund", "Apologise", "Compensated"]


def test_somebody_is_told_where_the_money_cannot_be_given_back() -> None:
    run = (
        checkout()
        .task("Trigger shipping", fails("NoCarrier", "nobody goes there"))
        .task("Refund", fails("Unavailable", "the bank is closed"))
        .run(ORDER)
    )
    assert (run.status, run.error) == ("FAILED", "CompensationFailed")
    (alert,) = run.events
    assert alert.type == "shop.compensation_failed"
    assert alert.data["order"] == "order-7"
    assert alert.data["reason"] == "nobody goes there"
