"""A project running on a journal in this process: the loop, driven by what really happens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from batuta.common.problem import Problem
from batuta.kernel.clock import RealClock
from batuta.kernel.dispatch import Dispatcher
from batuta.kernel.errors import BatutaError, JournalError, NotFound
from batuta.kernel.event import Message
from batuta.kernel.journal import Journal
from batuta.kernel.loop import Loop, Turn, partition_of
from batuta.kernel.world import Command, Outcome
from batuta.real import expressions
from batuta.real.committer import Committer
from batuta.real.following import Following
from batuta.real.foreign import Foreign
from batuta.real.inbox import Inbox
from batuta.real.integrations import integrations_of
from batuta.real.output import LogSink
from batuta.real.owner import ask_owner
from batuta.real.ownership import is_dead, owner_name
from batuta.real.sharing import Sharing
from batuta.real.strays import Strays
from batuta.real.upkeep import forget
from batuta.real.validate import validate
from batuta.real.world import RealWorld
from batuta.workflow.asl.activities import Activities
from batuta.workflow.asl.registry import StateMachines
from batuta.workflow.deliveries import Deliveries
from batuta.workflow.model import Definitions
from batuta.workflow.runs import Runs
from batuta.workflow.schedules import Schedules

log = logging.getLogger("batuta")

REGAIN_S = 0.5
KINDS = {"run": "run", "dead": "delivery"}
"""What is asked for by messages that begin so is about a record of this kind."""


class Project(Protocol):
    """What a system needs to know of a project."""

    folder: Path
    name: str
    problems: list[Problem]

    @property
    def definitions(self) -> Definitions: ...


class System:
    """One project on one journal, inside a running asyncio loop.

    Parameters
    ----------
    project: what is defined.
    journal: where everything is recorded; not closed by the system.
    name: of this server, as leases and events show it.
    concurrency: how many steps may be in flight here.
    sink: keeps what steps print. secrets: by name, for shell commands that name them.
    lease_s: for how long a partition stays this server's without being renewed.
    limits: of the world's pools, see `RealWorld`.
    operations_max: how many things one run may ask for.
    retain_s: how long what has ended is kept; None: for ever.
    """

    def __init__(
        self,
        project: Project,
        journal: Journal,
        *,
        name: str | None = None,
        concurrency: int = 1000,
        sink: LogSink | None = None,
        secrets: Mapping[str, str] | None = None,
        lease_s: float = 6.0,
        limits: Mapping[str, int] | None = None,
        operations_max: int = 10_000,
        retain_s: float | None = None,
    ) -> None:
        self.project = project
        self.journal = journal
        self.clock = RealClock()
        self.owner = owner_name(name)
        self._concurrency = concurrency
        self._sink = sink
        self._secrets = secrets or {}
        self._limits = limits
        self._operations_max = operations_max
        self._retain_s = retain_s
        self._partition_of = partial(partition_of, partitions=journal.partitions)
        self.broken: asyncio.Future[None]
        self._outcomes: list[Outcome] = []
        self._messages: list[Message] = []
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._following = Following(journal)
        self.follow = self._following.follow
        self._tasks: list[asyncio.Task[None]] = []
        self._scheduled = False
        self._stopping = False
        self._wake: asyncio.TimerHandle | None = None
        self._steps = 0
        # One thread, so that syncs are in order whatever the default executor does.
        self._writer = ThreadPoolExecutor(1, "batuta-journal")
        self._sharing = Sharing(
            self, journal, self._writer, self.clock, self.owner, lease_s, is_dead
        )
        self._inbox = Inbox(journal, lambda: self.loop.epochs, self._hand)
        self._foreign = Foreign(self, journal, self.clock, lambda event: self._runs.observe(event))

    # -- life ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Own what can be owned, fold what is unfinished there, and go on with it.

        Raises `JournalLocked` where another server holds the only partition.
        """
        self._aio = asyncio.get_running_loop()
        expressions.install()
        self.broken = self._aio.create_future()
        self.broken.add_done_callback(lambda broken: broken.cancelled() or broken.exception())
        self.world = RealWorld(
            self._come_back, limits=self._limits, folder=self.project.folder,
            secrets=self._secrets, sink=self._sink, clock=self.clock,
            integrations=integrations_of(self.project),
        )  # fmt: skip
        self.services = self.world.services
        self.activities = self.services.activities
        self._strays = Strays(self.world)
        self._build()
        self.own(await self._sharing.begin())
        self._tasks = self._sharing.tasks()
        if self.journal.partitions > 1:
            self._tasks.append(asyncio.create_task(self._inbox.watch()))
        if self._retain_s is not None:
            keeping = forget(self.journal, self._writer, self.clock.now, self._retain_s)
            self._tasks.append(asyncio.create_task(keeping))

    def _build(self) -> None:
        definitions = self.project.definitions
        self._runs = Runs(definitions, self._partition_of, operations_max=self._operations_max)
        deliveries = Deliveries(definitions, self._partition_of)
        schedules = Schedules(definitions, self._partition_of)
        dispatcher = Dispatcher(
            definitions.queues.values(), self._concurrency, shared=self.journal.partitions > 1
        )
        dispatcher.adopt(self.world.commands())
        machines = (self._runs, deliveries, schedules, StateMachines(), Activities())
        self.loop = Loop(self.journal, machines, self.world, dispatcher)
        self._committer = Committer(
            self.loop, self._writer, self._committed, self._refuse, self._reset
        )
        self.written = self._committer.written
        self._sharing.equip()

    def own(self, epochs: Mapping[int, int]) -> None:
        """Partitions were gained or lost: partition -> epoch."""
        gained = [part for part, epoch in epochs.items() if self.loop.epochs.get(part) != epoch]
        self.loop.own(epochs)
        self._strays.disown(epochs)
        if gained and self.journal.partitions > 1:
            self._foreign.restart(gained, list(epochs))
        self.schedule()

    async def stop(self, grace_s: float = 0.0) -> None:
        """End: what is in flight may finish within the grace, the rest goes on at the next
        start. Everything that was acknowledged is in the journal already."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._foreign.end()
        await self.world.close(grace_s)
        self.turn()
        await self._committer.drain()
        if self._wake is not None:
            self._wake.cancel()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(BatutaError("the server is stopping", hint="try again"))
        self._following.end()
        await self._sharing.end()
        self._writer.shutdown()
        self._runs.own((), 0)

    def reload(self, project: Project) -> None:
        """Take over changed definitions; runs in memory go on with the code they began with."""
        self.project = project
        definitions = project.definitions
        for machine in self.loop.machines:
            machine.definitions = definitions  # type: ignore[attr-defined]
        self.loop.dispatcher.configure(definitions.queues.values())
        self.world.renew()
        self.world.services.reload(project)
        self.schedule()

    # -- the turn --------------------------------------------------------------------------

    def _come_back(self, outcomes: list[Outcome]) -> None:
        self._outcomes.extend(self._strays.sift(outcomes, self.loop))
        self.turn()

    def schedule(self) -> None:
        """Have a turn soon."""
        if not self._scheduled:
            self._scheduled = True
            self._aio.call_soon(self.turn)

    def turn(self) -> None:
        """Fold what came in, begin what may begin, write."""
        self._scheduled = False
        outcomes, self._outcomes = self._outcomes, []
        messages: list[Message] = []
        if self.loop.epochs and self._messages:
            messages, self._messages = self._messages, []
            messages = [message for message in messages if self._ours(message)]
        self._steps += len(outcomes)
        if self.broken.done():
            return
        try:
            self.loop.turn(outcomes, messages)
        except Exception as bug:  # of a machine: nothing that it decides can be trusted any more
            self._break(bug)
            return
        for command in self.loop.take_early():
            self.perform(command)
        self._committer.commit()
        self._arm()

    def _break(self, bug: Exception) -> None:
        """Stop loudly: write nothing more, answer nobody; what is in the journal stays true."""
        log.critical("a machine broke, this server stops", exc_info=bug)
        self._committer.give_up()
        self.broken.set_exception(bug)
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(
                    BatutaError("the server stopped: a bug", hint="its log has the traceback")
                )
        self._waiting.clear()

    def perform(self, command: Command) -> None:
        """Begin with a command. After a reset the world may still be busy with it."""
        if self._sharing.holds(command):
            return
        outcome = self._strays.perform(command)
        if outcome is not None:
            self._outcomes.append(outcome)
            self.schedule()

    def _arm(self) -> None:
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        wake = self.loop.next_wake()
        if wake is not None and not self._stopping:
            delay = max(0.0, (wake - self.clock.now()) / 1e9)
            self._wake = self._aio.call_later(min(delay, 3600.0), self.schedule)

    # -- what became of a turn -------------------------------------------------------------

    def _committed(self, turn: Turn) -> None:
        commands = self.loop.committed(turn)
        # First the places are given back, then they are taken.
        for command_id in turn.cancels:
            self.world.cancel(command_id)
        for command in commands:
            self.perform(command)
        for message_id, reply in turn.replies.items():
            future = self._waiting.pop(message_id, None)
            if future is None or future.done():
                continue
            if isinstance(reply, BatutaError):
                future.set_exception(reply)
            else:
                event = reply.pop("event", None)
                future.set_result(reply if event is None else {**reply, "seq": event.seq})
        if self.loop.dispatcher.waiting:
            self._arm()  # a rate may be what they wait for
        self._following.hand(turn.batch.events)
        if turn.batch.taken:
            self._inbox.taken(turn.batch.taken)

    def _refuse(self, turn: Turn, error: JournalError) -> None:
        """Nothing was acknowledged: whoever waits may ask again."""
        for message_id in turn.replies:
            future = self._waiting.pop(message_id, None)
            if future is not None and not future.done():
                future.set_exception(error)

    def _reset(self, error: BaseException) -> None:
        """What this server believes may be wrong: fold everything again from the journal."""
        log.warning("starting over from the journal: %s", error)
        # Whoever asked for what stands in turns that will not be written may ask again.
        still = {message.id for message in self._messages}
        for message_id in [id for id in self._waiting if id not in still]:
            future = self._waiting.pop(message_id)
            if not future.done():
                future.set_exception(error)
        self._runs.own((), 0)
        self._strays.keep([*self.loop.unwritten(), *self._outcomes])
        self._inbox.forget()
        self._build()
        self._outcomes.clear()
        self._aio.create_task(self._regain())

    async def _regain(self) -> None:
        while not self._stopping:
            try:
                epochs = await self._sharing.begin()
            except JournalError as error:
                log.warning("the journal is out of reach: %s", error)
                await asyncio.sleep(REGAIN_S)
                continue
            self.own(epochs)
            return

    # -- other servers ---------------------------------------------------------------------

    def _hand(self, messages: list[Message]) -> None:
        self._messages.extend(messages)
        self.schedule()

    def _ours(self, message: Message) -> bool:
        """Whether a message is for a partition of ours; another's goes to its inbox."""
        if message.partition in self.loop.epochs:
            return True
        if not self._inbox.let_go(message.id):
            self._aio.create_task(self._forward(message))
        return False

    async def _forward(self, message: Message) -> None:
        future = self._waiting.pop(message.id)
        try:
            reply = await self._submit_elsewhere(message)
        except BatutaError as refused:
            if not future.done():
                future.set_exception(refused)
        else:
            if not future.done():
                future.set_result(reply)

    # -- what server and command line use --------------------------------------------------

    async def submit(self, type: str, subject: str, data: dict[str, Any]) -> dict[str, Any]:
        """Ask for something; durable when it returns.

        Parameters
        ----------
        type: `run.start`, `run.signal`, `run.cancel`, `run.terminate`, `run.retry`,
            `run.fork`, `run.undo`, `event.send`, `dead.redrive`, or one of those of state
            machines and activities (`docs/events.md`).
        subject: the run, delivery or subject that it is about.

        Raises `NotFound`, `Conflict` or another `BatutaError` where it is refused.
        """
        subject, data = validate(self.project.definitions, type, subject, data, self.world.new_id)
        if self._committer.trouble is not None:
            # What it could not promise anyway is refused at once, and asked for again later.
            raise self._committer.trouble
        message = Message(
            self.world.new_id(), self._home(type, subject), type, subject, data, None,
            self.clock.now(),
        )  # fmt: skip
        if message.partition not in self.loop.epochs:
            return await self._submit_elsewhere(message)
        future: asyncio.Future[dict[str, Any]] = self._aio.create_future()
        self._waiting[message.id] = future
        self._messages.append(message)
        self.schedule()
        return await future

    def _home(self, type: str, subject: str) -> int:
        kind = None if type == "run.start" else KINDS.get(type.partition(".")[0])
        if self.journal.partitions > 1 and kind is not None:
            record = self.journal.record(kind, subject)
            if record is not None:
                return record.partition
        return self._partition_of(subject)

    async def _submit_elsewhere(self, message: Message) -> dict[str, Any]:
        """Another server owns it: leave the message there, and see it arrive."""
        if message.type == "run.start":
            record = await asyncio.to_thread(self.journal.record, "run", message.subject)
            if record is not None:
                return {"id": record.id, "created": False, "status": record.status}
        elif message.type.startswith(("machine.", "activity.")):
            return await ask_owner(self.journal, message)
        elif message.type != "event.send":
            kind = KINDS[message.type.partition(".")[0]]
            if await asyncio.to_thread(self.journal.record, kind, message.subject) is None:
                raise NotFound(f"there is no {kind} `{message.subject}`")
        await asyncio.to_thread(self.journal.post, message)
        # It is durable; its new owner will act on it, at the latest when a lease runs out.
        return {"id": message.data.get("id", message.subject), "created": True, "status": "posted"}

    async def query(self, run: str, name: str, args: Sequence[Any]) -> Any:
        """What a run answers to a question (`query(name, …)` in its code), running or ended."""
        program = self._runs.runs[run].program if self._runs.knows(run) else None
        scratch: Runs | None = None
        if program is None:
            scratch = Runs(
                self.project.definitions, self._partition_of, keep_ended=True,
                operations_max=self._operations_max,
            )  # fmt: skip
            history = await asyncio.to_thread(lambda: list(self.journal.histories([run])))
            if not history:
                raise NotFound(f"there is no run `{run}`", hint="`batuta ps` lists the runs")
            found = scratch.restore(history)
            program = found.program if found is not None else None
        try:
            answers = program.queries if program is not None else {}
            if name not in answers:
                known = ", ".join(sorted(answers)) or "none"
                hint = f"it answers: {known}"
                raise NotFound(f"run `{run}` answers no query `{name}`", hint=hint)
            return answers[name](*args)
        finally:
            if scratch is not None:
                scratch.own((), 0)

    @property
    def trouble(self) -> JournalError | None:
        """Why the journal cannot be written at the moment, if so."""
        return self._committer.trouble

    def stats(self) -> dict[str, float]:
        """Counters and gauges of this server."""
        committer = self._committer
        found: dict[str, float] = {
            "commits": committer.commits,
            "commit_seconds": committer.commit_s,
            "events": committer.events,
            "steps": self._steps,
        }
        found["runs_in_memory"] = len(self._runs.runs)
        found["runs_asleep"] = len(self._runs.asleep)
        found["partitions"] = len(self.loop.epochs)
        for queue, (running, waiting) in self.loop.dispatcher.lengths().items():
            found[f"queue_running.{queue or 'default'}"] = running
            found[f"queue_waiting.{queue or 'default'}"] = waiting
        found.update({f"world.{name}": value for name, value in self.world.stats().items()})
        return found
