"""Which partitions a server owns: acquired, renewed, shared out among all servers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from batuta.kernel.errors import JournalLocked
from batuta.kernel.journal import PRESENCE, Journal

PRESENCES_MAX = 64


class Clock(Protocol):
    """What tells the time."""

    def now(self) -> int:
        """Nanoseconds since 1970-01-01 UTC."""


class Ownership:
    """The leases of one server.

    Each server holds a lease that only shows its presence, and as many partitions as is
    its fair share; what is more it lets go of, what nobody holds any more it takes.
    Everything here waits for the database: call it on a thread.

    Parameters
    ----------
    owner: the name in the leases, unique to this process.
    clock: tells the time.
    lease_s: how long a lease lasts unless it is renewed.
    is_dead: whether the owner of a name is dead for certain.
    """

    def __init__(
        self,
        journal: Journal,
        owner: str,
        clock: Clock,
        lease_s: float,
        is_dead: Callable[[str], bool],
    ) -> None:
        self._journal = journal
        self._owner = owner
        self._clock = clock
        self._ttl = int(lease_s * 1e9)
        self._is_dead = is_dead
        self._epochs: dict[int, int] = {}
        self.pause_s = lease_s / 4

    def begin(self) -> Mapping[int, int]:
        """Acquire what can be had: partition -> epoch. Raises `JournalLocked` where the only
        partition is another server's."""
        self._epochs = {}
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
        return self._share(now)

    def keep(self) -> Mapping[int, int]:
        """Renew, and adjust to how many servers there are: partition -> epoch."""
        now = self._clock.now()
        self._bury(now)
        held = self._journal.renew(self._owner, now, self._ttl)
        self._epochs = {p: epoch for p, epoch in self._epochs.items() if p in held}
        if self._journal.partitions == 1:
            return dict(self._epochs) if self._epochs else self.begin()
        if not any(partition >= PRESENCE for partition in held):
            return self.begin()
        return self._share(now)

    def _share(self, now: int) -> Mapping[int, int]:
        journal = self._journal
        live = [lease for lease in journal.leases() if lease.until > now]
        servers = {lease.owner for lease in live if lease.partition >= PRESENCE} | {self._owner}
        share = -(-journal.partitions // len(servers))
        surplus = sorted(self._epochs)[share:]
        if surplus:
            journal.release(self._owner, surplus)
            for partition in surplus:
                del self._epochs[partition]
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
