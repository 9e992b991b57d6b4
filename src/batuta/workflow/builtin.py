"""Steps that need no function of the user's: shell commands and HTTP calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from json import loads
from typing import Any, cast

from batuta.common.codec import codec_of
from batuta.common.duration import seconds
from batuta.common.retry import NO_RETRY, Retry
from batuta.workflow.ask import Call
from batuta.workflow.model import Duration


@dataclass(frozen=True, slots=True)
class ShellResult:
    """How a shell command ended; output beyond a limit is dropped from its middle.

    `dropped`: how many bytes of it are missing.
    """

    exit_code: int
    stdout: str
    stderr: str
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class HttpResult:
    """What an HTTP call was answered."""

    status: int
    headers: dict[str, str]
    body: str
    url: str = ""
    encoding: str = "text"

    def json(self) -> Any:
        """The body as JSON."""
        return loads(self.body)


class _ResultCodec:
    """Only results are typed: what is sent is JSON as it stands."""

    def __init__(self, kind: type) -> None:
        self._codec = codec_of(kind)

    def decode_result(self, value: Any) -> Any:
        return self._codec.decode(value)


class Builtin:
    """A step that is described by its data alone; for the machine it is a step like others."""

    mode = "builtin"
    undo = None
    repeatable = False
    priority = 0

    def __init__(
        self,
        kind: str,
        name: str,
        codec: _ResultCodec,
        retry: Retry | None,
        timeout: Duration | None,
        queue: str | None,
    ) -> None:
        self.kind = kind
        self.name = name
        self.codec = codec
        self.retry = retry or NO_RETRY
        self.timeout_s = None if timeout is None else seconds(timeout)
        self.heartbeat_s: float | None = None
        self.queue = queue


_SHELL = _ResultCodec(ShellResult)
_HTTP = _ResultCodec(HttpResult)


def sh(
    command: str,
    *,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    secrets: Sequence[str] = (),
    stdin: str | None = None,
    check: bool = True,
    timeout: Duration | None = None,
    retry: Retry | None = None,
    queue: str | None = None,
) -> Call[ShellResult]:
    """Run a command with `/bin/sh -c`, as a step of its own.

    Parameters
    ----------
    cwd: its folder, relative to the project's.
    env: its environment, beside `PATH`, `HOME` and `LANG`; nothing else is handed on.
    secrets: names of secrets that it gets as variables; their values are masked in what
        it prints.
    stdin: text that it can read.
    check: whether an exit code other than 0 is a failure (`CommandFailed`).
    timeout, retry, queue: as for `step`.
    """
    data: dict[str, Any] = {"command": command}
    if cwd is not None:
        data["cwd"] = cwd
    if env:
        data["env"] = dict(env)
    if secrets:
        data["secrets"] = list(secrets)
    if stdin is not None:
        data["stdin"] = stdin
    if not check:
        data["check"] = False
    step = Builtin("shell", f"sh {command.split()[0] if command.split() else ''}".strip(), _SHELL,
                   retry, timeout, queue)  # fmt: skip
    return _call(step, data)


def http(
    method: str,
    url: str,
    *,
    json: Any = None,
    body: str | None = None,
    headers: Mapping[str, str] | None = None,
    check: bool = True,
    timeout: Duration | None = "30s",
    retry: Retry | None = None,
    queue: str | None = None,
) -> Call[HttpResult]:
    """Make an HTTP call, as a step of its own; it carries an `Idempotency-Key`.

    Parameters
    ----------
    json: what is sent as JSON. body: or as text.
    check: whether a status of 400 or more is a failure (`HttpFailed`).
    timeout, retry, queue: as for `step`.
    """
    data: dict[str, Any] = {"method": method.upper(), "url": url}
    if json is not None:
        data["json"] = codec_of(Any).encode(json)
    if body is not None:
        data["body"] = body
    if headers:
        data["headers"] = dict(headers)
    if not check:
        data["check"] = False
    step = Builtin(
        "http", f"{method.upper()} {url.partition('?')[0]}", _HTTP, retry, timeout, queue
    )
    return _call(step, data)


def _call(step: Builtin, data: dict[str, Any]) -> Call[Any]:
    call: Call[Any] = Call(cast(Any, step), (), {})
    call.data = data
    return call
