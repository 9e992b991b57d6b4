"""Who may ask: hosts, origins, token and size are checked before anything else sees a request."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Collection
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from batuta.server.reply import BODY_LIMIT, Json, error_body

CONTENT_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "frame-ancestors 'none'; form-action 'self'"
)
HEADERS = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
OPEN_PATHS = ("/healthz", "/static/")  # need no token
COOKIE = "batuta_token"
SAFE = ("GET", "HEAD", "OPTIONS")


def hashed(token: str) -> str:
    """A token as it is kept: its SHA-256 in hex. Tokens are random, so no salt is needed."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask.

    Parameters
    ----------
    loopback: the server listens on this machine only, so that no other name than one of
        this machine's can be right in `Host` (DNS rebinding).
    hosts: further names that are right; with `loopback` False and none given, any is.
    token: the hash of the token that is asked for (`hashed`), or None.
    signed: whether requests to the Step Functions API are let in without the token, because
        their signatures are verified there.
    """

    loopback: bool = True
    hosts: Collection[str] = field(default_factory=frozenset)
    token: str | None = None
    signed: bool = False


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine."""
    name = host.strip("[]").lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def host_name(host: str) -> str:
    """The name in a `Host` header, without the port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.rpartition(":")[0] if host.count(":") == 1 else host


class Refused(Exception):
    """A request that goes no further: status, message and hint."""

    def __init__(self, status: int, message: str, hint: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.hint = hint


class TooLarge(Exception):
    """A body without a declared length that turned out too long."""


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, access: Access, body_limit: int = BODY_LIMIT) -> None:
        self.app = app
        self.access = access
        self.body_limit = body_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def guarded_send(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            headers = Headers(scope=scope)
            entry = check(scope, headers, self.access, self.body_limit)
            inner = entry or self.app
            await inner(scope, limited(receive, self.body_limit), guarded_send)
        except Refused as refused:
            await refusal(refused)(scope, receive, guarded_send)
        except TooLarge:
            if started:
                raise
            await refusal(too_large(self.body_limit))(scope, receive, guarded_send)


def refusal(refused: Refused) -> Json:
    """The answer to a request that goes no further."""
    challenge = {"www-authenticate": 'Bearer realm="batuta"'} if refused.status == 401 else None
    body = error_body(refused.message, hint=refused.hint)
    return Json(body, status_code=refused.status, headers=challenge)


def too_large(limit: int) -> Refused:
    """The refusal of a body over the limit."""
    return Refused(
        413, f"the request is larger than {limit:,} bytes", "send less, or a link to the data"
    )


def limited(receive: Receive, limit: int) -> Receive:
    """`receive` that stops a body over the limit, whatever its headers said."""
    size = 0

    async def counted() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > limit:
            raise TooLarge
        return message

    return counted


def check(scope: Scope, headers: Headers, access: Access, body_limit: int) -> ASGIApp | None:
    """Raise `Refused` unless the request may go on; an answer where that is all it needs."""
    _check_host(headers, access)
    if scope["method"] not in SAFE:
        _check_origin(headers)
    length = headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length) > body_limit:
        raise too_large(body_limit)
    if access.token is None or scope["path"].startswith(OPEN_PATHS):
        return None
    if access.signed and scope["method"] == "POST" and scope["path"] == "/":
        return None
    return _check_token(scope, headers, access.token)


def _check_host(headers: Headers, access: Access) -> None:
    # The synchronous actions of Step Functions are asked of this prefix to the server's name.
    host = host_name(headers.get("host", "")).removeprefix("sync-")
    if not access.loopback and not access.hosts:
        return
    if host.lower() in {name.lower() for name in access.hosts}:
        return
    if access.loopback and is_loopback(host):
        return
    raise Refused(
        421, f"this server is not `{host[:100]}`",
        "use http://127.0.0.1, or allow the name when starting the server",
    )  # fmt: skip


def _check_origin(headers: Headers) -> None:
    """Only pages of this server, and programs, may change something."""
    site = headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        raise _foreign()
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
        raise _foreign()


def _foreign() -> Refused:
    return Refused(403, "the request comes from a page of another site", "ask from this server's")


def _check_token(scope: Scope, headers: Headers, wanted: str) -> ASGIApp | None:
    if any(hmac.compare_digest(hashed(given), wanted) for given in _tokens(headers)):
        return None
    if scope["method"] == "GET" and not scope["path"].startswith("/api/"):
        query = parse_qs(scope["query_string"].decode("latin-1"))
        for given in query.pop("token", []):
            if hmac.compare_digest(hashed(given), wanted):
                return _entrance(scope, query, given)
    raise Refused(
        401, "a token is needed",
        "send `Authorization: Bearer TOKEN`; in a browser open the page with `?token=TOKEN` once",
    )  # fmt: skip


def _entrance(scope: Scope, query: dict[str, list[str]], token: str) -> ASGIApp:
    """Move the token out of the address into a cookie that no script and no other site gets."""
    rest = urlencode(query, doseq=True)
    path = "/" + quote(scope["path"].lstrip("/"))
    answer = RedirectResponse(f"{path}?{rest}" if rest else path, status_code=303)
    secure = scope["scheme"] == "https"
    answer.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=secure, path="/")
    return answer


def _tokens(headers: Headers) -> list[str]:
    kind, _, bearer = headers.get("authorization", "").partition(" ")
    found = [bearer.strip()] if kind.lower() == "bearer" else []
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        cookie = None
    return found if cookie is None else [*found, cookie.value]
