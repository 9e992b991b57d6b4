"""Where in the user's files something is defined."""

from __future__ import annotations

import functools
import inspect
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """A position in a file.

    Parameters
    ----------
    file: path as it is shown, relative to the project's folder where it is inside of it.
    line: from 1; 0 where only the file is known.
    column: from 1; 0 where only the line is known.
    """

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        text = self.file
        if self.line:
            text += f":{self.line}"
            if self.column:
                text += f":{self.column}"
        return text


UNKNOWN = Source("<unknown>")


def source_of(fn: Any, root: str | os.PathLike[str] | None = None) -> Source:
    """Where a function or class is defined: the line of its `def` or `class`.

    Parameters
    ----------
    fn: a function (also wrapped, a method, a partial) or a class.
    root: the folder to which the path is made relative; the working folder by default.

    Returns
    -------
    The position; `<unknown>` for what was not written in a file.
    """
    fn = _innermost(fn)
    code = getattr(fn, "__code__", None)
    if code is not None:
        return Source(shown_path(code.co_filename, root), _def_line(fn, code.co_firstlineno))
    try:
        file = inspect.getsourcefile(fn)
        _, line = inspect.getsourcelines(fn)
    except (TypeError, OSError):
        return UNKNOWN
    return Source(shown_path(file or "<unknown>", root), line)


def shown_path(file: str, root: str | os.PathLike[str] | None = None) -> str:
    """A path relative to `root` where it is inside of it, with forward slashes."""
    if file.startswith("<"):
        return file
    path = Path(os.path.abspath(file))
    base = Path(os.path.abspath(root if root is not None else os.curdir))
    if path.is_relative_to(base):
        path = path.relative_to(base)
    return path.as_posix()


def _innermost(fn: Any) -> Any:
    """The function below decorators, partials and methods."""
    for _ in range(100):
        if isinstance(fn, functools.partial):
            fn = fn.func
        elif hasattr(fn, "__wrapped__"):
            fn = fn.__wrapped__
        elif hasattr(fn, "__func__"):
            fn = fn.__func__
        else:
            break
    return fn


def _def_line(fn: Any, first: int) -> int:
    """The line with `def`: the first line of a function's code is that of its decorators."""
    try:
        lines, _ = inspect.getsourcelines(fn)
    except (OSError, TypeError, SyntaxError, IndexError):
        return first
    for offset, text in enumerate(lines):
        if text.lstrip().startswith(("def ", "async def ", "class ")):
            return first + offset
    return first
