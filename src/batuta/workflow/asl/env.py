"""What an expression of a state may see: input, context, variables, result, time and chance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


class Missing:
    """The type of `MISSING`: there is no value, not even null."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = Missing()


TURN_NS = 1_000_000_000


class Allowance:
    """How long the expressions of an execution may take before it waits for something, ns: the
    server evaluates them between all other things that it does."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = TURN_NS

    def renew(self) -> None:
        """It waits."""
        self.left = TURN_NS


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
