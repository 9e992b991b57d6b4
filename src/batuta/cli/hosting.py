"""The System that runs a project on a journal: as a server, or for the time of one command."""

from __future__ import annotations

import asyncio
import importlib
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from batuta.cli.out import now
from batuta.cli.place import LOGS, Place
from batuta.cli.project import Project
from batuta.cli.storage import make_state
from batuta.kernel.errors import JournalLocked
from batuta.kernel.journal import Journal, Lease
from batuta.real.output import LogFiles
from batuta.real.ownership import is_dead, lives_here
from batuta.real.system import System
from batuta.workflow.asl.machine import StateMachine

T = TypeVar("T")
SECRET = "BATUTA_SECRET_"
START_S = 60.0
WATCH_S = 0.1


def free_dead_leases(journal: Journal) -> None:
    """Give up the leases of processes of this machine that are no more.

    Only for a journal in a file: whoever owns it runs here, so that nobody has to wait until
    the lease of a killed server has run out. Fencing still refuses one that was only thought
    dead.
    """
    for lease in journal.leases():
        if lease.until > now() and is_dead(lease.owner):
            journal.release(lease.owner)


def secrets() -> dict[str, str]:
    """Secrets for shell steps: `BATUTA_SECRET_TOKEN` in the environment is the one named TOKEN."""
    return {
        name.removeprefix(SECRET): value
        for name, value in os.environ.items()
        if name.startswith(SECRET)
    }


def system_of(
    project: Project,
    journal: Journal,
    place: Place,
    name: str | None = None,
    retain_s: float | None = None,
) -> tuple[System, LogFiles]:
    """A system with the files that keep what its steps print."""
    logs = LogFiles(place.state / LOGS, now)
    if place.database is None:
        free_dead_leases(journal)
    else:
        make_state(place.state)
    system = System(project, journal, name=name, sink=logs, secrets=secrets(), retain_s=retain_s)
    return system, logs


class Host:
    """A system in a loop of its own, on a thread, for the time of one command."""

    def __init__(self, project: Project, journal: Journal, place: Place) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._system, self._logs = self.call(self._make(project, journal, place))
        self.call(self._system.start())
        if any(isinstance(each, StateMachine) for each in project.definitions.workflows.values()):
            nesting = importlib.import_module("batuta.cli.nesting")  # with all of the API
            self.call(nesting.answer_tasks(self._system))

    async def _make(
        self, project: Project, journal: Journal, place: Place
    ) -> tuple[System, LogFiles]:
        return system_of(project, journal, place)

    @property
    def system(self) -> System:
        """What runs here; its coroutines go through `call`."""
        return self._system

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something in the loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(START_S)

    def close(self, grace_s: float) -> None:
        """End: what is in flight may finish within the grace."""
        asyncio.run_coroutine_threadsafe(self._system.stop(grace_s), self._loop).result()
        self._logs.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def outlast(journal: Journal, said: Callable[[str], None]) -> None:
    """Wait until a lease that nobody renews has run out; return at once where one is renewed.

    Parameters
    ----------
    said: is told once that there is something to wait for.

    Raises `JournalLocked` where the owner is a living process of this machine: one that does
    not answer may be suspended in the middle of a commit, and would hold up everybody.
    """
    first = _held(journal)
    if first is None:
        return
    if lives_here(first.owner):
        pid = first.owner.split(":")[-2]
        raise JournalLocked(
            f"another server is running on this database: {first.owner} (process {pid})",
            hint=f"stop it with `kill {pid}` (`kill -9 {pid}` where it is suspended), or give "
            "this one its own --state FOLDER",
        )
    said(f"Waiting for the lease of {first.owner} to run out")
    while (held := _held(journal)) is not None and held.until == first.until:
        await asyncio.sleep(WATCH_S)


def _held(journal: Journal) -> Lease | None:
    return next((one for one in journal.leases() if one.owner and one.until > now()), None)
