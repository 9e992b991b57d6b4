"""The journal itself, where no server runs: reads go to it, asking starts a system for a while."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any

from batuta.cli.check import show_problems
from batuta.cli.client import Row
from batuta.cli.out import Out, now
from batuta.cli.place import Place, Server, read_output
from batuta.cli.project import Project, load
from batuta.cli.storage import Host, open_journal
from batuta.common.duration import nanoseconds
from batuta.kernel.errors import NotFound
from batuta.kernel.event import Event
from batuta.kernel.journal import Journal
from batuta.workflow.view import as_json, run_view, search, why_chain

TICK_S = 0.05
GRACE_S = 2.0
PAGE = 500


def connect(place: Place, server: Server | None) -> Local:
    """This process itself."""
    return Local(place)


class Local:
    """What a verb asks, answered by the journal's file or database."""

    served = False

    def __init__(self, place: Place) -> None:
        self._place = place
        self._opened: Journal | None = None
        self._host: Host | None = None

    @property
    def shown(self) -> str:
        return self._place.shown

    def __enter__(self) -> Local:
        return self

    def __exit__(self, *_: object) -> None:
        if self._host is not None:
            self._host.close(GRACE_S)
        if self._opened is not None:
            self._opened.close()

    @cached_property
    def project(self) -> Project:
        """The definitions; what is wrong with them is said once."""
        project = load(self._place.project)
        show_problems(project, Out())
        return project

    def _journal(self, *, make: bool = False) -> Journal:
        if self._opened is None:
            self._opened = open_journal(self._place, make=make)
        return self._opened

    def _system(self, *, make: bool = False) -> Host:
        if self._host is None:
            self._host = Host(self.project, self._journal(make=make), self._place)
        return self._host

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
            self._journal(),
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
        view = run_view(self._journal().histories([id]))
        if view.status == "unknown":
            raise NotFound(f"there is no run `{id[:100]}`", hint="`batuta ps` lists the runs")
        return as_json(view)

    def why(self, id: str) -> list[Row]:
        return [asdict(link) for link in why_chain(self._journal(), id)]

    def head(self) -> int:
        return self._journal().head()

    def events(
        self,
        after: int = 0,
        limit: int = 1000,
        *,
        types: Sequence[str] = (),
        subject: str | None = None,
        newest_first: bool = False,
    ) -> list[Event]:
        return self._journal().read(
            after, limit, types=types, subject=subject, newest_first=newest_first
        )

    def follow(
        self, after: int, *, types: Sequence[str] = (), subject: str | None = None
    ) -> Iterator[Event | None]:
        journal = self._journal()
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
        return read_output(self._place.state, id)

    def workflows(self) -> list[Row]:
        counts: dict[str, dict[str, int]] = {}
        if self._place.database or self._place.file.exists():
            for (name, status), count in self._journal().counts("run").items():
                counts.setdefault(name, {})[status] = count
        project = self.project
        rules = {rule.workflow.name: rule.type for rule in project.rules.values()}
        times = {each.workflow.name: each.expression for each in project.schedules.values()}
        return [
            {
                "name": name,
                "definition": flow.source,
                "signature": flow.codec.shown(),
                "doc": (flow.__doc__ or "").strip(),
                "on": rules.get(name),
                "schedule": times.get(name),
                "runs": counts.get(name, {}),
            }
            for name, flow in sorted(project.workflows.items())
        ]

    def schedules(self) -> list[Row]:
        known = {}
        if self._place.database or self._place.file.exists():
            known = {record.name: record for record in self._journal().records("schedule")}
        found = []
        for name, schedule in sorted(self.project.schedules.items()):
            record = known.get(name)
            data = record.data if record else {}
            found.append(
                {
                    "name": name,
                    "expression": schedule.expression,
                    "workflow": schedule.workflow.name,
                    "missed": schedule.missed,
                    "definition": schedule.workflow.source,
                    "last": data.get("last"),
                    "next": data.get("next"),
                    "status": record.status if record else "new",
                }
            )
        return found

    def dead(self, limit: int) -> list[Row]:
        records = self._journal().records(
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

    # -- asking --------------------------------------------------------------------------------

    def submit(self, type: str, subject: str, data: Row) -> Row:
        if type == "run.start":
            self.project.workflow(data["workflow"])
            if "deadline" in data:
                data = data | {"deadline": now() + nanoseconds(data["deadline"])}
        host = self._system(make=type in ("run.start", "event.send"))
        return host.call(host.system.submit(type, subject, data))

    def query(self, run: str, name: str, args: list[Any]) -> Any:
        host = self._system()
        return host.call(host.system.query(run, name, args))
