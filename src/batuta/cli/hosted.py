"""The journal itself with the definitions, and a system that does what is asked for a while."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from batuta.cli.check import show_problems
from batuta.cli.client import Row
from batuta.cli.hosting import Host
from batuta.cli.local import Local
from batuta.cli.out import Out, now
from batuta.cli.place import Place, Server
from batuta.cli.project import Project, load
from batuta.common.duration import nanoseconds

GRACE_S = 2.0


def connect(place: Place, server: Server | None) -> Hosted:
    """This process itself."""
    return Hosted(place)


class Hosted(Local):
    """What any verb asks; the definitions are loaded and a system started where it takes them."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._host: Host | None = None

    def close(self) -> None:
        """End what runs here; the journal keeps what is not finished."""
        if self._host is not None:
            self._host.close(GRACE_S)
        super().close()

    @cached_property
    def project(self) -> Project:
        """The definitions; what is wrong with them is said once."""
        project = load(self.place.project)
        show_problems(project, Out())
        return project

    def _system(self, *, make: bool = False) -> Host:
        if self._host is None:
            self._host = Host(self.project, self.journal(make=make), self.place)
        return self._host

    def _kept(self) -> bool:
        return self.place.database is not None or self.place.file.exists()

    # -- definitions ---------------------------------------------------------------------------

    def workflows(self) -> list[Row]:
        counts: dict[str, dict[str, int]] = {}
        if self._kept():
            for (name, status), count in self.journal().counts("run").items():
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
        if self._kept():
            known = {record.name: record for record in self.journal().records("schedule")}
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

    # -- asking --------------------------------------------------------------------------------

    def submit(self, type: str, subject: str, data: Row) -> Row:
        """See `Client`."""
        if type == "run.start":
            self.project.workflow(data["workflow"])
            if "deadline" in data:
                data = data | {"deadline": now() + nanoseconds(data["deadline"])}
        host = self._system(make=type in ("run.start", "event.send"))
        return host.call(host.system.submit(type, subject, data))

    def query(self, run: str, name: str, args: list[Any]) -> Any:
        """See `Client`."""
        host = self._system()
        return host.call(host.system.query(run, name, args))
