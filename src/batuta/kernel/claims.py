"""Places in queues that several servers share: each is claimed by a lease before it is used."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from zlib import crc32

from batuta.kernel.dispatch import Lane, Queue
from batuta.kernel.journal import Journal
from batuta.kernel.lease import Clock

FIRST = 1_000_000
"""Leases from this number on are claims; below stand partitions and presences."""

PARTS = 64
"""Into how many leases a queue's places are divided at most."""

_QUEUES = 1 << 24
HOLD = 1_000_000_000
"""How long (ns) more than the fair share is kept while others may want it."""
REST = 300_000_000
"""How long (ns) somebody who gave back what others may want asks for no more."""
IDLE = 500_000_000
"""How long (ns) a place is kept that nothing wants."""


@dataclass(slots=True)
class Plan:
    """What is to be changed of the claims: lease numbers to give back, and to try to get."""

    back: list[int] = field(default_factory=list)
    wanted: dict[str, tuple[int, list[int]]] = field(default_factory=dict)


@dataclass(slots=True)
class _Held:
    """What one queue has here: lease -> (places, since when), and when it may ask for more."""

    parts: dict[int, tuple[int, int]] = field(default_factory=dict)
    rest_until: int = 0
    busy_at: int = 0

    @property
    def places(self) -> int:
        return sum(places for places, _ in self.parts.values())


def parts(queue: Queue) -> dict[int, int]:
    """The leases of a queue and how many places each stands for."""
    places = queue.concurrency or 0
    count = min(places, PARTS)
    first = FIRST + (crc32(queue.name.encode()) % _QUEUES) * PARTS
    return {first + n: places // count + (n < places % count) for n in range(count)}


class Claims:
    """The claims of one server.

    A place is claimed before a step begins in it and given back only when no step is in
    it, so that never more steps are in flight over all servers than the queue allows. A claim is
    a lease as any other: it ends with its server. Whoever holds more than the fair share gives
    the rest back after a second, so that a queue with fewer places than servers goes round.

    Parameters
    ----------
    owner, ttl: of the leases, ns.
    """

    def __init__(self, journal: Journal, owner: str, clock: Clock, ttl: int) -> None:
        self._journal = journal
        self._owner = owner
        self._clock = clock
        self._ttl = ttl
        self._held: dict[str, _Held] = {}
        self._orphans: list[int] = []

    def confirm(self, leases: Collection[int], *, orphans: bool) -> None:
        """Only the claims among these leases are still held.

        Parameters
        ----------
        orphans: whether a lease that is not known as a claim is to be given back.
        """
        known: set[int] = set()
        for held in self._held.values():
            held.parts = {n: part for n, part in held.parts.items() if n in leases}
            known.update(held.parts)
        if orphans:
            self._orphans = [n for n in leases if n >= FIRST and n not in known]

    def apply(self, lanes: Mapping[str, Lane], until: int) -> None:
        """Let the lanes have what is held."""
        for name, lane in lanes.items():
            known = self._held.get(name)
            lane.allowed = known.places if known is not None else 0
            lane.until = until

    def plan(self, lanes: Mapping[str, Lane], servers: int, now: int) -> Plan:
        """What to change, the places that go back being closed already."""
        plan = Plan(self._orphans)
        self._orphans = []
        for name, lane in lanes.items():
            held = self._held.setdefault(name, _Held())
            sizes = parts(lane.queue)
            demand = lane.running + len(lane.waiting)
            self._give_back(lane, held, len(sizes) // servers, servers, demand, now, plan)
            short = demand - held.places
            if short > 0 and (now >= held.rest_until or len(held.parts) < len(sizes) // servers):
                free = [number for number in sizes if number not in held.parts]
                plan.wanted[name] = short, free
            lane.allowed = held.places
        return plan

    def _give_back(
        self, lane: Lane, held: _Held, fair: int, servers: int, demand: int, now: int, plan: Plan
    ) -> None:
        if demand >= held.places:
            held.busy_at = now
        for number, (places, since) in list(held.parts.items()):
            rest = held.places - places
            if lane.running > rest:
                break
            idle = demand <= rest and now - held.busy_at > IDLE
            lent = servers > 1 and len(held.parts) > fair and now - since > HOLD
            if idle or lent:
                del held.parts[number]
                plan.back.append(number)
                if lent:
                    held.rest_until = now + REST

    def carry_out(self, plan: Plan, queues: Mapping[str, Queue]) -> dict[str, dict[int, int]]:
        """Give back and get, which waits for the database: queue -> lease -> places."""
        if plan.back:
            self._journal.release(self._owner, plan.back)
        got: dict[str, dict[int, int]] = {}
        if not plan.wanted:
            return got
        now = self._clock.now()
        taken = {lease.partition for lease in self._journal.leases() if lease.until > now}
        for name, (short, free) in plan.wanted.items():
            sizes = parts(queues[name])
            for number in free:
                if short <= 0:
                    break
                if number in taken or number not in sizes:
                    continue
                if self._journal.acquire(number, self._owner, now, self._ttl) is not None:
                    got.setdefault(name, {})[number] = sizes[number]
                    short -= sizes[number]
        return got

    def take(self, got: Mapping[str, Mapping[int, int]], now: int) -> None:
        """Note down what was got."""
        for name, found in got.items():
            held = self._held.setdefault(name, _Held())
            held.parts.update({number: (places, now) for number, places in found.items()})
