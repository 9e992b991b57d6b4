"""Errors of boto3 as the errors that a state machine sees."""

from __future__ import annotations

import uuid
from typing import Any

from batuta.kernel.world import Failure
from batuta.real.aws.names import exception_name, pascal, words_of

RUNTIME = "States.Runtime"
VALIDATION = "ValidationException"
UNREACHED = ("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError")
UNSIGNED = ("NoCredentialsError", "PartialCredentialsError")


class Refusal(Exception):
    """The service would refuse the call, as is known before it is made.

    Parameters
    ----------
    code, message: of its answer. status: of HTTP.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


def failure_of_call(error: Exception, model: Any, service: str) -> Failure | None:
    """The failure that an error of boto3 or a `Refusal` is; None for other errors.

    Parameters
    ----------
    model: botocore's of the service. service: as the resource names it (`aws-sdk:s3`, `sqs`).
    """
    sdk = service.startswith("aws-sdk:")
    found = _answer(error)
    if found is not None:
        code, shape, message, about = found
        name = _error_name(shape, model, service, sdk)
        cause = f"{message} ({_sdk(about, model) if sdk else _optimised(code, about, service)})"
        return Failure(name, cause, retryable=True)
    if not type(error).__module__.startswith(("botocore.", "boto3.")):
        return None
    prefix = pascal(model.service_id) if sdk else words_of(service).prefix
    return Failure(f"{prefix}.SdkClientException", _client_text(error))


def failure_of_refusal(service: str, code: str, message: str) -> Failure:
    """The failure of an optimised integration that this server itself refuses.

    Parameters
    ----------
    service: as the resource names it (`states`). code, message: of the service's error.
    """
    name = f"{words_of(service).prefix}.{exception_name(code)}"
    return Failure(name, f"{message} ({_optimised(code, {}, service)})", retryable=True)


def _answer(error: Exception) -> tuple[str, str, str, dict[str, Any]] | None:
    """Code, what names the error's shape, message and metadata of a service's answer."""
    if isinstance(error, Refusal):
        return error.code, error.code, error.message, {"HTTPStatusCode": error.status}
    response = getattr(error, "response", None)
    if not isinstance(response, dict) or "Error" not in response:
        return None
    told = response["Error"]
    message = told.get("Message") or response.get("message") or told.get("Code", "")
    code = str(told.get("Code", ""))
    shape = str(told.get("QueryErrorCode") or code)
    return code, shape, message, response.get("ResponseMetadata", {})


def _error_name(code: str, model: Any, service: str, sdk: bool) -> str:
    shape = _shape(code, model)
    if sdk:
        prefix = pascal(model.service_id)
        return f"{prefix}.{exception_name(pascal(shape) if shape else prefix)}"
    words = words_of(service)
    return f"{words.prefix}.{exception_name(shape) if shape else words.base}"


def _shape(code: str, model: Any) -> str | None:
    """The error's shape, where the service describes it."""
    plain = code.rpartition("#")[2].rpartition(".")[2]
    for shape in model.error_shapes:
        if code in (shape.name, shape.error_code) or plain in (shape.name, shape.error_code):
            return str(shape.name)
    return None


def _sdk(about: dict[str, Any], model: Any) -> str:
    text = (
        f"Service: {pascal(model.service_id)}, Status Code: {about.get('HTTPStatusCode', 400)}, "
        f"Request ID: {_request_id(about)}"
    )
    if pascal(model.service_id) == "S3":
        text += f", Extended Request ID: {about.get('HostId') or _request_id({})}"
    return text


def _optimised(code: str, about: dict[str, Any], service: str) -> str:
    return (
        f"Service: {words_of(service).service}; Status Code: {about.get('HTTPStatusCode', 400)}; "
        f"Error Code: {code.rpartition('#')[2]}; Request ID: {_request_id(about)}; Proxy: null"
    )


def _request_id(about: dict[str, Any]) -> str:
    return about.get("RequestId") or str(uuid.uuid4())


def _client_text(error: Exception) -> str:
    if type(error).__name__ in UNREACHED:
        return f"Unable to execute HTTP request: {error}"
    if type(error).__name__ in UNSIGNED:
        return f"Unable to load credentials from any of the providers in the chain: {error}"
    return str(error)


def nulls_refused(nulls: list[str]) -> Refusal:
    """What services that speak JSON say of required members that are null."""
    count = f"{len(nulls)} validation error{'s' if len(nulls) > 1 else ''} detected"
    texts = [
        f"Value null at '{name[:1].lower() + name[1:]}' failed to satisfy constraint: "
        "Member must not be null"
        for name in nulls
    ]
    return Refusal(VALIDATION, f"{count}: {'; '.join(texts)}")
