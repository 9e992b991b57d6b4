"""Logging, tracing, encryption and tags of a request, as they are kept."""

from __future__ import annotations

from typing import Any

from batuta.server.stepfunctions.service import Asked
from batuta.workflow.asl.registry import ServiceError


def stored(asked: Asked, *, whole: bool = False) -> dict[str, Any]:
    """The configuration that a request gives.

    Parameters
    ----------
    whole: of a new state machine: what is not given gets its usual value.

    Raises `ServiceError`.
    """
    found: dict[str, Any] = {}
    if whole or "loggingConfiguration" in asked:
        found["logging"] = logging_of(asked.get("loggingConfiguration", {}))
    if whole or "tracingConfiguration" in asked:
        found["tracing"] = {"enabled": False, **asked.get("tracingConfiguration", {})}
    if "encryptionConfiguration" in asked:
        found["encryption"] = encryption_of(asked["encryptionConfiguration"])
    return found


def logging_of(given: dict[str, Any]) -> dict[str, Any]:
    """A logging configuration with everything that it leaves out."""
    destinations = given.get("destinations")
    level = given.get("level", "OFF")
    if len(destinations or ()) > 1 or (level != "OFF" and not destinations):
        raise ServiceError(
            "InvalidLoggingConfiguration",
            "Invalid Logging Configuration: Must specify exactly one Log Destination.",
        )
    for destination in destinations or ():
        _check_destination(destination)
    return {"level": level, "includeExecutionData": False, **given}


def _check_destination(destination: dict[str, Any]) -> None:
    arn = destination.get("cloudWatchLogsLogGroup", {}).get("logGroupArn", "")
    if not (arn.startswith("arn:") and ":logs:" in arn and arn.endswith(":*")):
        raise ServiceError(
            "InvalidLoggingConfiguration",
            "Invalid Logging Configuration: Log Destination must be a log group ARN that ends "
            "with ':*'.",
        )


def encryption_of(given: dict[str, Any]) -> dict[str, Any]:
    """An encryption configuration; only keys of the service's own are refused a key id."""
    keyed = "kmsKeyId" in given
    if (given["type"] == "CUSTOMER_MANAGED_KMS_KEY") is not keyed:
        text = "must be specified" if not keyed else "must not be specified"
        raise ServiceError(
            "InvalidEncryptionConfiguration",
            f"Invalid Encryption Configuration: kmsKeyId {text} for type {given['type']}",
        )
    if keyed:
        return {"kmsDataKeyReusePeriodSeconds": 300, **given}
    return given


def tags_of(asked: Asked) -> dict[str, str]:
    """Tags as keys and values; the last of two with one key counts."""
    return {
        tag["key"]: tag.get("value", "") for tag in asked.get("tags", ()) if tag and "key" in tag
    }
