"""The machine of rules: each matching event starts a run, in order per subject."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from batuta.common.keyed import u
from batuta.kernel.errors import Conflict, NotFound
from batuta.kernel.event import Event, Message, Record
from batuta.kernel.machine import Decision
from batuta.kernel.world import Outcome
from batuta.workflow.ask import RESERVED
from batuta.workflow.model import Definitions, Rule
from batuta.workflow.run import seen
from batuta.workflow.verbs import event_of


@dataclass(slots=True)
class Delivery:
    """One event on its way through one rule.

    `order`: its place among the deliveries of its subject. `cause`: what led to its next step.
    `run`: the run of the present attempt.
    """

    id: str
    rule: str
    event: dict[str, Any]
    partition: int
    time: int
    order: int
    status: str = "waiting"
    attempt: int = 0
    error: str | None = None
    cause: Event | int | None = None
    retry_at: int | None = None
    run: str = ""


class Deliveries:
    """All events that rules have matched and no run has dealt with yet.

    Parameters
    ----------
    definitions: the rules, by name.
    partition_of: id -> partition, as the journal divides them.
    """

    kind = "delivery"
    active = ("waiting", "running")
    handles = (
        "run.completed", "run.failed", "run.cancelled", "run.terminated", "run.continued",
        "delivery.repeated", "*",
    )  # fmt: skip
    receives = ("event.send", "dead.redrive")
    wants_history = ()

    def __init__(self, definitions: Definitions, partition_of: Callable[[str], int]) -> None:
        self.definitions = definitions
        self.partition_of = partition_of
        self.owned: Collection[int] = ()
        self._queues: dict[tuple[str, str], deque[Delivery]] = {}
        self._running: dict[str, Delivery] = {}
        self._matched: list[tuple[Rule, Event]] = []
        self._ended: list[tuple[Delivery, Event]] = []
        self._touched: dict[tuple[str, str], None] = {}
        self._timers: list[tuple[int, str, tuple[str, str]]] = []
        self._order = 0
        self._recovered: dict[str, Delivery] = {}

    # -- what is in memory -----------------------------------------------------------------

    def own(self, partitions: Collection[int], now: int) -> None:
        """Keep to these partitions."""
        self.owned = set(partitions)
        for key, queue in list(self._queues.items()):
            kept = deque(one for one in queue if one.partition in self.owned)
            if kept:
                self._queues[key] = kept
            else:
                del self._queues[key]
        self._running = {
            run: one for run, one in self._running.items() if one.partition in self.owned
        }

    def recover(self, record: Record) -> bool:
        """After a start: what waited or ran goes on from its row."""
        data = record.data
        delivery = Delivery(
            record.id, record.name, data["event"], record.partition, record.time, data["order"],
            record.status, data["attempt"], data.get("error"), record.seq, record.wake,
            data.get("run", ""),
        )  # fmt: skip
        self._order = max(self._order, delivery.order)
        self._recovered[delivery.id] = delivery
        return record.status == "waiting"

    def knows(self, subject: str) -> bool:
        """Deliveries that are unfinished are always in memory; their rows tell the rest."""
        return True

    def record_of(self, subject: str) -> Record | None:
        """Rows are written at each change: the journal's is the present one."""
        return None

    def load(self, record: Record, history: list[Event]) -> None:
        """See what led to where it stands: the last thing that happened to it."""
        for event in history:
            if event.type.startswith("delivery."):
                self._recovered[record.id].cause = event

    # -- messages and outcomes -------------------------------------------------------------

    def receive(
        self, message: Message, record: Record | None, history: list[Event], into: Decision
    ) -> dict[str, Any]:
        """Take in an event from outside, or begin again with a dead letter."""
        if message.type == "event.send":
            data = {name: value for name, value in message.data.items() if name != "type"}
            data.setdefault("id", message.id)
            data.setdefault("source", "")
            event = Event(
                message.data["type"], message.subject, data, message.cause, message.time, None,
                message.partition,
            )  # fmt: skip
            into.events.append(event)
            return {"id": data["id"], "event": event}
        if record is None:
            raise NotFound(
                f"there is no delivery `{message.subject}`", hint="`batuta dead list` lists them"
            )
        if record.status != "dead":
            raise Conflict(
                f"delivery `{record.id}` is {record.status}; only dead ones are redriven"
            )
        event = Event(
            "delivery.redriven", record.id, {"rule": record.name}, message.cause, message.time,
            None, record.partition,
        )  # fmt: skip
        into.events.append(event)
        self.recover(record)
        delivery = self._recovered[record.id]
        delivery.status, delivery.cause, delivery.error = "waiting", event, None
        return {"id": record.id, "status": "waiting"}

    def finish(self, outcome: Outcome, now: int, into: Decision) -> None:
        """It asks for no commands."""

    # -- folding ---------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        """See which rules match a user's event, and which delivery a run's end concerns."""
        if event.type.startswith("run.") or event.type == "delivery.repeated":
            delivery = self._running.pop(event.subject, None)
            if delivery is not None:
                self._ended.append((delivery, event))
            return
        if event.partition not in self.owned or event.type.startswith(RESERVED):
            return
        for rule in self.definitions.rules.values():
            if matches(rule.type, event.type) and (
                rule.where is None or rule.where.test(seen(event))
            ):
                self._matched.append((rule, event))

    # -- deciding --------------------------------------------------------------------------

    def next_wake(self) -> int | None:
        """When the next failed delivery is tried again."""
        return self._timers[0][0] if self._timers else None

    def decide(self, now: int, into: Decision) -> None:
        """Queue what matched, finish what ended, start what is at the head of its queue."""
        if self._recovered:
            self._take_up()
        for rule, event in self._matched:
            self._queue(rule, event, now, into)
        self._matched.clear()
        ended, self._ended = self._ended, []
        for delivery, event in ended:
            self._close(delivery, event, now, into)
        while self._timers and self._timers[0][0] <= now:
            self._touched[heapq.heappop(self._timers)[2]] = None
        touched, self._touched = self._touched, {}
        for key in touched:
            self._start_next(key, now, into)

    def _take_up(self) -> None:
        recovered, self._recovered = self._recovered, {}
        for delivery in sorted(recovered.values(), key=lambda one: one.order):
            key = (delivery.rule, delivery.event["subject"])
            self._queues.setdefault(key, deque()).append(delivery)
            self._touched[key] = None
            if delivery.status == "running":
                self._running[delivery.run] = delivery
            elif delivery.retry_at is not None:
                heapq.heappush(self._timers, (delivery.retry_at, delivery.id, key))

    def _queue(self, rule: Rule, event: Event, now: int, into: Decision) -> None:
        shown = seen(event)
        self._order += 1
        id = f"{rule.name}:{shown['id'] or self._order}"
        key = (rule.name, event.subject)
        if any(known.id == id for known in self._queues.get(key, ())):
            return  # the same event once more, before the first one was dealt with
        asked = Event(
            "delivery.asked", id, {"rule": rule.name, "event": shown["id"]}, event, now, None,
            event.partition,
        )  # fmt: skip
        into.events.append(asked)
        delivery = Delivery(
            id, rule.name, shown, event.partition, event.time, self._order, cause=asked
        )
        self._queues.setdefault(key, deque()).append(delivery)
        self._touched[key] = None
        into.records.append(_record(delivery))

    def _start_next(self, key: tuple[str, str], now: int, into: Decision) -> None:
        queue = self._queues.get(key)
        if not queue:
            self._queues.pop(key, None)
            return
        head = queue[0]
        if head.status != "waiting" or (head.retry_at is not None and head.retry_at > now):
            return
        rule = self.definitions.rules.get(head.rule)
        if rule is None:
            self._die(head, "its rule is not defined any more", head.cause, now, into)
            return
        head.attempt += 1
        head.status, head.retry_at = "running", None
        head.run = head.id if head.attempt == 1 else f"{head.id}#{head.attempt}"
        self._running[head.run] = head
        try:
            parameters = len(rule.workflow.codec.parameters)
            args, kwargs = rule.workflow.codec.encode_call(
                (event_of(head.event),) if parameters else (), {}
            )
        except Exception as misfit:  # a signature that no event fits ends this delivery only
            self._die(head, str(misfit), head.cause, now, into)
            return
        start = {
            "workflow": rule.workflow.name, "args": args, "kwargs": kwargs,
            "trigger": {"rule": rule.name, "event": head.event["id"]},
        }  # fmt: skip
        into.messages.append(
            Message(f"{head.run}/start", head.partition, "run.start", head.run, start, head.cause,
                    now)
        )  # fmt: skip
        into.records.append(_record(head))

    def _close(self, delivery: Delivery, event: Event, now: int, into: Decision) -> None:
        key = (delivery.rule, delivery.event["subject"])
        if event.type == "run.continued":
            # It goes on under another id: that one's end is the delivery's.
            delivery.run = event.data["id"]
            self._running[delivery.run] = delivery
            into.records.append(_record(delivery))
            return
        self._touched[key] = None
        if event.type in ("run.completed", "delivery.repeated"):
            delivery.status = "done"
            self._leave(delivery)
            self._write("delivery.done", delivery, {}, event, now, into)
            return
        error = event.data.get("error") or {"type": "", "message": event.type}
        rule = self.definitions.rules.get(delivery.rule)
        if rule is not None and rule.retry.allows(error["type"], (), delivery.attempt):
            luck = u(0, delivery.id, delivery.attempt, "retry")
            delivery.retry_at = now + rule.retry.delay(delivery.attempt, luck)
            delivery.status, delivery.error = "waiting", error["message"]
            heapq.heappush(self._timers, (delivery.retry_at, delivery.id, key))
            data = {"attempt": delivery.attempt, "retry_at": delivery.retry_at, "error": error}
            delivery.cause = self._write("delivery.failed", delivery, data, event, now, into)
            return
        self._die(delivery, error["message"], event, now, into)

    def _die(
        self, delivery: Delivery, error: str, cause: Event | int | None, now: int, into: Decision
    ) -> None:
        self._leave(delivery)
        delivery.status, delivery.error = "dead", error
        data = {"attempt": delivery.attempt, "error": {"message": error}}
        self._write("delivery.dead", delivery, data, cause, now, into)

    def _leave(self, delivery: Delivery) -> None:
        key = (delivery.rule, delivery.event["subject"])
        self._queues[key].remove(delivery)
        self._touched[key] = None

    def _write(
        self, type: str, delivery: Delivery, data: dict[str, Any], cause: Event | int | None,
        now: int, into: Decision,
    ) -> Event:  # fmt: skip
        event = Event(
            type, delivery.id, {"rule": delivery.rule, **data}, cause, now, None,
            delivery.partition,
        )  # fmt: skip
        into.events.append(event)
        ended = now if delivery.status in ("done", "dead") else None
        into.records.append(_record(delivery, ended))
        return event


def matches(pattern: str, type: str) -> bool:
    """Whether an event type is the wanted one; a `*` at the end stands for any ending."""
    return type.startswith(pattern[:-1]) if pattern.endswith("*") else type == pattern


def _record(delivery: Delivery, ended: int | None = None) -> Record:
    data: dict[str, Any] = {
        "event": delivery.event, "order": delivery.order, "attempt": delivery.attempt,
        "subject": delivery.event["subject"], "type": delivery.event["type"],
    }  # fmt: skip
    if delivery.attempt:
        data["run"] = delivery.run
    if delivery.error is not None:
        data["error"] = delivery.error
    return Record(
        "delivery", delivery.id, delivery.partition, delivery.status, delivery.rule,
        delivery.time, ended, delivery.retry_at, 0, {}, data,
    )  # fmt: skip
