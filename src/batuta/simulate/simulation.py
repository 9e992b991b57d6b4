"""Servers, clients and a journal in virtual time: the production loop under a seed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from batuta.common.duration import SECOND
from batuta.common.keyed import bits, u
from batuta.kernel.errors import BatutaError, NotFound
from batuta.kernel.event import Message
from batuta.kernel.journal import Batch, Journal
from batuta.kernel.loop import partition_of
from batuta.kernel.world import Command
from batuta.simulate.agenda import ARRIVAL, Agenda, Life
from batuta.simulate.fault import Faults
from batuta.simulate.models import Models
from batuta.simulate.server import Server, home
from batuta.workflow.ask import RESERVED
from batuta.workflow.model import Definitions

STEPS_MAX = 200_000
TRIES_MAX = 100
ASK_AGAIN_NS = 2 * SECOND


class Observer(Protocol):
    """Who watches a simulation."""

    def performed(self, server: Server, command: Command) -> None:
        """A command is handed to the world."""

    def cancelled(self, server: Server, command: str) -> None:
        """A command is stopped."""

    def committed(self, server: Server, batch: Batch) -> None:
        """A batch is durable."""

    def fenced(self, server: Server) -> None:
        """A batch was refused, because another server owns a partition of it."""

    def crashed(self, server: Server) -> None:
        """A server's process ended."""

    def answered(self, request: Request, message: str, reply: dict[str, Any]) -> None:
        """A client was told that its request is done."""


class Unobserved:
    """Nobody watches."""

    def performed(self, server: Server, command: Command) -> None:
        """Nothing."""

    def cancelled(self, server: Server, command: str) -> None:
        """Nothing."""

    def committed(self, server: Server, batch: Batch) -> None:
        """Nothing."""

    def fenced(self, server: Server) -> None:
        """Nothing."""

    def crashed(self, server: Server) -> None:
        """Nothing."""

    def answered(self, request: Request, message: str, reply: dict[str, Any]) -> None:
        """Nothing."""


@dataclass(slots=True)
class Request:
    """Something that a client asks for until it is answered.

    Parameters
    ----------
    number: which one. type, subject, data: as for `System.submit`.
    tries: how often it was asked. pending: it is going to be asked again. done: its answer.
    """

    number: int
    type: str
    subject: str
    data: dict[str, Any]
    tries: int = 0
    pending: bool = False
    done: dict[str, Any] | BatutaError | None = None


class Simulation:
    """Servers on one journal.

    Parameters
    ----------
    definitions: the workflows, rules, schedules and queues.
    journal: shared by all servers.
    seed: decides everything.
    models: how commands go.
    servers: how many. faults: what goes wrong. observer: who watches.
    start: the first instant, ns. lease_s: how long a lease lasts.
    """

    def __init__(
        self,
        definitions: Definitions,
        journal: Journal,
        *,
        seed: int,
        models: Models,
        servers: int = 1,
        faults: Faults | None = None,
        observer: Observer | None = None,
        start: int = 1_700_000_000 * SECOND,
        lease_s: float = 6.0,
        concurrency: int | None = 1000,
        operations_max: int = 10_000,
    ) -> None:
        self.definitions = definitions
        self.journal = journal
        self.seed = seed
        self.models = models
        self.faults = faults or Faults(seed, start)
        self.observer: Observer = observer or Unobserved()
        self.agenda = Agenda(start)
        self.lease_s = lease_s
        self.concurrency = concurrency
        self.operations_max = operations_max
        self.clocks_jump = "clock" in self.faults.rates
        self.partition_of = partial(partition_of, partitions=journal.partitions)
        self.requests: list[Request] = []
        self.servers = [Server(self, f"server{at}") for at in range(servers)]
        self._people = Life()
        for at, server in enumerate(self.servers):
            self.agenda.at(start + at * 50_000_000, ARRIVAL, self._people, server.boot)
        self.agenda.at(self.faults.until, ARRIVAL, self._people, self.faults.end)

    # -- running ---------------------------------------------------------------------------

    def run(self, until: int) -> None:
        """Let time pass, up to `until` (ns) or until nothing is going to happen any more."""
        agenda = self.agenda
        for _ in range(STEPS_MAX):
            if agenda.now >= until or (not agenda.busy and self._settled()):
                return
            if agenda.calm():
                self._skip()
            agenda.step()
        raise RuntimeError(f"seed {self.seed}: the simulation goes on and on without an end")

    def _settled(self) -> bool:
        """Whether all servers run, and every partition is one's."""
        owned: list[int] = []
        for server in self.servers:
            if not server.up or server.life.until > self.agenda.now:
                return False
            owned.extend(server.loop.epochs)
        # One that two believe to own is going to be one's when the other looks at its lease.
        return sorted(owned) == list(range(self.journal.partitions))

    def _skip(self) -> None:
        """Nothing but upkeep is due for long: prolong the leases up to then in one go."""
        agenda = self.agenda
        due = agenda.next_busy()
        ttl = int(self.lease_s * SECOND)
        if due is None or due - agenda.now <= ttl or not self._settled():
            return
        later = due - agenda.now
        for server in self.servers:
            self.journal.renew(server.owner, server.world.now() + later, ttl)
        agenda.postpone(later)

    def is_dead(self, owner: str) -> bool:
        """Whether a process of that name is known to be dead: on the same machine it is."""
        name, _, life = owner.partition(":")
        for server in self.servers:
            if server.name == name:
                dead = int(life) != server.lives or not server.up
                return dead and u(self.seed, "same machine") < 0.5
        return False

    def restart(self, server: Server) -> None:
        """Start a crashed server again after a while."""
        agenda = self.agenda
        down = self.faults.down(server.name, server.lives)
        agenda.at(agenda.now + down, ARRIVAL, self._people, server.boot)

    def spread(self, server: Server, batch: Batch) -> None:
        """Let other servers know what a commit left for them."""
        if len(self.servers) == 1:
            return
        agenda = self.agenda
        for message in batch.messages:
            self._deliver(message)
        for event in batch.events:
            if not event.type.startswith(RESERVED):
                for other in self.servers:
                    if other is not server and other.up:
                        at = agenda.now + 20_000_000
                        agenda.at(at, ARRIVAL, other.life, other.observe, event)

    def _deliver(self, message: Message) -> None:
        agenda = self.agenda
        at = agenda.now + self.faults.inbox_delay(message.id)
        for other in self.servers:
            if other.up and message.partition in other.loop.epochs:
                agenda.at(at, ARRIVAL, other.life, other.poll)

    # -- clients ---------------------------------------------------------------------------

    def ask(self, at: int, type: str, subject: str, data: dict[str, Any]) -> Request:
        """A client asks for something at a time, and again until it is answered."""
        request = Request(len(self.requests), type, subject, data)
        self.requests.append(request)
        self.agenda.at(at, ARRIVAL, self._people, self._submit, request.number)
        return request

    def _submit(self, number: int) -> None:
        request = self.requests[number]
        if request.done is not None:
            return
        up = [one for one in self.servers if one.up and one.life.until <= self.agenda.now]
        request.pending = False
        request.tries += 1
        if not up:
            self._again(request)
            return
        server = up[bits(self.seed, "server", number, request.tries) % len(up)]
        count = 2 if self.faults.doubles(str(number), request.tries) else 1
        for _ in range(count):
            self._send(server, request)

    def _send(self, server: Server, request: Request) -> None:
        partition = home(self, request.type, request.subject)
        message = Message(
            server.world.new_id(), partition, request.type, request.subject, dict(request.data),
            None, server.world.now(),
        )  # fmt: skip
        if partition in server.loop.epochs:
            server.hand(message, request.number)
            return
        if request.type not in ("run.start", "event.send") and (
            self.journal.record("run", request.subject) is None
        ):
            self._again(request)
            return
        self.journal.post(message)
        self._deliver(message)
        self.answered(request.number, message.id, {"status": "posted"})

    def answered(self, number: int, message: str, reply: dict[str, Any] | BatutaError) -> None:
        """A request was answered, durably; the answer may be lost on its way."""
        request = self.requests[number]
        if isinstance(reply, NotFound) and request.tries < TRIES_MAX:
            # What it is about may come still: another client has only just asked for it.
            self._again(request)
            return
        if not isinstance(reply, BatutaError):
            self.observer.answered(request, message, reply)
        if self.faults.loses_reply(str(number), request.tries):
            self._again(request)
        elif request.done is None:
            request.done = reply

    def unanswered(self, number: int) -> None:
        """The server could not answer: the client asks again."""
        self._again(self.requests[number])

    def _again(self, request: Request) -> None:
        if request.done is None and not request.pending:
            request.pending = True
            agenda = self.agenda
            agenda.at(
                agenda.now + ASK_AGAIN_NS, ARRIVAL, self._people, self._submit, request.number
            )
