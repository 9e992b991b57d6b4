"""The machine of runs: what is in memory, what is due, and which event goes to which run."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection
from typing import Any

from batuta.common.keyed import u
from batuta.kernel.errors import NotFound
from batuta.kernel.event import Event, Message, Record
from batuta.kernel.machine import Decision
from batuta.kernel.world import Outcome
from batuta.workflow.ask import Call
from batuta.workflow.asl.execution import Recorder
from batuta.workflow.asl.machine import StateMachine, flow_of
from batuta.workflow.deciding import decide_arrivals, decide_run
from batuta.workflow.fold import APPLY
from batuta.workflow.model import Definitions
from batuta.workflow.replay import effective
from batuta.workflow.requests import RECEIVE
from batuta.workflow.run import ENDED, Run, command_of, failure_data, run_record
from batuta.workflow.waits import Waits

SUSPICIOUS = 2
"""A step that was in flight this often when its server ended, without any progress between, is
performed in a process of its own from then on: it may be what kills the server."""

RAPIDLY = 120_000_000_000
"""Ends of servers that are further apart than this (ns) have other reasons than one step."""


class Runs:
    """All runs of the partitions that this server owns.

    Parameters
    ----------
    definitions: the workflows, by name; replaced as a whole when the code is reloaded.
    partition_of: id -> partition, as the journal divides them.
    idle_max: how many runs that only wait are kept in memory; the others are folded again
        from the journal when something happens to them.
    operations_max: how many things one run may ask for before it has to `continue_as_new`.
    keep_ended: whether runs that ended stay in memory (to ask them something).
    recorder: gets the history of the state machines' executions while they are folded.
    """

    kind = "run"
    active = ("running", "sleeping")
    handles = (*APPLY, "run.started", "*")
    receives = ("run.start", *RECEIVE)
    wants_history = ("run.retry", "run.fork", "run.undo")

    def __init__(
        self,
        definitions: Definitions,
        partition_of: Callable[[str], int],
        *,
        idle_max: int = 1000,
        operations_max: int = 10_000,
        keep_ended: bool = False,
        recorder: Recorder | None = None,
    ) -> None:
        self.definitions = definitions
        self.partition_of = partition_of
        self.idle_max = idle_max
        self.operations_max = operations_max
        self.keep_ended = keep_ended
        self.recorder = recorder
        self.owned: Collection[int] = ()
        self.owned_since = 0
        self.runs: dict[str, Run] = {}
        self.dirty: dict[str, Run] = {}
        self.idle: dict[str, None] = {}
        self.asleep: dict[str, int] = {}
        self.loading: dict[str, int] = {}
        self.arrivals = 0
        self.commands: dict[str, tuple[Run, Call[Any]]] = {}
        self.recovered: list[tuple[Run, Call[Any]]] = []
        self.timers: list[tuple[int, str, str]] = []
        self.due: dict[str, deque[str]] = {}
        self.met: list[tuple[str, str, Event]] = []
        self.ended_children: list[tuple[str, str, Event]] = []
        self.waits = Waits()
        self._swept = 0

    # -- what is in memory -----------------------------------------------------------------

    def own(self, partitions: Collection[int], now: int) -> None:
        """Keep to these partitions; the runs of others are forgotten as they are."""
        self.owned = set(partitions)
        self.owned_since = now
        for run in [run for run in self.runs.values() if run.partition not in self.owned]:
            self.forget(run)
        lost = {run for run, partition in self.asleep.items() if partition not in self.owned}
        if lost:
            self.asleep = {run: at for run, at in self.asleep.items() if run not in lost}
            self.waits.forget(lost)

    def recover(self, record: Record) -> bool:
        """After a start: a run that sleeps costs its timer only; one in flight is wanted."""
        if record.status != "sleeping":
            return True
        self.asleep[record.id] = record.partition
        if record.wake is not None:
            heapq.heappush(self.timers, (record.wake, record.id, ""))
        self.waits.recover(record)
        return False

    def knows(self, subject: str) -> bool:
        """Whether the run is in memory."""
        return subject in self.runs

    def record_of(self, subject: str) -> Record | None:
        """The row of a run that is in memory."""
        run = self.runs.get(subject)
        return None if run is None else run_record(run, run.status, None, None)

    def load(self, record: Record, history: list[Event]) -> None:
        """Fold a run again; steps that are in flight are asked of the world once more."""
        run = self.restore(history)
        if run is not None:
            run.recorded = record.status
            if record.status == "parked":
                run.status = "parked"
            elif run.inflight and history:
                self._suspect(run, record, history[-1].seq)

    def _suspect(self, run: Run, record: Record, at: int) -> None:
        """Count how often a server ended while this run stood here: its row remembers it."""
        before = record.data.get("resumed") or {}
        again = before.get("at") == at and self.owned_since - before["since"] < RAPIDLY
        times = before["times"] + 1 if again else 1
        run.resumed = {"at": at, "times": times, "since": self.owned_since}
        run.recorded = ""

    def restore(self, history: list[Event]) -> Run | None:
        """Fold the events of one run; None where nothing is left to go on with."""
        events = effective(history) if _takes_back(history) else history
        marks = {event.data["name"] for event in events if event.type == "patch.marked"}
        run: Run | None = None
        last = len(events) - 1
        for at, event in enumerate(events):
            if run is None:
                if event.type == "run.started":
                    run = self.begin(event, marks, replaying=at < last)
                continue
            if run.program is not None:
                run.program.replaying = at < last
            handler = APPLY.get(event.type)
            if handler is not None:
                handler(self, run, event)
        if run is None:
            return None
        self.asleep.pop(run.id, None)
        self.loading.pop(run.id, None)
        if run.status in ENDED and not self.keep_ended:
            self.forget(run)
            return None
        if run.program is not None:
            for ask in run.program.open.values():
                if type(ask) is Call and ask.command is not None:
                    self.recovered.append((run, ask))
        self.dirty[run.id] = run
        return run

    def forget(self, run: Run) -> None:
        """Let go of a run; what it has in the journal stays."""
        if run.program is not None:
            for ask in run.program.open.values():
                self.waits.remove(run.id, ask)
                if ask.command is not None:
                    self.commands.pop(ask.command, None)
            run.program.close()
        self.runs.pop(run.id, None)
        self.dirty.pop(run.id, None)
        self.idle.pop(run.id, None)

    def rest(self, run: Run) -> None:
        """A run only waits: keep it in memory while there is room."""
        self.asleep[run.id] = run.partition
        self.idle.pop(run.id, None)
        self.idle[run.id] = None
        while len(self.idle) > self.idle_max:
            oldest = next(iter(self.idle))
            del self.idle[oldest]
            evicted = self.runs.get(oldest)
            if evicted is not None and oldest not in self.dirty:
                del self.runs[oldest]
                if evicted.program is not None:
                    evicted.program.close()

    def stir(self, run: Run) -> None:
        """A run does more than wait again."""
        self.asleep.pop(run.id, None)
        self.idle.pop(run.id, None)

    def observe(self, event: Event) -> None:
        """See who waits for a user's event, also for one that another server wrote."""
        self.met.extend((run, key, event) for run, key in self.waits.matching(event))

    # -- messages and outcomes -------------------------------------------------------------

    def receive(
        self, message: Message, record: Record | None, history: list[Event], into: Decision
    ) -> dict[str, Any]:
        """Answer what people, rules and other runs ask for."""
        if message.type == "run.start":
            return self._start(message, record, into)
        if record is None:
            raise NotFound(
                f"there is no run `{message.subject}`", hint="`batuta ps` lists the runs"
            )
        return RECEIVE[message.type](self, message, record, history, into)

    def _start(self, message: Message, record: Record | None, into: Decision) -> dict[str, Any]:
        id, data = message.subject, message.data
        known = self.runs.get(id)
        if known is None and record is None:
            try:
                started = self.start_event(id, data, message.cause, message.time, message.partition)
            except NotFound as missing:
                self._refuse(message, missing.message, into)
                raise
            into.events.append(started)
            return {"id": id, "created": True, "status": "running"}
        status = known.status if known is not None else record.status if record else ""
        self._refuse(message, f"there is a run `{id}` already", into)
        if known is None and data.get("trigger", {}).get("rule"):
            # The same event came twice, and the run that dealt with it has ended.
            into.events.append(
                Event(
                    "delivery.repeated",
                    id,
                    {"status": status},
                    message.cause,
                    message.time,
                    None,
                    message.partition,
                )
            )
        return {"id": id, "created": False, "status": status}

    def _refuse(self, message: Message, why: str, into: Decision) -> None:
        """A run that was to be a part of another one cannot begin: its parent is told."""
        parent = message.data.get("parent")
        if parent is None:
            return
        error = {"type": "batuta:Conflict", "message": why}
        ended = {"key": parent["key"], "id": message.subject, "status": "failed", "error": error}
        into.events.append(
            Event(
                "child.ended",
                parent["run"],
                ended,
                message.cause,
                message.time,
                None,
                message.partition,
            )
        )

    def start_event(
        self, id: str, data: dict[str, Any], cause: Event | int | None, now: int, partition: int
    ) -> Event:
        """The `run.started` of a new run. Raises `NotFound` for an unknown workflow."""
        flow = flow_of(self.definitions, data)
        if flow is None:
            known = ", ".join(sorted(self.definitions.workflows)) or "none"
            raise NotFound(
                f"there is no workflow `{data['workflow']}`", hint=f"defined are: {known}"
            )
        deadline = data.get("deadline")
        if deadline is None and flow.deadline is not None:
            deadline = now + flow.deadline
        started: dict[str, Any] = {
            "workflow": flow.name,
            "args": data.get("args", []),
            "kwargs": data.get("kwargs", {}),
            "definition": flow.source,
            "source": flow.code_hash,
            "priority": data.get("priority", flow.priority),
            "deadline": deadline,
            "attributes": data.get("attributes", {}),
        }
        for optional in ("parent", "trigger"):
            if data.get(optional) is not None:
                started[optional] = data[optional]
        if isinstance(flow, StateMachine):
            started["machine"] = flow.begun(data.get("machine"))
        return Event("run.started", id, started, cause, now, None, partition)

    def finish(self, outcome: Outcome, now: int, into: Decision) -> None:
        """Record how a step ended; after a failure, when it is tried again."""
        entry = self.commands.get(outcome.command)
        if entry is None:
            return
        run, call = entry
        if run.program is None or run.program.open.get(call.key) is not call:
            return  # it was cancelled by what came in just before it
        asked = call.asked
        assert asked is not None
        data: dict[str, Any] = {"key": call.key, "attempt": call.attempt}
        if outcome.failure is None:
            kind = "step.completed"
            if outcome.command in into.unwritten:
                # A repeatable step was faster than the commit of its asking: one event for both.
                del into.unwritten[outcome.command]
                kind, data = "step.performed", {**asked.data, "asked": asked.time}
                asked.type = ""
            data["result"] = outcome.value
        else:
            kind = "step.failed"
            data["error"] = failure_data(outcome.failure, outcome)
            data["retry_at"] = self._retry_at(run, call, outcome, now)
        data["started"] = outcome.started or asked.time
        if outcome.detail:
            for name in ("heartbeat", "worker"):
                if name in outcome.detail:
                    data[name] = outcome.detail[name]
        cause = asked if asked.type else asked.cause
        into.events.append(Event(kind, run.id, data, cause, now, outcome.command, run.partition))

    def _retry_at(self, run: Run, call: Call[Any], outcome: Outcome, now: int) -> int | None:
        failure, retry = outcome.failure, call.step.retry
        assert failure is not None
        bases = outcome.detail.get("bases", ())
        if not failure.retryable or not retry.allows(failure.type, bases, call.attempt):
            return None
        return now + retry.delay(call.attempt, u(0, run.id, call.key, call.attempt, "retry"))

    # -- folding and deciding --------------------------------------------------------------

    def apply(self, event: Event) -> None:
        """Fold one event of a run, or see whether a run waits for a user's event."""
        handler = APPLY.get(event.type)
        if handler is not None:
            run = self.runs.get(event.subject)
            if run is not None:
                handler(self, run, event)
        elif event.type == "run.started":
            self.begin(event, set(), replaying=False)
        else:
            self.observe(event)

    def begin(self, event: Event, marks: set[str], *, replaying: bool) -> Run:
        """A run starts: its coroutine is made, and driven to the first thing it waits for."""
        run = Run(event)
        self.runs[run.id] = run
        self.dirty[run.id] = run
        if run.deadline is not None:
            self.time(run, run.deadline, "deadline")
        flow = flow_of(self.definitions, event.data, self.recorder)
        if flow is None:
            run.stuck = NotFound(
                f"workflow `{run.workflow}` is not defined any more",
                at=event.data["definition"],
                hint=f"bring it back, then `batuta retry {run.id}`",
            )
            return run
        try:
            program = flow.program(event, self.operations_max)
        except Exception as misfit:  # input that does not fit the signature ends this run only
            run.misfit = misfit
            return run
        run.program = program
        program.patches = marks
        program.replaying = replaying
        program.cause, program.now = event, event.time
        program.begin()
        return run

    def time(self, run: Run, due: int, key: str) -> None:
        """Have the clock come back to a run."""
        timer = due, run.id, key
        heapq.heappush(self.timers, timer)
        if run.queue is not None:
            heapq.heappush(run.queue, timer)

    def next_wake(self) -> int | None:
        """When the next timer, retry or deadline is due."""
        return self.timers[0][0] if self.timers else None

    def decide(self, now: int, into: Decision) -> None:
        """Ask for what programs want, fire what is due, end what has ended."""
        timers = self.timers
        while timers and timers[0][0] <= now:
            _, run_id, key = heapq.heappop(timers)
            self.due.setdefault(run_id, deque()).append(key)
        if self.due or self.met or self.ended_children:
            before = len(into.events)
            decide_arrivals(self, now, into)
            if len(into.events) > before:
                # What arrived may change what a run asks for: it is folded first.
                return
        if self.recovered:
            recovered, self.recovered = self.recovered, []
            for run, call in recovered:
                if call.asked is not None and call.command in self.commands:
                    command = command_of(run, call, call.asked)
                    command.isolated = run.resumed.get("times", 0) >= SUSPICIOUS
                    into.commands.append(command)
        if self.dirty:
            dirty, self.dirty = self.dirty, {}
            for run in dirty.values():
                decide_run(self, run, now, into)
            if self.ended_children:
                # Tell the parents of runs that just ended, in the same turn.
                decide_arrivals(self, now, into)
        if len(self.timers) > 2 * self._swept + 1000:
            self._sweep()

    def _sweep(self) -> None:
        """Take the timers that nobody waits for any more out of the queue."""
        self.timers = [entry for entry in set(self.timers) if self._wanted(*entry)]
        heapq.heapify(self.timers)
        self._swept = len(self.timers)

    def _wanted(self, due: int, run_id: str, key: str) -> bool:
        run = self.runs.get(run_id)
        if run is None:
            return run_id in self.asleep
        if key == "deadline":
            return True
        ask = run.program.open.get(key) if run.program is not None else None
        return ask is not None and ask.due == due


def _takes_back(history: list[Event]) -> bool:
    """Whether a retry takes back what failed; a state machine keeps it and goes on behind it."""
    return not any(event.type == "run.started" and "machine" in event.data for event in history[:5])
