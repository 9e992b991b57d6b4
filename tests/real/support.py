"""A world under test: commands in, outcomes out, in one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from batuta.kernel.event import Event
from batuta.kernel.world import Command, Outcome
from batuta.real.world import RealWorld

CAUSE = Event("step.asked", "run-1", {}, None, 0)


class Harness:
    """Makes commands and waits for their outcomes."""

    def __init__(self, **options: Any) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self.batches: list[int] = []
        self._numbers = count(1)
        self._came = asyncio.Event()
        self.world = RealWorld(self._take, **options)

    def _take(self, outcomes: list[Outcome]) -> None:
        self.batches.append(len(outcomes))
        for outcome in outcomes:
            assert outcome.command not in self.outcomes, "two outcomes for one command"
            self.outcomes[outcome.command] = outcome
        self._came.set()

    def ask(self, target: Any, *args: Any, **options: Any) -> str:
        """Perform a function step; its command's id."""
        data = {"args": list(args), **options.pop("data", {})}
        return self.perform("function", data, target.name, target=target, **options)

    def perform(self, kind: str, data: dict[str, Any], name: str = "it", **options: Any) -> str:
        """Perform a command; its id."""
        id: str = options.pop("id", f"run-1/{next(self._numbers)}.1")
        self.world.perform(Command(id, kind, name, data, CAUSE, **options))
        return id

    async def outcome(self, id: str, within_s: float = 15.0) -> Outcome:
        """Wait for the outcome of a command."""
        async with asyncio.timeout(within_s):
            while id not in self.outcomes:
                self._came.clear()
                await self._came.wait()
        return self.outcomes[id]

    async def value(self, id: str) -> Any:
        """Wait for the result of a command that succeeds."""
        outcome = await self.outcome(id)
        assert outcome.failure is None, outcome.failure
        return outcome.value

    async def failure(self, id: str) -> Any:
        """Wait for the failure of a command that fails."""
        outcome = await self.outcome(id)
        assert outcome.failure is not None, outcome.value
        return outcome.failure


@asynccontextmanager
async def harness(**options: Any) -> AsyncIterator[Harness]:
    """A world for one test."""
    made = Harness(**options)
    try:
        yield made
    finally:
        await made.world.close()


def run(story: Callable[[Harness], Awaitable[None]], **options: Any) -> None:
    """Run a test's story in a world of its own."""

    async def whole() -> None:
        async with harness(**options) as made:
            await story(made)

    asyncio.run(whole())


async def until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    """Wait until something has become true."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)
