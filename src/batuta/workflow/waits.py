"""Which runs wait for which users' events; also for those of runs that have left memory."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any

from batuta.common.pattern import Predicate, compile_where
from batuta.kernel.event import Event, Record
from batuta.workflow.ask import Ask, EventWait
from batuta.workflow.run import seen


class Waits:
    """The waits for events, by event type."""

    def __init__(self) -> None:
        self._by_type: dict[str, dict[tuple[str, str], tuple[str | None, Predicate | None]]] = {}

    def add(self, run: str, key: str, ask: EventWait) -> None:
        """A run waits for an event."""
        self._by_type.setdefault(ask.type, {})[run, key] = (ask.subject, ask.where)

    def recover(self, record: Record) -> None:
        """After a start: what a sleeping run waits for stands in its row."""
        for wait in record.data.get("waits", ()):
            if wait["kind"] != "event":
                continue
            where = None if wait.get("where") is None else compile_where(wait["where"])
            waiting = self._by_type.setdefault(wait["name"], {})
            waiting[record.id, wait["key"]] = (wait.get("subject"), where)

    def remove(self, run: str, ask: Ask[Any]) -> bool:
        """It does not wait any more; whether it did."""
        if not isinstance(ask, EventWait):
            return False
        return self._by_type.get(ask.type, {}).pop((run, ask.key), None) is not None

    def forget(self, runs: Container[str]) -> None:
        """These runs are somebody else's now."""
        for waiting in self._by_type.values():
            for wait in [wait for wait in waiting if wait[0] in runs]:
                del waiting[wait]

    def matching(self, event: Event) -> Iterator[tuple[str, str]]:
        """(run, key) of every wait that an event meets."""
        waiting = self._by_type.get(event.type)
        if not waiting:
            return
        shown = seen(event)
        for wait, (subject, where) in waiting.items():
            if (subject is None or subject == event.subject) and (
                where is None or where.test(shown)
            ):
                yield wait
