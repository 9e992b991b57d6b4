"""Pages of long answers: a token says behind what the next one begins."""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, TypeVar

from batuta.server.stepfunctions.errors import invalid_token

T = TypeVar("T")
PAGE = 100
PAGE_MAX = 1000


def size_of(asked: dict[str, Any], default: int = PAGE) -> int:
    """How many are wanted; none or zero stands for the default."""
    return int(asked.get("maxResults") or default)


def _mark(about: list[Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]


def token_for(about: list[Any], place: Any) -> str:
    """A token that continues the same question behind a place."""
    text = json.dumps([_mark(about), place], separators=(",", ":"))
    return urlsafe_b64encode(text.encode()).decode()


def place_in(token: str | None, about: list[Any]) -> Any:
    """Where a question goes on; None where it begins. Raises `ServiceError` (`InvalidToken`)
    for a token that is none, or is another question's."""
    if token is None:
        return None
    try:
        mark, place = json.loads(urlsafe_b64decode(token.encode()))
    except (ValueError, TypeError):
        raise invalid_token() from None
    if mark != _mark(about) or place is None:
        raise invalid_token()
    return place


def paged(
    asked: dict[str, Any], about: list[Any], items: Sequence[T], shown: Callable[[T], Any]
) -> tuple[list[Any], dict[str, str]]:
    """A page of a list that is at hand as a whole, and the token where more follow."""
    start, size = place_in(asked.get("nextToken"), about), size_of(asked)
    if start is not None and not isinstance(start, int):
        raise invalid_token()
    first = start or 0
    page = [shown(item) for item in islice(items, first, first + size)]
    more = first + size < len(items)
    return page, {"nextToken": token_for(about, first + size)} if more else {}
