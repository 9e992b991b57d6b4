"""The recorded TestState calls of the real service, through boto3 against a started server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.conformance.asl.calls import Replay
from tests.conformance.asl.cases import parametrized
from tests.conformance.asl.functions import write_project
from tests.server.stepfunctions.serving import served

ROLE = "arn:aws:iam::111111111111:role/tested"
TEXTS = ("definition", "input", "variables", "context")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("project")
    write_project(folder)
    with served(folder) as server:
        yield server.client()


def asked(case: dict[str, Any]) -> dict[str, Any]:
    """The request as it was sent; the cases leave the role out."""
    found = dict(case["request"])
    for name in TEXTS:
        if name in found:
            found[name] = json.dumps(found[name])
    if "lambda_service" in case["id"]:
        text = json.dumps(found).replace("lambda_func_00000000", "id_function")
        found = json.loads(text)
    wants_none = '"RoleArn": null' in json.dumps(case["expected"])
    if not wants_none and "no_role_arn" not in case["id"]:
        found["roleArn"] = ROLE
    return found


@pytest.mark.parametrize("case", parametrized("test_state", "known_failures_api.txt"))
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
