"""Queues in the fast simulation: the limits of `kernel.dispatch`, for asks instead of commands."""

from __future__ import annotations

import heapq
from typing import Any

from batuta.kernel import dispatch
from batuta.kernel.dispatch import PRIORITY_HEADSTART, Queue

FOREVER = 1 << 62


class Lane(dispatch.Lane):
    """One queue, with the kernel's own limits; what waits in it is (process, ask)."""

    __slots__ = ("_count", "looked", "most")

    def __init__(self, queue: Queue) -> None:
        super().__init__(queue)
        self._count = 0
        self.looked: int | None = None
        concurrency = FOREVER if queue.concurrency is None else queue.concurrency
        self.most = concurrency if queue.rate is None else 0
        """How many may run where nothing else limits it; 0 where a rate does."""

    def enter(self, now: int, priority: int, process: Any, ask: Any) -> bool:
        """Whether it may begin at once; else it waits."""
        while self.waiting and self.waiting[0][2][1].due is None:
            heapq.heappop(self.waiting)  # dropped while it waited
        if not self.waiting and self.may_begin(now):
            self.begin(now)
            return True
        self._count += 1
        order = now - priority * PRIORITY_HEADSTART
        heapq.heappush(self.waiting, (order, self._count, (process, ask)))
        return False

    def next(self, now: int) -> tuple[Any, Any] | None:
        """One that waits and may begin now: (process, ask)."""
        while self.waiting and self.may_begin(now):
            process, ask = heapq.heappop(self.waiting)[2]
            if ask.due is None:
                continue  # dropped while it waited
            self.begin(now)
            return process, ask
        return None

    def opens(self) -> int | None:
        """When a rate lets the next one begin, ns."""
        queue = self.queue
        if not self.waiting or queue.rate is None or len(self.began) < queue.rate:
            return None
        if queue.concurrency is not None and self.running >= queue.concurrency:
            return None
        return self.began[0] + self.per
