"""What bank and stock share: POST requests with idempotency keys over one SQLite file.

Each request names an order and carries an `Idempotency-Key`. The answer is written in the same
transaction as the change that it reports, so a repeated key gets the first answer again and
changes nothing. Whether a request meets an outage is a function of the seed, the order and how
often its key was seen: the same seed gives the same bad day.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ANSWERS = """
CREATE TABLE IF NOT EXISTS seen (key TEXT PRIMARY KEY, times INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, request TEXT NOT NULL,
    status INTEGER NOT NULL, body TEXT NOT NULL, late INTEGER NOT NULL
);
"""
LATE_S = 1.5  # a late answer comes after this; the shop gives up after one second
TROUBLED_TIMES = 3  # the first so many tries of a request can meet an outage


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service says. `late`: it does the work, but answers when nobody listens any more."""

    status: int
    body: Mapping[str, Any]
    late: bool = False


Route = Callable[[sqlite3.Connection, Mapping[str, Any]], Answer]


@dataclass(frozen=True, slots=True)
class BadDay:
    """How often requests go wrong: shares of tries that find the service out of order, or late."""

    seed: int = 0
    down: Mapping[str, float] = field(default_factory=dict)
    late: Mapping[str, float] = field(default_factory=dict)

    def trouble(self, path: str, order: str, times_seen: int) -> str | None:
        """`down`, `late` or None, always the same for the same seed, order and try."""
        if times_seen > TROUBLED_TIMES:
            return None
        luck = chance(self.seed, path, order, times_seen)
        if luck < self.down.get(path, 0.0):
            return "down"
        return "late" if luck < self.down.get(path, 0.0) + self.late.get(path, 0.0) else None


def chance(seed: int, *names: object) -> float:
    """A number from 0 to 1 that belongs to these names and to nothing else."""
    text = "/".join(str(name) for name in (seed, *names))
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big") / 2**64


class Service:
    """Routes over one SQLite file.

    Parameters
    ----------
    database: the file; it is made with `schema` when it is not there.
    schema: SQL that may be run again.
    routes: path to function. A route changes the database and gives an answer.
    bad_day: what goes wrong.
    fill: an SQL statement and its rows, run at the start.
    """

    def __init__(
        self,
        database: Path,
        schema: str,
        routes: Mapping[str, Route],
        bad_day: BadDay | None = None,
        fill: tuple[str, Sequence[tuple[object, ...]]] | None = None,
    ) -> None:
        self.routes = routes
        self.bad_day = bad_day or BadDay()
        self._lock = threading.Lock()
        self._database = sqlite3.connect(database, check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.executescript(ANSWERS + schema)
        if fill:
            self._database.executemany(*fill)

    def post(self, path: str, key: str, request: Mapping[str, Any]) -> Answer:
        """Do what is asked once, however often it is asked with this key."""
        if path not in self.routes:
            return Answer(404, {"error": f"there is no {path}"})
        if not key or "order" not in request:
            return Answer(400, {"error": "a request needs an Idempotency-Key and an order"})
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                answer = self._answer(path, key, request)
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")
        return answer

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def _answer(self, path: str, key: str, request: Mapping[str, Any]) -> Answer:
        trouble = self.bad_day.trouble(path, request["order"], self._see(key))
        if trouble == "down":
            return Answer(503, {"error": "out of order, try again"})
        text = json.dumps([path, request], sort_keys=True)
        find = "SELECT request, status, body, late FROM answers WHERE key = ?"
        known = self._database.execute(find, (key,)).fetchone()
        if known is None:
            answer = self.routes[path](self._database, request)
            row = (key, text, answer.status, json.dumps(answer.body), answer.late)
            self._database.execute("INSERT INTO answers VALUES (?, ?, ?, ?, ?)", row)
        elif known[0] != text:
            return Answer(422, {"error": f"key {key} was used for another request"})
        else:
            answer = Answer(known[1], json.loads(known[2]), bool(known[3]))
        return Answer(answer.status, answer.body, answer.late or trouble == "late")

    def _see(self, key: str) -> int:
        count = """INSERT INTO seen VALUES (?, 1)
                   ON CONFLICT (key) DO UPDATE SET times = times + 1 RETURNING times"""
        times: int = self._database.execute(count, (key,)).fetchone()[0]
        return times


class Server(ThreadingHTTPServer):
    """A service at an address; a thread for each request."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, service: Service, port: int = 0, *, late_s: float = LATE_S) -> None:
        super().__init__(("127.0.0.1", port), Request)
        self.service = service
        self.late_s = late_s

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Request(BaseHTTPRequestHandler):
    """One HTTP request."""

    server: Server
    protocol_version = "HTTP/1.1"  # a client may keep its connection
    wbufsize = -1  # one packet for an answer's head and body

    def do_POST(self) -> None:
        try:
            request = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            key = self.headers.get("Idempotency-Key", "")
            answer = self.server.service.post(self.path, key, request)
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            answer = Answer(400, {"error": f"cannot read the request: {error}"})
        if answer.late:
            time.sleep(self.server.late_s)
        self._reply(answer)

    def do_GET(self) -> None:
        self._reply(Answer(200, {"status": "open"}))

    def _reply(self, answer: Answer) -> None:
        body = json.dumps(answer.body).encode()
        try:
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # nobody waited for it

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Silent: the answers are in the database."""


def options(about: str) -> argparse.Namespace:
    """What every service is told on its command line."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument("--data", type=Path, default=Path(), help="the folder of its SQLite file")
    parser.add_argument("--seed", type=int, default=2026, help="which bad day it has")
    parser.add_argument("--catalogue", type=Path, default=Path("catalogue.json"))
    return parser.parse_args()


def serve(service: Service, port: int) -> None:
    """Answer until interrupted; the first line of output is the address."""
    with closing(service), Server(service, port) as server:
        print(server.url, flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return
