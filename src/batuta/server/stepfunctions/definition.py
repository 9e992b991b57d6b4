"""Definitions in requests: refused where they have mistakes, in the service's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batuta.workflow.asl.check.service import diagnostics, invalid_definition
from batuta.workflow.asl.registry import ServiceError


def check_definition(text: str, type: str) -> None:
    """Raises `ServiceError` (`InvalidDefinition`)."""
    said = invalid_definition(text, type)
    if said is not None:
        raise ServiceError("InvalidDefinition", said)


def check_state(value: Mapping[str, Any]) -> None:
    """A state, or a state machine, that is to be tested. Raises `ServiceError`."""
    if "States" not in value and not isinstance(value.get("Type"), str):
        raise ServiceError(
            "InvalidDefinition", "Invalid State Machine Definition: 'The state has no Type'"
        )


def mistakes(text: str, type: str) -> list[dict[str, Any]]:
    """All mistakes of a definition, each with `severity`, `code`, `message` and maybe
    `location`."""
    return diagnostics(text, type)
