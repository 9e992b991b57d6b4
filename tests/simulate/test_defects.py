"""The seeds find what they are there to find: every planted defect, within a few hundred."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.simulate.defects import DEFECTS


@pytest.mark.slow
@pytest.mark.parametrize("name", DEFECTS)
def test_a_planted_defect_is_found(name: str, root: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "tests.simulate.defects", name],
        cwd=root, check=False, capture_output=True, text=True,
    )  # fmt: skip
    # A defect that cannot be planted any more ends with a traceback instead.
    assert found.stderr == ""
    assert found.returncode == 1, f"no seed finds it: {found.stdout}"
    assert found.stdout.startswith("seed "), found.stdout
    assert "LookupError" not in found.stdout, found.stdout
