"""The machine of schedules: starts workflows at their times, and makes up for missed ones."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Any

from batuta.kernel.event import Event, Message, Record
from batuta.kernel.machine import Decision
from batuta.kernel.world import Outcome
from batuta.workflow.model import Definitions, Schedule

SECOND = 1_000_000_000
GRACE = 10 * SECOND
"""A time that is no further back than this (ns) was not missed, it is only a little late."""

CAUGHT_UP_MAX = 1000
"""How many missed times `missed="all"` makes up for at most; the newest ones."""


class Schedules:
    """When each schedule fired last and fires next.

    Parameters
    ----------
    definitions: the schedules, by name.
    partition_of: id -> partition; a schedule is run by the owner of `schedule:NAME`.
    """

    kind = "schedule"
    active = ("active",)
    handles = ()
    receives = ()
    wants_history = ()

    def __init__(self, definitions: Definitions, partition_of: Callable[[str], int]) -> None:
        self.definitions = definitions
        self.partition_of = partition_of
        self.owned: Collection[int] = ()
        self._last: dict[str, int] = {}
        self._since: dict[str, int] = {}
        self._next: dict[str, tuple[str, int | None]] = {}

    def own(self, partitions: Collection[int], now: int) -> None:
        """Keep to these partitions."""
        self.owned = set(partitions)
        self._next = {name: known for name, known in self._next.items() if self._mine(name)}

    def recover(self, record: Record) -> bool:
        """After a start: when it fired last."""
        self._last[record.name] = record.data["last"]
        self._since[record.name] = record.time
        self._next[record.name] = (record.data["expression"], record.data["next"])
        return False

    def knows(self, subject: str) -> bool:
        """Schedules have no history to fold."""
        return True

    def record_of(self, subject: str) -> Record | None:
        """The journal's row is the present one."""
        return None

    def load(self, record: Record, history: list[Event]) -> None:
        """Nothing is folded from histories here."""

    def receive(
        self, message: Message, record: Record | None, history: list[Event], into: Decision
    ) -> dict[str, Any]:
        """It answers no messages."""
        raise NotImplementedError

    def finish(self, outcome: Outcome, now: int, into: Decision) -> None:
        """It asks for no commands."""

    def apply(self, event: Event) -> None:
        """It folds no events; its rows are its state."""

    def next_wake(self) -> int | None:
        """The next time of any schedule; at once, where one was just defined."""
        if not (self.definitions.schedules or self._next):
            return None
        if self._unknown():
            return 0
        return min((due for _, due in self._next.values() if due is not None), default=None)

    def _unknown(self) -> bool:
        return any(
            self._next.get(name, ("", 0))[0] != schedule.expression
            for name, schedule in self.definitions.schedules.items()
            if self._mine(name)
        )

    def _mine(self, name: str) -> bool:
        return self.partition_of(f"schedule:{name}") in self.owned

    def decide(self, now: int, into: Decision) -> None:
        """Start what is due."""
        if not (self.definitions.schedules or self._next):
            return
        for name, schedule in self.definitions.schedules.items():
            if not self._mine(name):
                continue
            expression, due = self._next.get(name, ("", now))
            if expression != schedule.expression:
                # Defined for the first time, or anew: it begins now, nothing was missed.
                self._last[name] = now
                self._since.setdefault(name, now)
            elif due is None or due > now:
                continue
            dues = _to_run(schedule, self._last[name], now)
            for time in dues:
                self._fire(schedule, time, now, into)
            self._last[name] = now
            following = schedule.times.next(now)
            self._next[name] = (schedule.expression, following)
            into.records.append(self._record(schedule, now, following))
        for name in [name for name in self._next if name not in self.definitions.schedules]:
            del self._next[name]

    def _fire(self, schedule: Schedule, due: int, now: int, into: Decision) -> None:
        name = schedule.name
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=due // 1000)
        part = f".{due % SECOND // 1000:06}" if due % SECOND else ""
        run = f"{name}@{moment:%Y-%m-%dT%H:%M:%S}{part}Z"
        partition = self.partition_of(f"schedule:{name}")
        fired = Event(
            "schedule.fired", f"schedule:{name}",
            {"name": name, "due": due, "expression": schedule.expression},
            None, now, None, partition,
        )  # fmt: skip
        into.events.append(fired)
        flow = schedule.workflow
        try:
            args, kwargs = flow.codec.encode_call((moment,) if flow.codec.parameters else (), {})
        except Exception:  # the run itself tells what is wrong with its signature
            args, kwargs = [moment.isoformat()], {}
        start = {
            "workflow": flow.name, "args": args, "kwargs": kwargs,
            "trigger": {"schedule": name, "due": due},
        }  # fmt: skip
        into.messages.append(
            Message(f"{run}/start", partition, "run.start", run, start, fired, now)
        )

    def _record(self, schedule: Schedule, last: int, following: int | None) -> Record:
        return Record(
            "schedule", schedule.name, self.partition_of(f"schedule:{schedule.name}"), "active",
            schedule.name, self._since[schedule.name], None, following, 0, {},
            {"last": last, "next": following, "expression": schedule.expression,
             "missed": schedule.missed},
        )  # fmt: skip


def _to_run(schedule: Schedule, last: int, now: int) -> list[int]:
    """Which of the times since `last` are run: those just due, and of the missed ones as many
    as the schedule's policy says."""
    dues = schedule.times.between(last, now, CAUGHT_UP_MAX)
    fresh = [due for due in dues if now - due <= GRACE]
    if schedule.missed == "all":
        return dues
    if schedule.missed == "once" and not fresh:
        return dues[-1:]
    return fresh
