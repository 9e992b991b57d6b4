"""The style that a machine can hold: sizes, imports, forbidden calls, names, forbidden text."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

FUNCTION_LINES = 70
FILE_LINES = 600
CLASS_METHODS = 25

# -- exceptions: (rule, path pattern, detail pattern) -> why. One that is not needed any more fails.

EXCEPTIONS: dict[tuple[str, str, str], str] = {
    ("hidden import", "src/batuta/workflow/asl/jsonata.py", "jsonatapy"): (
        "a compiled library: only a system with JSONata pays for it"
    ),
    ("banned call", "src/batuta/workflow/verbs.py", "random.Random"): (
        "seeded from the run's id and the operation's key: pure, the same in every replay"
    ),
    ("hidden import", "src/batuta/real/http.py", "httpx"): (
        "a heavy library: only a system that makes HTTP calls pays for it"
    ),
    ("hidden import", "src/batuta/real/invoke.py", "httpx"): (
        "a heavy library: only a system that makes HTTP calls pays for it"
    ),
    ("hidden import", "src/batuta/real/aws/clients.py", "boto*"): (
        "the extra `batuta[aws]`: a system without it works until a task asks for AWS"
    ),
}

# -- what only a world may touch: name -> what to use instead -----------------------------------

CLOCK = "the time comes from `World.now()`, or from the event that is folded"
CHANCE = "randomness comes from the world; in a workflow `batuta.random()`, keyed, never shared"
IDS = "ids come from `World.new_id()`; in a workflow `batuta.uuid()`"
WAIT = "a machine names its `next_wake()`, a workflow awaits `batuta.sleep()`"
PROCESS = "processes are started by the effect in `batuta.real`: `Command(kind='shell')`"
NETWORK = "the network belongs to `batuta.real` and `batuta.server`: `Command(kind='http')`"

BANNED: dict[str, str] = {
    "time.time": CLOCK,
    "time.time_ns": CLOCK,
    "time.monotonic": CLOCK,
    "time.monotonic_ns": CLOCK,
    "time.perf_counter": CLOCK,
    "time.perf_counter_ns": CLOCK,
    "time.sleep": WAIT,
    "datetime.datetime.now": CLOCK,
    "datetime.datetime.utcnow": CLOCK,
    "datetime.datetime.today": CLOCK,
    "datetime.date.today": CLOCK,
    "random.*": CHANCE,
    "secrets.*": CHANCE,
    "os.urandom": CHANCE,
    "uuid.uuid[0-9]": IDS,
    "uuid.getnode": IDS,
    "asyncio.sleep": WAIT,
    "asyncio.create_subprocess_*": PROCESS,
    "subprocess.*": PROCESS,
    "os.system": PROCESS,
    "os.popen": PROCESS,
    "os.fork": PROCESS,
    "os.spawn*": PROCESS,
    "os.exec*": PROCESS,
    "socket.*": NETWORK,
}

WORLDLY = ("src/batuta/real/*", "src/batuta/server/*", "src/batuta/cli/*")
CLOCKS = ("src/batuta/kernel/clock.py",)

# -- words that name nothing (docs/architecture.md, Words) ----------------------------------------

EMPTY_NAME = re.compile(r"(Manager|Handler|Engine|Helper|Utils?|Impl)$")
EMPTY_MODULES = {"base", "helper", "helpers", "manager", "misc", "util", "utils"}

# -- what no file may say; written in pieces, so that this file does not say it either -------------

FORBIDDEN_TEXT: dict[str, str] = {
    r"pypi\." + "org": "name no package registry: a user may have another one",
    r"files\.python" + r"hosted\.org": "name no package registry: a user may have another one",
    r"registry\.npm" + r"js\.org": "name no package registry: a user may have another one",
    r"--(extra-)?index" + r"-url\s+\S*://": "name no package registry: a user may have another one",
    r"(?<![\w.])/work" + r"/(main|shared)\b": "a path of somebody's own machine",
    r"(?<![\w.])/tmp" + r"/brief\b": "a path of somebody's own machine",
    r"(?<![\w.])/opt" + r"/pypi": "a path of somebody's own machine",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that a rule found; `detail` is what an exception in the table matches."""

    rule: str
    path: str
    line: int
    detail: str
    advice: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.detail}: {self.advice}"


Rule = Callable[[ast.Module, str, str], Iterator[Problem]]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def long_files(tree: ast.Module, source: str, path: str) -> Iterator[Problem]:
    """A file is at most 600 lines."""
    count = len(source.splitlines())
    if count > FILE_LINES:
        advice = f"at most {FILE_LINES} lines a file: find the second noun"
        yield Problem("long file", path, 1, f"{count} lines", advice)


def long_functions(tree: ast.Module, source: str, path: str) -> Iterator[Problem]:
    """A function is at most 70 lines."""
    for node in ast.walk(tree):
        if isinstance(node, Function):
            count = (node.end_lineno or node.lineno) - node.lineno + 1
            if count > FUNCTION_LINES:
                advice = f"{count} lines, at most {FUNCTION_LINES} a function: find the second noun"
                yield Problem("long function", path, node.lineno, node.name, advice)


def large_classes(tree: ast.Module, source: str, path: str) -> Iterator[Problem]:
    """A class has at most 25 methods; overloads of one name count once."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            count = len({each.name for each in node.body if isinstance(each, Function)})
            if count > CLASS_METHODS:
                advice = f"{count} methods, at most {CLASS_METHODS} a class: find the second noun"
                yield Problem("large class", path, node.lineno, node.name, advice)


def hidden_imports(tree: ast.Module, source: str, path: str) -> Iterator[Problem]:
    """No import stands in a function: what a file needs is at its top."""
    functions = [node for node in ast.walk(tree) if isinstance(node, Function)]
    seen: set[int] = set()
    for node in (inner for function in functions for inner in ast.walk(function)):
        if isinstance(node, ast.Import | ast.ImportFrom) and node.lineno not in seen:
            seen.add(node.lineno)
            name = node.module or "." if isinstance(node, ast.ImportFrom) else node.names[0].name
            advice = "imports stand at the top of the file"
            yield Problem("hidden import", path, node.lineno, name, advice)


def imported_names(tree: ast.Module) -> dict[str, str]:
    """What each name that a file imports stands for: `{"dt": "datetime.datetime"}`."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                first = each.name.partition(".")[0]
                names[each.asname or first] = each.name if each.asname else first
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for each in node.names:
                names[each.asname or each.name] = f"{node.module}.{each.name}"
    return names


def dotted(node: ast.expr, names: dict[str, str]) -> str | None:
    """The full name of `a.b.c` where `a` was imported, else None."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        begin = dotted(node.value, names)
        return f"{begin}.{node.attr}" if begin else None
    return None


def banned_calls(tree: ast.Module, source: str, path: str) -> Iterator[Problem]:
    """Only a world knows the time, chance, processes and the network."""
    if not path.startswith("src/") or any(fnmatch(path, each) for each in WORLDLY):
        return
    clock = any(fnmatch(path, each) for each in CLOCKS)
    names = imported_names(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Name | ast.Attribute):
            continue
        name = dotted(node, names)
        for pattern, advice in BANNED.items():
            if name and fnmatch(name, pattern) and not (clock and advice is CLOCK):
                yield Problem("banned call", path, node.lineno, name, advice)


def module_docstring(tree: ast.Module, source: str, path: str) -> Iterator[Problem]:
    """A module of ours begins with one sentence: what it is for."""
    if not path.startswith("src/"):
        return
    text = (ast.get_docstring(tree) or "").split("\n\n")[0].strip()
    if not text:
        yield Problem(
            "no docstring", path, 1, Path(path).name, "say in one sentence what it is for"
        )
    elif not text.endswith((".", "?", "!", "…")) or re.search(r"[.!?]\s+[A-Z]", text):
        advice = "the first paragraph is one sentence, with its full stop"
        yield Problem("not a sentence", path, 1, text.splitlines()[0], advice)


def empty_names(tree: ast.Module, source: str, path: str) -> Iterator[Problem]:
    """No manager, handler, engine, helper, util: the domain has a noun for it."""
    if not path.startswith("src/"):
        return
    advice = "this names nothing: use the domain's own noun"
    if Path(path).stem in EMPTY_MODULES:
        yield Problem("empty name", path, 1, Path(path).stem, advice)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and EMPTY_NAME.search(node.name):
            yield Problem("empty name", path, node.lineno, node.name, advice)


RULES: tuple[Rule, ...] = (
    long_files,
    long_functions,
    large_classes,
    hidden_imports,
    banned_calls,
    module_docstring,
    empty_names,
)


def code_problems(source: str, path: str) -> list[Problem]:
    """Everything that the rules find in one Python file."""
    tree = ast.parse(source, path)
    return [problem for rule in RULES for problem in rule(tree, source, path)]


def text_problems(source: str, path: str) -> list[Problem]:
    """What no file of the repository may say."""
    found = []
    for number, line in enumerate(source.splitlines(), start=1):
        for pattern, advice in FORBIDDEN_TEXT.items():
            match = re.search(pattern, line)
            if match:
                found.append(Problem("forbidden text", path, number, match.group(), advice))
    return found


def excused(problem: Problem, key: tuple[str, str, str]) -> bool:
    """Whether an entry of the table of exceptions covers a problem."""
    rule, path, detail = key
    return rule == problem.rule and fnmatch(problem.path, path) and fnmatch(problem.detail, detail)


def python_files() -> list[Path]:
    """Every Python file of ours: what stands in a hidden folder (an environment) is not."""
    folders = ("src", "tests", "examples", "benchmarks")
    found = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    hidden = "/."
    return sorted(path for path in found if hidden not in path.relative_to(ROOT).as_posix())


def text_files() -> list[Path]:
    """Every file of the repository, as git knows them; without git, the folders that are ours."""
    git = shutil.which("git")
    if git and (ROOT / ".git").exists():
        command = [git, "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        return [ROOT / name for name in listed.stdout.split("\0") if name]
    folders = ("src", "tests", "examples", "benchmarks", "docs", "requirements", ".ci")
    inner = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    return [*inner, *(path for path in ROOT.iterdir() if path.is_file())]


@pytest.fixture(scope="module")
def findings() -> list[Problem]:
    """What the rules find in the whole repository, before the exceptions."""
    found: list[Problem] = []
    for path in python_files():
        found += code_problems(path.read_text("utf-8"), path.relative_to(ROOT).as_posix())
    for path in text_files():
        if path.is_file():
            text = path.read_bytes()
            if b"\0" not in text:
                found += text_problems(
                    text.decode("utf-8", "replace"), path.relative_to(ROOT).as_posix()
                )
    return found


def test_the_repository_is_tidy(findings: list[Problem]) -> None:
    left = [each for each in findings if not any(excused(each, key) for key in EXCEPTIONS)]
    assert not left, "\n" + "\n".join(str(each) for each in left)


def test_every_exception_is_needed_and_has_a_reason(findings: list[Problem]) -> None:
    for key, reason in EXCEPTIONS.items():
        assert len(reason) > 20, f"{key} needs a reason"
        assert any(excused(each, key) for each in findings), f"{key} excuses nothing any more"


def test_it_looks_at_our_files() -> None:
    assert ROOT / "src/batuta/kernel/event.py" in python_files()
    assert ROOT / "tests/test_tidy.py" in python_files()
    assert ROOT / "pyproject.toml" in text_files()


# -- the rules themselves -------------------------------------------------------------------------

INSIDE = "src/batuta/workflow/example.py"
DOC = '"""What this is for."""\n'


def found(source: str, path: str = INSIDE) -> list[tuple[str, str]]:
    """The rules and details that a source string breaks."""
    return [(each.rule, each.detail) for each in code_problems(source, path)]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import time\ntime.time()", "time.time"),
        ("import time as t\nclock = t.monotonic", "time.monotonic"),
        ("from time import time_ns as now\nnow()", "time.time_ns"),
        ("import datetime\ndatetime.datetime.now()", "datetime.datetime.now"),
        ("from datetime import datetime as dt\ndt.utcnow()", "datetime.datetime.utcnow"),
        ("from datetime import date\ndate.today()", "datetime.date.today"),
        ("import random\nrandom.random()", "random.random"),
        ("from random import Random\nRandom(1)", "random.Random"),
        ("import uuid\nuuid.uuid4()", "uuid.uuid4"),
        ("import os\nos.urandom(8)", "os.urandom"),
        ("import asyncio\nasyncio.sleep(1)", "asyncio.sleep"),
        ("from subprocess import run\nrun('ls')", "subprocess.run"),
        ("import socket\nsocket.socket()", "socket.socket"),
        ("def f():\n    return time.time()\nimport time", "time.time"),
    ],
)
def test_banned_calls_are_found_under_any_name(source: str, name: str) -> None:
    assert ("banned call", name) in found(DOC + source)
    assert found(DOC + source, "src/batuta/real/example.py") == []
    assert found(source, "tests/test_example.py") == []


@pytest.mark.parametrize(
    "source",
    [
        "import uuid\ndef decode(text: str) -> uuid.UUID:\n    return uuid.UUID(text)",
        "from datetime import datetime\ndatetime.fromisoformat('2026-01-01')",
        "import time\ntime.gmtime(0)",
        "time = world\ntime.time()",
        "from batuta.workflow import random\nrandom()",
        "import os\nos.path.join('a', 'b')",
    ],
)
def test_what_is_pure_is_allowed(source: str) -> None:
    assert found(DOC + source) == []


def test_the_clock_may_read_clocks_and_nothing_else() -> None:
    source = DOC + "import time, random\ntime.time_ns()\nrandom.random()"
    assert found(source, "src/batuta/kernel/clock.py") == [("banned call", "random.random")]


def test_banned_calls_name_the_replacement() -> None:
    (problem,) = code_problems(DOC + "import time\ntime.time()", INSIDE)
    assert str(problem) == (
        f"{INSIDE}:3: banned call: time.time: "
        "the time comes from `World.now()`, or from the event that is folded"
    )


def test_long_functions_are_found() -> None:
    body = "    pass\n"
    assert found(DOC + "def short():\n" + body * (FUNCTION_LINES - 1)) == []
    assert found(DOC + "async def long():\n" + body * FUNCTION_LINES) == [("long function", "long")]


def test_long_files_are_found() -> None:
    assert found(DOC + "x = 1\n" * (FILE_LINES - 1)) == []
    assert found(DOC + "x = 1\n" * FILE_LINES) == [("long file", f"{FILE_LINES + 1} lines")]


def test_large_classes_are_found() -> None:
    methods = "".join(f"    def m{n}(self): ...\n" for n in range(CLASS_METHODS))
    assert found(DOC + "class C:\n" + methods) == []
    overloaded = methods + "    def m0(self, x): ...\n"
    assert found(DOC + "class C:\n" + overloaded) == []
    assert found(DOC + "class C:\n" + methods + "    def one(self): ...") == [("large class", "C")]


def test_hidden_imports_are_found() -> None:
    assert found(DOC + "if True:\n    import json") == []
    nested = "def f():\n    def g():\n        from json import loads\n    return g"
    assert found(DOC + nested) == [("hidden import", "json")]
    assert found("def f():\n    import yaml", "tests/test_x.py") == [("hidden import", "yaml")]


def test_module_docstrings_are_asked_for() -> None:
    assert found("x = 1") == [("no docstring", "example.py")]
    assert found("x = 1", "tests/test_x.py") == []
    assert found('"""Two. Sentences."""') == [("not a sentence", "Two. Sentences.")]
    assert found('"""No full stop"""') == [("not a sentence", "No full stop")]
    assert found('"""One sentence.\n\nThen as much as it takes. Really.\n"""') == []


def test_empty_names_are_found() -> None:
    assert found(DOC + "class RunManager: ...") == [("empty name", "RunManager")]
    assert found(DOC, "src/batuta/common/utils.py") == [("empty name", "utils")]
    assert found(DOC + "class Runs: ...") == []


@pytest.mark.parametrize(
    "text",
    [
        "see https://pypi." + "org/project/x",
        "--index" + "-url https://packages.example",
        "cd /work" + "/main && make",
        "`/tmp" + "/brief/notes.md`",
    ],
)
def test_forbidden_text_is_found(text: str) -> None:
    assert [each.rule for each in text_problems("fine\n" + text, "docs/x.md")] == ["forbidden text"]


def test_ordinary_text_is_not_forbidden() -> None:
    assert text_problems("home/work/mainly /tmp/file /opt/app pip install batuta", "x.md") == []


def test_an_exception_covers_only_what_it_names() -> None:
    problem = Problem("hidden import", "src/batuta/cli/main.py", 3, "httpx", "at the top")
    assert excused(problem, ("hidden import", "src/batuta/cli/*", "httpx"))
    assert not excused(problem, ("hidden import", "src/batuta/cli/*", "uvicorn"))
    assert not excused(problem, ("long file", "src/batuta/cli/*", "*"))
    assert not excused(problem, ("hidden import", "src/batuta/server/*", "httpx"))
