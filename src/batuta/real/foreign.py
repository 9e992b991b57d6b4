"""Users' events that other servers wrote, and that runs of this one may wait for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from typing import Protocol

from batuta.kernel.clock import RealClock
from batuta.kernel.event import Event
from batuta.kernel.journal import Journal
from batuta.kernel.loop import Loop
from batuta.real.sharing import cursor, cursors
from batuta.workflow.verbs import RESERVED

CURSOR_S = 1.0


class Server(Protocol):
    """Whose runs wait."""

    loop: Loop

    def follow(self, after: int) -> AsyncIterator[Event]: ...
    def turn(self) -> None: ...
    def schedule(self) -> None: ...


class Foreign:
    """Follows the journal and hands every user's event to the runs that wait.

    How far it has come is written beside what followed from it, for each partition, so that
    whoever takes over a partition misses nothing.

    Parameters
    ----------
    server: whose runs wait. observe: is given each event.
    """

    def __init__(
        self, server: Server, journal: Journal, clock: RealClock, observe: Callable[[Event], None]
    ) -> None:
        self._server = server
        self._journal = journal
        self._clock = clock
        self._observe = observe
        self._task: asyncio.Task[None] | None = None

    def restart(self, gained: Collection[int], owned: Collection[int]) -> None:
        """Partitions were gained: begin again where their last owner had come to."""
        first = self._task is None
        if self._task is not None:
            self._task.cancel()
        after = cursors(self._journal, gained if first else owned)
        self._task = asyncio.get_running_loop().create_task(self._watch(after))

    async def _watch(self, after: int) -> None:
        """Our own events come by here a second time and meet nothing: which are whose, a lease
        that moved cannot tell."""
        clock = asyncio.get_running_loop().time
        noted, server = clock(), self._server
        async for event in server.follow(after):
            if not event.type.startswith(RESERVED):
                self._observe(event)
                server.schedule()
            if clock() > noted + CURSOR_S:
                noted = clock()
                server.turn()
                now = self._clock.now()
                server.loop.write([cursor(part, event.seq, now) for part in server.loop.epochs])

    async def end(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
