"""What the service says about a definition: when it is created, and when it is validated."""

from __future__ import annotations

import re
from typing import Any

from batuta.workflow.asl.check import findings
from batuta.workflow.asl.check.finding import SCHEMA, TEXT, Finding
from batuta.workflow.asl.source import Unreadable, parse

TOKEN = re.compile(r"\s*([^\s{}\[\]:,\"]+)")
LABEL = re.compile(r"Label (cannot be empty|cannot exceed|contains invalid)")


def mistakes(text: str, type: str = "STANDARD") -> list[Finding]:
    """All mistakes of a definition's text; the only one where it cannot be read."""
    try:
        value = parse(text).value
    except Unreadable as wrong:
        return [_unreadable(text, wrong)]
    return findings(value, type)


def invalid_definition(text: str, type: str = "STANDARD") -> str | None:
    """The message of `InvalidDefinition`; None for a definition without errors."""
    errors = [each for each in mistakes(text, type) if each.severity == "ERROR"]
    if not errors:
        return None
    label = next((each.message for each in errors if LABEL.match(each.message)), None)
    if label is not None:
        return f"Error=ValueError Args={[label]!r} in definition '{text}'."
    said = ", ".join(f"{each.code}: {each.message} at {each.location}" for each in errors)
    return f"Invalid State Machine Definition: '{said}'"


def diagnostics(text: str, type: str = "STANDARD") -> list[dict[str, Any]]:
    """The diagnostics of ValidateStateMachineDefinition."""
    return [
        {
            "severity": each.severity, "code": each.code, "message": each.message,
            "location": each.location,
        }
        for each in mistakes(text, type)
    ]  # fmt: skip


def _unreadable(text: str, wrong: Unreadable) -> Finding:
    """In the words of the service's parser for JSON."""
    if "JSON" not in wrong.message:
        return Finding(SCHEMA, wrong.message, "/")
    token = TOKEN.match(text)
    if token is not None and token.group(1) not in ("true", "false", "null"):
        word = token.group(1)
        where = f'[Source: (String)"{text}"; line: 1, column: {token.end(1) + 1}]'
        said = (
            f"Unrecognized token '{word}': was expecting (JSON String, Number, Array, Object or "
            f"token 'null', 'true' or 'false')\n at {where}"
        )
        return Finding(TEXT, said, where)
    where = f'[Source: (String)"{text}"; line: {wrong.line}, column: {wrong.column}]'
    return Finding(TEXT, f"{wrong.message}\n at {where}", where)
