"""A server in virtual time: it drives the loop as `real.system` does, and can be killed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from batuta.common.duration import SECOND
from batuta.kernel.clock import RealClock
from batuta.kernel.dispatch import Dispatcher
from batuta.kernel.errors import BatutaError, JournalLocked
from batuta.kernel.event import Event, Message
from batuta.kernel.lease import Ownership
from batuta.kernel.loop import Loop, Turn
from batuta.kernel.world import Command, Outcome
from batuta.simulate.agenda import ARRIVAL, DECISION, UPKEEP, Life
from batuta.simulate.commits import Commits
from batuta.simulate.fault import Crash
from batuta.simulate.world import SimulatedWorld
from batuta.workflow.deliveries import Deliveries
from batuta.workflow.runs import Runs
from batuta.workflow.schedules import Schedules

if TYPE_CHECKING:
    from batuta.simulate.simulation import Simulation

REGAIN_NS = 2 * SECOND
REARM_NS = 3600 * SECOND


class Server:
    """One server of a simulation, through all its lives.

    Parameters
    ----------
    name: what it is called; its owner name in leases is this and the number of its life.
    """

    def __init__(self, simulation: Simulation, name: str) -> None:
        self.simulation = simulation
        self.name = name
        self.lives = 0
        self.commits = 0
        self.skew = 0
        self.life = Life()
        self.life.ended = True
        self.owner = ""

    @property
    def up(self) -> bool:
        """Whether it runs (it may be suspended all the same)."""
        return not self.life.ended

    # -- life ------------------------------------------------------------------------------

    def boot(self) -> None:
        """A new process of this server begins, with nothing in memory."""
        simulation = self.simulation
        self.lives += 1
        self.life = Life()
        self.owner = f"{self.name}:{self.lives}"
        agenda = simulation.agenda
        clock = self._clock()
        self.world = SimulatedWorld(
            agenda, simulation.models, simulation.seed, self.life, self.arrive, clock=clock,
            name=self.owner, faults=simulation.faults,
        )  # fmt: skip
        self.ownership = Ownership(
            simulation.journal, self.owner, self.world, simulation.lease_s, simulation.is_dead
        )
        self.outcomes: list[Outcome] = []
        self.messages: list[Message] = []
        self.waiting: dict[str, int] = {}
        self.scheduled = False
        self.armed: int | None = None
        self.committing = Commits(self)
        self.build()
        self.regain()
        self._upkeep()

    def _clock(self) -> Any:
        agenda = self.simulation.agenda
        if not self.simulation.clocks_jump:
            return None
        return RealClock(lambda: agenda.now + self.skew, lambda: agenda.now).now

    def build(self) -> None:
        """Machines and loop, empty."""
        simulation = self.simulation
        definitions = simulation.definitions
        self.runs = Runs(
            definitions, simulation.partition_of,
            idle_max=simulation.faults.idle_max(self.owner),
            operations_max=simulation.operations_max,
        )  # fmt: skip
        machines: Any = (
            self.runs,
            Deliveries(definitions, simulation.partition_of),
            Schedules(definitions, simulation.partition_of),
        )
        dispatcher = Dispatcher(definitions.queues.values(), simulation.concurrency)
        # After a reset the world may still be busy with commands of before.
        dispatcher.adopt(self.world.flying.values())
        self.loop = Loop(simulation.journal, machines, self.world, dispatcher)

    def regain(self) -> None:
        """Own what can be owned."""
        try:
            epochs = self.ownership.begin()
        except JournalLocked:
            self.after(REGAIN_NS, UPKEEP, self.regain)
            return
        self.own(epochs)

    def own(self, epochs: Mapping[int, int]) -> None:
        """Partitions were gained or lost."""
        self.loop.own(epochs)
        self.schedule()
        if epochs:
            self.poll()

    def crash(self) -> None:
        """The process ends in the middle of what it does; it is started again later."""
        simulation = self.simulation
        self.life.ended = True
        simulation.observer.crashed(self)
        for request in self.waiting.values():
            simulation.unanswered(request)
        simulation.restart(self)

    def after(self, delay: int, phase: int, act: Any, *args: Any) -> None:
        agenda = self.simulation.agenda
        agenda.at(agenda.now + delay, phase, self.life, act, *args)

    def _upkeep(self) -> None:
        self.after(int(self.ownership.pause_s * SECOND), UPKEEP, self.keep)

    def keep(self) -> None:
        """Prolong the leases, and take over what others left."""
        self._upkeep()
        if not self.loop.epochs and self.simulation.journal.partitions == 1:
            return  # it waits for its turn in `regain`
        try:
            epochs = self.ownership.keep()
        except JournalLocked:
            return
        if epochs != self.loop.epochs:
            self.own(epochs)

    # -- the turn --------------------------------------------------------------------------

    def arrive(self, outcome: Outcome) -> None:
        """An outcome came in."""
        if self.simulation.faults.at_outcome(outcome.command, self.owner):
            self.crash()
            return
        self.outcomes.append(outcome)
        self.schedule()

    def hand(self, message: Message, request: int | None = None) -> None:
        """A message for a partition of this server."""
        self.messages.append(message)
        if request is not None:
            self.waiting[message.id] = request
        self.schedule()

    def schedule(self) -> None:
        """Have a turn when everything else of this instant has happened."""
        if not self.scheduled:
            self.scheduled = True
            busy = self.simulation.faults.busy(self.owner, self.simulation.agenda.now)
            self.after(busy, DECISION, self.turn)

    def turn(self) -> None:
        """Fold what came in, decide, write."""
        self.scheduled = False
        outcomes, self.outcomes = self.outcomes, []
        messages, self.messages = self.messages, []
        try:
            self.loop.turn(outcomes, messages)
            self._perform(self.loop.take_early())
            self.committing.commit()
        except Crash:
            self.crash()
            return
        self.arm()

    def _perform(self, commands: list[Command]) -> None:
        simulation = self.simulation
        for command in commands:
            if self.world.has(command.id):
                continue
            simulation.observer.performed(self, command)
            self.world.perform(command)
            if simulation.faults.at_perform(command.id, self.owner):
                raise Crash

    def arm(self) -> None:
        """Wake up when the machines want to."""
        wake = self.loop.next_wake()
        if wake is None:
            self.armed = None
            return
        agenda = self.simulation.agenda
        at = agenda.now + min(max(0, wake - self.world.now()), REARM_NS)
        if self.armed is None or at < self.armed or self.armed <= agenda.now:
            self.armed = at
            agenda.at(at, DECISION, self.life, self._woken, at)

    def _woken(self, at: int) -> None:
        if self.armed == at:
            self.armed = None
            if not self.scheduled:
                self.turn()

    def release(self, turn: Turn) -> None:
        """A turn is durable: stop, begin, answer."""
        simulation = self.simulation
        commands = self.loop.committed(turn)
        for command_id in turn.cancels:
            simulation.observer.cancelled(self, command_id)
            self.world.cancel(command_id)
        for message_id, reply in turn.replies.items():
            request = self.waiting.pop(message_id, None)
            if request is not None:
                simulation.answered(request, message_id, reply)
        self._perform(commands)

    # -- starting over ---------------------------------------------------------------------

    def reset(self) -> None:
        """What this server believes may be wrong: fold everything again from the journal."""
        self.committing.over = True
        self.committing = Commits(self)
        still = {message.id for message in self.messages}
        for message_id in [id for id in self.waiting if id not in still]:
            self.simulation.unanswered(self.waiting.pop(message_id))
        self.outcomes.clear()
        self.build()
        self.after(1000, DECISION, self.regain)

    # -- watching --------------------------------------------------------------------------

    def poll(self) -> None:
        """Take in what waits in the inboxes of its partitions."""
        if self.committing.busy:
            # Messages of the commit under way may seem to wait still.
            self.after(20_000_000, ARRIVAL, self.poll)
            return
        if not self.loop.epochs:
            return
        known = {message.id for message in self.messages}
        for message in self.simulation.journal.messages(sorted(self.loop.epochs)):
            if message.id not in known:
                self.messages.append(message)
        if self.messages:
            self.schedule()

    def observe(self, event: Event) -> None:
        """A user's event that another server wrote."""
        if event.partition not in self.loop.epochs:
            self.runs.observe(event)
            self.schedule()


def refused(reply: dict[str, Any] | BatutaError) -> BatutaError | None:
    """The error of a reply that is one."""
    return reply if isinstance(reply, BatutaError) else None


def home(simulation: Simulation, type: str, subject: str) -> int:
    """The partition of what a message is about, as `real.system` finds it."""
    if simulation.journal.partitions > 1 and type not in ("run.start", "event.send"):
        kind = "delivery" if type == "dead.redrive" else "run"
        record = simulation.journal.record(kind, subject)
        if record is not None:
            return record.partition
    return simulation.partition_of(subject)
