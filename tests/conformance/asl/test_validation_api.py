"""The recorded refusals and diagnoses of definitions, through boto3 against a started server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.conformance.asl.calls import Replay
from tests.conformance.asl.cases import parametrized
from tests.server.stepfunctions.serving import PASS, ROLE, machine, served


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with served(tmp_path_factory.mktemp("project")) as server:
        yield server.client()


def recorded(case: dict[str, Any]) -> str | None:
    """The definition's very text, where the recorded message repeats it."""
    message = case["expected"].get("error", {}).get("Message", "")
    _, found, rest = message.partition(" in definition '")
    return rest.removesuffix("'.") if found else None


def asked(case: dict[str, Any], number: int, client: Any) -> dict[str, Any]:
    """The request, with what has to be there before it."""
    definition = case["definition"]
    text = definition if isinstance(definition, str) else json.dumps(definition)
    request = {**case["request"], "definition": recorded(case) or text}
    if case["operation"] == "create_state_machine":
        request |= {"name": f"m{number}", "roleArn": ROLE}
        if case["expected"].get("error", {}).get("Code") == "StateMachineAlreadyExists":
            machine(client, request["name"])
    if case["operation"] == "update_state_machine":
        arn = machine(client, f"m{number}", publish=True)
        other = PASS.replace('"A"', '"B"')
        client.update_state_machine(stateMachineArn=arn, definition=other, publish=True)
        request["stateMachineArn"] = f"{arn}:2"
    return request


@pytest.mark.parametrize("case", parametrized("validation", "known_failures_api.txt"))
def test_a_definition_is_judged_as_the_service_judges_it(case: dict[str, Any], client: Any) -> None:
    replay, expected = Replay(client, case), case["expected"]
    number = abs(hash(case["id"])) % 10**12
    try:
        answer = getattr(client, case["operation"])(**asked(case, number, client))
    except ClientError as error:
        told = {name: error.response["Error"][name] for name in ("Code", "Message")}
        assert "error" in expected, told
        problem = replay.compare(expected["error"], told)
        assert problem is None, problem
        return
    assert "response" in expected, answer
    del answer["ResponseMetadata"]
    problem = replay.compare(expected["response"], answer)
    assert problem is None, problem
