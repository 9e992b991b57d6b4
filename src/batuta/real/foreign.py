"""Users' events that other servers wrote, and that runs of this one may wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Protocol

from batuta.kernel.clock import RealClock
from batuta.kernel.errors import JournalError
from batuta.kernel.event import Event
from batuta.kernel.journal import Journal
from batuta.kernel.loop import Loop
from batuta.real.sharing import cursor, cursors
from batuta.workflow.ask import RESERVED

CURSOR_S = 1.0
POLL_S = 0.05
PAGE = 500


class Server(Protocol):
    """Whose runs wait."""

    loop: Loop

    def turn(self) -> None: ...
    def schedule(self) -> None: ...


class Foreign:
    """Looks through the journal and hands every user's event to the runs that wait.

    The database picks them out: what runs record about themselves, nearly everything, is not read.

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
        noted, noted_at, server = after, clock(), self._server
        while True:
            try:
                head, events = await asyncio.to_thread(self._page, after)
            except JournalError:  # it is out of reach for a while
                await asyncio.sleep(POLL_S)
                continue
            for event in events:
                self._observe(event)
                server.schedule()
            full = len(events) == PAGE
            after = events[-1].seq if full else max(after, head)
            if after > noted and clock() > noted_at + CURSOR_S:
                noted, noted_at = after, clock()
                server.turn()
                now = self._clock.now()
                server.loop.write([cursor(part, after, now) for part in server.loop.epochs])
            if not full:
                await asyncio.sleep(POLL_S)

    def _page(self, after: int) -> tuple[int, list[Event]]:
        """The head, and the users' events up to it."""
        head = self._journal.head()
        if head <= after:
            return head, []
        return head, self._journal.read(after, PAGE, before=head + 1, without=RESERVED)

    async def end(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
