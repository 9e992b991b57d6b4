"""The System that runs a project on a journal: as a server, or for the time of one command."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from batuta.cli.out import now
from batuta.cli.place import LOGS, Place
from batuta.cli.project import Project
from batuta.cli.storage import make_state
from batuta.kernel.journal import Journal, Lease
from batuta.real.output import LogFiles
from batuta.real.system import System

T = TypeVar("T")
START_S = 60.0
WATCH_S = 0.1


def free_dead_leases(journal: Journal) -> None:
    """Give up the leases of processes of this machine that are no more.

    Only for a journal in a file: whoever owns it runs here, so that nobody has to wait until
    the lease of a killed server has run out. Fencing still refuses one that was only thought
    dead.
    """
    for lease in journal.leases():
        pid = lease.owner.split(":")[-2] if lease.owner.count(":") >= 2 else ""
        if lease.until > now() and pid.isdigit() and not _runs(int(pid)):
            journal.release(lease.owner)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def system_of(
    project: Project, journal: Journal, place: Place, name: str | None = None
) -> tuple[System, LogFiles]:
    """A system with the files that keep what its steps print."""
    logs = LogFiles(place.state / LOGS, now)
    if place.database is None:
        free_dead_leases(journal)
    else:
        make_state(place.state)
    return System(project, journal, name=name, sink=logs), logs


class Host:
    """A system in a loop of its own, on a thread, for the time of one command."""

    def __init__(self, project: Project, journal: Journal, place: Place) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._system, self._logs = self.call(self._make(project, journal, place))
        self.call(self._system.start())

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
    """
    first = _held(journal)
    if first is None:
        return
    said(f"Waiting for the lease of {first.owner} to run out")
    while (held := _held(journal)) is not None and held.until == first.until:
        await asyncio.sleep(WATCH_S)


def _held(journal: Journal) -> Lease | None:
    return next((one for one in journal.leases() if one.owner and one.until > now()), None)
