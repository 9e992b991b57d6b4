"""HTTP calls, each with its command's id as idempotency key."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from batuta.common.failure import bases_of, failure_of
from batuta.kernel.world import Failure, Outcome
from batuta.real.job import Job

if TYPE_CHECKING:
    import httpx

BODY_LIMIT = 8 * 1024 * 1024
TIMEOUT_S = 30.0


class Http:
    """Performs `http` commands: data `{method, url, json? | body?, headers?, timeout?, check?}`.

    Its value is `{status, headers, body, url}`, with `base64: true` where the body is no
    text. A status of 400 or more is a failure unless `check` is false; those that may pass
    (5xx, 408, 425, 429) can be tried again.
    """

    def __init__(self) -> None:
        self._client: httpx.AsyncClient | None = None

    async def perform(self, job: Job) -> Outcome:
        """Make one call and read its answer."""
        data = job.command.data
        headers = dict(data.get("headers") or {})
        if not any(name.lower() == "idempotency-key" for name in headers):
            headers["Idempotency-Key"] = job.context.id
        content = data.get("body")
        request = self._open().stream(
            data.get("method", "GET"),
            data["url"],
            headers=headers,
            content=content.encode() if isinstance(content, str) else content,
            json=data.get("json"),
            timeout=data.get("timeout") or job.command.timeout_s or TIMEOUT_S,
            follow_redirects=bool(data.get("follow", False)),
        )
        try:
            async with request as response:
                body = await _body(response)
        except Exception as error:  # httpx has many; each keeps its name, and says of what
            failure = failure_of(error)
            what = failure.message or type(error).__name__
            failure.message = f"{data.get('method', 'GET')} {data['url']}: {what}"
            return job.failed(failure, bases_of(error))
        if body is None:
            return job.failed(_too_large(data))
        value = {
            "status": response.status_code,
            "headers": dict(response.headers.items()),
            "url": str(response.url),
            **_text(body, response.charset_encoding),
        }
        if response.status_code < 400 or not data.get("check", True):
            return Outcome(job.command.id, value, None, job.started)
        return _failed(job, value)

    async def close(self) -> None:
        """Close the connections that are kept open."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:
            import httpx  # a heavy library: only systems that make HTTP calls pay for it

            limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
            self._client = httpx.AsyncClient(limits=limits)
        return self._client


async def _body(response: httpx.Response) -> bytes | None:
    """The whole body; None where it is larger than allowed."""
    parts, size = [], 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > BODY_LIMIT:
            return None
        parts.append(part)
    return b"".join(parts)


def _text(body: bytes, encoding: str | None) -> dict[str, Any]:
    try:
        return {"body": body.decode(encoding or "utf-8")}
    except (UnicodeDecodeError, LookupError):
        return {"body": base64.b64encode(body).decode(), "base64": True}


def _too_large(data: dict[str, Any]) -> Failure:
    text = f"the answer of {data['url']} is larger than {BODY_LIMIT:,} bytes"
    return Failure("batuta:ValueTooLarge", text, retryable=False)


def _failed(job: Job, value: dict[str, Any]) -> Outcome:
    status = value["status"]
    data = job.command.data
    begin = "" if value.get("base64") else str(value["body"])[:500]
    text = f"{data.get('method', 'GET')} {data['url']} was answered with {status}"
    retryable = status >= 500 or status in (408, 425, 429)
    outcome = job.failed(
        Failure("batuta:HttpFailed", f"{text}: {begin}" if begin else text, retryable=retryable)
    )
    outcome.detail["status"] = status
    outcome.detail["headers"] = value["headers"]
    outcome.detail["body"] = begin
    return outcome
