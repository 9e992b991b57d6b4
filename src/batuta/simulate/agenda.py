"""What is going to happen in virtual time: one heap, ordered by (time, phase, number)."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

COMPLETION, ARRIVAL, DECISION, UPKEEP = range(4)
"""What falls on one instant: first everything ends that ends, then what comes from outside
arrives, then it is decided what follows; leases are looked after last."""

Entry = tuple[int, int, int, "Life", Callable[..., None], tuple[Any, ...]]


class Life:
    """Something that entries belong to and that may end: they are passed over then.

    `until`: it is suspended until then, ns; its entries are held back.
    """

    __slots__ = ("ended", "until")

    def __init__(self) -> None:
        self.ended = False
        self.until = 0


class Agenda:
    """The heap and the clock that it moves.

    Parameters
    ----------
    start: the first instant, ns.
    """

    def __init__(self, start: int) -> None:
        self.now = start
        self.steps = 0
        self.busy = 0
        self._heap: list[Entry] = []
        self._count = 0

    def at(self, time: int, phase: int, life: Life, act: Callable[..., None], *args: Any) -> None:
        """Do something then (now, where that has passed)."""
        self._count += 1
        if phase != UPKEEP:
            self.busy += 1
        heapq.heappush(self._heap, (max(time, self.now), phase, self._count, life, act, args))

    def next_busy(self) -> int | None:
        """When the next thing is due that is not mere upkeep."""
        return min((entry[0] for entry in self._heap if entry[1] != UPKEEP), default=None)

    def step(self) -> bool:
        """Do the next thing; False where there is none."""
        heap = self._heap
        while heap:
            time, phase, count, life, act, args = heapq.heappop(heap)
            if life.ended:
                if phase != UPKEEP:
                    self.busy -= 1
                continue
            if life.until > time:
                # A suspended process does everything that fell into the pause behind it.
                heapq.heappush(heap, (life.until, phase, count, life, act, args))
                continue
            if phase != UPKEEP:
                self.busy -= 1
            self.now = time
            self.steps += 1
            act(*args)
            return True
        return False

    def calm(self) -> bool:
        """Whether the next thing is upkeep."""
        return bool(self._heap) and self._heap[0][1] == UPKEEP

    def postpone(self, later: int) -> None:
        """Move all upkeep that far back."""
        self._heap = [
            (entry[0] + later, *entry[1:]) if entry[1] == UPKEEP else entry for entry in self._heap
        ]
        heapq.heapify(self._heap)
