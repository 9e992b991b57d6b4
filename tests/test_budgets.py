"""The design's budgets: how fast it starts, how much it installs, how heavy its pages are."""

from __future__ import annotations

import gzip
import statistics
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

HELP_S = 0.100
IMPORT_S = 0.080
ASSETS_BYTES = 100_000
INSTALL_BYTES = 25_000_000

ASSETS = {".css", ".js", ".svg", ".woff2", ".ico", ".png"}


def seconds(*arguments: str) -> float:
    """How long one Python process takes."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def cost(*arguments: str, pairs: int = 7) -> float:
    """Seconds that a Python process takes more than one that does nothing: the median of pairs.

    The two of a pair run one after the other, so that a busy machine slows both.
    """
    seconds(*arguments)  # writes the bytecode
    return statistics.median(seconds(*arguments) - seconds("-c", "pass") for _ in range(pairs))


def within(budget: float, *arguments: str, tries: int = 5) -> bool:
    """Whether the cost keeps to a budget in one of a few tries: noise only ever adds."""
    return any(cost(*arguments) <= budget for _ in range(tries))


def test_help_is_quick() -> None:
    assert within(HELP_S, "-m", "batuta", "--help")


def test_import_is_quick() -> None:
    assert within(IMPORT_S, "-c", "import batuta")


def test_a_slow_import_would_be_found() -> None:
    slow = f"import time; time.sleep({IMPORT_S * 1.5})"
    assert not within(IMPORT_S, "-c", slow, tries=1)


def test_nothing_heavy_is_imported_by_the_public_names() -> None:
    heavy = ["asyncio", "httpx", "starlette", "uvicorn", "jinja2", "yaml", "sqlite3", "pydantic"]
    code = f"import sys, batuta; print(*[name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


# -- sizes ----------------------------------------------------------------------------------------


def locked(requirements: Path) -> list[str]:
    """The names in a lock that this machine would install."""
    lines = (line.rstrip("\\ ") for line in requirements.read_text("utf-8").splitlines())
    wanted = [Requirement(line) for line in lines if line and line[0].isalnum()]
    return [each.name for each in wanted if not each.marker or each.marker.evaluate()]


def installed_bytes(name: str) -> int:
    """The size of one installed distribution, with its compiled files."""
    files = metadata.distribution(name).files or []
    paths = (Path(str(each.locate())) for each in files)
    return sum(path.stat().st_size for path in paths if path.is_file())


def folder_bytes(folder: Path) -> int:
    """The size of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def compressed_assets(folder: Path) -> dict[str, int]:
    """What each asset of the pages weighs on the wire."""
    paths = [path for path in folder.rglob("*") if path.suffix in ASSETS]
    return {path.name: len(gzip.compress(path.read_bytes())) for path in sorted(paths)}


def test_the_core_install_is_small(root: Path) -> None:
    sizes = {name: installed_bytes(name) for name in locked(root / "requirements" / "run.txt")}
    assert all(sizes.values()), sizes
    sizes["batuta"] = folder_bytes(root / "src" / "batuta")
    assert sum(sizes.values()) <= INSTALL_BYTES, sizes


def test_the_lock_is_read(root: Path, tmp_path: Path) -> None:
    names = locked(root / "requirements" / "run.txt")
    assert {"httpx", "jinja2", "pyyaml", "starlette", "uvicorn"} <= set(names)
    lock = tmp_path / "lock.txt"
    lock.write_text("a==1 \\\n    --hash=sha256:00\nb==2 ; sys_platform == 'nowhere' \\\n# c==3\n")
    assert locked(lock) == ["a"]


def test_the_pages_are_light(root: Path) -> None:
    sizes = compressed_assets(root / "src" / "batuta" / "server")
    assert sizes, "the pages have no assets where this test looks"
    assert sum(sizes.values()) <= ASSETS_BYTES, sizes


@pytest.mark.parametrize(("suffix", "counted"), [(".js", True), (".svg", True), (".py", False)])
def test_assets_are_weighed_compressed(tmp_path: Path, suffix: str, counted: bool) -> None:
    (tmp_path / f"a{suffix}").write_text("x" * 100_000)
    sizes = compressed_assets(tmp_path)
    assert (f"a{suffix}" in sizes) is counted
    assert sum(sizes.values()) < 1_000
