"""`batuta up`: load a folder, run it, serve it, follow it, reload what changed."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from batuta.cli.check import show_problems, summary
from batuta.cli.hosting import free_dead_leases, outlast, system_of
from batuta.cli.live import Live
from batuta.cli.out import Out, now, span
from batuta.cli.place import (
    LOGS,
    PORT,
    Place,
    find,
    remove_server,
    short,
    write_server,
)
from batuta.cli.project import Project, changed, load, reload
from batuta.cli.storage import open_journal
from batuta.cli.usage import INTERRUPTED, OK, UsageError
from batuta.cli.watch import LogStream, Watch
from batuta.cli.wire import answers
from batuta.common.duration import seconds
from batuta.kernel.errors import BatutaError
from batuta.kernel.journal import Journal
from batuta.real.system import System
from batuta.real.tuning import tune
from batuta.server import telemetry
from batuta.server.guard import is_loopback
from batuta.server.log import configure
from batuta.server.serve import bind, serve
from batuta.server.stepfunctions.deploy import deploy

PORTS = 100
RELOAD_S = 0.5
log = logging.getLogger("batuta.cli")


def up(args: argparse.Namespace, out: Out) -> int:
    """Run a server in the foreground until it is interrupted."""
    place = find(args)
    if not is_loopback(args.host) and not place.token:
        raise UsageError(
            f"whoever reaches {args.host} could run everything here",
            hint="give --token with a long random text, or set BATUTA_TOKEN",
        )
    began = now()
    project = load(args.dir)
    show_problems(project, out)
    out.done("Loaded", f"{project.name}: {summary(project)}", now() - began)
    _refuse_second(place)
    port = _port(args)
    journal = open_journal(place, make=True)
    try:
        return asyncio.run(Up(args, place, project, journal, port, out).run())
    finally:
        journal.close()


def _refuse_second(place: Place) -> None:
    """Two servers on one file would only wait for each other."""
    server = place.server()
    if server is None or place.database is not None or server.pid == os.getpid():
        return
    if answers(server.url):
        raise BatutaError(
            f"a server runs on {place.shown} already: {server.url} (process {server.pid})",
            hint=f"stop it with `kill {server.pid}`, or give this one its own --state FOLDER",
        )


def _port(args: argparse.Namespace) -> int:
    """Where to listen; a port that was named is tried before anything is started."""
    if args.port is None:
        return free_port(args.host)
    bind(args.host, args.port).close()
    return int(args.port)


def free_port(host: str, first: int = PORT) -> int:
    """The first free port from the usual one on. Raises the error of the first where none is."""
    for port in range(first, first + PORTS):
        with suppress(BatutaError):
            bind(host, port).close()
            return port
    bind(host, first).close()
    return first


class Up:
    """One server's life, from the journal to the last line.

    Parameters
    ----------
    args: what was typed. place: where the state is. project: what was loaded.
    journal: open; closed by whoever opened it.
    port: where to listen.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        place: Place,
        project: Project,
        journal: Journal,
        port: int,
        out: Out,
    ) -> None:
        self._args = args
        self._place = place
        self._project = project
        self._journal = journal
        self._port = port
        self._out = out
        self._live = Live(out)
        self._stopping = asyncio.Event()
        self._asked = 0

    async def run(self) -> int:
        """Until somebody asks to stop: the exit code."""
        self._listen_to_signals()
        stream: Any = LogStream(self._live)
        configure("json" if self._args.log == "json" else "human", stream=stream)
        if self._place.database is None:
            free_dead_leases(self._journal)
            await outlast(self._journal, self._out.note)
        retain = self._args.retain
        system, logs = system_of(
            self._project,
            self._journal,
            self._place,
            self._args.server_name,
            None if retain is None else seconds(retain),
        )
        await system.start()
        tune()
        try:
            with self._live:
                return await self._serve(system)
        finally:
            remove_server(self._place.state)
            await self._stop(system)
            logs.close()

    # -- serving -------------------------------------------------------------------------------

    async def _serve(self, system: System) -> int:
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        token = self._place.token
        serving = asyncio.create_task(
            serve(
                system,
                self._args.host,
                self._port,
                token,
                _once(ready),
                logs=self._place.state / LOGS,
            )
        )
        spans = telemetry.start(system)
        stopped = asyncio.create_task(self._stopping.wait())
        tasks: list[asyncio.Future[Any]] = [serving, stopped, *([spans] if spans else [])]
        tasks.append(asyncio.shield(system.broken))
        try:
            first: set[asyncio.Future[Any]] = {serving, ready}
            await asyncio.wait(first, return_when="FIRST_COMPLETED")
            if not ready.done():
                await serving  # it raises why it could not
            self._announce(ready.result())
            tasks += self._companions(system)
            done, _ = await asyncio.wait(tasks, return_when="FIRST_COMPLETED")
            for task in done:
                task.result()  # whatever ended by itself says why
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return INTERRUPTED if self._asked > 1 else OK

    def _companions(self, system: System) -> list[asyncio.Task[Any]]:
        """What goes on beside the server."""
        tasks: list[asyncio.Task[Any]] = []
        if not self._args.no_follow:
            watch = Watch(system, self._live, self._out, structured=self._args.log == "json")
            tasks.append(asyncio.create_task(watch.run()))
        if not self._args.no_reload:
            tasks.append(asyncio.create_task(self._reload(system)))
        return tasks

    def _announce(self, url: str) -> None:
        """Say where the server is, to people and to the next command."""
        write_server(self._place.state, url, now())
        counts: dict[str, int] = {}
        for (_, status), count in self._journal.counts("run").items():
            counts[status] = counts.get(status, 0) + count
        open_ = sum(counts.get(status, 0) for status in ("running", "sleeping", "parked"))
        kept = f"{sum(counts.values()):,} run{'' if sum(counts.values()) == 1 else 's'}"
        going = f", {open_:,} of them open" if open_ else ""
        self._out.done("Serving", self._out.tint(url, "cyan"))
        self._out.done("Keeping", f"{self._place.shown} ({kept}{going})")
        if self._out.json:
            state = str(self._place.state)
            self._out.value({"url": url, "pid": os.getpid(), "state": state})

    # -- reloading -----------------------------------------------------------------------------

    async def _reload(self, system: System) -> None:
        """Look for changed files, and take them over where they are whole."""
        while True:
            await asyncio.sleep(RELOAD_S)
            if await asyncio.to_thread(changed, self._project):
                self._take_over(system)
                await deploy(system)

    def _take_over(self, system: System) -> None:
        began = now()
        # Here and not on a thread: while modules are exchanged no workflow may be driven.
        fresh = reload(self._project)
        self._project = fresh
        if fresh.broken:
            system.project = fresh
            self._live.clear()
            show_problems(fresh, self._out)
            log.warning("the definitions were not reloaded: what was loaded before goes on")
            return
        system.reload(fresh)
        log.info("reloaded %s: %s in %s", fresh.name, summary(fresh), span(now() - began))

    # -- stopping ------------------------------------------------------------------------------

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._ask_to_stop)

    def _ask_to_stop(self) -> None:
        self._asked += 1
        if self._asked > 1:
            # At once means at once: whatever is in flight is performed again after the start.
            self._live.clear()
            remove_server(self._place.state)
            self._out.note("Stopped at once; what was in flight goes on at the next start")
            os._exit(INTERRUPTED)
        self._stopping.set()

    async def _stop(self, system: System) -> None:
        busy = int(system.stats().get("runs_in_memory", 0))
        if busy and self._asked:
            self._out.note(
                f"Stopping: steps in flight have {self._args.grace:g} s to end "
                "(Ctrl-C again stops at once)"
            )
        began = now()
        await system.stop(self._args.grace)
        where = (
            short(Path(self._place.state)) if self._place.database is None else self._place.shown
        )
        self._out.done("Stopped:", f"everything is kept in {where}", now() - began)


def _once(ready: asyncio.Future[str]) -> Callable[[str], None]:
    def tell(url: str) -> None:
        if not ready.done():
            ready.set_result(url)

    return tell
