"""How the API reads requests and writes answers: JSON, limits, and errors that say what to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from batuta.common.misfit import Misfit
from batuta.kernel.errors import (
    BatutaError,
    Conflict,
    JournalError,
    NotFound,
)
from batuta.real.validate import BadInput
from batuta.server.port import System

ID_LIMIT = 1000  # characters of an id; a new one may have fewer (`real.validate`)
BODY_LIMIT = 16 * 1024 * 1024  # bytes of a request
DEPTH_LIMIT = 200  # levels of nested JSON
LIMIT_MAX = 1000  # rows of one answer


class Unprocessable(BatutaError):
    """The request was understood and cannot be done as it is."""


class Json(Response):
    """A JSON answer; text stays readable, and what is no JSON number becomes text."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return encode(content)


def encode(content: Any) -> bytes:
    """JSON as bytes; NaN and infinities, which JSON does not know, as texts."""
    try:
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, default=str)
    except ValueError:
        text = json.dumps(_finite(content), ensure_ascii=False, default=str)
    return text.encode("utf-8", "backslashreplace")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    if isinstance(value, Mapping):
        return {str(name): _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return value


# -- errors ------------------------------------------------------------------------------------


STATUSES: tuple[tuple[type[BatutaError], int], ...] = (
    (NotFound, 404), (Conflict, 409), (Misfit, 422), (Unprocessable, 422), (BadInput, 422),
    (JournalError, 503),
)  # fmt: skip


def status_of(error: BatutaError) -> int:
    """The HTTP status that says the same as an error."""
    return next((status for kind, status in STATUSES if isinstance(error, kind)), 400)


def error_body(message: str, at: str | None = None, hint: str | None = None) -> dict[str, Any]:
    """The form of every error: what, where, what next."""
    return {"error": {"message": message, "at": at, "hint": hint}}


def wants_page(request: Request) -> bool:
    """Whether an error shall be a page: not under `/api`, and asked for by a browser."""
    path = request.url.path
    return not path.startswith(("/api/", "/metrics", "/healthz", "/openapi"))


# -- reading -----------------------------------------------------------------------------------


def system_of(request: Request) -> System:
    """The system that the application drives."""
    system: System = request.app.state.system
    return system


def id_of(request: Request, name: str = "id") -> str:
    """An id in the path, decoded. Raises `BatutaError` (400) where it cannot be one."""
    return checked_id(unquote(request.path_params[name], errors="replace"), name)


def checked_id(id: Any, what: str = "id") -> str:
    """An id as given by somebody: a text of bounded length without control characters."""
    if not isinstance(id, str):
        raise BatutaError(f"`{what}` is {_kind(id)}, not a text")
    if len(id) > ID_LIMIT:
        raise BatutaError(
            f"`{what}` has {len(id):,} characters", hint=f"use at most {ID_LIMIT} characters"
        )
    if any(ord(sign) < 32 or 0xD800 <= ord(sign) < 0xE000 for sign in id):
        raise BatutaError(f"`{what}` has control characters", hint="use printable characters")
    return id


async def body_of(request: Request) -> Any:
    """The request's JSON. Raises `BatutaError` (400) where it is none."""
    raw = await request.body()
    if not raw.strip():
        return {}
    return parse_json(raw)


def parse_json(raw: bytes) -> Any:
    """JSON text as a value, with the position of what is wrong."""
    try:
        value = json.loads(raw, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise BatutaError(
            f"the body is not JSON: {error.msg}", at=f"body:{error.lineno}:{error.colno}"
        ) from None
    except UnicodeDecodeError as error:
        raise BatutaError(f"the body is not UTF-8: byte {error.start}") from None
    except RecursionError:
        raise BatutaError("the body is nested too deeply") from None
    except ValueError as error:
        raise BatutaError(f"the body is not JSON: {error}") from None
    _check_depth(value)
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEPTH_LIMIT):
        level = [part for each in level for part in _parts(each)]
        if not level:
            return
    raise BatutaError(
        f"the body is nested more than {DEPTH_LIMIT} levels deep", hint="send flatter data"
    )


def _parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


async def fields_of(
    request: Request, known: Mapping[str, type | tuple[type, ...]]
) -> dict[str, Any]:
    """A JSON object whose fields are among the known ones and of their types."""
    return checked_fields(await body_of(request), known, "the body")


def checked_fields(
    value: Any, known: Mapping[str, type | tuple[type, ...]], what: str
) -> dict[str, Any]:
    """A JSON object with nothing in it that is not known."""
    if not isinstance(value, dict):
        raise BatutaError(f"{what} is {_kind(value)}, not an object")
    for name, part in value.items():
        if name not in known:
            raise BatutaError(
                f"{what} has an unknown field `{name[:80]}`",
                hint=f"known are: {', '.join(known)}",
            )
        if part is not None and not isinstance(part, known[name]):
            raise BatutaError(f"`{name}` of {what} is {_kind(part)}, not {_wanted(known[name])}")
    return {name: part for name, part in value.items() if part is not None}


_WORDS = {dict: "an object", list: "a list", str: "a text", bool: "true or false",
          int: "a number", float: "a number", type(None): "null"}  # fmt: skip


def _kind(value: Any) -> str:
    return _WORDS.get(type(value), type(value).__name__)


def _wanted(types: type | tuple[type, ...]) -> str:
    kinds = types if isinstance(types, tuple) else (types,)
    return " or ".join(dict.fromkeys(_WORDS.get(kind, kind.__name__) for kind in kinds))


def number_of(request: Request, name: str, default: int, *, least: int = 0, most: int) -> int:
    """A whole number in the query."""
    text = request.query_params.get(name)
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20) or not least <= int(text) <= most:
        raise BatutaError(f"`{name}` is `{text[:40]}`, not a whole number from {least} to {most}")
    return int(text)


def words_of(request: Request, name: str) -> list[str]:
    """A query parameter that may be repeated or hold several words with commas."""
    return [word for text in request.query_params.getlist(name) for word in text.split(",") if word]


def attributes_of(request: Request) -> dict[str, str | int | float | bool]:
    """`attribute.NAME=VALUE` of the query; numbers, `true` and `false` as what they are, and
    anything in double quotes as text."""
    found: dict[str, str | int | float | bool] = {}
    for name, text in request.query_params.items():
        if name.startswith("attribute.") and len(name) > len("attribute."):
            found[name.removeprefix("attribute.")] = scalar(text)
    return found


def scalar(text: str) -> str | int | float | bool:
    """A value out of a query: JSON where it is a scalar of JSON, otherwise text."""
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, str | int | float | bool) else text


def error_of_http(error: HTTPException) -> tuple[str, str | None]:
    """Message and hint for what the router itself refuses."""
    known = {
        404: ("there is no such page", "/openapi.json lists what there is"),
        405: ("this address does not take that method", "/openapi.json lists what it takes"),
    }
    message, hint = known.get(error.status_code, (str(error.detail), None))
    return message, hint
