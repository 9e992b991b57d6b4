"""The recorded TestState calls of the real service, through boto3 against a started server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.conformance.asl.calls import Replay
from tests.server.stepfunctions.serving import served

CASES = Path(__file__).resolve().parents[4] / "shared" / "conformance" / "asl"
KNOWN = Path(__file__).with_name("known_failures_api.txt")
ROLE = "arn:aws:iam::111111111111:role/tested"
TEXTS = ("definition", "input", "variables", "context")


def cases() -> list[Any]:
    """The cases of this kind; those that are known to fail are marked with their reason."""
    known = dict(line.split(": ", 1) for line in KNOWN.read_text("utf-8").splitlines() if line)
    found = []
    for file in sorted(CASES.glob("test_state/*.json")):
        case = json.loads(file.read_text("utf-8"))
        why = known.get(case["id"])
        marks = [pytest.mark.xfail(reason=why)] if why else []
        found.append(pytest.param(case, id=case["id"], marks=marks))
    return found or [pytest.param(None, marks=pytest.mark.skip(f"no cases in {CASES}"))]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with served(tmp_path_factory.mktemp("project")) as server:
        yield server.client()


def asked(case: dict[str, Any]) -> dict[str, Any]:
    """The request as it was sent; the cases leave the role out."""
    found = dict(case["request"])
    for name in TEXTS:
        if name in found:
            found[name] = json.dumps(found[name])
    wants_none = '"RoleArn": null' in json.dumps(case["expected"])
    if not wants_none and "no_role_arn" not in case["id"]:
        found["roleArn"] = ROLE
    return found


@pytest.mark.parametrize("case", cases())
def test_a_state_is_tested_as_the_service_tests_it(case: dict[str, Any], client: Any) -> None:
    replay = Replay(client, case)
    expected = case["expected"]
    try:
        answer = client.test_state(**asked(case))
    except ClientError as error:
        told = {name: error.response["Error"][name] for name in ("Code", "Message")}
        assert "error" in expected, told
        assert replay.compare(expected["error"], told) is None
        return
    assert "response" in expected, answer
    del answer["ResponseMetadata"]
    problem = replay.compare(expected["response"], answer)
    assert problem is None, problem
