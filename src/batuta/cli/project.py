"""A project: a folder of Python files, the definitions they make, and all their problems."""

from __future__ import annotations

import ast
import contextlib
import difflib
import hashlib
import importlib
import importlib.machinery
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from batuta.cli.flows import load_flows
from batuta.cli.scan import Scan, candidates, flow_files, scan
from batuta.common.problem import Problem, sort
from batuta.common.source import Source, source_of
from batuta.kernel.dispatch import Queue
from batuta.kernel.errors import BatutaError
from batuta.real.integrations import LambdaSource
from batuta.workflow.asl.machine import StateMachine
from batuta.workflow.model import Definition, Definitions, Rule, Schedule, Step, Workflow

FOREIGN_PARTS = frozenset({"site-packages", "dist-packages", "__pycache__"})
Stamp = tuple[int, int, str]


@dataclass(slots=True)
class Project:
    """Everything that one folder defines.

    Parameters
    ----------
    folder: absolute. name: the folder's.
    workflows, steps, rules, schedules, queues: by name.
    lambdas: the Lambda functions of its templates.
    problems: all that is wrong, in the order of the files.
    files: every file that was loaded or tried -> (mtime ns, size, hash).
    modules: the modules that the loading made, by name.
    """

    folder: Path
    name: str
    workflows: dict[str, Workflow[Any, Any] | StateMachine] = field(default_factory=dict)
    steps: dict[str, Step[Any, Any]] = field(default_factory=dict)
    rules: dict[str, Rule] = field(default_factory=dict)
    schedules: dict[str, Schedule] = field(default_factory=dict)
    queues: dict[str, Queue] = field(default_factory=dict)
    lambdas: list[LambdaSource] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    files: dict[Path, Stamp] = field(default_factory=dict)
    modules: dict[str, ModuleType] = field(default_factory=dict)

    @property
    def definitions(self) -> Definitions:
        """What a system runs."""
        return Definitions(self.workflows, self.rules, self.schedules, self.queues, self.steps)

    @property
    def broken(self) -> bool:
        """Whether anything is wrong that is more than a warning."""
        return any(problem.severity == "error" for problem in self.problems)

    def workflow(self, name: str) -> Workflow[Any, Any] | StateMachine:
        """A workflow by its name. Raises `BatutaError` with the nearest name."""
        if name in self.workflows:
            return self.workflows[name]
        raise unknown("workflow", name, self.workflows, empty=f"`{self.folder}` defines none")


def unknown(what: str, name: str, known: Iterable[str], *, empty: str = "") -> BatutaError:
    """The error for a name that is not known, with the nearest one that is."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean `{near[0]}`?" if near else "there is " + ", ".join(names[:12])
    return BatutaError(f"there is no {what} `{name}`", hint=hint if names else empty or None)


# -- loading -----------------------------------------------------------------------------------


def load(folder: str | os.PathLike[str]) -> Project:
    """Load the definitions of a folder; whatever is broken becomes a problem, the rest loads.

    Each Python file directly in the folder that imports batuta is imported as a module of its
    own name, with the folder first on `sys.path`, as Python does for a script: siblings import
    each other, and a process of the steps can import them again.

    Raises
    ------
    BatutaError: the folder is none.
    """
    path = Path(os.path.abspath(folder))
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise BatutaError(f"`{folder}` {what}", hint="give the folder that holds the definitions")
    project = Project(path, path.name)
    scans = [scan(file, file.name) for file in candidates(path)]
    project.problems = [problem for found in scans for problem in found.problems]
    with _importing(path):
        before = set(sys.modules)
        loaded = [(found, _import(found, project)) for found in scans if _wanted(found)]
        project.modules = _made_since(before, path)
    _collect(project, [(found, module) for found, module in loaded if module])
    flows = flow_files(path)
    named = load_flows(project, flows)
    project.problems = sort(project.problems)
    modules = [Path(module.__file__ or "") for module in project.modules.values()]
    watched = {*candidates(path), *flows, *named, *modules}
    project.files = {file: stamp for file in sorted(watched) if (stamp := _stamp(file))}
    return project


def load_file(file: Path) -> Project:
    """One file with a state machine, or a template with some, as a project of its own."""
    path = Path(os.path.abspath(file))
    project = Project(path.parent, path.name)
    load_flows(project, [path], alone=True)
    project.problems = sort(project.problems)
    return project


def _wanted(found: Scan) -> bool:
    return found.defines and not found.broken


class FreshLoader(importlib.machinery.SourceFileLoader):
    """Compiles what stands in the file now.

    Python's cache of compiled files counts whole seconds: an edit that follows another one
    quickly and keeps the size would not be seen.
    """

    def path_stats(self, path: Any) -> Any:
        raise OSError(path)


@contextlib.contextmanager
def _importing(folder: Path) -> Iterator[None]:
    """The folder first on the path; what its files print goes to stderr, for stdout is data."""
    text = str(folder)
    if text in sys.path:
        sys.path.remove(text)
    sys.path.insert(0, text)
    importlib.invalidate_caches()
    sys.path_importer_cache[text] = importlib.machinery.FileFinder(text, (FreshLoader, [".py"]))
    _forget_others(folder)
    with contextlib.redirect_stdout(sys.stderr):
        yield


_loaded: dict[str, Path] = {}  # module name -> the project's folder that it was loaded for


def _forget_others(folder: Path) -> None:
    """Modules of projects loaded earlier would be taken for those of this one."""
    for name, other in [*_loaded.items()]:
        sys.modules.pop(name, None)
        del _loaded[name]
        if other != folder and str(other) in sys.path:
            sys.path.remove(str(other))


def _made_since(before: set[str], folder: Path) -> dict[str, ModuleType]:
    made = {
        name: module
        for name, module in [*sys.modules.items()]
        if name not in before and _is_own(getattr(module, "__file__", None), folder)
    }
    _loaded.update(dict.fromkeys(made, folder))
    return made


def _is_own(file: str | None, folder: Path) -> bool:
    """Whether a file is the user's: below the folder, and not in an environment kept there."""
    path = Path(file or "/")
    if not path.is_relative_to(folder):
        return False
    parts = path.relative_to(folder).parts
    return not any(part in FOREIGN_PARTS or part.startswith(".") for part in parts)


def _import(found: Scan, project: Project) -> ModuleType | None:
    name = found.path.stem
    clash = _clash(name, found)
    if clash is not None:
        project.problems.append(clash)
        return None
    try:
        return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a user's file does, the others load
        project.problems.append(_import_problem(error, found, project.folder))
        return None


def _clash(name: str, found: Scan) -> Problem | None:
    if not name.isidentifier():
        better = "".join(c if c.isalnum() else "_" for c in name)
        return Problem(
            f"`{found.shown}` cannot be imported: `{name}` is no Python name",
            Source(found.shown),
            f"rename it, for example to `{better}.py`",
            rule="name",
        )
    present = sys.modules.get(name)
    file = getattr(present, "__file__", None)
    if name in sys.stdlib_module_names:
        owner = "Python's own"
    elif present is not None and not (file and Path(file) == found.path):
        owner = f"already taken by {file or 'a built-in module'}, whose"
    else:
        return None
    return Problem(
        f"`{found.shown}` has the name of a module that is {owner}"
        + ("" if owner == "Python's own" else " name it has"),
        Source(found.shown),
        f"rename it, for example to `{name}_workflows.py`",
        rule="name",
    )


# -- what went wrong while a file was imported -------------------------------------------------


def _import_problem(error: BaseException, found: Scan, folder: Path) -> Problem:
    source = _where(error, found, folder)
    via = "" if source.file == found.shown else f" (imported by `{found.shown}`)"
    if isinstance(error, BatutaError):
        return Problem(
            error.message + via, _at(error, folder) or source, error.hint, rule="definition"
        )
    if isinstance(error, SyntaxError):
        return Problem(f"not valid Python: {error.msg}{via}", source, rule="syntax")
    if isinstance(error, SystemExit):
        return Problem(
            f"the file ends the program (`SystemExit: {error.code}`) when it is imported{via}",
            source,
            'put what shall only happen in a script below `if __name__ == "__main__":`',
            rule="import",
        )
    hint = None
    if isinstance(error, ModuleNotFoundError) and error.name:
        hint = f"install what provides `{error.name}` into {sys.prefix}, or correct the name"
    text = str(error)
    name = type(error).__name__
    return Problem(f"{name}: {text}{via}" if text else f"{name}{via}", source, hint, rule="import")


def _at(error: BatutaError, folder: Path) -> Source | None:
    """The position that an error names, `file:line[:column]`, shown relative to the folder."""
    if not error.at:
        return None
    file, *numbers = error.at.split(":")
    with contextlib.suppress(ValueError):
        return Source(_shown(file, folder), *[int(n) for n in numbers[:2]])
    return Source(error.at)


def _where(error: BaseException, found: Scan, folder: Path) -> Source:
    """The last line of the user's own that the exception passed through."""
    if isinstance(error, SyntaxError) and error.filename:
        return Source(_shown(error.filename, folder), error.lineno or 0, max(error.offset or 0, 0))
    frames = traceback.TracebackException.from_exception(error).stack
    own = [frame for frame in frames if _is_own(frame.filename, folder)]
    if not own:
        return Source(found.shown)
    last = own[-1]
    column = 0 if last.colno is None else last.colno + 1
    return Source(_shown(last.filename, folder), last.lineno or 0, column)


def _shown(file: str, folder: Path) -> str:
    path = Path(os.path.abspath(file))
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else file


# -- collecting --------------------------------------------------------------------------------


def _collect(project: Project, loaded: list[tuple[Scan, ModuleType]]) -> None:
    """Take what the modules hold; each object once, however many modules import it."""
    seen: set[int] = set()
    modules = {id(module): module for _, module in loaded}
    modules |= {id(module): module for module in project.modules.values()}
    things = [thing for module in modules.values() for thing in [*vars(module).values()]]
    for found, module in loaded:
        things += [value for node in found.queues if (value := _evaluate(node, module))]
    for thing in things:
        if isinstance(thing, Definition | Rule | Schedule | Queue) and id(thing) not in seen:
            seen.add(id(thing))
            _take(project, thing)
    for name in [*project.steps]:
        _check_step(project, project.steps[name])


def _evaluate(node: Any, module: ModuleType) -> Queue | None:
    """The queue that a bare `queue(…)` made: no name keeps it, so it is made once more."""
    file = module.__file__ or ""
    expression = compile(ast.Expression(node), file, "eval")
    value = eval(expression, vars(module))  # it just ran, as a part of the module
    return value if isinstance(value, Queue) else None


def _take(project: Project, thing: Definition | Rule | Schedule | Queue) -> None:
    if isinstance(thing, Workflow):
        _enter(project, "workflow", project.workflows, thing)
    elif isinstance(thing, Step):
        _enter(project, "step", project.steps, thing)
    elif isinstance(thing, Rule):
        if _enter(project, "workflow", project.workflows, thing.workflow):
            project.rules[thing.name] = thing
            _check_arity(project, thing.workflow, 1, 1, "the event")
    elif isinstance(thing, Schedule):
        if _enter(project, "workflow", project.workflows, thing.workflow):
            project.schedules[thing.name] = thing
            _check_arity(project, thing.workflow, 0, 1, "the due time")
    elif isinstance(thing, Queue):
        other = project.queues.setdefault(thing.name, thing)
        if other != thing:
            project.problems.append(
                Problem(
                    f"queue `{thing.name}` is defined twice, with different limits",
                    hint="define it once and import it from there",
                    rule="twice",
                )
            )


def _enter(project: Project, what: str, table: dict[str, Any], thing: Definition) -> bool:
    """Put a definition under its name, where no other one has it, and see that it can be stored."""
    other = table.setdefault(thing.name, thing)
    place = source_of(thing.fn, project.folder)
    if other is not thing:
        if what == "step":
            return True  # steps are called as objects: two of one name only look alike in `show`
        there = source_of(other.fn, project.folder)
        project.problems.append(
            Problem(
                f"two workflows are called `{thing.name}`",
                place,
                f"the other one is at {there}; give one of them a name of its own with `name=`",
                rule="twice",
            )
        )
        return False
    try:
        thing.codec.resolve()
    except Exception as error:  # an annotation may be any expression
        project.problems.append(_signature_problem(error, what, thing, place, project.folder))
    return True


def _signature_problem(
    error: Exception, what: str, thing: Definition, place: Source, folder: Path
) -> Problem:
    if isinstance(error, BatutaError):
        return Problem(error.message, _at(error, folder) or place, error.hint, rule="signature")
    return Problem(
        f"the annotations of {what} `{thing.name}` cannot be understood: "
        f"{type(error).__name__}: {error}",
        place,
        "every name in them must be known in the module, also at run time",
        rule="signature",
    )


def _check_arity(
    project: Project, flow: Workflow[Any, Any], least: int, most: int, what: str
) -> None:
    """A rule's or schedule's function is called with one thing that nobody else can add to."""
    positional = [
        p
        for p in inspect.signature(flow.fn).parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL)
    ]
    keyword = [
        p
        for p in inspect.signature(flow.fn).parameters.values()
        if p.kind is p.KEYWORD_ONLY and p.default is p.empty
    ]
    needed = [p for p in positional if p.default is p.empty and p.kind is not p.VAR_POSITIONAL]
    if keyword or len(needed) > most or len(positional) < least:
        project.problems.append(
            Problem(
                f"`{flow.name}` is called with {what} alone, but its function takes "
                f"{len(needed) + len(keyword)} arguments",
                source_of(flow.fn, project.folder),
                f"give it one parameter for {what}",
                rule="signature",
            )
        )


def _check_step(project: Project, step: Step[Any, Any]) -> None:
    if step.queue is None or step.queue in project.queues:
        return
    near = difflib.get_close_matches(step.queue, project.queues, 1)
    project.problems.append(
        Problem(
            f"step `{step.name}` waits in queue `{step.queue}`, which nobody defines",
            source_of(step.fn, project.folder),
            f"did you mean `{near[0]}`?"
            if near
            else f'define it: `queue("{step.queue}", concurrency=10)`',
            rule="queue",
        )
    )


# -- reloading ---------------------------------------------------------------------------------


def _stamp(path: Path, *, whole: bool = True) -> Stamp | None:
    try:
        status = path.stat()
        text = hashlib.sha256(path.read_bytes()).hexdigest() if whole else ""
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, text


def changed(project: Project) -> bool:
    """Whether any file that matters is not what was loaded, or a new one stands beside it.

    A file that was only touched is not changed; it is remembered, so that it is read once.
    """
    present = [*candidates(project.folder), *flow_files(project.folder)]
    if any(path not in project.files for path in present):
        return True
    for path, known in [*project.files.items()]:
        quick = _stamp(path, whole=False)
        if quick is None:
            return True
        if quick[:2] != known[:2]:
            stamp = _stamp(path)
            if stamp is None or stamp[2] != known[2]:
                return True
            project.files[path] = stamp
    return False


def reload(project: Project) -> Project:
    """Load the folder again. Where that fails the running definitions stay as they are: the
    same project comes back, with the new problems."""
    fresh = load(project.folder)
    if not fresh.broken:
        return fresh
    for name in fresh.modules:
        sys.modules.pop(name, None)
        _loaded.pop(name, None)
    sys.modules.update(project.modules)
    _loaded.update(dict.fromkeys(project.modules, project.folder))
    return replace(project, problems=fresh.problems, files=fresh.files)
