"""The clock of the fast simulation, and everything that is going to happen on it."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappush
from itertools import count
from typing import Any

Act = Callable[[Any, Any, Any], None]
"""What is done then: (process, ask, detail)."""

Entry = tuple[int, int, Act | None, Any, Any, Any]
"""(time, number, what is done, process, ask, detail). What comes without an act is a step that
succeeded: the most frequent thing by far."""

LATE = 1 << 60
"""Added to the number of a time limit: what falls on the same instant comes before it."""


class Timeline:
    """Virtual time, ns, and a heap in the order of (time, number)."""

    __slots__ = ("heap", "next", "now")

    def __init__(self, start: int) -> None:
        self.now = start
        self.heap: list[Entry] = []
        self.next = count(1).__next__

    def push(
        self, at: int, act: Act, process: Any, ask: Any, detail: Any = None, late: int = 0
    ) -> None:
        """Do something then; an ask that is given is known by the number of its entry."""
        number = self.next() + late
        if ask is not None:
            ask.due = number
        heappush(self.heap, (at, number, act, process, ask, detail))
