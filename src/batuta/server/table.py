"""The table of the API's addresses: from it come the routes and the OpenAPI description."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.routing import Route

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "integer", "minimum": 0}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter in the query or in a header."""

    name: str
    text: str
    schema: Schema
    place: str = "query"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address and method of the API.

    Parameters
    ----------
    path: as in OpenAPI, `/api/runs/{id}`; ids in it may contain anything, percent-encoded.
    endpoint: what answers; its name is the operation's id, its docstring the description.
    parameters: of the query and the headers.
    body: media type -> schema, or a schema's name for JSON; None: no body.
    answer: a schema's name, or media type -> schema.
    status: of success.
    errors: statuses that it may answer besides.
    """

    method: str
    path: str
    endpoint: Callable[..., Any]
    answer: str | dict[str, Schema]
    parameters: tuple[Parameter, ...] = ()
    body: str | dict[str, Schema] | None = None
    status: int = 200
    errors: tuple[int, ...] = ()

    def route(self) -> Route:
        """The Starlette route. Ids may hold slashes; the literal ends of paths win."""
        return Route(self.path.replace("}", ":path}"), self.endpoint, methods=[self.method])


def routes(table: list[Endpoint]) -> list[Route]:
    """The routes, the more particular ones first."""

    def particular(endpoint: Endpoint) -> tuple[int, int]:
        literal = [part for part in endpoint.path.split("/") if not part.startswith("{")]
        return -len(literal), endpoint.path.count("{")

    return [endpoint.route() for endpoint in sorted(table, key=particular)]
