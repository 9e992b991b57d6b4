"""Serves the application in the running asyncio loop, and stops without leaving streams open."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from batuta.kernel.errors import BatutaError
from batuta.server.app import app
from batuta.server.guard import Access, hashed, is_loopback
from batuta.server.port import System
from batuta.server.stepfunctions.deploy import deploy
from batuta.server.stepfunctions.inside import Inside
from batuta.server.stepfunctions.settings import read_settings

BACKLOG = 512
GRACE_S = 5  # for answers under way when the server stops
STARTED_EVERY_S = 0.005


class InLoop(uvicorn.Server):
    """A server that leaves signals to whoever runs the loop."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(
    system: System,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    on_ready: Callable[[str], None] | None = None,
    *,
    hosts: Collection[str] = (),
    access_log: bool = False,
    logs: Path | None = None,
) -> None:
    """Serve until the task is cancelled, then stop gracefully.

    Parameters
    ----------
    port: 0 takes a free one.
    token: what `Authorization: Bearer` has to carry; None: nothing is asked for.
    on_ready: called with the server's address (`http://127.0.0.1:8080`) when it answers.
    hosts: names of this server beside those of the loopback.
    access_log: log each request (`batuta.server`, level info).
    logs: the folder where what steps print is kept.

    Raises
    ------
    BatutaError: the address cannot be bound.
    """
    listening = bind(host, port)
    settings = read_settings(system.project.folder)
    access = Access(
        is_loopback(host), frozenset(hosts), hashed(token) if token else None,
        bool(settings.credentials),
    )  # fmt: skip
    made = app(system, access, access_log=access_log, logs=logs, stepfunctions=settings)
    config = uvicorn.Config(
        made, log_config=None, access_log=False, lifespan="off", server_header=False,
        timeout_graceful_shutdown=GRACE_S, timeout_keep_alive=30, ws="none",
        h11_max_incomplete_event_size=256 * 1024,
    )  # fmt: skip
    server = InLoop(config)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        while not server.started and not task.done():
            await asyncio.sleep(STARTED_EVERY_S)
        await deploy(system)
        key = next(iter(settings.credentials.items()), None)
        system.services.answer(Inside(made.state.stepfunctions), address(listening), key)
        if on_ready is not None and not task.done():
            on_ready(address(listening))
        await asyncio.shield(task)
    finally:
        made.state.stopping.set()
        server.should_exit = True
        await task
        listening.close()


def bind(host: str, port: int) -> socket.socket:
    """A listening socket, or an error that says what to do."""
    if not 0 <= port <= 65535:
        raise BatutaError(f"there is no port {port}", hint="ports go from 0 to 65535")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host.strip("[]"), port), family=family, backlog=BACKLOG)
        # Accepted sockets inherit it; without it each answer waits for the client's delayed
        # acknowledgement, 40 ms, because head and body are two writes.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except OSError as error:
        hint = {
            errno.EADDRINUSE: "another program has that port: choose another with `--port`",
            errno.EACCES: "ports below 1024 need rights: choose another with `--port`",
        }.get(error.errno or 0, "give an address of this machine with `--host`")
        text = error.strerror or str(error)
        raise BatutaError(f"cannot listen on {host}:{port}: {text}", hint=hint) from error


def address(listening: socket.socket) -> str:
    """Where a listening socket is reached."""
    host, port = listening.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"
