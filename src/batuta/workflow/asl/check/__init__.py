"""Validation: every mistake of a definition, found without running it."""

from __future__ import annotations

from typing import Any

from batuta.workflow.asl.check.finding import Finding, Findings
from batuta.workflow.asl.check.flows import Machine


def findings(value: Any, type: str = "STANDARD") -> list[Finding]:
    """All mistakes of a definition.

    Parameters
    ----------
    value: the definition as plain data. type: `STANDARD` or `EXPRESS`.
    """
    found = Findings()
    Machine(type, found).check(value)
    # A field of both languages may be looked at twice.
    return list(dict.fromkeys(found.all))


__all__ = ["Finding", "findings"]
