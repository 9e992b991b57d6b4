"""One mistake in a definition."""

from __future__ import annotations

from dataclasses import dataclass

SCHEMA = "SCHEMA_VALIDATION_FAILED"
TARGET = "MISSING_TRANSITION_TARGET"
DUPLICATE = "DUPLICATE_STATE_NAME"
UNREACHABLE = "UNREACHABLE_STATE"
NO_END = "MISSING_TERMINAL_STATE"
PATH = "INVALID_PATH"
JSONATA = "INVALID_JSONATA"
RESOURCE = "INVALID_RESOURCE"
TEXT = "INVALID_JSON_DESCRIPTION"


@dataclass(frozen=True, slots=True)
class Finding:
    """A mistake.

    Parameters
    ----------
    code: the rule that it breaks, as ValidateStateMachineDefinition has it.
    message: what is wrong. location: a pointer, `/States/Pay/Next`; `/` for the whole.
    severity: `ERROR`, or `WARNING` for what runs nevertheless.
    """

    code: str
    message: str
    location: str
    severity: str = "ERROR"


class Findings:
    """What was found so far, and where the check stands."""

    def __init__(self) -> None:
        self.all: list[Finding] = []

    def add(self, code: str, message: str, location: str, severity: str = "ERROR") -> None:
        """Note down a mistake."""
        self.all.append(Finding(code, message, location or "/", severity))

    def schema(self, message: str, location: str) -> None:
        """Note down a mistake of structure."""
        self.add(SCHEMA, message, location)
