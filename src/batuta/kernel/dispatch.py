"""Which of the asked commands may begin now: queues with concurrency, rate and priority."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

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
    """One queue's state: what is in flight, what waits, and when the last ones began.

    Where several servers share the queue, `allowed` is how many of its places are this
    server's, `until` (ns) for how long that is sure, and `servers` how many share its rate.
    """

    __slots__ = ("allowed", "began", "queue", "running", "servers", "until", "waiting")

    def __init__(self, queue: Queue, allowed: int | None = None) -> None:
        self.queue = queue
        self.allowed = allowed if queue.concurrency is not None else None
        self.until = 0
        self.servers = 1
        self.running = 0
        self.waiting: list[tuple[int, int, Any]] = []
        self.began: deque[int] = deque()

    def may_begin(self, now: int) -> bool:
        """Whether the limits allow one more."""
        queue = self.queue
        if queue.concurrency is not None:
            if self.running >= queue.concurrency:
                return False
            if self.allowed is not None and (self.running >= self.allowed or now >= self.until):
                return False
        if queue.rate is None:
            return True
        began = self.began
        while began and began[0] <= now - self.per:
            began.popleft()
        return len(began) < queue.rate

    @property
    def per(self) -> int:
        """In how many ns this server may begin `rate` commands: all servers have their turn."""
        return self.queue.per * self.servers

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
    shared: whether other servers share the queues; places have to be claimed then.
    """

    def __init__(
        self,
        queues: Iterable[Queue] = (),
        concurrency: int | None = 1000,
        *,
        shared: bool = False,
    ) -> None:
        self._default = Lane(Queue("", concurrency))
        self._allowed = 0 if shared else None
        self._lanes = {queue.name: Lane(queue, self._allowed) for queue in queues}
        self._running: dict[str, tuple[Lane, Command]] = {}
        self._held: set[str] = set()
        self._count = 0
        self._adopted: set[str] = set()
        self._paused: frozenset[int] = frozenset()
        self._resting: list[Command] = []

    def configure(self, queues: Iterable[Queue]) -> None:
        """Take over new limits; what is in flight and what waits stays."""
        for queue in queues:
            lane = self._lanes.get(queue.name)
            if lane is None:
                self._lanes[queue.name] = Lane(queue, self._allowed)
            else:
                lane.queue = queue
                if queue.concurrency is None:
                    lane.allowed = None
                elif lane.allowed is None:
                    lane.allowed = self._allowed

    def limited(self) -> dict[str, Lane]:
        """The queues whose places are claimed, by name."""
        if not self._held:
            for lane in self._lanes.values():
                lane.waiting.clear()  # nothing but what was dropped
        return {name: lane for name, lane in self._lanes.items() if lane.allowed is not None}

    def share(self, servers: int) -> None:
        """So many servers share the rates of the queues."""
        for lane in self._lanes.values():
            lane.servers = servers

    # -- partitions ------------------------------------------------------------------------

    def adopt(self, commands: Iterable[Command]) -> None:
        """Count commands that a world is busy with already, and that may be offered again."""
        for command in commands:
            lane = self._lane(command)
            lane.running += 1
            self._running[command.id] = lane, command
            self._adopted.add(command.id)

    def pause(self, partitions: Collection[int], now: int) -> list[Command]:
        """Begin nothing for exactly these partitions; what may begin because of that."""
        if self._paused == frozenset(partitions):
            return []
        self._paused = frozenset(partitions)
        resting, self._resting = self._resting, []
        return self.offer(resting, now)

    def keep(self, partitions: Collection[int]) -> None:
        """Commands of other partitions that have not begun are not wanted any more."""
        self._resting = [one for one in self._resting if one.cause.partition in partitions]
        for lane in (self._default, *self._lanes.values()):
            for _, _, command in lane.waiting:
                if command.cause.partition not in partitions:
                    self._held.discard(command.id)

    def running(self, partitions: Collection[int]) -> int:
        """How many commands of these partitions are in flight."""
        found = self._running.values()
        return sum(command.cause.partition in partitions for _, command in found)

    @property
    def waiting(self) -> int:
        """How many commands wait for a limit."""
        return len(self._held)

    def offer(self, commands: list[Command], now: int) -> list[Command]:
        """Hand in commands; which of them may begin at once."""
        ready: list[Command] = []
        running = self._running
        for command in commands:
            if self._adopted and command.id in self._adopted:
                self._adopted.discard(command.id)
                if command.id in running:
                    ready.append(command)
                    continue
            if self._paused and command.cause.partition in self._paused:
                self._resting.append(command)
                continue
            lane = self._default if command.queue is None else self._lane(command)
            if lane.waiting and not self._held:
                lane.waiting.clear()  # nothing but what was dropped
            if not lane.waiting and lane.may_begin(now):
                lane.begin(now)
                running[command.id] = lane, command
                ready.append(command)
                continue
            self._count += 1
            self._held.add(command.id)
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
        entry = self._running.pop(command, None)
        if entry is not None:
            entry[0].running -= 1

    def drop(self, command: str) -> None:
        """A command is not wanted any more. One that began keeps its place until the world is
        told so, and `done` is called."""
        if command not in self._running:
            self._held.discard(command)
            if self._resting:
                self._resting = [one for one in self._resting if one.id != command]

    def ready(self, now: int) -> list[Command]:
        """Waiting commands that may begin by now."""
        ready: list[Command] = []
        for lane in (self._default, *self._lanes.values()):
            while lane.waiting and lane.may_begin(now):
                command = heapq.heappop(lane.waiting)[2]
                if command.id not in self._held:
                    continue
                self._held.discard(command.id)
                if command.cause.partition in self._paused:
                    self._resting.append(command)
                    continue
                lane.begin(now)
                self._running[command.id] = lane, command
                ready.append(command)
        return ready

    def next_wake(self) -> int | None:
        """When a rate limit lets the next waiting command begin."""
        if not self.waiting:
            return None
        times = [
            lane.began[0] + lane.per
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
