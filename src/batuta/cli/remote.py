"""A running server, asked over HTTP."""

from __future__ import annotations

import http.client
import json
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from batuta.cli.client import Row
from batuta.cli.place import Place, Server, read_output
from batuta.cli.wire import Wire
from batuta.kernel.errors import BatutaError
from batuta.kernel.event import Event

TICK_S = 0.1
PAGE = 1000
RECONNECT_S = 60.0


def connect(place: Place, server: Server | None) -> Remote:
    """The server that was named, or the one that says it runs on this state."""
    return Remote(place, server)


class Remote:
    """What a verb asks, as requests to a server."""

    served = True

    def __init__(self, place: Place, server: Server | None) -> None:
        self._place = place
        self._server = server
        self._wire = Wire(place.url or (server.url if server else ""), place.token, server)

    @property
    def shown(self) -> str:
        return self._wire.url

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *_: object) -> None:
        self._wire.close()

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
        wanted = {"status": ",".join(statuses), "workflow": workflow, "text": text}
        wanted |= {f"attribute.{k}": json.dumps(v) for k, v in (attributes or {}).items()}
        found: list[Row] = []
        cursor = None
        while len(found) < limit:
            asked = wanted | {"limit": min(PAGE, limit - len(found)), "cursor": cursor}
            page = self._wire.get("/api/runs", asked)
            found += page["runs"]
            cursor = page["next"]
            if not cursor:
                break
        return found

    def run(self, id: str) -> Row:
        view: Row = self._wire.get(f"/api/runs/{quote(id, safe='')}")
        return view

    def why(self, id: str) -> list[Row]:
        chain: list[Row] = self._wire.get(f"/api/why/{quote(id, safe='')}")["chain"]
        return chain

    def head(self) -> int:
        return int(self._wire.get("/api/stats")["head"])

    def events(
        self,
        after: int = 0,
        limit: int = 1000,
        *,
        types: Sequence[str] = (),
        subject: str | None = None,
        newest_first: bool = False,
    ) -> list[Event]:
        found: list[Event] = []
        asked: dict[str, Any] = {"type": ",".join(types), "subject": subject, "after": after}
        if newest_first:
            asked["newest"] = "true"
        while len(found) < limit:
            page = self._wire.get("/api/events", asked | {"limit": min(PAGE, limit - len(found))})
            found += [event_of(each) for each in page["events"]]
            if not page["next"]:
                break
            asked["before" if newest_first else "after"] = page["next"]
        return found

    def follow(
        self, after: int, *, types: Sequence[str] = (), subject: str | None = None
    ) -> Iterator[Event | None]:
        asked = {"follow": "true", "type": ",".join(types), "subject": subject}
        while True:
            for event in self._stream({**asked, "after": after}):
                if event is not None:
                    after = event.seq
                yield event
            self._come_back()

    def output(self, id: str) -> list[str]:
        """Out of the file, where the server keeps it on this machine; otherwise nothing."""
        server = self._place.server()
        here = server is not None and server.url == self._wire.url
        return read_output(self._place.state, id) if here else []

    def workflows(self) -> list[Row]:
        rows: list[Row] = self._wire.get("/api/workflows")["workflows"]
        return rows

    def schedules(self) -> list[Row]:
        rows: list[Row] = self._wire.get("/api/schedules")["schedules"]
        return rows

    def dead(self, limit: int) -> list[Row]:
        rows: list[Row] = self._wire.get("/api/dead", {"limit": min(limit, PAGE)})["dead"]
        return rows

    # -- asking --------------------------------------------------------------------------------

    def submit(self, type: str, subject: str, data: Row) -> Row:
        kind, _, verb = type.partition(".")
        name = quote(subject, safe="")
        if type == "run.start":
            body = data | ({"id": subject} if subject else {})
            path = "/api/runs"
        elif type == "event.send":
            path, body = "/api/events", data | {"subject": subject}
        elif kind == "dead":
            path, body = f"/api/dead/{name}/redrive", {}
        else:
            path, body = f"/api/runs/{name}/{verb}", data
        answer: Row = self._wire.post(path, body)
        return answer

    def query(self, run: str, name: str, args: list[Any]) -> Any:
        path = f"/api/runs/{quote(run, safe='')}/query/{quote(name, safe='')}"
        return self._wire.get(path, {"args": json.dumps(args)})["result"]

    # -- following -----------------------------------------------------------------------------

    def _stream(self, asked: dict[str, Any]) -> Iterator[Event | None]:
        """Events until the connection ends; a thread reads, so that there is a tick meanwhile."""
        arrived: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        try:
            connection, response = self._wire.stream("/api/events", asked)
        except (http.client.HTTPException, OSError):
            return
        reader = threading.Thread(target=_read, args=(response, arrived), daemon=True)
        reader.start()
        try:
            while True:
                try:
                    event = arrived.get(timeout=TICK_S)
                except queue.Empty:
                    yield None
                    continue
                if event is None:
                    return
                yield event
        finally:
            if connection.sock is not None:
                connection.sock.close()

    def _come_back(self) -> None:
        """Wait until a server answers again: it may be started anew, at another port."""
        give_up = time.monotonic() + RECONNECT_S
        while True:
            server = self._place.server() if self._server else None
            if server is not None:
                self._wire.close()
                self._wire = Wire(server.url, self._place.token, server)
            try:
                self.head()
                return
            except BatutaError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(TICK_S * 3)


def _read(response: http.client.HTTPResponse, arrived: queue.SimpleQueue[Event | None]) -> None:
    """Put the events of a stream into the queue, and None at its end."""
    try:
        for line in iter(response.readline, b""):
            if line.startswith(b"data:"):
                arrived.put(event_of(json.loads(line[5:])))
    except (OSError, ValueError, http.client.HTTPException, AttributeError):
        pass  # the connection ended, by them or by us: both mean that there is no more
    arrived.put(None)


def event_of(value: Row) -> Event:
    """An event out of its JSON form."""
    return Event(
        value["type"],
        value["subject"],
        value["data"],
        value["cause"],
        value["time"],
        value.get("command"),
        seq=value["seq"],
    )
