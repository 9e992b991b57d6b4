"""Which of the asked commands may begin now: queues with concurrency, rate and priority."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from batuta.kernel.world import Command

PRIORITY_HEADSTART = 10_000_000_000
"""How many ns earlier each point of priority puts a command. Being a head start and not a
class of its own, it cannot starve what waits long enough."""


@dataclass(frozen=True, slots=True)
class Queue:
    """A named bound on steps, over all runs: so many at once, so many in a time.

    Parameters
    ----------
    concurrency: how many commands may be in flight at once; None: any number.
    rate: how many may start within `per` nanoseconds; None: any number.
    """

    name: str
    concurrency: int | None = None
    rate: int | None = None
    per: int = 1_000_000_000


class Lane:
    """One queue's state: what is in flight, what waits, and when the last ones began."""

    __slots__ = ("began", "queue", "running", "waiting")

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.running = 0
        self.waiting: list[tuple[int, int, Command]] = []
        self.began: deque[int] = deque()

    def may_begin(self, now: int) -> bool:
        """Whether the limits allow one more."""
        queue = self.queue
        if queue.concurrency is not None and self.running >= queue.concurrency:
            return False
        if queue.rate is None:
            return True
        began = self.began
        while began and began[0] <= now - queue.per:
            began.popleft()
        return len(began) < queue.rate

    def begin(self, now: int) -> None:
        """Count one that begins."""
        self.running += 1
        if self.queue.rate is not None:
            self.began.append(now)


class Dispatcher:
    """Lets commands begin in the order of priority and age, within the limits of their queues.

    All of it is in memory: after a start the commands without an outcome are offered again.

    Parameters
    ----------
    queues: the limits by name; a command that names an unknown queue is not limited.
    concurrency: how many commands without a queue may be in flight.
    """

    def __init__(self, queues: Iterable[Queue] = (), concurrency: int | None = 1000) -> None:
        self._default = Lane(Queue("", concurrency))
        self._lanes = {queue.name: Lane(queue) for queue in queues}
        self._running: dict[str, Lane] = {}
        self._dropped: set[str] = set()
        self._count = 0
        self.waiting = 0

    def configure(self, queues: Iterable[Queue]) -> None:
        """Take over new limits; what is in flight and what waits stays."""
        for queue in queues:
            lane = self._lanes.get(queue.name)
            if lane is None:
                self._lanes[queue.name] = Lane(queue)
            else:
                lane.queue = queue

    def offer(self, commands: list[Command], now: int) -> list[Command]:
        """Hand in commands; which of them may begin at once."""
        ready: list[Command] = []
        for command in commands:
            lane = self._lane(command)
            if not lane.waiting and lane.may_begin(now):
                lane.begin(now)
                self._running[command.id] = lane
                ready.append(command)
                continue
            self._count += 1
            self.waiting += 1
            order = command.cause.time - command.priority * PRIORITY_HEADSTART
            heapq.heappush(lane.waiting, (order, self._count, command))
        return ready

    def _lane(self, command: Command) -> Lane:
        if command.queue is None:
            return self._default
        lane = self._lanes.get(command.queue)
        if lane is None:
            lane = self._lanes[command.queue] = Lane(Queue(command.queue))
        return lane

    def done(self, command: str) -> None:
        """A command is not in flight any more."""
        lane = self._running.pop(command, None)
        if lane is not None:
            lane.running -= 1

    def drop(self, command: str) -> None:
        """A command is not wanted any more, whether it began or not."""
        if command in self._running:
            self.done(command)
        elif self.waiting:
            self._dropped.add(command)

    def ready(self, now: int) -> list[Command]:
        """Waiting commands that may begin by now."""
        ready: list[Command] = []
        for lane in (self._default, *self._lanes.values()):
            while lane.waiting and lane.may_begin(now):
                command = heapq.heappop(lane.waiting)[2]
                self.waiting -= 1
                if command.id in self._dropped:
                    self._dropped.discard(command.id)
                    continue
                lane.begin(now)
                self._running[command.id] = lane
                ready.append(command)
        if not self.waiting:
            self._dropped.clear()
        return ready

    def next_wake(self) -> int | None:
        """When a rate limit lets the next waiting command begin."""
        if not self.waiting:
            return None
        times = [
            lane.began[0] + lane.queue.per
            for lane in self._lanes.values()
            if lane.waiting
            and lane.queue.rate is not None
            and len(lane.began) >= lane.queue.rate
            and (lane.queue.concurrency is None or lane.running < lane.queue.concurrency)
        ]
        return min(times, default=None)

    def lengths(self) -> dict[str, tuple[int, int]]:
        """(in flight, waiting) for each queue."""
        lanes = {"": self._default, **self._lanes}
        return {name: (lane.running, len(lane.waiting)) for name, lane in lanes.items()}
