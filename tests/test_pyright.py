"""What mypy says of a user's code, pyright says too: both read `tests/typing/signatures.py`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

INSTALL_S = 120
SETTINGS = {
    "pythonVersion": "3.11", "typeCheckingMode": "standard",
    "reportUnnecessaryTypeIgnoreComment": "error",
}  # fmt: skip


def pyright(folder: Path) -> str:
    """The program: the machine's own, or one that npm installs for these tests."""
    found = shutil.which("pyright")
    if found is not None:
        return found
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("NEITHER pyright NOR npm IS ON THIS MACHINE: types were read by mypy only")
    kept = folder / ".venv" / "pyright"
    program = kept / "node_modules" / ".bin" / "pyright"
    if not program.exists():
        kept.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--silent", "--no-audit", "--no-fund", "pyright"]
        done = subprocess.run(
            command, cwd=kept, capture_output=True, text=True, timeout=INSTALL_S, check=False
        )
        if done.returncode or not program.exists():
            pytest.skip(f"pyright CANNOT BE INSTALLED: {done.stderr.strip()[-300:]}")
    return str(program)


@pytest.mark.client
@pytest.mark.parametrize("file", ["tests/typing/signatures.py", "examples/shop/shop.py"])
def test_pyright_reads_signatures_as_mypy_does(file: str, root: Path, tmp_path: Path) -> None:
    program = pyright(root)
    settings = tmp_path / "pyrightconfig.json"
    shutil.copy(root / file, tmp_path / "read.py")
    settings.write_text(json.dumps({**SETTINGS, "include": ["read.py"]}), "utf-8")
    done = subprocess.run(
        [program, "-p", str(settings), "--pythonpath", sys.executable, "--outputjson"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    found = json.loads(done.stdout)
    told = [
        f"line {each['range']['start']['line'] + 1}: {each['message']}"
        for each in found["generalDiagnostics"]
        if each["severity"] == "error"
    ]
    assert found["summary"]["filesAnalyzed"] == 1
    assert told == []
