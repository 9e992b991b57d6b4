"""docs/first-steps.md does what it says: its commands are typed, their output is compared."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "first-steps.md"
LINES = re.MULTILINE | re.DOTALL
VARYING = (
    (r"http://127\.0\.0\.1:\d+", "URL"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "DATE"),
    (r"\d\d:\d\d:\d\d\.\d{3}", "TIME"),
    (r"just now|\d+ s ago", "AGO"),
    (r"\d+(\.\d+)? (µs|ms|s)\b", "SPAN"),
    (r"#\d+", "#SEQ"),
)


def plain(text: str) -> str:
    """Without what differs from day to day."""
    for pattern, word in VARYING:
        text = re.sub(pattern, word, text)
    return text


def sessions() -> list[tuple[str, str]]:
    """The commands of the page, each with the output that it shows."""
    found: list[tuple[str, str]] = []
    for block in re.findall(r"^```console\n(.*?)^```", PAGE.read_text("utf-8"), LINES):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


class Reader:
    """Somebody who types what the page says, with two terminals."""

    def __init__(self, folder: Path) -> None:
        self.folder = self.home = folder
        self.servers: list[subprocess.Popen[str]] = []
        self.environment = os.environ | {"NO_COLOR": "1", "TZ": "UTC"}

    def type(self, command: str, output: str) -> str:
        words = shlex.split(command)
        if words[0] == "cd":
            self.folder = self.folder / words[1]
            return ""
        if words[0] == "kill":
            said = json.loads((self.folder / ".batuta" / "server.json").read_text())
            assert said["pid"] == self.servers[-1].pid
            self.servers[-1].send_signal(signal.SIGKILL)
            self.servers[-1].wait(20)
            return ""
        assert words[0] == "batuta"
        typed = [sys.executable, "-m", *words]
        if words[1] == "up":
            return self.start(typed, output.count("\n"))
        done = subprocess.run(
            typed, cwd=self.folder, env=self.environment, text=True, timeout=60, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return done.stdout

    def start(self, typed: list[str], lines: int) -> str:
        server = subprocess.Popen(
            typed, cwd=self.home, env=self.environment, text=True, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        self.servers.append(server)
        assert server.stderr is not None
        return "".join(server.stderr.readline() for _ in range(lines))

    def end(self) -> None:
        for server in self.servers:
            server.kill()
            server.wait(20)
            if server.stderr is not None:
                server.stderr.close()


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path)
    yield reader
    reader.end()


def test_the_page_is_true(reader: Reader) -> None:
    [program] = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), LINES)
    assert len(program.splitlines()) <= 22
    (reader.folder / "hello").mkdir()
    (reader.folder / "hello" / "app.py").write_text(program, encoding="utf-8")
    for command, output in sessions():
        assert plain(reader.type(command, output)) == plain(output), command


def test_a_false_page_would_be_noticed(reader: Reader) -> None:
    assert plain(reader.type("batuta version", "")) != plain("batuta 999\n")
    assert plain("Kept in 12 ms\n") == plain("Kept in 3.5 s\n") != plain("Lost in 12 ms\n")
