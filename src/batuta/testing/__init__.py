"""Tests of state machines: mocked tasks, a virtual clock, assertions on path and history.

    from batuta.testing import fails, machine

    def test_what_cannot_be_shipped_is_refunded():
        checkout = machine("flows/checkout.asl.json")
        checkout.task("Pay", {"id": "p-1"})
        checkout.task("Ship", fails("NoCarrier"))
        checkout.task("Refund", None)
        run = checkout.run({"order": 7})
        assert run.path == ["Pay", "Ship", "Refund", "Refunded"]

Nothing is performed, and nothing waits: days of `Wait` take microseconds.
"""

from batuta.testing.answer import Answer, Unmocked, fails, returns, times_out
from batuta.testing.machine import Machine, machine
from batuta.testing.run import Run, Sent

__all__ = [
    "Answer", "Machine", "Run", "Sent", "Unmocked", "fails", "machine", "returns", "times_out",
]  # fmt: skip
