"""The one loop: outcomes and messages in, state folded, everything that follows in one batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

from batuta.kernel.dispatch import Dispatcher
from batuta.kernel.errors import BatutaError
from batuta.kernel.event import Event, Message, Record
from batuta.kernel.journal import Batch, Journal
from batuta.kernel.machine import Decision, Machine
from batuta.kernel.world import Command, Outcome, World

ROUNDS_MAX = 100_000
LOADED_AT_ONCE = 2000


def partition_of(subject: str, partitions: int) -> int:
    """Which partition a subject belongs to, the same on every server for ever."""
    return 0 if partitions == 1 else crc32(subject.encode()) % partitions


@dataclass(slots=True)
class Turn:
    """What came out of one or more turns of the loop, to be committed together.

    Parameters
    ----------
    batch: what to write.
    commands: to be performed when the batch is durable.
    early: repeatable ones, which may begin before it is.
    ready: durable ones that a limit held back until now.
    unwritten: askings of repeatable commands that are in this batch, by command id.
    cancels: ids of commands to be stopped.
    replies: message id -> what its sender is told, when the batch is durable.
    outcomes: what came in, in case that the batch cannot be written.
    """

    batch: Batch = field(default_factory=Batch)
    commands: list[Command] = field(default_factory=list)
    early: list[Command] = field(default_factory=list)
    ready: list[Command] = field(default_factory=list)
    unwritten: dict[str, Event] = field(default_factory=dict)
    cancels: list[str] = field(default_factory=list)
    replies: dict[str, dict[str, Any] | BatutaError] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)


class Loop:
    """Reads, folds, decides; knows neither asyncio nor threads nor what a run is.

    Whoever drives it calls `turn` with what came in, commits `turn.batch`, then calls
    `committed` and performs the commands that this returns. Several turns may be gathered
    into one commit.

    Parameters
    ----------
    journal: read here, and written by whoever drives the loop.
    machines: in the order in which they decide.
    world: the source of time.
    dispatcher: which commands may begin.
    """

    def __init__(
        self,
        journal: Journal,
        machines: Sequence[Machine],
        world: World,
        dispatcher: Dispatcher | None = None,
    ) -> None:
        self.journal = journal
        self.machines = machines
        self.world = world
        self.dispatcher = dispatcher or Dispatcher()
        self.epochs: dict[int, int] = {}
        self._open = Turn()
        self._committing: Turn | None = None
        self._performers: dict[str, Machine] = {}
        self._unsaved: dict[tuple[str, str], Record] = {}
        self._former: dict[int, int] = {}
        self._looked_up: dict[tuple[str, str], Record | None] = {}
        self._time = 0
        self._receivers = {type: m for m in machines for type in m.receives}
        self._others = [m for m in machines if "*" in m.handles]
        self._folders: dict[str, list[Machine]] = {}
        for machine in machines:
            for type in machine.handles:
                if type != "*":
                    self._folders.setdefault(type, []).append(machine)

    # -- ownership -------------------------------------------------------------------------

    def own(self, epochs: Mapping[int, int]) -> None:
        """Own exactly these partitions (partition -> epoch): fold what is unfinished there.

        Their unfinished commands come out of the next turn, to be performed again.
        """
        # One that was lost and won again in between may have been changed by somebody else.
        gained = [part for part, epoch in epochs.items() if self.epochs.get(part) != epoch]
        kept = [part for part in epochs if part not in gained]
        for part, epoch in self.epochs.items():
            if part not in kept:
                # What the open turn holds for it stands under the epoch of then, or not at all.
                self._former.setdefault(part, epoch)
        self.epochs = dict(epochs)
        for turn in (self._committing, self._open):
            # What is unfinished in a partition that was won (again) is asked for anew.
            if turn is not None:
                turn.commands = [one for one in turn.commands if one.cause.partition in kept]
                turn.early = [one for one in turn.early if one.cause.partition in kept]
        self.dispatcher.keep(kept)
        now = self._now()
        for machine in self.machines:
            if len(kept) < len(epochs):
                machine.own(kept, now)
            machine.own(self.epochs, now)
            if gained:
                self._recover(machine, gained)

    def _recover(self, machine: Machine, partitions: Sequence[int]) -> None:
        active = self.journal.records(machine.kind, statuses=machine.active, partitions=partitions)
        wanted = [record for record in active if machine.recover(record)]
        for start in range(0, len(wanted), LOADED_AT_ONCE):
            self._load(machine, wanted[start : start + LOADED_AT_ONCE])

    def _load(self, machine: Machine, records: Sequence[Record]) -> None:
        histories = self._histories([record.id for record in records])
        for record in records:
            machine.load(record, histories[record.id])

    def _histories(self, subjects: Sequence[str]) -> dict[str, list[Event]]:
        histories: dict[str, list[Event]] = {subject: [] for subject in subjects}
        for event in self.journal.histories(subjects):
            histories[event.subject].append(event)
        for turn in (self._committing, self._open):
            # Folded already, but not in the journal yet.
            for event in turn.batch.events if turn is not None else ():
                if (
                    event.type
                    and event.subject in histories
                    and not _holds(histories[event.subject], event)
                ):
                    histories[event.subject].append(event)
        return histories

    # -- turning ---------------------------------------------------------------------------

    def turn(self, outcomes: Iterable[Outcome], messages: Sequence[Message]) -> Turn:
        """Fold what came in and decide what follows; adds to the turn that is open."""
        now = self._now()
        into = Decision(unwritten=self._open.unwritten)
        dispatcher = self.dispatcher
        for outcome in outcomes:
            machine = self._performers.pop(outcome.command, None)
            dispatcher.done(outcome.command)
            self._open.outcomes.append(outcome)
            if machine is not None:
                machine.finish(outcome, now, into)
                # Fold at once: after this one, nobody may wait for the next one any more.
                self._fold(into)
        self._look_up(messages)
        for message in messages:
            self._receive(message, now, into)
        self._looked_up.clear()
        self._settle(now, into)
        if dispatcher.waiting:
            self._open.ready.extend(dispatcher.ready(now))
        return self._open

    def _now(self) -> int:
        # A journal's time never runs backwards, whatever the machine's clock does.
        self._time = max(self._time, self.world.now())
        return self._time

    def _receive(self, message: Message, now: int, into: Decision) -> None:
        turn = self._open
        machine = self._receivers.get(message.type)
        if message.partition not in self.epochs:
            # Not ours (any more): it goes to the inbox of whoever owns it, where it may be already.
            turn.batch.messages.append(message)
            turn.replies[message.id] = {
                "id": message.data.get("id", message.subject), "created": True, "status": "posted",
            }  # fmt: skip
            return
        turn.batch.taken.append(message.id)
        try:
            if machine is None:
                raise BatutaError(f"nothing answers messages of type `{message.type}`")
            record = self._record(machine, message.subject)
            history: list[Event] = []
            if record is not None and message.type in machine.wants_history:
                history = self._histories([message.subject])[message.subject]
            elif (
                record is not None
                and record.status in machine.active
                and not machine.knows(message.subject)
            ):
                self._load(machine, [record])
            reply = machine.receive(_at(message, now), record, history, into)
            # Fold at once: the next message of this turn must see what this one did.
            self._fold(into)
        except BatutaError as refused:
            turn.replies[message.id] = refused
        else:
            turn.replies[message.id] = reply

    def _look_up(self, messages: Sequence[Message]) -> None:
        """Read the rows that many messages are about at once."""
        if len(messages) < 3:
            return
        wanted: dict[str, list[str]] = {}
        for message in messages:
            machine = self._receivers.get(message.type)
            if machine is not None and not machine.knows(message.subject):
                wanted.setdefault(machine.kind, []).append(message.subject)
        for kind, subjects in wanted.items():
            found = self.journal.records_of(kind, subjects)
            self._looked_up.update({(kind, one): found.get(one) for one in subjects})

    def _record(self, machine: Machine, subject: str) -> Record | None:
        known = machine.record_of(subject)
        key = (machine.kind, subject)
        if known is None:
            known = self._unsaved.get(key)
        if known is None:
            known = (
                self._looked_up[key]
                if key in self._looked_up
                else self.journal.record(machine.kind, subject)
            )
        return known

    def _fold(self, into: Decision) -> None:
        batch = self._open.batch
        if into.folded:
            batch.events.extend(into.folded)
            into.folded = []
        events = into.events
        if not events:
            return
        into.events = []
        batch.events.extend(events)
        folders, others = self._folders, self._others
        for event in events:
            for machine in folders.get(event.type, others):
                machine.apply(event)

    def _settle(self, now: int, into: Decision) -> None:
        """Fold and decide until nothing follows any more."""
        for _ in range(ROUNDS_MAX):
            self._fold(into)
            for machine in self.machines:
                machine.decide(now, into)
                if into.commands or into.cancels:
                    self._ask(machine, into)
            self._keep(into)
            messages, into.messages = into.messages, []
            if messages:
                # What they are about may just have ended.
                self._fold(into)
            for message in messages:
                self._pass(message, now, into)
            if into.load:
                loads, into.load = into.load, []
                self._load_again(loads)
            elif not (into.events or into.folded or messages):
                break
        else:
            raise RuntimeError("the machines decide for ever: one of them asks again and again")

    def _ask(self, machine: Machine, into: Decision) -> None:
        if into.commands:
            turn = self._open
            for command in into.commands:
                self._performers[command.id] = machine
                if command.repeatable:
                    turn.early.append(command)
                    if not command.cause.seq:
                        turn.unwritten[command.id] = command.cause
                else:
                    turn.commands.append(command)
            into.commands = []
        if into.cancels:
            for command_id in into.cancels:
                self._performers.pop(command_id, None)
                self.dispatcher.drop(command_id)
            self._open.cancels.extend(into.cancels)
            into.cancels = []

    def _pass(self, message: Message, now: int, into: Decision) -> None:
        if message.partition in self.epochs:
            self._receive(message, now, into)
            # It never was in an inbox, and nobody waits for the reply.
            self._open.batch.taken.remove(message.id)
            self._open.replies.pop(message.id, None)
        else:
            self._open.batch.messages.append(message)

    def _load_again(self, subjects: list[str]) -> None:
        for machine in self.machines:
            wanted = [one for one in dict.fromkeys(subjects) if not machine.knows(one)]
            if not wanted:
                continue
            found = self.journal.records_of(machine.kind, wanted)
            found.update(
                {one: self._unsaved[machine.kind, one] for one in wanted
                 if (machine.kind, one) in self._unsaved}
            )  # fmt: skip
            records = [
                found[one] for one in wanted if one in found and found[one].status in machine.active
            ]
            if records:
                self._load(machine, records)

    def _keep(self, into: Decision) -> None:
        batch = self._open.batch
        for record in into.records:
            self._unsaved[record.kind, record.id] = record
        batch.records.extend(into.records)
        batch.removed.extend(into.removed)
        into.records, into.removed = [], []

    # -- committing ------------------------------------------------------------------------

    def write(self, records: Iterable[Record]) -> None:
        """Rows to be written with what was decided up to now."""
        self._open.batch.records.extend(records)

    def unwritten(self) -> list[Outcome]:
        """Outcomes that came in and are not known to be durable."""
        committing = self._committing.outcomes if self._committing is not None else []
        return [*committing, *self._open.outcomes]

    def may_wait(self) -> bool:
        """Whether the open turn holds nothing that anybody waits for but repeatable steps that
        have begun already."""
        turn = self._open
        return bool(turn.unwritten) and not (turn.commands or turn.cancels or turn.replies)

    def begin_commit(self) -> Turn | None:
        """Close the open turn, for committing; None where there is nothing to write or do."""
        turn = self._open
        if not (turn.batch or turn.commands or turn.cancels or turn.replies):
            return None
        self._open = Turn()
        self._committing = turn
        if any(not event.type for event in turn.batch.events):
            turn.batch.events = [event for event in turn.batch.events if event.type]
        turn.batch.epochs = self._epochs_of(turn.batch)
        self._former = {}
        return turn

    def _epochs_of(self, batch: Batch) -> dict[int, int]:
        if len(self.epochs) == 1 and not self._former:
            return self.epochs
        epochs = {**self.epochs, **self._former}
        touched = {event.partition for event in batch.events}
        touched.update(record.partition for record in batch.records)
        if batch.taken or batch.removed:
            return {p: epoch for p, epoch in epochs.items() if p in touched or p in self.epochs}
        return {partition: epochs.get(partition, 0) for partition in touched}

    def committed(self, turn: Turn) -> list[Command]:
        """The batch is durable: which commands begin now, behind the cancelling of others."""
        self._committing = None
        unsaved = self._unsaved
        for record in turn.batch.records:
            if unsaved.get((record.kind, record.id)) is record:
                del unsaved[record.kind, record.id]
        for command_id in turn.cancels:
            self.dispatcher.done(command_id)
        freed = self.dispatcher.ready(self._time) if turn.cancels else []
        if not turn.commands:
            return freed
        performers, epochs = self._performers, self.epochs
        wanted = [
            command
            for command in turn.commands
            if command.id in performers and command.cause.partition in epochs
        ]
        return freed + self.dispatcher.offer(wanted, self._time)

    def take_early(self) -> list[Command]:
        """Commands that need not wait for the open turn's commit."""
        turn = self._open
        if not (turn.early or turn.ready):
            return []
        ready, turn.ready = turn.ready, []
        early, turn.early = turn.early, []
        # What was cancelled since it was asked never begins.
        performers = self._performers
        wanted = [command for command in early if command.id in performers]
        began = [command for command in ready if command.id in performers]
        return began + self.dispatcher.offer(wanted, self._time)

    def next_wake(self) -> int | None:
        """When `turn` wants to be called even though nothing came in, ns."""
        first = self.dispatcher.next_wake()
        for machine in self.machines:
            wake = machine.next_wake()
            if wake is not None and (first is None or wake < first):
                first = wake
        return first


def _holds(history: list[Event], event: Event) -> bool:
    return any(known is event or (known.seq == event.seq != 0) for known in history)


def _at(message: Message, now: int) -> Message:
    """The message as one of this moment (`dataclasses.replace` takes three times as long)."""
    if message.time == now:
        return message
    return Message(
        message.id, message.partition, message.type, message.subject, message.data, message.cause,
        now,
    )  # fmt: skip
