"""Folders of definitions, made for one test."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write files: `write(app="…", bank="…")` makes `app.py` and `bank.py`; gives their folder."""
    folder = tmp_path / "shop"
    folder.mkdir()

    def make(files: dict[str, str] | None = None, **modules: str) -> Path:
        texts = {f"{name}.py": text for name, text in modules.items()} | (files or {})
        for name, text in texts.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text), encoding="utf-8")
        return folder

    return make


@pytest.fixture(autouse=True)
def untouched_modules() -> Iterator[None]:
    """What loading a project leaves in this process is taken away."""
    modules, path = set(sys.modules), [*sys.path]
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if "/shop/" in file:
            del sys.modules[name]
