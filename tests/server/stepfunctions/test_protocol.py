"""The protocol itself: what is no request, who may ask, and what stands beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.server.stepfunctions.serving import Served, machine, refused, served

from batuta.kernel.errors import BatutaError
from batuta.server.stepfunctions.settings import Settings, read_settings

LIST = {"x-amz-target": "AWSStepFunctions.ListStateMachines"}


def post(url: str, body: Any = b"{}", headers: Any = LIST, **more: Any) -> httpx.Response:
    return httpx.post(url, content=body, headers=headers, **more)


def test_an_answer_has_the_media_type_and_an_id(server: Served) -> None:
    answer = post(server.url)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-amz-json-1.0"
    assert len(answer.headers["x-amzn-requestid"]) == 36


@pytest.mark.parametrize(
    ("body", "target", "code"),
    [
        (b"{}", "AWSStepFunctions.Fly", "UnknownOperationException"),
        (b"{}", "DynamoDB.ListTables", "UnknownOperationException"),
        (b"{", "AWSStepFunctions.ListStateMachines", "SerializationException"),
        (b"[]", "AWSStepFunctions.ListStateMachines", "SerializationException"),
        (b"\xff", "AWSStepFunctions.ListStateMachines", "SerializationException"),
        (b"[" * 100_000, "AWSStepFunctions.ListStateMachines", "SerializationException"),
        (b'{"maxResults": "1"}', "AWSStepFunctions.ListStateMachines", "SerializationException"),
        (b'{"maxResults": true}', "AWSStepFunctions.ListStateMachines", "SerializationException"),
        (b'{"name": []}', "AWSStepFunctions.CreateActivity", "SerializationException"),
        (b'{"name": "a", "tags": {}}', "AWSStepFunctions.CreateActivity",
         "SerializationException"),
        (b'{"name": "a", "tags": [1]}', "AWSStepFunctions.CreateActivity",
         "SerializationException"),
        (b"{}", "AWSStepFunctions.CreateActivity", "ValidationException"),
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused(server: Served, body: bytes, target: str, code: str) -> None:
    answer = post(server.url, body, {"x-amz-target": target})
    assert (answer.status_code, answer.json()["__type"]) == (400, code)
    assert answer.json()["message"]


def test_members_that_are_not_known_and_nulls_do_not_matter(server: Served) -> None:
    assert post(server.url, b'{"later": 1, "maxResults": null}').status_code == 200


def test_the_page_stays_where_it_is(server: Served) -> None:
    assert httpx.get(server.url).headers["content-type"].startswith("text/html")
    assert httpx.post(server.url).status_code == 405
    assert httpx.get(f"{server.url}/api/runs").json()["runs"] == []


def test_other_sites_and_other_names_are_refused(server: Served) -> None:
    assert post(server.url, headers={**LIST, "origin": "http://evil.test"}).status_code == 403
    assert post(server.url, headers={**LIST, "host": "evil.test"}).status_code == 421
    assert post(server.url, headers={**LIST, "host": "sync-localhost"}).status_code == 200


def test_with_credentials_requests_have_to_be_signed(tmp_path: Path) -> None:
    (tmp_path / "batuta.toml").write_text(
        '[stepfunctions]\ncredentials = { AKIATEST = "secret" }\n', encoding="utf-8"
    )
    with served(tmp_path, token="a token") as server:
        good = server.client()
        machine(good, "signed")
        assert len(good.list_state_machines()["stateMachines"]) == 1
        bad = server.client(secret="guess").list_state_machines
        assert refused(bad).startswith("InvalidSignatureException")
        unknown = server.client(key="AKIAOTHER").list_state_machines
        assert refused(unknown).startswith("UnrecognizedClientException")
        assert post(server.url).json()["__type"] == "MissingAuthenticationTokenException"
        assert httpx.get(f"{server.url}/api/runs").status_code == 401, "the rest needs the token"


def test_without_credentials_a_token_is_asked_for_here_as_well(tmp_path: Path) -> None:
    with served(tmp_path, token="a token") as server:
        assert post(server.url).status_code == 401
        assert refused(server.client().list_state_machines).startswith("401")
        bearer = {**LIST, "authorization": "Bearer a token"}
        assert post(server.url, headers=bearer).status_code == 200


def test_strict_quotas_are_the_services(tmp_path: Path) -> None:
    (tmp_path / "batuta.toml").write_text('[stepfunctions]\nquotas = "aws"\n', encoding="utf-8")
    long = '{"Comment": "' + "x" * 1_048_576 + '", "StartAt": "A", "States": {}}'
    with served(tmp_path) as server:
        create = server.client().create_state_machine
        text = refused(create, name="a", definition=long, roleArn="r")
        assert text.endswith("Member must have length less than or equal to 1048576")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("[stepfunctions", "cannot be read"),
        ("stepfunctions = 1", "is not a table"),
        ('[stepfunctions]\nregoin = "x"', "unknown setting `regoin`"),
        ("[stepfunctions]\ncredentials = 1", "no table of access keys"),
        ('[stepfunctions]\nquotas = "none"', "is `none`"),
    ],
)
def test_settings_that_make_no_sense_are_told(tmp_path: Path, text: str, wrong: str) -> None:
    (tmp_path / "batuta.toml").write_text(text, encoding="utf-8")
    with pytest.raises(BatutaError, match=wrong):
        read_settings(tmp_path)


def test_settings_of_a_project_without_any(tmp_path: Path) -> None:
    assert read_settings(tmp_path) == Settings()
    (tmp_path / "batuta.toml").write_text(
        '[stepfunctions]\nregion = "eu-west-1"\naccount = "123456789012"\n', encoding="utf-8"
    )
    place = read_settings(tmp_path).place
    assert place.machine("a") == "arn:aws:states:eu-west-1:123456789012:stateMachine:a"
