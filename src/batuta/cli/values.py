"""Values as they are typed: JSON, `NAME=VALUE`, `@FILE`, `-`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from batuta.cli.usage import UsageError

NAMED = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
Scalar = str | int | float | bool


def json_value(text: str, what: str) -> Any:
    """A value that has to be JSON. `@FILE` reads a file, `-` reads stdin.

    Raises
    ------
    UsageError: it is none; says where it stops being one.
    """
    text = _content(text, what)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = "" if error.lineno == 1 else f"line {error.lineno}, "
        raise UsageError(
            f"{what} is not JSON: {error.msg} at {place}column {error.colno}",
            hint=f"a text needs its quotes: '{json.dumps(text, ensure_ascii=False)}'"
            if text[:1] not in '[{"'
            else "put the whole value between single quotes for the shell",
        ) from error
    except RecursionError as error:
        raise UsageError(f"{what} is nested too deeply") from error


def loose_value(text: str, what: str) -> Any:
    """JSON, or text where it is none and does not look as if it should be."""
    if text[:1] in ("@", "-") and (text == "-" or text[0] == "@"):
        return json_value(text, what)
    if text[:1] in tuple('[{"'):
        return json_value(text, what)
    try:
        return json.loads(text)
    except ValueError:
        return text


def call_values(texts: Iterable[str]) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a workflow: positional ones and those with a name."""
    args: list[Any] = []
    named: dict[str, Any] = {}
    for text in texts:
        found = NAMED.fullmatch(text)
        if found is None:
            if named:
                raise UsageError(
                    f"`{text}` follows an argument with a name",
                    hint="put the arguments without a name first",
                )
            args.append(loose_value(text, f"argument {len(args) + 1}"))
        elif found[1] in named:
            raise UsageError(f"argument `{found[1]}` is given twice")
        else:
            named[found[1]] = loose_value(found[2], f"argument `{found[1]}`")
    return args, named


def attributes(texts: Iterable[str]) -> dict[str, Scalar]:
    """`NAME=VALUE` with a text, a number, true or false."""
    found: dict[str, Scalar] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise UsageError(f"`{text}` is no NAME=VALUE")
        scalar = loose_value(value, f"attribute `{name}`")
        if not isinstance(scalar, str | int | float | bool):
            raise UsageError(f"attribute `{name}` is no text, number, true or false")
        found[name] = scalar
    return found


def _content(text: str, what: str) -> str:
    try:
        if text == "-":
            return sys.stdin.read()
        if text.startswith("@"):
            return Path(text[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise UsageError(f"{what} cannot be read from `{text[1:] or 'stdin'}`: {reason}") from error
    return text
