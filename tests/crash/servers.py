"""Real servers for tests that kill them, and a client that knows what was acknowledged."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

START_S = 30.0


class Server:
    """`batuta up` in a process of its own, which can be started again and again.

    Parameters
    ----------
    folder: the project. state: where it keeps what it keeps.
    database: a PostgreSQL address, or None for SQLite in `state`.
    name: of the server. env: more for its environment.

    `prefix` are words to put before the command.
    """

    def __init__(
        self,
        folder: Path,
        state: Path,
        *,
        database: str | None = None,
        name: str = "server",
        env: dict[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.state = state
        self.name = name
        self.port = free_port()
        self.log = state.parent / f"{name}.log"
        self._database = database
        self.prefix: list[str] = []
        self._env = {**os.environ, "NO_COLOR": "1", **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        assert self._process is not None
        return self._process.pid

    def spawn(self) -> None:
        """Start the process, and do not wait for it."""
        words = [
            *self.prefix, sys.executable, "-m", "batuta", "up", str(self.folder),
            "--port", str(self.port),
            "--state", str(self.state), "--server-name", self.name, "--no-follow",
            *(["--database", self._database] if self._database else []),
        ]  # fmt: skip
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self._env,
                start_new_session=True,
            )  # fmt: skip

    def start(self) -> Server:
        """Start it and wait until it answers."""
        self.spawn()
        self.await_ready()
        return self

    def await_ready(self, limit_s: float = START_S) -> None:
        """Wait until it answers; raises where it ended instead."""
        until = time.monotonic() + limit_s
        while time.monotonic() < until:
            if self.ended is not None:
                raise AssertionError(f"the server ended with {self.ended}:\n{self.tail()}")
            with suppress(OSError, http.client.HTTPException):
                self.ask("GET", "/api/runs?limit=1", timeout=2)
                return
            time.sleep(0.02)
        raise AssertionError(f"the server does not answer:\n{self.tail()}")

    @property
    def ended(self) -> int | None:
        """The exit code, once it has ended."""
        return None if self._process is None else self._process.poll()

    def wait(self, limit_s: float) -> int:
        """Wait until it has ended: the exit code."""
        assert self._process is not None
        return self._process.wait(limit_s)

    def kill(self) -> None:
        """`kill -9`, the whole group."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)

    def stop(self, limit_s: float = 20.0) -> int:
        """Ask it to end."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(limit_s)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        os.kill(self.pid, number)

    def tail(self) -> str:
        """The end of what it printed."""
        with suppress(OSError):
            return self.log.read_text(errors="replace")[-3000:]
        return ""

    # -- asking ----------------------------------------------------------------------------

    def ask(
        self, method: str, path: str, body: Any = None, timeout: float = 10.0, **headers: str
    ) -> tuple[int, Any]:
        """(status, answer). Raises `OSError` or `HTTPException` where none came."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            sent = body if isinstance(body, bytes) else None if body is None else encode(body)
            given = {"Content-Type": "application/json"}
            given |= {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, sent, given)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        try:
            return answer.status, json.loads(data or b"null")
        except ValueError:
            return answer.status, data.decode(errors="replace")

    def run(self, id: str) -> dict[str, Any]:
        """One run, as the API shows it."""
        status, found = self.ask("GET", f"/api/runs/{quote(id, safe='')}")
        assert status == 200, found
        answer: dict[str, Any] = found
        return answer

    def result(self, workflow: str, *args: Any, id: str | None = None, limit_s: float = 20) -> Any:
        """Start a run and wait for its end: the run."""
        body = {"workflow": workflow, "args": list(args), **({"id": id} if id else {})}
        status, started = self.ask("POST", "/api/runs", body)
        assert status in (200, 201), (status, started)
        return self.ending(started["id"], limit_s)

    def ending(self, id: str, limit_s: float = 20) -> dict[str, Any]:
        """Wait for a run's end: the run."""
        until = time.monotonic() + limit_s
        while time.monotonic() < until:
            found = self.run(id)
            if found["status"] not in ("running", "sleeping"):
                return found
            time.sleep(0.02)
        raise AssertionError(f"run {id} has not ended: {self.run(id)}\n{self.tail()}")


def tell(text: str) -> None:
    """Say something to whoever reads the test's output."""
    sys.stdout.write(text + "\n")


def encode(body: Any) -> bytes:
    """A body as JSON."""
    return json.dumps(body).encode()


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Load:
    """Threads that submit until each of their requests was acknowledged.

    Parameters
    ----------
    servers: who may be asked. todo: (path, body) in order, each asked again and again.
    acknowledged: what was.
    """

    servers: list[Server]
    todo: list[tuple[str, dict[str, Any]]]
    pause_s: float = 0.0
    acknowledged: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    refused: list[tuple[str, Any]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _turn: int = 0

    def start(self, threads: int = 4) -> Load:
        """Begin."""
        for _ in range(threads):
            thread = threading.Thread(target=self._work, daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def _next(self) -> tuple[str, dict[str, Any]] | None:
        with self._lock:
            return self.todo.pop(0) if self.todo else None

    def _work(self) -> None:
        while not self._stop.is_set() and (item := self._next()) is not None:
            path, body = item
            while not self._stop.is_set():
                with self._lock:
                    self._turn += 1
                    server = self.servers[self._turn % len(self.servers)]
                try:
                    status, answer = server.ask("POST", path, body, timeout=5)
                except (OSError, http.client.HTTPException):
                    time.sleep(0.03)
                    continue
                if status < 300:
                    self.acknowledged.append(item)
                    break
                if status == 409 or status == 422 or status == 400:
                    self.refused.append((path, answer))
                    break
                time.sleep(0.03)
            time.sleep(self.pause_s)

    @property
    def done(self) -> bool:
        """Whether everything was acknowledged or refused."""
        return not any(thread.is_alive() for thread in self._threads)

    def finish(self, limit_s: float) -> None:
        """Wait for the end; raises where there is none."""
        until = time.monotonic() + limit_s
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        left = len(self.todo)
        assert self.done, f"{left} requests are not acknowledged: {self.todo[:3]}"

    def end(self) -> None:
        """Stop, whatever is left."""
        self._stop.set()
        for thread in self._threads:
            thread.join(10)


@dataclass(frozen=True)
class Performance:
    """One time that a step was performed: by whom, from when to when (None: it was cut)."""

    command: str
    attempt: int
    server: str
    began: int
    ended: int | None


def performances(path: Path) -> Iterator[Performance]:
    """What the effects file tells."""
    open_: dict[tuple[str, str, str], list[int]] = {}
    for line in path.read_text().splitlines():
        what, command, attempt, server, at = line.split()
        key = (command, attempt, server)
        if what == "begin":
            open_.setdefault(key, []).append(int(at))
        else:
            yield Performance(command, int(attempt), server, open_[key].pop(), int(at))
    for (command, attempt, server), begun in open_.items():
        for began in begun:
            yield Performance(command, int(attempt), server, began, None)
