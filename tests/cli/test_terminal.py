"""What somebody sees who sits at a terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

APP = """\
from batuta import sleep, step, workflow


@step
def polish(name: str) -> str:
    return name.title()


@workflow
async def greet(name: str) -> str:
    await sleep("300ms")
    return "Hello " + await polish(name)
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "app.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def seen(*typed: str) -> tuple[int, str]:
    """Everything that a program writes to a terminal of its own, and its exit code."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "batuta", *typed], stdin=slave, stdout=slave, stderr=slave
    ) as program:
        os.close(slave)
        parts: list[bytes] = []
        # Linux answers with an error once nobody holds the other end any more.
        with contextlib.suppress(OSError):
            while data := os.read(master, 4096):
                parts.append(data)
        code = program.wait(60)
    os.close(master)
    return code, b"".join(parts).decode().replace("\r\n", "\n")


def test_a_run_is_drawn_while_it_goes_on(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "xterm")
    code, text = seen("run", "greet", "ada", "--id", "g1")
    assert code == 0
    assert re.search(r"\x1b\[34m[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]\x1b\[0m sleep \x1b\[90m\d+ ms\x1b\[0m\n", text)
    assert "\x1b[1F\x1b[J" in text
    assert re.search(r"\x1b\[32m✓\x1b\[0m sleep \x1b\[90m3\d\d ms\x1b\[0m\n", text)
    assert text.endswith('"Hello Ada"\n')


def test_without_colours_there_are_none(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    code, text = seen("run", "greet", "ada", "--id", "g1")
    assert (code, text) == (0, '"Hello Ada"\n')
