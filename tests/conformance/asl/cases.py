"""The recorded cases of the service, and which of them are known to fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

CASES = Path(__file__).resolve().parents[4] / "shared" / "conformance" / "asl"


def cases_of(kind: str) -> list[dict[str, Any]]:
    """All cases of a kind."""
    found = [json.loads(file.read_text("utf-8")) for file in sorted(CASES.glob("*/*.json"))]
    return [case for case in found if case["kind"] == kind]


def known(file: str) -> dict[str, str]:
    """The cases that are known to fail, with their reasons: `ID: reason`, one a line."""
    text = Path(__file__).with_name(file).read_text("utf-8")
    return dict(line.split(": ", 1) for line in text.splitlines() if line.strip())


def parametrized(kind: str, file: str) -> list[Any]:
    """The cases of a kind as parameters; one that fails as known has to fail."""
    reasons = known(file)
    found = [
        pytest.param(
            case, id=case["id"],
            marks=[pytest.mark.xfail(reason=reasons[case["id"]])] if case["id"] in reasons else [],
        )
        for case in cases_of(kind)
    ]  # fmt: skip
    return found or [pytest.param(None, marks=pytest.mark.skip(f"NO CASES: {CASES} is missing"))]
