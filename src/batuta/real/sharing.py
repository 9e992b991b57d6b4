"""What a server does to share a journal with others: leases, hand-over, places in queues."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Executor
from typing import Protocol

from batuta.kernel.claims import Claims
from batuta.kernel.clock import RealClock
from batuta.kernel.errors import JournalError
from batuta.kernel.event import Record
from batuta.kernel.journal import Journal
from batuta.kernel.lease import Ownership
from batuta.kernel.loop import Loop
from batuta.kernel.world import Command

log = logging.getLogger("batuta")

DRAIN_S = 10.0
LOOK_S = 0.25
CLAIM_S = 0.05
WRITTEN_S = 5.0
CURSOR = "cursor"
"""The kind of record that says up to where a partition's waits have seen others' events."""


class Server(Protocol):
    """What is shared: a server with its loop, which may be replaced by a new one."""

    loop: Loop

    def own(self, epochs: Mapping[int, int]) -> None: ...
    def perform(self, command: Command) -> None: ...
    def schedule(self) -> None: ...
    async def written(self, limit_s: float) -> None: ...


class Sharing:
    """Keeps this server's part of what several servers share.

    Parameters
    ----------
    server: is told what it owns.
    writer: one thread, on which everything that waits for the database happens in order.
    owner, lease_s: of the leases.
    is_dead: whether the owner of a name is dead for certain.
    """

    def __init__(
        self,
        server: Server,
        journal: Journal,
        writer: Executor,
        clock: RealClock,
        owner: str,
        lease_s: float,
        is_dead: Callable[[str], bool],
    ) -> None:
        self._server = server
        self._writer = writer
        self._clock = clock
        self._alone = journal.partitions == 1
        self._ownership = Ownership(journal, owner, clock, lease_s, is_dead, DRAIN_S)
        self._claims = Claims(journal, owner, clock, int(lease_s * 1e9))
        self._claiming = False
        self._late: list[Command] = []

    async def begin(self) -> Mapping[int, int]:
        """Own what can be had: partition -> epoch. Raises `JournalLocked`, `JournalError`."""
        epochs = await self._there(self._ownership.begin)
        self._late = []  # a new loop asks for them again
        self._confirm()
        return epochs

    async def end(self) -> None:
        """Give everything up."""
        await self._there(self._ownership.end)

    def holds(self, command: Command) -> bool:
        """Whether a command has to wait: after this process was suspended for long its
        partition may be another server's, and nothing begins until that is known."""
        if self._alone or self._clock.now() < self._ownership.until:
            return False
        self._late.append(command)
        return True

    def _resume(self) -> None:
        late, self._late = self._late, []
        for command in late:
            if command.cause.partition in self._server.loop.epochs:
                self._server.perform(command)
            else:
                self._server.loop.dispatcher.done(command.id)

    def tasks(self) -> list[asyncio.Task[None]]:
        """What goes on as long as the server runs."""
        keeping = [asyncio.create_task(self._keep())]
        return keeping if self._alone else [*keeping, asyncio.create_task(self._claim())]

    def equip(self) -> None:
        """The server has a new loop: it begins with what is held."""
        if not self._alone:
            dispatcher = self._server.loop.dispatcher
            dispatcher.share(self._ownership.servers)
            self._claims.apply(dispatcher.limited(), self._ownership.until)

    async def _there(
        self, do: Callable[..., Mapping[int, int] | None], *args: object
    ) -> Mapping[int, int]:
        return await asyncio.get_running_loop().run_in_executor(self._writer, do, *args) or {}

    # -- leases ----------------------------------------------------------------------------

    async def _keep(self) -> None:
        """Prolong the leases, take over what others left, hand over what is too much."""
        while True:
            await self._pause()
            try:
                epochs = await self._there(self._ownership.keep)
            except JournalError as error:
                log.warning("leases could not be renewed: %s", error)
                continue
            server = self._server
            if epochs != server.loop.epochs:
                server.own(epochs)
            self._confirm()
            self._rest()
            self._resume()

    async def _pause(self) -> None:
        """Wait until it is time to renew, or there is something else to do."""
        clock = asyncio.get_running_loop().time
        until = clock() + self._ownership.pause_s
        if self._alone:
            await asyncio.sleep(self._ownership.pause_s)
            return
        while clock() < until:
            draining = bool(self._ownership.draining)
            await asyncio.sleep(LOOK_S / 5 if draining else LOOK_S)
            if draining:
                await self._hand_over()
                continue
            try:
                if await asyncio.to_thread(self._ownership.restless):
                    return
            except JournalError:
                return

    def _rest(self) -> None:
        """Begin nothing for partitions that are about to be handed over."""
        draining, dispatcher = self._ownership.draining, self._server.loop.dispatcher
        for command in dispatcher.pause(draining, self._clock.now()):
            self._server.perform(command)

    async def _hand_over(self) -> None:
        """Release partitions for which nothing is in flight any more, or for too long."""
        server, now = self._server, self._clock.now()
        dispatcher = server.loop.dispatcher
        ripe = [
            partition
            for partition, until in self._ownership.draining.items()
            if until <= now or not dispatcher.running((partition,))
        ]
        if not ripe:
            return
        # Nothing is decided for them from here on; what was decided is written first.
        server.own({p: epoch for p, epoch in server.loop.epochs.items() if p not in ripe})
        await server.written(WRITTEN_S)
        try:
            await self._there(self._ownership.hand_over, ripe)
        except JournalError as error:
            log.warning("partitions could not be handed over: %s", error)

    # -- places in queues ------------------------------------------------------------------

    def _confirm(self) -> None:
        """The leases were renewed: the claims among them go on."""
        if self._alone:
            return
        ownership = self._ownership
        self._claims.confirm(ownership.held, orphans=not self._claiming)
        self.equip()
        self._server.schedule()

    async def _claim(self) -> None:
        """Claim places where commands wait for them, and give back what is not used."""
        while True:
            await asyncio.sleep(CLAIM_S)
            lanes = self._server.loop.dispatcher.limited()
            if not lanes:
                continue
            plan = self._claims.plan(lanes, self._ownership.servers, self._clock.now())
            if not (plan.back or plan.wanted):
                continue
            queues = {name: lane.queue for name, lane in lanes.items()}
            self._claiming = True
            try:
                got = await asyncio.get_running_loop().run_in_executor(
                    self._writer, self._claims.carry_out, plan, queues
                )
            except JournalError as error:
                log.warning("places in queues could not be claimed: %s", error)
                await asyncio.sleep(LOOK_S)
                continue
            finally:
                self._claiming = False
            if got:
                self._claims.take(got, self._clock.now())
                self.equip()
                self._server.schedule()


def cursors(journal: Journal, partitions: Collection[int]) -> int:
    """Behind which event the waits of these partitions may have missed something."""
    found = {
        record.partition: int(record.data["seq"])
        for record in journal.records(CURSOR, partitions=sorted(partitions))
    }
    return min((found.get(partition, 0) for partition in partitions), default=journal.head())


def cursor(partition: int, seq: int, now: int) -> Record:
    """The row that says so."""
    return Record(
        CURSOR, f"foreign:{partition}", partition, "active", "foreign", now, data={"seq": seq}
    )
