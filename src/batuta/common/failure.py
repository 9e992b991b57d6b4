"""Exceptions as data that can be stored, shown, matched by retry rules and raised again."""

from __future__ import annotations

import json
import traceback
from pathlib import Path
from typing import Any

from batuta.kernel import errors
from batuta.kernel.errors import NotRetryable
from batuta.kernel.world import Failure

TEXT_LIMIT = 64 * 1024
ARGS_LIMIT = 64 * 1024
_OWN = str(Path(__file__).resolve().parent.parent) + "/"
_ROOTS = (object, BaseException)


def name_of(kind: type) -> str:
    """A class as `module:QualifiedName`; Batuta's own as users import them (`batuta:TimedOut`)."""
    module = kind.__module__
    if module.startswith("batuta."):
        module = "batuta"
    return f"{module}:{kind.__qualname__}"


def bases_of(exception: BaseException | type) -> list[str]:
    """The names of all classes that a rule for this exception may name, but its own."""
    kind = exception if isinstance(exception, type) else type(exception)
    return [name_of(base) for base in kind.__mro__[1:] if base not in _ROOTS]


def bases_by_name(type_name: str) -> list[str]:
    """The same for one of Batuta's own failures (`batuta:TimedOut`), which nobody raised."""
    kind = getattr(errors, type_name.removeprefix("batuta:"), None)
    return bases_of(kind) if isinstance(kind, type) else []


def failure_of(exception: BaseException) -> Failure:
    """The exception as a `Failure`: its cause chain kept, Batuta's own frames left out."""
    return Failure(
        type=name_of(type(exception)),
        message=message_of(exception),
        traceback=traceback_of(exception),
        args=_stored_args(exception),
        retryable=not isinstance(exception, NotRetryable),
    )


def message_of(exception: BaseException) -> str:
    """What the exception says, also where its own `__str__` fails."""
    try:
        text = str(exception)
    except Exception as problem:
        text = f"(its __str__ failed: {type(problem).__name__})"
    return clip(text)


def traceback_of(exception: BaseException) -> str:
    """The traceback as Python prints it, causes included, without Batuta's own frames."""
    try:
        whole = traceback.TracebackException.from_exception(exception)
        _strip(whole, set())
        return clip("".join(whole.format()))
    except Exception as problem:
        return f"(the traceback could not be printed: {type(problem).__name__})"


def clip(text: str, limit: int = TEXT_LIMIT) -> str:
    """Text that fits a record: its middle left out where too long, every character storable."""
    if len(text) > limit:
        left_out = len(text) - limit
        text = f"{text[: limit // 2]}\n… {left_out} characters left out …\n{text[-limit // 2 :]}"
    return text.encode("utf-8", "backslashreplace").decode()


def _strip(part: traceback.TracebackException, seen: set[int]) -> None:
    if id(part) in seen:
        return
    seen.add(id(part))
    part.stack[:] = [frame for frame in part.stack if not frame.filename.startswith(_OWN)]
    below = [part.__cause__, part.__context__, *(getattr(part, "exceptions", None) or ())]
    for other in below:
        if other is not None:
            _strip(other, seen)


def _stored_args(exception: BaseException) -> list[Any] | None:
    args = list(exception.args)
    if not all(_is_json(value, depth=0) for value in args):
        return None
    try:
        size = len(json.dumps(args, allow_nan=False).encode())
    except (ValueError, RecursionError, UnicodeEncodeError):
        return None
    return args if size <= ARGS_LIMIT else None


def _is_json(value: object, depth: int) -> bool:
    """Whether JSON gives back exactly this value: a tuple or a subclass would come back changed."""
    if value is None or type(value) in (bool, int, float, str):
        return True
    if depth > 20:
        return False
    if type(value) is list:
        return all(_is_json(item, depth + 1) for item in value)
    if type(value) is dict:
        return all(type(key) is str and _is_json(item, depth + 1) for key, item in value.items())
    return False
