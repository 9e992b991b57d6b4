"""What can be said about a definition file without running it."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from batuta.common.problem import Problem
from batuta.common.source import Source
from batuta.workflow.asl.files import name_of
from batuta.workflow.asl.stack import NAMES

NOT_FLOWS = frozenset({"node_modules", "site-packages", "tests", "venv"})
PASSED_OVER = ("_", "test_", "demo", "conftest")
MENTIONS = re.compile(rb"^[ \t]*(?:import|from)[ \t]+batuta\b", re.MULTILINE)
DECORATORS = frozenset({"workflow", "step", "on", "every", "cron"})
MACHINE = re.compile(r"\bAWS::(?:Serverless|StepFunctions)::StateMachine\b")
FILE_LIMIT = 5_000_000


@dataclass(slots=True)
class Scan:
    """One file of a project's folder.

    Parameters
    ----------
    path: where it is. shown: how it is called in problems.
    defines: whether it imports batuta, so that it is to be loaded.
    problems: why it cannot be loaded, or what is wrong although it can.
    broken: it cannot be loaded.
    queues: the calls `queue(…)` whose value no name keeps.
    """

    path: Path
    shown: str
    defines: bool = False
    broken: bool = False
    problems: list[Problem] = field(default_factory=list)
    queues: list[ast.expr] = field(default_factory=list)


def candidates(folder: Path) -> list[Path]:
    """The Python files that stand directly in a folder and may hold definitions."""
    return sorted(
        path
        for path in folder.glob("*.py")
        if not path.name.startswith(PASSED_OVER) and path.is_file()
    )


def flow_files(folder: Path) -> list[Path]:
    """The files with state machines, and those that may be templates, in a folder and below it;
    what is hidden, tests and environments apart."""
    found: list[Path] = []
    waiting = [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                here = [*entries]
        except OSError:
            continue
        if any(entry.name == "pyvenv.cfg" for entry in here):
            continue
        for entry in here:
            if entry.name.startswith((".", "_")) or entry.name in NOT_FLOWS:
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
            elif is_flow(entry.name) and entry.is_file():
                found.append(Path(entry.path))
    return sorted(found)


def is_flow(name: str) -> bool:
    """Whether a file of this name is one with state machines, or may be such a template."""
    return name_of(name) is not None or name in NAMES


def is_template(text: str) -> bool:
    """Whether a text is a template with state machines: other programs have files so called."""
    return MACHINE.search(text) is not None


def scan(path: Path, shown: str) -> Scan:
    """Read and parse a file. Nothing of it is executed."""
    found = Scan(path, shown)
    try:
        if path.stat().st_size > FILE_LIMIT:
            return _refuse(found, f"`{shown}` is larger than {FILE_LIMIT // 1_000_000} MB")
        text = path.read_bytes()
    except OSError as error:
        return _refuse(
            found, f"`{shown}` cannot be read: {error.strerror}", hint="check its permissions"
        )
    found.defines = MENTIONS.search(text) is not None
    if not found.defines:
        return found
    try:
        tree = ast.parse(text, str(path))
    except SyntaxError as error:
        return _refuse(found, f"{_kind(error)}: {error.msg}", syntax_source(error, shown))
    except (ValueError, RecursionError, MemoryError) as error:
        return _refuse(found, f"`{shown}` is not Python: {error}")
    found.defines = any(_is_import(node) for node in _top_level(tree.body))
    found.queues = [*_bare_queues(tree.body)]
    found.problems += _defined_twice(tree.body, shown)
    return found


def _refuse(found: Scan, message: str, source: Source | None = None, hint: str = "") -> Scan:
    found.broken = True
    where = source or Source(found.shown)
    found.problems.append(Problem(message, where, hint or None, rule="syntax"))
    return found


def _kind(error: SyntaxError) -> str:
    return {"IndentationError": "wrong indentation", "TabError": "tabs and spaces mixed"}.get(
        type(error).__name__, "not valid Python"
    )


def syntax_source(error: SyntaxError, shown: str) -> Source:
    """Where Python stopped understanding."""
    return Source(shown, error.lineno or 0, max(error.offset or 0, 0))


def _top_level(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """What runs when the module is imported, without the bodies of functions and classes."""
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try | ast.With | ast.For | ast.While):
            inner: list[ast.stmt] = [*node.body, *getattr(node, "orelse", [])]
            inner += getattr(node, "finalbody", [])
            for handler in getattr(node, "handlers", []):
                inner += handler.body
            yield from _top_level(inner)


def _is_import(node: ast.stmt) -> bool:
    if isinstance(node, ast.Import):
        return any(_is_batuta(alias.name) for alias in node.names)
    return isinstance(node, ast.ImportFrom) and not node.level and _is_batuta(node.module or "")


def _is_batuta(name: str) -> bool:
    return name.partition(".")[0] == "batuta"


def _called(node: ast.expr) -> str:
    """The last part of the name of what is called: `queue` of `batuta.queue(…)`."""
    target = node.func if isinstance(node, ast.Call) else node
    if isinstance(target, ast.Attribute):
        return target.attr
    return target.id if isinstance(target, ast.Name) else ""


def _bare_queues(body: Iterable[ast.stmt]) -> Iterator[ast.expr]:
    for node in body:
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Call)
            and _called(node.value) == "queue"
        ):
            yield node.value


def _defined_twice(body: Iterable[ast.stmt], shown: str) -> Iterator[Problem]:
    """A second definition of a name hides the first one from everybody, so it is no mere style."""
    first: dict[str, int] = {}
    for node in body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if not any(_called(d) in DECORATORS for d in node.decorator_list):
            continue
        if node.name in first:
            yield Problem(
                f"`{node.name}` is defined a second time in this file",
                Source(shown, node.lineno, node.col_offset + 1),
                f"the first one, at {shown}:{first[node.name]}, is hidden by it: rename one",
                rule="twice",
            )
        first.setdefault(node.name, node.lineno)
