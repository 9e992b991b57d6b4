"""HTTP tasks: `http:invoke` by a connection that knows the credentials, and `apigateway:invoke`."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from json import JSONDecodeError, dumps, loads
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from batuta.kernel.world import Failure, Outcome
from batuta.real.aws.clients import Clients, in_thread
from batuta.real.call import Refused
from batuta.real.integrations import Connection, Integrations
from batuta.real.job import Job
from batuta.real.mask import Mask
from batuta.real.shell import Surroundings
from batuta.workflow.asl.errors import HTTP_SOCKET, RUNTIME
from batuta.workflow.asl.resource import parse

if TYPE_CHECKING:
    import httpx

BODY_LIMIT = 8 * 1024 * 1024
TIMEOUT_S = 60.0
TOKEN_MARGIN_S = 30.0
TOKEN_S = 3600.0
SECRET = "secret:"
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD")
BOTH_WAYS = "Content-Type"
URL_ENCODED = "application/x-www-form-urlencoded"


@dataclass(slots=True)
class Request:
    """A call that is being put together."""

    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    query: list[tuple[str, str]] = field(default_factory=list)
    body: Any = None
    content: bytes | None = None


class Invoke:
    """Performs `invoke` commands, and `apigateway:invoke`.

    Parameters
    ----------
    around: the project's secrets. integrations: its connections. clients: to sign with.
    """

    def __init__(self, around: Surroundings, integrations: Integrations, clients: Clients) -> None:
        self._secrets = around.secrets
        self._mask = around.mask
        self._integrations = integrations
        self._clients = clients
        self._client: httpx.AsyncClient | None = None
        self._tokens: dict[str, tuple[str, float]] = {}

    async def perform(self, job: Job) -> Outcome:
        """Make one call; its answer as the state sees it, or its failure."""
        data = job.command.data.get("input")
        if not isinstance(data, dict):
            raise _wrong("the parameters must be an object")
        timeout_s = job.command.timeout_s or TIMEOUT_S
        if parse(job.command.data["resource"]).service == "apigateway":
            return await self._gateway(job, data, timeout_s)
        connection = self._connection(data)
        request = _request(data)
        await self._authorise(request, connection, timeout_s)
        mask = Mask([*self._secrets.values(), *self._own(connection)])
        status, headers, body = await self._send(request, timeout_s, mask)
        body = mask.hide_text(body)  # an answer may repeat what it was sent
        if status >= 300:
            return job.failed(Failure(f"States.Http.StatusCode.{status}", body))
        return Outcome(job.command.id, _told(status, headers, body), None, job.started)

    async def close(self) -> None:
        """Close the connections that are kept open."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def use(self, integrations: Integrations) -> None:
        """The project changed."""
        self._integrations = integrations
        self._tokens.clear()

    # -- connections -----------------------------------------------------------------------

    def _connection(self, data: Mapping[str, Any]) -> Connection:
        """The connection that a task names, by the name within its ARN."""
        for place in ("Authentication", "InvocationConfig"):
            given = data.get(place)
            if isinstance(given, dict) and "ConnectionArn" in given:
                return self._known(str(given["ConnectionArn"]))
        raise _wrong("`Authentication.ConnectionArn` is missing")

    def _known(self, arn: str) -> Connection:
        rest = arn.rpartition(":connection/")[2] if ":connection/" in arn else arn
        name = rest.partition("/")[0]
        found = self._integrations.connections.get(name)
        if found is None:
            raise _wrong(
                f"there is no connection `{name}`: define it in batuta.toml as [connection.{name}]"
            )
        return found

    def _text(self, value: object) -> str:
        """A setting; `secret:NAME` stands for the secret. Raises `Refused`."""
        text = str(value)
        if not text.startswith(SECRET):
            return text
        name = text.removeprefix(SECRET)
        found = self._secrets.get(name, os.environ.get(name))
        if found is None:
            raise _wrong(
                f"secret `{name}` is not known here: set it as an environment variable "
                f"of the server (BATUTA_SECRET_{name})"
            )
        return found

    def _own(self, connection: Connection) -> Iterable[str]:
        """What of a connection must not be shown."""
        for name in ("value", "password", "client_secret"):
            if name in connection.settings:
                yield self._text(connection.settings[name])
        if connection.name in self._tokens:
            yield self._tokens[connection.name][0]

    async def _authorise(self, request: Request, connection: Connection, timeout_s: float) -> None:
        """Add what the connection sends with every call; it wins over the task's own."""
        settings = connection.settings
        if connection.kind == "api-key":
            _set(request.headers, settings.get("name", "x-api-key"), self._text(settings["value"]))
        elif connection.kind == "basic":
            both = f"{self._text(settings['username'])}:{self._text(settings['password'])}"
            encoded = base64.b64encode(both.encode()).decode()
            _set(request.headers, "Authorization", f"Basic {encoded}")
        elif connection.kind == "oauth":
            token = await self._token(connection, timeout_s)
            _set(request.headers, "Authorization", f"Bearer {token}")
        for name, value in connection.headers.items():
            _set(request.headers, name, self._text(value))
        request.query += [(name, self._text(value)) for name, value in connection.query.items()]
        if connection.body and (request.body is None or isinstance(request.body, dict)):
            more = {name: self._text(value) for name, value in connection.body.items()}
            request.body = {**(request.body or {}), **more}
        _encode(request)

    async def _token(self, connection: Connection, timeout_s: float) -> str:
        """An access token by client credentials, kept until shortly before it ends."""
        kept = self._tokens.get(connection.name)
        if kept is not None and kept[1] > monotonic():
            return kept[0]
        settings = connection.settings
        form = {
            "grant_type": "client_credentials",
            "client_id": self._text(settings["client_id"]),
            "client_secret": self._text(settings["client_secret"]),
        }
        if "scope" in settings:
            form["scope"] = settings["scope"]
        request = Request(settings.get("method", "POST"), self._text(settings["token_url"]))
        request.headers[BOTH_WAYS] = URL_ENCODED
        request.content = urlencode(form).encode()
        mask = Mask([*self._secrets.values(), form["client_secret"]])
        status, _, body = await self._send(request, timeout_s, mask)
        try:
            answer = loads(body)
            token = str(answer["access_token"])
            lasts_s = float(answer.get("expires_in", TOKEN_S))
        except (JSONDecodeError, KeyError, TypeError, ValueError):
            text = f"connection `{connection.name}` got no access token: HTTP {status}"
            raise Refused(Failure("Events.ConnectionResource.AuthorizationFailed", text)) from None
        self._tokens[connection.name] = token, monotonic() + lasts_s - TOKEN_MARGIN_S
        return token

    # -- sending ---------------------------------------------------------------------------

    async def _send(
        self, request: Request, timeout_s: float, mask: Mask
    ) -> tuple[int, list[tuple[str, str]], str]:
        """Status, headers and body. Raises `Refused` where there was no answer."""
        import httpx  # a heavy library: only systems that make HTTP calls pay for it

        if self._client is None:
            self._client = httpx.AsyncClient(limits=httpx.Limits(max_connections=None))
        try:
            sending = self._client.stream(
                request.method, _with_query(request), headers=request.headers,
                content=request.content, timeout=timeout_s,
            )  # fmt: skip
            async with sending as response:
                body = await _body(response)
                headers = [(name.lower(), text) for name, text in response.headers.multi_items()]
                encoding = response.charset_encoding or "utf-8"
        except httpx.TimeoutException as error:
            raise Refused(Failure(HTTP_SOCKET, f"the call timed out: {error}")) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Refused(Failure(HTTP_SOCKET, mask.hide_text(str(error)))) from error
        try:
            text = body.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            text = base64.b64encode(body).decode()
        return response.status_code, headers, text

    async def _gateway(self, job: Job, data: Mapping[str, Any], timeout_s: float) -> Outcome:
        """`apigateway:invoke`: signed where its `AuthType` says so."""
        url = str(data.get("ApiEndpoint", ""))
        url = url if "://" in url else f"https://{url}"
        for part in (data.get("Stage"), data.get("Path")):
            if part:
                url = f"{url.rstrip('/')}/{quote(str(part).lstrip('/'), safe='/:@%')}"
        request = Request(str(data.get("Method", "GET")).upper(), url)
        request.headers = {name: _joined(each) for name, each in _object(data, "Headers").items()}
        request.query = _pairs(_object(data, "QueryParameters"))
        request.body = data.get("RequestBody")
        _encode(request)
        if data.get("AuthType") == "IAM_ROLE":
            request.headers = await in_thread(lambda: self._signed(request))
        status, headers, body = await self._send(request, timeout_s, self._mask)
        if status >= 400:
            return job.failed(Failure(f"ApiGateway.{status}", body))
        return Outcome(job.command.id, _told(status, headers, body), None, job.started)

    def _signed(self, request: Request) -> dict[str, str]:
        url = _with_query(request)
        headers = request.headers
        return self._clients.sign("execute-api", request.method, url, headers, request.content)


def _request(data: Mapping[str, Any]) -> Request:
    """The call that an HTTP task asks for. Raises `Refused`."""
    method = str(data.get("Method", "")).upper()
    if method not in METHODS:
        raise _wrong(f"`Method` must be one of {', '.join(METHODS)}")
    url = data.get("ApiEndpoint")
    if not isinstance(url, str) or "://" not in url:
        raise _wrong("`ApiEndpoint` must be the URL of an API")
    request = Request(method, url)
    request.headers = {name: _joined(each) for name, each in _object(data, "Headers").items()}
    request.query = _pairs(_object(data, "QueryParameters"))
    request.body = data.get("RequestBody")
    transform = _object(data, "Transform")
    if transform.get("RequestBodyEncoding") == "URL_ENCODED":
        if not isinstance(request.body, dict):
            raise _wrong("`RequestBody` must be an object to be URL-encoded")
        arrays = _object(transform, "RequestEncodingOptions").get("ArrayFormat", "INDICES")
        request.content = urlencode(_flat(request.body, str(arrays))).encode()
        _set(request.headers, BOTH_WAYS, URL_ENCODED)
    return request


def _encode(request: Request) -> None:
    """The body as bytes: text as it stands, anything else as JSON."""
    if request.content is not None or request.body is None:
        return
    text = request.body
    if not isinstance(text, str):
        text = dumps(text, separators=(",", ":"), ensure_ascii=False)
        if not any(name.lower() == "content-type" for name in request.headers):
            request.headers[BOTH_WAYS] = "application/json"
    request.content = text.encode()


def _flat(value: Any, arrays: str, name: str = "") -> list[tuple[str, str]]:
    """An object as the fields of a form; lists as `arrays` says."""
    if isinstance(value, dict):
        found = []
        for key, each in value.items():
            found += _flat(each, arrays, f"{name}[{key}]" if name else key)
        return found
    if not isinstance(value, list):
        return [(name, _plain(value))]
    if arrays == "COMMAS":
        return [(name, ",".join(_plain(each) for each in value))]
    found = []
    for at, each in enumerate(value):
        names = {"BRACKETS": f"{name}[]", "NONE": name, "REPEAT": name}
        found += _flat(each, arrays, names.get(arrays, f"{name}[{at}]"))
    return found


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else dumps(value)


def _object(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A member that is an object; empty where there is none. Raises `Refused`."""
    value = data.get(name) or {}
    if not isinstance(value, dict):
        raise _wrong(f"`{name}` must be an object")
    return value


def _pairs(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (name, _plain(one))
        for name, each in values.items()
        for one in (each if isinstance(each, list) else [each])
    ]


def _joined(value: Any) -> str:
    return ", ".join(map(_plain, value)) if isinstance(value, list) else _plain(value)


def _set(headers: dict[str, str], name: str, value: str) -> None:
    """Set a header, whatever the case of one that is there already."""
    for other in [other for other in headers if other.lower() == name.lower()]:
        del headers[other]
    headers[name] = value


def _with_query(request: Request) -> str:
    if not request.query:
        return request.url
    joint = "&" if "?" in request.url else "?"
    return f"{request.url}{joint}{urlencode(request.query)}"


async def _body(response: httpx.Response) -> bytes:
    """The whole body. Raises `Refused` where it is too large."""
    parts, size = [], 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > BODY_LIMIT:
            text = f"the answer is larger than {BODY_LIMIT:,} bytes"
            raise Refused(Failure("States.DataLimitExceeded", text, retryable=False))
        parts.append(part)
    return b"".join(parts)


def _told(status: int, headers: list[tuple[str, str]], body: str) -> dict[str, Any]:
    """An answer as the state sees it."""
    gathered: dict[str, list[str]] = {}
    for name, text in headers:
        gathered.setdefault(name, []).append(text)
    value: Any = body
    if any("json" in text for text in gathered.get("content-type", ())):
        try:
            value = loads(body)
        except JSONDecodeError:
            value = body
    return {
        "Headers": gathered,
        "ResponseBody": value,
        "StatusCode": status,
        "StatusText": _phrase(status),
    }


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _wrong(text: str) -> Refused:
    return Refused(Failure(RUNTIME, text, retryable=False))
