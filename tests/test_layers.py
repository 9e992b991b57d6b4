"""The arrows between the packages hold, and their contracts fail when one is turned."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# The modules of the skeleton: those that a contract names must be there.
MODULES = (
    "kernel/event",
    "kernel/clock",
    "kernel/postgres",
    "kernel/sqlite",
    "common/cron",
    "workflow/machine",
    "simulate/world",
    "real/world",
    "server/app",
    "cli/main",
)


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter over the package in a folder, with the pyproject.toml beside it."""
    program = Path(sys.executable).parent / "lint-imports"
    command = [str(program), "--no-cache", "--config", str(folder.parent / "pyproject.toml")]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def skeleton(tmp_path: Path, root: Path) -> Path:
    """A folder with the packages of Batuta and nothing in them, under the project's contracts."""
    shutil.copy(root / "pyproject.toml", tmp_path)
    package = tmp_path / "src" / "batuta"
    for name in MODULES:
        module = package / f"{name}.py"
        module.parent.mkdir(parents=True, exist_ok=True)
        module.touch()
        (module.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    return tmp_path / "src"


def test_the_arrows_hold(root: Path) -> None:
    done = lint(root / "src")
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_empty_skeleton_keeps_the_contracts(skeleton: Path) -> None:
    done = lint(skeleton)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("kernel/event", "import batuta.common.cron", "arrows point down"),
        ("common/cron", "import batuta.workflow.machine", "arrows point down"),
        ("workflow/machine", "from batuta.real import world", "arrows point down"),
        ("simulate/world", "import batuta.real.world", "arrows point down"),
        ("real/world", "import batuta.simulate.world", "arrows point down"),
        ("real/world", "import batuta.server.app", "arrows point down"),
        ("server/app", "import batuta.cli.main", "arrows point down"),
        ("kernel/event", "import asyncio", "machines and loaders touch no world"),
        ("kernel/clock", "import threading", "machines and loaders touch no world"),
        ("common/cron", "import random", "machines and loaders touch no world"),
        ("workflow/machine", "import time", "machines and loaders touch no world"),
        ("workflow/machine", "def f():\n    import socket", "machines and loaders touch no world"),
        ("workflow/machine", "import httpx", "machines and loaders touch no world"),
        ("server/app", "import sqlite3", "only the journal's storage knows SQL"),
        ("cli/main", "import psycopg", "only the journal's storage knows SQL"),
        ("kernel/sqlite", "import psycopg", "only the journal's storage knows SQL"),
        ("common/cron", "import yaml", "kernel and common need the standard library only"),
        ("kernel/sqlite", "import pydantic", "kernel and common need the standard library only"),
    ],
)
def test_a_turned_arrow_is_found(skeleton: Path, module: str, line: str, contract: str) -> None:
    (skeleton / "batuta" / f"{module}.py").write_text(line + "\n")
    done = lint(skeleton)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{contract} BROKEN" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("cli/main", "import batuta.server.app, batuta.simulate.world, batuta.kernel.event"),
        ("server/app", "import batuta.real.world, batuta.simulate.world, starlette, asyncio"),
        ("real/world", "import batuta.workflow.machine, asyncio, subprocess, socket, httpx"),
        ("workflow/machine", "import batuta.common.cron, batuta.kernel.event"),
        ("kernel/sqlite", "import sqlite3, threading, batuta.kernel.event"),
        ("kernel/postgres", "import psycopg, threading, time, select"),
        ("kernel/clock", "import time"),
    ],
)
def test_what_points_down_is_allowed(skeleton: Path, module: str, line: str) -> None:
    (skeleton / "batuta" / f"{module}.py").write_text(line + "\n")
    done = lint(skeleton)
    assert done.returncode == 0, done.stdout + done.stderr
