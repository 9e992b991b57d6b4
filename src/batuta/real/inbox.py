"""Messages that other servers left for partitions of this one: each is taken once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from batuta.kernel.errors import JournalError
from batuta.kernel.event import Message
from batuta.kernel.journal import Journal

LOOK_S = 0.02


class Inbox:
    """Reads the inbox of the partitions that are owned here.

    Parameters
    ----------
    journal: read on a thread.
    partitions: gives the partitions that are owned now.
    hand: is given messages that it was not given before.
    """

    def __init__(
        self,
        journal: Journal,
        partitions: Callable[[], Iterable[int]],
        hand: Callable[[list[Message]], None],
    ) -> None:
        self._journal = journal
        self._partitions = partitions
        self._hand = hand
        self._handed: set[str] = set()
        self._taken: list[str] = []

    async def watch(self) -> None:
        """Look again and again."""
        while True:
            await asyncio.sleep(LOOK_S)
            # A message that was taken stays known until a look that began after its commit.
            self._handed.difference_update(self._taken)
            self._taken = []
            partitions = sorted(self._partitions())
            if not partitions:
                continue
            try:
                found = await asyncio.to_thread(self._journal.messages, partitions)
            except JournalError:
                continue
            fresh = [message for message in found if message.id not in self._handed]
            if fresh:
                self._handed.update(message.id for message in fresh)
                self._hand(fresh)

    def taken(self, ids: Iterable[str]) -> None:
        """These were dealt with, durably."""
        self._taken.extend(ids)

    def let_go(self, id: str) -> bool:
        """A message was not dealt with; whether it is one of the inbox, where it stays."""
        known = id in self._handed
        self._handed.discard(id)
        return known

    def forget(self) -> None:
        """Nothing that was handed out and not taken was dealt with."""
        self._handed.clear()
        self._taken = []
