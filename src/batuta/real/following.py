"""Whoever follows the journal: fed with each commit, from the journal where it fell behind."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from functools import partial

from batuta.kernel.event import Event
from batuta.kernel.journal import Journal

PAGE = 500
BEHIND_MAX = 200
POLL_S = 0.05


class Follower:
    """One reader's batches that it has not seen yet."""

    def __init__(self) -> None:
        self.moved = asyncio.Event()
        self.batches: deque[Sequence[Event]] = deque()

    def hand(self, events: Sequence[Event]) -> None:
        """A batch was committed. A reader that is far behind reads the journal instead."""
        if len(self.batches) >= BEHIND_MAX:
            self.batches.clear()
        self.batches.append(events)
        self.moved.set()


class Following:
    """All followers of one system.

    Parameters
    ----------
    journal: read where a follower begins, or falls behind, or others write as well.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._followers: set[Follower] = set()
        self._ended = False

    def hand(self, events: Sequence[Event]) -> None:
        """These events were committed, in the order of their seq."""
        if events:
            for follower in self._followers:
                follower.hand(events)

    def end(self) -> None:
        """No more events come: every follower ends."""
        self._ended = True
        for follower in self._followers:
            follower.moved.set()

    async def follow(
        self, after: int, types: Sequence[str] = (), subject: str | None = None
    ) -> AsyncIterator[Event]:
        """Events behind `after`, gap-free and in order: those that are there, then each new one
        as it is committed, as long as the system lives.

        Parameters
        ----------
        types: only these; one ending in `*` matches by its beginning. subject: only of this.
        """
        follower = Follower()
        self._followers.add(follower)
        try:
            caught_up = False
            while not self._ended:
                if caught_up and follower.batches:
                    events = follower.batches.popleft()
                    if events[-1].seq <= after:
                        continue
                    if events[0].seq <= after + 1:
                        for event in events:
                            if event.seq > after and wanted(event, types, subject):
                                yield event
                        after = max(after, events[-1].seq)
                        continue
                    caught_up = False
                follower.moved.clear()
                head, page = await asyncio.to_thread(self._page, after, types, subject)
                for event in page:
                    yield event
                    after = event.seq
                if len(page) == PAGE:
                    continue
                after = max(after, head)
                caught_up = True
                if not follower.batches:
                    await self._rest(follower)
                    # Where other servers write as well, their events are in no batch of ours.
                    caught_up = self._journal.partitions == 1
        finally:
            self._followers.discard(follower)

    def _page(
        self, after: int, types: Sequence[str], subject: str | None
    ) -> tuple[int, list[Event]]:
        head = self._journal.head()
        read = partial(self._journal.read, after, PAGE, before=head + 1)
        return head, read(types=types, subject=subject)

    async def _rest(self, follower: Follower) -> None:
        limit_s = POLL_S if self._journal.partitions > 1 else None
        try:
            async with asyncio.timeout(limit_s):
                await follower.moved.wait()
        except TimeoutError:
            pass


def wanted(event: Event, types: Sequence[str], subject: str | None) -> bool:
    """Whether a follower of these types and this subject wants an event."""
    if subject is not None and event.subject != subject:
        return False
    if not types:
        return True
    return any(
        event.type.startswith(type[:-1]) if type.endswith("*") else event.type == type
        for type in types
    )
