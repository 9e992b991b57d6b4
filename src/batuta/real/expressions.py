"""Expressions that may grow are evaluated in a process of their own, which is ended when one of
them takes too long or too much memory: the server goes on.

As a program (`python -m batuta.real.expressions FD`) it is that process.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from time import monotonic, process_time_ns, thread_time_ns
from typing import Any

from batuta.workflow.asl.jsonata import GUARD, Draw, evaluated
from batuta.workflow.asl.size import VALUE_MAX

PROGRAM = "batuta.real.expressions"
TIME_S = 1.0
STOPPED_NS = int(TIME_S * 1e9)
START_S = 20.0
MEMORY = 1 << 30
Frame = dict[str, Any]


class Apart:
    """Evaluates in the process; one expression at a time, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def evaluate(
        self,
        text: str,
        bindings: dict[str, Any],
        now: int,
        draw: Draw,
        most_ns: int = STOPPED_NS,
    ) -> tuple[str, Any, int]:
        """As `jsonata.evaluated`, and the processor's time that it took, ns. Blocks, at most about
        a second, and not for longer than it may take."""
        here = thread_time_ns()
        kind, value, took = self._evaluate(text, bindings, now, draw, min(STOPPED_NS, most_ns))
        return kind, value, took + thread_time_ns() - here

    def _evaluate(
        self, text: str, bindings: dict[str, Any], now: int, draw: Draw, most_ns: int
    ) -> tuple[str, Any, int]:
        with self._lock:
            connection = self._connected()
            until = monotonic() + most_ns / 1e9
            try:
                send(connection, {"text": text, "bindings": bindings, "now": now})
                while True:
                    connection.settimeout(max(0.001, until - monotonic()))
                    frame = receive(connection)
                    if "draw" not in frame:
                        return frame["kind"], frame["value"], frame["took"]
                    send(connection, {"bits": draw()})
            except TimeoutError:
                self._end()
                return "error", f"It took longer than {most_ns / 1e9:.2g} s", most_ns
            except (EOFError, OSError):
                self._end()
                return "error", f"It took more than {MEMORY >> 20:,} MiB of memory", STOPPED_NS

    def _connected(self) -> socket.socket:
        if self._socket is None or self._process is None or self._process.poll() is not None:
            self._end()
            ours, theirs = socket.socketpair()
            with theirs:
                command = [sys.executable, "-m", PROGRAM, str(theirs.fileno())]
                self._process = subprocess.Popen(
                    command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
                    start_new_session=True,
                )  # fmt: skip
            self._socket = ours
            ours.settimeout(START_S)
            receive(ours)  # it is ready: its start does not count
        return self._socket

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._socket is not None:
            self._socket.close()
        self._process = self._socket = None


APART = Apart()
ASIDE = Apart()
"""For the threads that read histories, so that what decides does not wait for them."""


def install() -> None:
    """Have expressions that may grow evaluated apart, from now on in this process.

    The thread that calls it has a process of its own, all other threads share one.
    """
    deciding = threading.get_ident()

    def evaluate(
        text: str, bindings: dict[str, Any], now: int, draw: Draw, most_ns: int
    ) -> tuple[str, Any, int]:
        apart = APART if threading.get_ident() == deciding else ASIDE
        return apart.evaluate(text, bindings, now, draw, most_ns)

    GUARD.evaluate = evaluate


def send(connection: socket.socket, frame: Frame) -> None:
    """One message: its length in four bytes, and JSON."""
    data = json.dumps(frame).encode()
    connection.sendall(len(data).to_bytes(4, "big") + data)


def receive(connection: socket.socket) -> Frame:
    """The next message. Raises `EOFError` where the other end is gone, `TimeoutError`."""
    found: Frame = json.loads(_exactly(connection, int.from_bytes(_exactly(connection, 4), "big")))
    return found


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        part = connection.recv(min(count - len(data), 1 << 20))
        if not part:
            raise EOFError
        data += part
    return bytes(data)


def serve(connection: socket.socket) -> None:
    """Evaluate what comes, until the server is gone."""

    def draw() -> int:
        send(connection, {"draw": True})
        bits: int = receive(connection)["bits"]
        return bits

    send(connection, {"kind": "ready"})
    while True:
        asked = receive(connection)
        began = process_time_ns()
        kind, value = evaluated(asked["text"], asked["bindings"], asked["now"], draw)
        data = json.dumps(value).encode()
        if len(data) > VALUE_MAX:
            kind, data = "large", b"null"
        took = process_time_ns() - began
        data = b'{"kind":"%b","took":%d,"value":%b}' % (kind.encode(), took, data)
        connection.sendall(len(data).to_bytes(4, "big") + data)


def main() -> None:
    """The process."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what the library says when it runs out of memory
    with suppress(EOFError, OSError, KeyboardInterrupt):
        serve(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
