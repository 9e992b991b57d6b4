"""The recorded calls of the real service, through boto3 against a started server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.asl.calls import Replay
from tests.server.stepfunctions.serving import served

CASES = Path(__file__).resolve().parents[4] / "shared" / "conformance" / "asl"
KNOWN = Path(__file__).with_name("known_failures_api.txt")


def cases() -> list[Any]:
    """The cases of this kind; those that are known to fail are marked with their reason."""
    known = dict(line.split(": ", 1) for line in KNOWN.read_text("utf-8").splitlines() if line)
    found = []
    for file in sorted(CASES.glob("*/*.json")):
        case = json.loads(file.read_text("utf-8"))
        if case["kind"] == "api":
            why = known.get(case["id"])
            marks = [pytest.mark.xfail(reason=why)] if why else []
            found.append(pytest.param(case, id=case["id"], marks=marks))
    return found or [pytest.param(None, marks=pytest.mark.skip(f"no cases in {CASES}"))]


@pytest.mark.parametrize("case", cases())
def test_calls_are_answered_as_the_service_answers(case: dict[str, Any], tmp_path: Path) -> None:
    with served(tmp_path) as server:
        problems = Replay(server.client(checks=True), case).run()
    assert not problems, "\n".join(problems)
