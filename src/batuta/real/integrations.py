"""What a project says about the services that its state machines call, in its `batuta.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from batuta.kernel.errors import BatutaError

FILE = "batuta.toml"
KINDS = ("none", "api-key", "basic", "oauth")
LAMBDA_TIMEOUT_S = 3.0
_KNOWN: dict[str, tuple[str, ...]] = {
    "aws": ("region", "endpoint", "endpoints"),
    "lambda": ("handler", "folder", "timeout", "environment"),
    "connection": (
        *("kind", "name", "value", "username", "password", "client_id", "client_secret"),
        *("token_url", "method", "scope", "headers", "query", "body"),
    ),
}


class LambdaSource(Protocol):
    """A Lambda function in Python whose code is on this machine."""

    @property
    def name(self) -> str: ...
    @property
    def folder(self) -> Path: ...
    @property
    def handler(self) -> str: ...
    @property
    def timeout(self) -> float: ...
    @property
    def environment(self) -> Mapping[str, str]: ...


@dataclass(frozen=True, slots=True)
class Function:
    """A Lambda function of the table `[lambda.NAME]`.

    Parameters
    ----------
    name: without its ARN. folder: where its modules are. handler: `module.function`.
    timeout: seconds. environment: what it sees beside the usual variables.
    """

    name: str
    folder: Path
    handler: str
    timeout: float = LAMBDA_TIMEOUT_S
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Connection:
    """How an HTTP task says who it is: the table `[connection.NAME]`.

    Parameters
    ----------
    kind: `none`, `api-key` (header `name` with `value`), `basic` or `oauth` (client credentials).
    headers, query, body: sent along with every call.

    A text `secret:NAME` anywhere stands for the secret of that name.
    """

    name: str
    kind: str = "none"
    settings: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Integrations:
    """Where a project's services are.

    Parameters
    ----------
    folder: the project's; files that state machines read are inside it.
    region: of AWS; None: what the environment says.
    endpoint: where all of AWS is called; None: what the environment says, else AWS itself.
    endpoints: the same for single services (`sqs`), by their name in boto3.
    lambdas, connections: by name.
    """

    folder: Path
    region: str | None = None
    endpoint: str | None = None
    endpoints: Mapping[str, str] = field(default_factory=dict)
    lambdas: Mapping[str, LambdaSource] = field(default_factory=dict)
    connections: Mapping[str, Connection] = field(default_factory=dict)


def read_integrations(folder: Path, lambdas: Iterable[LambdaSource] = ()) -> Integrations:
    """The integrations of a project folder; none where it has no `batuta.toml`.

    Parameters
    ----------
    lambdas: functions that were found elsewhere (in templates); the file's own win.

    Raises `BatutaError` for a file or a value that cannot be understood.
    """
    file = folder / FILE
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        content = {}
    except (OSError, ValueError) as error:
        raise BatutaError(f"`{FILE}` cannot be read: {error}", at=str(file)) from error
    aws = _checked(content.get("aws", {}), "aws", "aws", file)
    functions: dict[str, LambdaSource] = {source.name: source for source in lambdas}
    for name, table in content.get("lambda", {}).items():
        functions[name] = _function(name, _checked(table, f"lambda.{name}", "lambda", file), folder)
    connections = {
        name: _connection(name, _checked(table, f"connection.{name}", "connection", file), file)
        for name, table in content.get("connection", {}).items()
    }
    return Integrations(
        folder, aws.get("region"), aws.get("endpoint"), aws.get("endpoints", {}), functions,
        connections,
    )  # fmt: skip


class Located(Protocol):
    """A project, as far as its integrations are concerned."""

    @property
    def folder(self) -> Path: ...


def integrations_of(project: Located) -> Integrations:
    """The integrations of a project, with the functions that its templates define (`lambdas`)."""
    return read_integrations(project.folder, getattr(project, "lambdas", ()))


def _checked(table: Any, name: str, kind: str, file: Path) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise BatutaError(f"`{name}` is not a table", at=str(file), hint=f"write `[{name}]`")
    for key in table:
        if key not in _KNOWN[kind]:
            raise BatutaError(
                f"`[{name}]` has an unknown setting `{key}`", at=str(file),
                hint=f"known are: {', '.join(_KNOWN[kind])}",
            )  # fmt: skip
    return table


def _function(name: str, table: dict[str, Any], folder: Path) -> Function:
    if "." not in str(table.get("handler", "")):
        raise BatutaError(
            f"`[lambda.{name}]` names no handler",
            at=str(folder / FILE),
            hint='write `handler = "module.function"`',
        )
    return Function(
        name,
        (folder / table.get("folder", ".")).resolve(),
        table["handler"],
        float(table.get("timeout", LAMBDA_TIMEOUT_S)),
        {key: str(value) for key, value in table.get("environment", {}).items()},
    )


def _connection(name: str, table: dict[str, Any], file: Path) -> Connection:
    kind = table.get("kind", "none")
    if kind not in KINDS:
        raise BatutaError(
            f"`kind` of `[connection.{name}]` is `{kind}`", at=str(file),
            hint=f"use one of: {', '.join(KINDS)}",
        )  # fmt: skip
    parts = ("kind", "headers", "query", "body")
    settings = {key: str(value) for key, value in table.items() if key not in parts}
    return Connection(
        name, kind, settings, table.get("headers", {}), table.get("query", {}),
        table.get("body", {}),
    )  # fmt: skip
