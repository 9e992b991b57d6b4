"""Path fields: `$` is the data, `$$` the context object, `$name` a variable."""

from __future__ import annotations

import re
from collections.abc import Callable
from json import dumps
from typing import Any

from batuta.common.path import (
    WORK_MAX,
    Path,
    PathMismatch,
    PathMissing,
    PathSyntax,
    PathTooLong,
    Work,
    bracketed,
    compile_path,
    put,
)
from batuta.workflow.asl.env import Env
from batuta.workflow.asl.errors import (
    QUERY_EVALUATION_ERROR,
    RESULT_PATH_MATCH_FAILURE,
    RUNTIME,
    Malformed,
    StateFailed,
)

Evaluator = Callable[[Any, Env], Any]
SHOWN_MAX = 10_000
VARIABLE = re.compile(r"\$([A-Za-z_]\w*)")


def reference(text: str) -> Evaluator:
    """A path ready to evaluate; a definite one that leads nowhere raises `PathMissing`.

    Raises `Malformed` for a text that is no path.
    """
    if text.startswith("$$"):
        in_context = _finder(text, _compiled(text[1:], 1))
        return lambda root, env: in_context(env.context, env)
    variable = VARIABLE.match(text)
    if variable is None:
        path = _compiled(text, 0)
        if path.names == ():
            return lambda root, env: root
        if path.names is not None and len(path.names) == 1:
            return _member(path, path.names[0])
        return _finder(text, path)
    name = variable.group(1)
    rest = _finder(text, _compiled("$" + text[variable.end() :], variable.end() - 1))

    def found(root: Any, env: Env) -> Any:
        if name not in env.variables:
            raise StateFailed(RUNTIME, f"The variable '{name}' is not assigned: {text}")
        return rest(env.variables[name], env)

    return found


def is_definite(text: str) -> bool:
    """Whether a path can name one value only."""
    variable = VARIABLE.match(text)
    if variable is not None:
        return _compiled("$" + text[variable.end() :], 0).definite
    return _compiled(text[1:] if text.startswith("$$") else text, 0).definite


def _finder(text: str, path: Path) -> Evaluator:
    """Finds what a path names; one that looks at too much fails its state."""
    if path.definite:
        return lambda root, env: path.find(root)

    def found(root: Any, env: Env) -> Any:
        work = Work()
        try:
            result = path.look(root, work)
        except PathTooLong as much:
            raise StateFailed(RUNTIME, f"The JSONPath '{text}' was stopped: {much}") from much
        env.allowance.spend(WORK_MAX - work.left)
        return result

    return found


def _member(path: Path, name: str | int) -> Evaluator:
    """`$.name`: one look-up in the common case."""

    def found(root: Any, env: Env) -> Any:
        if type(root) is dict and name in root:
            return root[name]
        return path.find(root)

    return found


def _compiled(text: str, shift: int) -> Path:
    try:
        return compile_path(text)
    except PathSyntax as wrong:
        raise Malformed(wrong.message, wrong.offset + shift) from wrong


def query(field: str, text: str) -> Evaluator:
    """A path field of a state (`InputPath`, `ItemsPath`, `SecondsPath` …).

    Raises `Malformed`; the evaluator raises `StateFailed` with the service's text.
    """
    find = reference(text)
    whole = field in ("InputPath", "OutputPath")

    def found(root: Any, env: Env) -> Any:
        try:
            return find(root, env)
        except PathMissing as missing:
            cause = _invalid(text, missing) if whole else not_found(text, field, root)
            raise StateFailed(RUNTIME, cause) from missing

    return found


def _invalid(text: str, missing: PathMissing) -> str:
    where = missing.before + bracketed((missing.name,)).removeprefix("$")
    if missing.last:
        return f"Invalid path '{text}' : No results for path: {where}"
    return f"Invalid path '{text}' : Missing property in path {where}"


def not_found(text: str, field: str, root: Any) -> str:
    """The service's words for a path that leads nowhere."""
    shown = shortened(dumps(root, separators=(",", ":"), ensure_ascii=False))
    return (
        f"The JSONPath '{text}' specified for the field '{field}' could not be found in the "
        f"input '{shown}'"
    )


def shortened(text: str) -> str:
    """A value in a message, without what no cause has room for."""
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}…"


def result_path(text: str) -> Callable[[Any, Any], Any]:
    """`ResultPath`: gives (input, result) -> the input with the result in its place.

    Raises `Malformed`; the function raises `StateFailed`.
    """
    path = _compiled(text, 0)
    if path.names is None:
        raise Malformed(f"`{text}` may name several values: a ResultPath names one place", 0)

    def combined(root: Any, result: Any) -> Any:
        try:
            return put(root, path, result)
        except PathMismatch as mismatch:
            shown = shortened(dumps(root, separators=(",", ":"), ensure_ascii=False))
            raise StateFailed(
                RESULT_PATH_MATCH_FAILURE,
                f'Unable to apply step "{mismatch}" to input {shown}',
            ) from mismatch

    return combined


def unexpected(field: str, text: Any, wanted: str, kind: str, shown: str) -> StateFailed:
    """A JSONata expression gave something else than its field wants."""
    inner = str(text).removeprefix("{%").removesuffix("%}").strip()
    return StateFailed(
        QUERY_EVALUATION_ERROR,
        f"The JSONata expression '{inner}' specified for the field '{field}' returned an "
        f"unexpected result type. Expected '{wanted}', but was '{kind}' for value: {shown}",
        field,
    )
