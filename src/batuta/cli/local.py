"""The journal itself, read by this process where no server runs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from batuta.cli.client import Row
from batuta.cli.place import Place, Server, read_output
from batuta.cli.storage import open_journal
from batuta.kernel.errors import NotFound
from batuta.kernel.event import Event
from batuta.kernel.journal import Journal
from batuta.workflow.view import as_json, run_view, search, why_chain

TICK_S = 0.05
PAGE = 500


def connect(place: Place, server: Server | None) -> Local:
    """This process itself."""
    return Local(place)


class Local:
    """What a verb that only looks asks, answered by the journal's file or database."""

    served = False

    def __init__(self, place: Place) -> None:
        self.place = place
        self._opened: Journal | None = None

    @property
    def shown(self) -> str:
        return self.place.shown

    def __enter__(self) -> Local:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the journal."""
        if self._opened is not None:
            self._opened.close()

    def journal(self, *, make: bool = False) -> Journal:
        """The journal, opened at the first use."""
        if self._opened is None:
            self._opened = open_journal(self.place, make=make)
        return self._opened

    # -- reading -------------------------------------------------------------------------------

    def runs(
        self,
        *,
        statuses: Sequence[str] = (),
        workflow: str | None = None,
        text: str | None = None,
        attributes: dict[str, Any] | None = None,
        limit: int = 50,
    ) -> list[Row]:
        page = search(
            self.journal(),
            statuses=statuses,
            workflow=workflow,
            text=text,
            attributes=attributes,
            limit=limit,
        )
        return [
            {
                "id": row.id,
                "workflow": row.workflow,
                "status": row.status,
                "reason": row.reason,
                "started": row.started,
                "ended": row.ended,
                "duration": row.duration,
                "wake": row.wake,
                "definition": row.definition,
                "attributes": dict(row.attributes),
                "result": row.result,
                "parent": row.parent,
            }
            for row in page.rows
        ]

    def run(self, id: str) -> Row:
        view = run_view(self.journal().histories([id]))
        if view.status == "unknown":
            raise NotFound(f"there is no run `{id[:100]}`", hint="`batuta ps` lists the runs")
        return as_json(view)

    def why(self, id: str) -> list[Row]:
        return [asdict(link) for link in why_chain(self.journal(), id)]

    def head(self) -> int:
        return self.journal().head()

    def events(
        self,
        after: int = 0,
        limit: int = 1000,
        *,
        types: Sequence[str] = (),
        subject: str | None = None,
        newest_first: bool = False,
    ) -> list[Event]:
        return self.journal().read(
            after, limit, types=types, subject=subject, newest_first=newest_first
        )

    def follow(
        self, after: int, *, types: Sequence[str] = (), subject: str | None = None
    ) -> Iterator[Event | None]:
        journal = self.journal()
        while True:
            head = journal.head()
            page = journal.read(after, PAGE, types=types, subject=subject, before=head + 1)
            for event in page:
                after = event.seq
                yield event
            if len(page) < PAGE:
                after = max(after, head)
                yield None
                time.sleep(TICK_S)

    def output(self, id: str) -> list[str]:
        return read_output(self.place.state, id)

    def dead(self, limit: int) -> list[Row]:
        records = self.journal().records(
            "delivery", statuses=("dead",), newest_first=True, limit=limit
        )
        fields = ("event", "type", "subject", "attempt", "error", "run")
        return [
            {
                "id": record.id,
                "rule": record.name,
                "status": record.status,
                "time": record.time,
                "ended": record.ended,
                **{name: record.data.get(name) for name in fields},
            }
            for record in records
        ]
