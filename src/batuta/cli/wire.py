"""Requests to a server and its answers, as JSON; errors say what to do."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlencode, urlsplit

from batuta.cli.place import Server
from batuta.kernel.errors import BatutaError, Conflict, NotFound

TIMEOUT_S = 30.0
ERRORS: dict[int, type[BatutaError]] = {404: NotFound, 409: Conflict}


class Wire:
    """One server.

    Parameters
    ----------
    url: where it answers. token: what it asks for, or None.
    server: what is known of its process, where it runs on this machine.
    """

    def __init__(self, url: str, token: str | None = None, server: Server | None = None) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._server = server
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BatutaError(
                f"`{self.url}` is no address of a server", hint="write http://127.0.0.1:8420"
            )
        self._connection: http.client.HTTPConnection | None = None

    def get(self, path: str, query: dict[str, Any] | None = None) -> Any:
        """Ask for something."""
        return self._ask("GET", path + _query(query or {}), None)

    def post(self, path: str, body: Any) -> Any:
        """Ask to do something; never sent twice."""
        return self._ask("POST", path, body)

    def stream(
        self, path: str, query: dict[str, Any]
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """An answer that goes on, on a connection of its own, which the caller closes."""
        connection = self._connect()
        try:
            connection.request("GET", path + _query(query), headers=self._headers())
            response = connection.getresponse()
            if response.status != 200:
                raise self._refused(response.status, _json(response.read()))
        except BaseException:
            connection.close()
            raise
        return connection, response

    def close(self) -> None:
        """Let go of the connection; the next request makes another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, method: str, path: str, body: Any) -> Any:
        """One request; a connection that the server closed meanwhile is made anew, once."""
        fresh = self._connection is None
        try:
            response, text = self._exchange(method, path, body)
        except (http.client.HTTPException, OSError) as error:
            self.close()
            if fresh or method != "GET":
                raise self._unreachable(error) from error
            return self._ask(method, path, body)
        value = _json(text)
        if response.status >= 400 or value is None:
            raise self._refused(response.status, value)
        return value

    def _exchange(
        self, method: str, path: str, body: Any
    ) -> tuple[http.client.HTTPResponse, bytes]:
        if self._connection is None:
            self._connection = self._connect()
        data = None if body is None else json.dumps(body).encode()
        headers = self._headers() | ({} if data is None else {"content-type": "application/json"})
        self._connection.request(method, path, data, headers)
        response = self._connection.getresponse()
        return response, response.read()

    def _connect(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        return kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S)

    def _headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self._token}"} if self._token else {}

    def _refused(self, status: int, value: Any) -> BatutaError:
        told = value.get("error") if isinstance(value, dict) else None
        if not isinstance(told, dict):
            return BatutaError(
                f"{self.url} does not answer as a Batuta server does (status {status})",
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
                f"{self.url}: {reason}",
                hint="it may be busy or stopped (`kill -CONT`); end it, and this command works "
                "on the journal itself",
            )
        return BatutaError(
            f"no server answers at {self.url}: {reason}",
            hint="start one with `batuta up DIR`, or leave out --url and BATUTA_URL",
        )


def _query(values: dict[str, Any]) -> str:
    given = {name: value for name, value in values.items() if value not in (None, "")}
    return f"?{urlencode(given)}" if given else ""


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


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
