"""Queues in the fast simulation: the limits of `kernel.dispatch`, for asks instead of commands."""

from __future__ import annotations

import heapq
from collections import deque
from typing import Any

from batuta.kernel.dispatch import PRIORITY_HEADSTART, Queue

FOREVER = 1 << 62
Waiting = tuple[int, int, Any, Any]


class Lane:
    """One queue: what runs, what waits, when the last ones began."""

    __slots__ = ("_began", "_count", "_queue", "looked", "most", "running", "waiting")

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self.waiting: list[Waiting] = []
        self._began: deque[int] = deque()
        self._count = 0
        self.running = 0
        self.looked: int | None = None
        concurrency = FOREVER if queue.concurrency is None else queue.concurrency
        self.most = concurrency if queue.rate is None else 0
        """How many may run where nothing else limits it; 0 where a rate does."""

    def enter(self, now: int, priority: int, process: Any, ask: Any) -> bool:
        """Whether it may begin at once; else it waits."""
        while self.waiting and self.waiting[0][3].due is None:
            heapq.heappop(self.waiting)  # dropped while it waited
        if not self.waiting and self._may_begin(now):
            self._begin(now)
            return True
        self._count += 1
        order = now - priority * PRIORITY_HEADSTART
        heapq.heappush(self.waiting, (order, self._count, process, ask))
        return False

    def next(self, now: int) -> tuple[Any, Any] | None:
        """One that waits and may begin now: (process, ask)."""
        while self.waiting and self._may_begin(now):
            _, _, process, ask = heapq.heappop(self.waiting)
            if ask.due is None:
                continue  # dropped while it waited
            self._begin(now)
            return process, ask
        return None

    def opens(self) -> int | None:
        """When a rate lets the next one begin, ns."""
        queue = self._queue
        if not self.waiting or queue.rate is None or len(self._began) < queue.rate:
            return None
        if queue.concurrency is not None and self.running >= queue.concurrency:
            return None
        return self._began[0] + queue.per

    def _may_begin(self, now: int) -> bool:
        queue = self._queue
        if queue.concurrency is not None and self.running >= queue.concurrency:
            return False
        if queue.rate is None:
            return True
        began = self._began
        while began and began[0] <= now - queue.per:
            began.popleft()
        return len(began) < queue.rate

    def _begin(self, now: int) -> None:
        self.running += 1
        if self._queue.rate is not None:
            self._began.append(now)
