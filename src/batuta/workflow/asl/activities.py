"""The machine of activities: names that workers of the user's poll for tasks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from batuta.kernel.event import Event, Message, Record
from batuta.kernel.machine import Decision
from batuta.kernel.world import Outcome
from batuta.workflow.asl.registry import ServiceError, check_tags

PREFIX = "activity:"


class Activities:
    """All activities that were created; their tasks are commands of runs, not of these."""

    kind = "activity"
    active = ()
    handles = ("activity.created", "activity.deleted", "activity.tagged", "activity.untagged")
    receives = ("activity.create", "activity.delete", "activity.tag", "activity.untag")
    wants_history = ()

    def __init__(self) -> None:
        self._changed: dict[str, Record] = {}

    def own(self, partitions: Collection[int], now: int) -> None:
        """Its rows are its state: nothing is held in memory."""
        self._changed.clear()

    def recover(self, record: Record) -> bool:
        """Nothing of it is unfinished."""
        return False

    def knows(self, subject: str) -> bool:
        """There is no history to fold before a message is answered."""
        return True

    def record_of(self, subject: str) -> Record | None:
        """The row as this turn has left it."""
        return self._changed.get(subject)

    def load(self, record: Record, history: list[Event]) -> None:
        """Nothing is folded from histories here."""

    def receive(
        self, message: Message, record: Record | None, history: list[Event], into: Decision
    ) -> dict[str, Any]:
        """Create one (again), delete one, change its tags. Raises `ServiceError`."""
        if record is not None and record.status == "deleted":
            record = None
        type, data = told(message, record)
        if type:
            event = Event(
                type, message.subject, data, message.cause, message.time, None, message.partition
            )
            record = fold(record, event)
            into.events.append(event)
            into.records.append(record)
            self._changed[message.subject] = record
        return {"created": record.time if record is not None else message.time}

    def finish(self, outcome: Outcome, now: int, into: Decision) -> None:
        """It asks for no commands."""

    def apply(self, event: Event) -> None:
        """Events are folded into rows where they are made."""

    def decide(self, now: int, into: Decision) -> None:
        """The rows of this turn are on their way into the journal."""
        self._changed.clear()

    def next_wake(self) -> int | None:
        """It waits for nothing."""
        return None


def told(message: Message, record: Record | None) -> tuple[str, dict[str, Any]]:
    """The event that a message leads to; an empty type where nothing changes."""
    data = message.data
    if message.type == "activity.create":
        return _created(data, record)
    if message.type == "activity.delete":
        return ("activity.deleted", {}) if record is not None else ("", {})
    if record is None:
        raise ServiceError("ResourceNotFound", f"Resource not found: '{data['arn']}'")
    known = record.data.get("tags", {})
    if message.type == "activity.tag":
        check_tags({**known, **data["tags"]})
        return "activity.tagged", {"tags": data["tags"]}
    return "activity.untagged", {"keys": list(data["keys"])}


def _created(data: dict[str, Any], record: Record | None) -> tuple[str, dict[str, Any]]:
    if record is None:
        check_tags(data.get("tags") or {})
        kept = {part: data[part] for part in ("tags", "encryption") if data.get(part) is not None}
        return "activity.created", kept
    if record.data.get("encryption") != data.get("encryption"):
        raise ServiceError("ActivityAlreadyExists", f"Activity Already Exists: '{data['arn']}'")
    return "", {}


def fold(record: Record | None, event: Event) -> Record:
    """An activity's row after an event."""
    if record is None or event.type == "activity.created":
        name = event.subject.removeprefix(PREFIX)
        return Record(
            "activity", event.subject, event.partition, "active", name, event.time, data=event.data
        )
    if event.type == "activity.deleted":
        return replace(record, status="deleted", ended=event.time, seq=0)
    tags = dict(record.data.get("tags", {}))
    if event.type == "activity.tagged":
        tags.update(event.data["tags"])
    else:
        tags = {key: value for key, value in tags.items() if key not in event.data["keys"]}
    return replace(record, seq=0, data={**record.data, "tags": tags})
