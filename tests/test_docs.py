"""What exists is documented, and what is documented exists."""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
from pathlib import Path

import batuta
from batuta.cli.main import parser

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
PREFIXES = (
    "activity|attributes|child|dead|delivery|event|machine|patch|run|schedule|server|signal|step"
    "|timer|wait"
)
FILE_ENDINGS = "css|db|html|js|json|lock|log|md|pid|py|sock|sql|svg|toml|txt|yaml"
TYPE = re.compile(rf"({PREFIXES})\.(?!(?:{FILE_ENDINGS})$)[a-z_]+")


def code_in(text: str) -> str:
    """What stands between backticks in a page: blocks and words."""
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return "\n".join([*blocks, *re.findall(r"`([^`]+)`", prose)])


def python_blocks(text: str) -> list[tuple[int, str]]:
    """The Python blocks of a page, each with the line it begins at."""
    found = re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [(text[: each.start(1)].count("\n") + 1, each.group(1)) for each in found]


def block_problem(source: str, name: str) -> str | None:
    """Why a block does not compile, or None; `await` may stand at its top level."""
    try:
        compile(source, name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except SyntaxError as problem:
        return f"{name}: {problem}"
    return None


def event_types(source: str) -> set[str]:
    """The string literals of a file that are types of Batuta's own events and messages."""
    strings = (node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    return {text for text in strings if isinstance(text, str) and TYPE.fullmatch(text)}


def verbs(of: argparse.ArgumentParser, before: str = "batuta") -> list[str]:
    """Every verb of a command line, `batuta dead redrive` for one below another."""
    found: list[str] = []
    for action in of._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                found += [f"{before} {name}", *verbs(below, f"{before} {name}")]
    return found


def undocumented(names: list[str], code: str) -> list[str]:
    """The names that stand nowhere as a whole word."""
    return [name for name in names if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", code)]


def broken_links(page: Path) -> list[str]:
    """The relative links of a page that lead nowhere."""
    prose = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    links = (each.partition("#")[0] for each in re.findall(r"\]\(([^)\s]+)\)", prose))
    ours = (each for each in links if each and "://" not in each and not each.startswith("mailto:"))
    return [f"{page.name}: {each}" for each in ours if not (page.parent / each).exists()]


def all_code() -> str:
    """The code in all pages."""
    return "\n".join(code_in(page.read_text("utf-8")) for page in PAGES)


def test_every_public_name_is_documented() -> None:
    assert len(batuta.__all__) > 30
    assert undocumented(list(batuta.__all__), all_code()) == []


def test_every_verb_is_documented() -> None:
    names = verbs(parser())
    assert "batuta up" in names
    assert undocumented(names, all_code()) == []


def test_the_command_reference_is_fresh() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "batuta.cli.docs"], capture_output=True, text=True, check=True
    )
    stored = (ROOT / "docs" / "commands.md").read_text("utf-8")
    assert done.stdout == stored, "`make docs` writes docs/commands.md anew"


def test_every_event_type_is_documented_and_every_documented_one_exists() -> None:
    used: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        used |= event_types(path.read_text("utf-8"))
    assert "step.asked" in used
    page = code_in((ROOT / "docs" / "events.md").read_text("utf-8"))
    named = {each.group() for each in re.finditer(rf"(?<![\w.])(?:{TYPE.pattern})(?![\w.])", page)}
    assert used - named == set(), "in the code and not in docs/events.md"
    assert named - used == set(), "in docs/events.md and not in the code"


def test_python_in_the_pages_compiles() -> None:
    problems, count = [], 0
    for page in PAGES:
        for line, source in python_blocks(page.read_text("utf-8")):
            count += 1
            problems.append(block_problem(source, f"{page.relative_to(ROOT)}:{line}"))
    assert [each for each in problems if each] == []
    assert count > 0


def test_links_lead_somewhere() -> None:
    assert [each for page in PAGES for each in broken_links(page)] == []


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")]
    assert [each for each in pages if each != "README.md" and f"({each})" not in index] == []


# -- the means themselves -------------------------------------------------------------------------


def test_code_is_told_from_prose() -> None:
    code = code_in("start here, `sleep` well\n\n```python\nawait gather()\n```\nand `race`\n")
    assert undocumented(["sleep", "gather", "race", "start", "here"], code) == ["start", "here"]
    assert undocumented(["batuta run"], "batuta run-all") == ["batuta run"]


def test_event_types_are_found_in_code() -> None:
    source = "a = 'step.asked'\nb = 'server.py'\nc = 'order.paid'\nd = 'see run.started'\ne = 1"
    assert event_types(source) == {"step.asked"}


def test_blocks_are_compiled() -> None:
    ((line, source),) = python_blocks("text\n\n```python\nawait sleep('1h')\n```\n")
    assert line == 4
    assert block_problem(source, "page") is None
    assert "page" in (block_problem("def f(:\n", "page") or "")


def test_verbs_are_found_below_verbs() -> None:
    top = argparse.ArgumentParser()
    dead = top.add_subparsers().add_parser("dead")
    dead.add_subparsers().add_parser("redrive")
    assert verbs(top) == ["batuta dead", "batuta dead redrive"]


def test_broken_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "a.md"
    page.write_text("[a](a.md) [b](b.md#x) [c](https://example.org) [d](#top)")
    assert broken_links(page) == ["a.md: b.md"]
