"""A running server, asked over HTTP."""

from __future__ import annotations

import http.client
import json
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from batuta.cli.client import Row
from batuta.cli.place import Place, Server, read_output
from batuta.kernel.errors import BatutaError, Conflict, NotFound
from batuta.kernel.event import Event

TIMEOUT_S = 30.0
TICK_S = 0.1
PAGE = 1000
RECONNECT_S = 60.0
ERRORS: dict[int, type[BatutaError]] = {404: NotFound, 409: Conflict}


def connect(place: Place, server: Server | None) -> Remote:
    """The server that was named, or the one that says it runs on this state."""
    return Remote(place, server)


class Remote:
    """What a verb asks, as requests to a server."""

    served = True

    def __init__(self, place: Place, server: Server | None) -> None:
        self._place = place
        self._server = server
        self._url = (place.url or (server.url if server else "")).rstrip("/")
        parts = urlsplit(self._url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BatutaError(
                f"`{self._url}` is no address of a server", hint="write http://127.0.0.1:8420"
            )
        self._connection: http.client.HTTPConnection | None = None
        self._closed = False

    @property
    def shown(self) -> str:
        return self._url

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self._drop()

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
            page = self._get("/api/runs", asked)
            found += page["runs"]
            cursor = page["next"]
            if not cursor:
                break
        return found

    def run(self, id: str) -> Row:
        view: Row = self._get(f"/api/runs/{quote(id, safe='')}")
        return view

    def why(self, id: str) -> list[Row]:
        chain: list[Row] = self._get(f"/api/why/{quote(id, safe='')}")["chain"]
        return chain

    def head(self) -> int:
        return int(self._get("/api/stats")["head"])

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
            page = self._get("/api/events", asked | {"limit": min(PAGE, limit - len(found))})
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
        here = server is not None and server.url == self._url
        return read_output(self._place.state, id) if here else []

    def workflows(self) -> list[Row]:
        rows: list[Row] = self._get("/api/workflows")["workflows"]
        return rows

    def schedules(self) -> list[Row]:
        rows: list[Row] = self._get("/api/schedules")["schedules"]
        return rows

    def dead(self, limit: int) -> list[Row]:
        rows: list[Row] = self._get("/api/dead", {"limit": min(limit, PAGE)})["dead"]
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
        answer: Row = self._ask("POST", path, body)
        return answer

    def query(self, run: str, name: str, args: list[Any]) -> Any:
        path = f"/api/runs/{quote(run, safe='')}/query/{quote(name, safe='')}"
        return self._get(path, {"args": json.dumps(args)})["result"]

    # -- HTTP ----------------------------------------------------------------------------------

    def _get(self, path: str, query: dict[str, Any] | None = None) -> Any:
        return self._ask("GET", path + _query(query or {}), None)

    def _ask(self, method: str, path: str, body: Any) -> Any:
        """One request; a connection that the server closed meanwhile is made anew, once."""
        fresh = self._connection is None
        try:
            response, text = self._exchange(method, path, body)
        except (http.client.HTTPException, ConnectionError, TimeoutError, OSError) as error:
            self._drop()
            if fresh or method != "GET":
                raise self._unreachable(error) from error
            return self._ask(method, path, body)
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if response.status >= 400 or value is None:
            raise self._refused(response.status, value)
        return value

    def _exchange(
        self, method: str, path: str, body: Any
    ) -> tuple[http.client.HTTPResponse, bytes]:
        if self._connection is None:
            self._connection = self._connect(TIMEOUT_S)
        data = None if body is None else json.dumps(body).encode()
        headers = self._headers() | ({} if data is None else {"content-type": "application/json"})
        self._connection.request(method, path, data, headers)
        response = self._connection.getresponse()
        return response, response.read()

    def _connect(self, timeout_s: float | None) -> http.client.HTTPConnection:
        parts = urlsplit(self._url)
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        return kind(parts.hostname or "", parts.port, timeout=timeout_s)

    def _headers(self) -> dict[str, str]:
        token = self._place.token
        return {"authorization": f"Bearer {token}"} if token else {}

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _refused(self, status: int, value: Any) -> BatutaError:
        told = value.get("error") if isinstance(value, dict) else None
        if not isinstance(told, dict):
            return BatutaError(
                f"{self._url} does not answer as a Batuta server does (status {status})",
                hint="check the address",
            )
        hint = told.get("hint")
        if status == 401:
            hint = "give --token TOKEN, or set BATUTA_TOKEN"
        kind = ERRORS.get(status, BatutaError)
        return kind(str(told.get("message")), at=told.get("at"), hint=hint)

    def _unreachable(self, error: Exception) -> BatutaError:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if self._server is not None:
            return BatutaError(
                f"the server of this project (process {self._server.pid}) does not answer at "
                f"{self._url}: {reason}",
                hint="it may be busy or stopped (`kill -CONT`); end it, and this command works "
                "on the journal itself",
            )
        return BatutaError(
            f"no server answers at {self._url}: {reason}",
            hint="start one with `batuta up DIR`, or leave out --url and BATUTA_URL",
        )

    # -- following -----------------------------------------------------------------------------

    def _stream(self, asked: dict[str, Any]) -> Iterator[Event | None]:
        """Events until the connection ends; a thread reads, so that there is a tick meanwhile."""
        arrived: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        connection = self._connect(TIMEOUT_S)
        try:
            connection.request("GET", "/api/events" + _query(asked), headers=self._headers())
            response = connection.getresponse()
        except (http.client.HTTPException, OSError):
            connection.close()
            return
        if response.status != 200:
            raise self._refused(response.status, _json(response.read()))
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
                self._server, self._url = server, server.url
            try:
                self._drop()
                self.head()
                return
            except BatutaError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(TICK_S * 3)


def _query(values: dict[str, Any]) -> str:
    given = {name: value for name, value in values.items() if value not in (None, "")}
    return f"?{urlencode(given)}" if given else ""


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


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


def answers(url: str, timeout_s: float = 1.0) -> bool:
    """Whether a server answers there; one that is suspended does not."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status in (200, 503)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
