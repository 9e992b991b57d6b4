"""A project's state machines: those in files of their own, and those of templates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batuta.cli.scan import is_template
from batuta.common.problem import Problem
from batuta.common.source import Source
from batuta.real.integrations import Function
from batuta.workflow.asl.files import machine_in, name_of
from batuta.workflow.asl.machine import StateMachine
from batuta.workflow.asl.source import TEXT_MAX, Unreadable
from batuta.workflow.asl.stack import stack_in

if TYPE_CHECKING:
    from batuta.cli.project import Project


def load_flows(project: Project, files: list[Path], *, alone: bool = False) -> set[Path]:
    """Take in the state machines of files.

    Parameters
    ----------
    files: with state machines, and templates.
    alone: the steps that they call are not known.

    Returns
    -------
    The files beside those that they were read from.
    """
    named: set[Path] = set()
    steps = None if alone else project.steps
    for path in files:
        if name_of(path.name) is None:
            named |= _load_template(project, path, steps)
    for path in files:
        # A definition that a template names is the template's: it says what is put into it.
        if name_of(path.name) is not None and path not in named:
            _load_flow(project, path, steps)
    return named


def _load_flow(project: Project, path: Path, steps: Mapping[str, Any] | None) -> None:
    """Take in the state machine of a file."""
    shown = _shown(path, project.folder)
    name = name_of(path.name)
    assert name is not None
    try:
        text = _read(path)
    except Unreadable as wrong:
        project.problems.append(Problem(wrong.message, Source(shown), rule="file"))
        return
    flow, problems = machine_in(name, text, shown, steps=steps)
    project.problems += problems
    if flow is not None:
        _enter(project, flow, shown, "rename the file")


def _load_template(project: Project, path: Path, steps: Mapping[str, Any] | None) -> set[Path]:
    """Take in what a template defines; the files that it names."""
    shown = _shown(path, project.folder)
    try:
        text = _read(path)
    except Unreadable as wrong:
        project.problems.append(Problem(wrong.message, Source(shown), rule="file"))
        return set()
    if not is_template(text):
        return set()
    stack = stack_in(text, shown, _reader(path.parent, project.folder), steps=steps)
    project.problems += stack.problems
    for flow in stack.machines:
        _enter(project, flow, shown, "give one of them another name")
    for function in stack.functions:
        folder = _inside(path.parent, function.folder)
        if folder is None or not folder.is_dir():
            why = f"the code of function `{function.name}` is no folder beside the template"
            place = Source(shown)
            hint = f"there is no `{function.folder}`"
            project.problems.append(Problem(why, place, hint, "warning", "function"))
            continue
        project.lambdas.append(
            Function(
                function.name, folder, function.handler, function.timeout, function.environment
            )
        )
    return {project.folder / file for file in stack.files}


def _enter(project: Project, flow: StateMachine, shown: str, hint: str) -> None:
    other = project.workflows.setdefault(flow.name, flow)
    if other is flow:
        return
    at = getattr(other, "source", "") or "another file"
    project.problems.append(
        Problem(
            f"two workflows are called `{flow.name}`",
            Source(shown),
            f"the other one is at {at}; {hint}",
            rule="twice",
        )
    )


def _reader(beside: Path, folder: Path) -> Callable[[str], tuple[str, str]]:
    """What reads the files that a template names."""

    def read(uri: str) -> tuple[str, str]:
        path = _inside(beside, uri)
        if path is None:
            raise Unreadable(f"`{uri}` is not in the template's folder")
        return _shown(path, folder), _read(path)

    return read


def _inside(folder: Path, name: str) -> Path | None:
    """A path below a folder, also where links lead; None for one elsewhere."""
    path = folder / name
    return path if path.resolve().is_relative_to(folder.resolve()) else None


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > 4 * TEXT_MAX:
            raise Unreadable(f"`{path.name}` is larger than any definition")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise Unreadable(f"`{path.name}` cannot be read: {why}") from error


def _shown(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
