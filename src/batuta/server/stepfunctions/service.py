"""What every action has at hand: the system, its settings, and reads of the journal."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from starlette.requests import Request

from batuta.kernel.errors import JournalError
from batuta.kernel.event import Record
from batuta.kernel.journal import Journal
from batuta.server.port import System
from batuta.server.stepfunctions.settings import Settings
from batuta.workflow.asl.arn import Place

T = TypeVar("T")
Asked = dict[str, Any]
Answer = dict[str, Any]
LOOK_S = 0.02
BEGUN_LOOKS = 500


class Service:
    """The API over one system.

    Parameters
    ----------
    system: what it shows and drives. settings: how it answers.
    """

    def __init__(self, system: System, settings: Settings) -> None:
        self.system = system
        self.settings = settings
        self.redriven: OrderedDict[tuple[str, str | None], int] = OrderedDict()
        self.told: OrderedDict[tuple[str, int], Any] = OrderedDict()

    @property
    def place(self) -> Place:
        """Region and account in its ARNs."""
        return self.system.project.definitions.place

    async def read(self, ask: Callable[[Journal], T]) -> T:
        """Ask the journal: at once where it is a file, on a thread where it is far away."""
        journal = self.system.journal
        if journal.partitions == 1:
            return ask(journal)
        return await asyncio.to_thread(ask, journal)

    async def record(self, kind: str, id: str) -> Record | None:
        """A record that was not deleted."""
        found = await self.read(lambda journal: journal.record(kind, id))
        return None if found is None or found.status == "deleted" else found

    async def begun(self, run: str) -> Record:
        """The record of a run that was just started, maybe by another server."""
        for _ in range(BEGUN_LOOKS):
            record = await self.record("run", run)
            if record is not None:
                return record
            await asyncio.sleep(LOOK_S)
        raise JournalError("the server that owns the execution does not answer", hint="try again")


class Action(Protocol):
    """Answers one action of the service."""

    def __call__(self, service: Service, asked: Asked, request: Request) -> Awaitable[Answer]: ...


def date(time: int) -> float:
    """A time as the protocol gives it: seconds since 1970, to the millisecond."""
    return round(time / 1e9, 3)
