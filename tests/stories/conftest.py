"""Folders of definitions and servers that run them, for stories that end badly on purpose."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.crash.servers import Server

Serve = Callable[..., Server]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The project's folder."""
    made = tmp_path / "project"
    made.mkdir()
    return made


@pytest.fixture
def serve(folder: Path, tmp_path: Path) -> Iterator[Serve]:
    """Makes a server for files that are written first: `serve(app="…")`; it is not started."""
    made: list[Server] = []

    def make(**modules: str) -> Server:
        for name, text in modules.items():
            (folder / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")
        server = Server(folder, tmp_path / "state", name="bad")
        made.append(server)
        return server

    try:
        yield make
    finally:
        for server in made:
            server.kill()
