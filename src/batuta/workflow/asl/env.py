"""What an expression of a state may see: input, context, variables, result, time and chance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from batuta.workflow.asl.errors import RUNTIME, StateFailed


class Missing:
    """The type of `MISSING`: there is no value, not even null."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = Missing()


TURN_NS = 700_000_000
TURN_WORK = 5_000_000
STATE_WORK = 5
RULE_WORK = 8
ITEM_WORK = 20


class Allowance:
    """What an execution may do before it waits for something: the server does it between all
    other things that it has to do.

    `left`: how long expressions may be evaluated apart, ns of the processor.
    `work`: everything else, counted so that it is the same in each replay: about a quarter of a
    microsecond each.
    `weighed`: values that were weighed since it waited, by identity: (value, weight, height).
    """

    __slots__ = ("left", "weighed", "work")

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """It waits."""
        self.left = TURN_NS
        self.work = TURN_WORK
        self.weighed: dict[int, tuple[Any, int, int]] = {}

    def spend(self, work: int) -> None:
        """Some work is done. Raises `StateFailed` where it is too much."""
        self.work -= work
        if self.work < 0:
            raise StateFailed(
                RUNTIME,
                "The execution does too much at once: the values and expressions of its states "
                "take seconds, and it waits for nothing in between",
            )


class Env:
    """One state's surroundings while its expressions are evaluated.

    Parameters
    ----------
    input: the state's input as it came, JSON-able.
    context: makes the context object (`$$`, `$states.context`); called at most once.
    variables: what earlier states assigned, by name.
    draw: 64 random bits, keyed by the place in the run: the only randomness there is.
    now: nanoseconds since 1970-01-01 UTC. allowance: of the execution; None: one of its own.
    """

    __slots__ = (
        "_context", "_make_context", "allowance", "draw", "error_output", "input", "now", "result",
        "variables",
    )  # fmt: skip

    def __init__(
        self,
        input: Any,
        context: Callable[[], dict[str, Any]],
        variables: Mapping[str, Any],
        draw: Callable[[], int],
        now: int,
        allowance: Allowance | None = None,
    ) -> None:
        self.input = input
        self._make_context = context
        self._context: dict[str, Any] | None = None
        self.variables = variables
        self.draw = draw
        self.now = now
        self.allowance = Allowance() if allowance is None else allowance
        self.result: Any = MISSING
        self.error_output: Any = MISSING

    @property
    def context(self) -> dict[str, Any]:
        """The context object."""
        if self._context is None:
            self._context = self._make_context()
        return self._context

    @property
    def states(self) -> dict[str, Any]:
        """JSONata's `$states`."""
        found: dict[str, Any] = {"input": self.input, "context": self.context}
        if self.result is not MISSING:
            found["result"] = self.result
        if self.error_output is not MISSING:
            found["errorOutput"] = self.error_output
        return found
