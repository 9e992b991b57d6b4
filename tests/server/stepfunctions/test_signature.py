"""Signatures: those of boto3 are accepted, anything that was changed is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from batuta.server.stepfunctions.signature import Signed, verify
from batuta.workflow.asl.registry import ServiceError

KEYS = {"AKIATEST": "secret"}


def signed(
    key: str = "AKIATEST", secret: str = "secret", url: str = "http://127.0.0.1:8420/",
    body: bytes = b'{"a": "\xc3\xa9"}', token: str | None = None,
) -> Signed:  # fmt: skip
    """A request as boto3 signs it."""
    request = AWSRequest("POST", url, data=body, headers={"X-Amz-Target": "AWSStepFunctions.X"})
    SigV4Auth(Credentials(key, secret, token), "states", "us-east-1").add_auth(request)
    headers = {name.lower(): [value] for name, value in request.headers.items()}
    headers["host"] = ["127.0.0.1:8420"]
    query = url.partition("?")[2]
    return Signed("POST", "/", query, headers, body)


def now() -> datetime:
    return datetime.now(UTC)


def refused(request: Signed, at: datetime | None = None) -> tuple[str, str]:
    with pytest.raises(ServiceError) as caught:
        verify(request, KEYS, at or now())
    return caught.value.code, caught.value.message


@pytest.mark.parametrize(
    "options", [{}, {"body": b""}, {"url": "http://127.0.0.1:8420/?b=2&a=%C3%A9%20x"},
                {"token": "session"}],
)  # fmt: skip
def test_what_boto3_signs_is_accepted(options: dict[str, Any]) -> None:
    assert verify(signed(**options), KEYS, now()) == "AKIATEST"


def changed(part: str) -> Signed:
    request = signed()
    headers = dict(request.headers)
    if part == "body":
        return Signed(request.method, request.path, request.query, headers, b"{}")
    if part == "target":
        headers["x-amz-target"] = ["AWSStepFunctions.Y"]
    if part == "host":
        headers["host"] = ["other"]
    if part == "signature":
        headers["authorization"] = [headers["authorization"][0][:-1] + "é"]
    path = "/other" if part == "path" else request.path
    query = "x=1" if part == "query" else request.query
    return Signed(request.method, path, query, headers, request.body)


@pytest.mark.parametrize("part", ["body", "target", "host", "signature", "path", "query"])
def test_what_was_changed_is_refused(part: str) -> None:
    code, message = refused(changed(part))
    assert code == "InvalidSignatureException"
    assert message.startswith("The request signature we calculated does not match")


def test_another_secret_and_an_unknown_key_are_refused() -> None:
    assert refused(signed(secret="guess"))[0] == "InvalidSignatureException"
    assert refused(signed(key="AKIAOTHER"))[0] == "UnrecognizedClientException"


def test_an_old_or_early_signature_is_refused() -> None:
    request = signed()
    assert "Signature expired" in refused(request, now() + timedelta(minutes=6))[1]
    assert "Signature not yet current" in refused(request, now() - timedelta(minutes=6))[1]
    verify(request, KEYS, now() + timedelta(minutes=4))


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "MissingAuthenticationTokenException"),
        ("Bearer x", "IncompleteSignatureException"),
        ("AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request", "IncompleteSignatureException"),
        ("AWS4-HMAC-SHA256 Credential=a, SignedHeaders=host, Signature=x",
         "IncompleteSignatureException"),
    ],
)  # fmt: skip
def test_a_header_that_is_no_signature_is_refused(header: str, code: str) -> None:
    request = signed()
    headers = {**request.headers, "authorization": [header]}
    assert refused(Signed("POST", "/", "", headers, request.body))[0] == code


def test_a_signature_without_the_host_is_refused() -> None:
    request = signed()
    header = request.headers["authorization"][0].replace("host;", "")
    headers = {**request.headers, "authorization": [header]}
    assert "'Host'" in refused(Signed("POST", "/", "", headers, request.body))[1]


def test_a_date_that_does_not_fit_is_refused() -> None:
    request = signed()
    for stamp, code in (("", "IncompleteSignatureException"),
                        ("20200101T000000Z", "InvalidSignatureException")):  # fmt: skip
        headers = {**request.headers, "x-amz-date": [stamp]}
        assert refused(Signed("POST", "/", "", headers, request.body))[0] == code
