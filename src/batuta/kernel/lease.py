"""Which partitions a server owns: acquired, renewed, shared out among all servers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from batuta.kernel.errors import JournalLocked
from batuta.kernel.journal import PRESENCE, Journal, Lease

PRESENCES_MAX = 64


class Clock(Protocol):
    """What tells the time."""

    def now(self) -> int:
        """Nanoseconds since 1970-01-01 UTC."""


class Ownership:
    """The leases of one server.

    Each server holds a lease that only shows its presence, and as many partitions as is
    its fair share; what is more it hands over, what nobody holds any more it takes.
    Everything here waits for the database: call it on a thread.

    `held` are all leases that were renewed last, surely held until `until` (ns); `servers`
    is how many servers there were then; `draining` are the partitions to be handed over,
    with the time (ns) by which that has to be done: whoever drives this calls `hand_over`.

    Parameters
    ----------
    owner: the name in the leases, unique to this process.
    clock: tells the time.
    lease_s: how long a lease lasts unless it is renewed.
    is_dead: whether the owner of a name is dead for certain.
    drain_s: how long what is in flight may take to end before a partition is handed over;
        0: surplus partitions are released at once.
    """

    def __init__(
        self,
        journal: Journal,
        owner: str,
        clock: Clock,
        lease_s: float,
        is_dead: Callable[[str], bool],
        drain_s: float = 0.0,
    ) -> None:
        self._journal = journal
        self._owner = owner
        self._clock = clock
        self._ttl = int(lease_s * 1e9)
        self._is_dead = is_dead
        self._drain = int(drain_s * 1e9)
        self._epochs: dict[int, int] = {}
        self.pause_s = lease_s / 4
        self.draining: dict[int, int] = {}
        self.held: Collection[int] = ()
        self.until = 0
        self.servers = 1

    def begin(self) -> Mapping[int, int]:
        """Acquire what can be had: partition -> epoch. Raises `JournalLocked` where the only
        partition is another server's."""
        self._epochs = {}
        self.draining = {}
        journal, now = self._journal, self._clock.now()
        self._bury(now)
        if journal.partitions == 1:
            epoch = journal.acquire(0, self._owner, now, self._ttl)
            if epoch is None:
                holder = next((one for one in journal.leases() if one.partition == 0), None)
                raise JournalLocked(
                    "another server is running on this database"
                    + (f": {holder.owner}" if holder else ""),
                    hint="stop it first, or give this one its own --state folder",
                )
            self._epochs = {0: epoch}
            return dict(self._epochs)
        for slot in range(PRESENCE, PRESENCE + PRESENCES_MAX):
            if journal.acquire(slot, self._owner, now, self._ttl) is not None:
                break
        # After a reset of this process it still has leases, on which nobody else acts.
        self.held = journal.renew(self._owner, now, self._ttl)
        self.until = now + self._ttl
        return self._share(now)

    def keep(self) -> Mapping[int, int]:
        """Renew, and adjust to how many servers there are: partition -> epoch."""
        now = self._clock.now()
        self._bury(now)
        self.held = held = self._journal.renew(self._owner, now, self._ttl)
        self.until = now + self._ttl
        self._epochs = {p: epoch for p, epoch in self._epochs.items() if p in held}
        if self._journal.partitions == 1:
            return dict(self._epochs) if self._epochs else self.begin()
        if not any(PRESENCE <= partition < PRESENCE + PRESENCES_MAX for partition in held):
            return self.begin()
        return self._share(now)

    def restless(self) -> bool:
        """Whether there is more to do than to renew: a server came, died or let go."""
        if self._journal.partitions == 1:
            return False
        now = self._clock.now()
        live = [lease for lease in self._journal.leases() if lease.owner and lease.until > now]
        servers = _servers(live) | {self._owner}
        others = {lease.owner for lease in live} - {self._owner}
        if len(servers) != self.servers or any(map(self._is_dead, others)):
            return True
        owned = sum(lease.partition < self._journal.partitions for lease in live)
        return owned < self._journal.partitions and len(self._epochs) < self._fair(len(servers))

    def hand_over(self, partitions: Collection[int]) -> None:
        """Release partitions that nothing is done for here any more."""
        self._journal.release(self._owner, sorted(partitions))
        for partition in partitions:
            self.draining.pop(partition, None)
            self._epochs.pop(partition, None)

    def _fair(self, servers: int) -> int:
        return -(-self._journal.partitions // servers)

    def _share(self, now: int) -> Mapping[int, int]:
        journal = self._journal
        live = [lease for lease in journal.leases() if lease.until > now]
        self.servers = len(_servers(live) | {self._owner})
        share = self._fair(self.servers)
        surplus = sorted(self._epochs)[share:]
        until = now + self._drain
        self.draining = {one: self.draining.get(one, until) for one in surplus}
        if surplus and not self._drain:
            self.hand_over(surplus)
        if surplus:
            return dict(self._epochs)
        taken = {lease.partition for lease in live if lease.owner != self._owner}
        for partition in range(journal.partitions):
            if len(self._epochs) >= share:
                break
            if partition in self._epochs or partition in taken:
                continue
            epoch = journal.acquire(partition, self._owner, now, self._ttl)
            if epoch is not None:
                self._epochs[partition] = epoch
        idle = {p for p in self.held if p < journal.partitions} - self._epochs.keys()
        if idle:
            journal.release(self._owner, sorted(idle))
        return dict(self._epochs)

    def _bury(self, now: int) -> None:
        """End the leases of servers that are dead for certain: nobody has to
        wait for those to run out."""
        for owner in {lease.owner for lease in self._journal.leases() if lease.until > now}:
            if owner != self._owner and self._is_dead(owner):
                self._journal.release(owner)

    def end(self) -> None:
        """Give everything up."""
        self._journal.release(self._owner)
        self._epochs = {}


def _servers(leases: Collection[Lease]) -> set[str]:
    """Who shows its presence."""
    places = range(PRESENCE, PRESENCE + PRESENCES_MAX)
    return {lease.owner for lease in leases if lease.partition in places}
