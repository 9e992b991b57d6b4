"""Failures as they are recorded, raised again as the exceptions that they were."""

from __future__ import annotations

import sys
from typing import Any

from batuta.kernel import errors
from batuta.kernel.errors import RunFailed, StepFailed


def revive(failure: dict[str, Any], what: str) -> Exception:
    """The exception to raise in a workflow for a recorded failure.

    It is of the class that was raised, where that class is loaded and can be made from the
    recorded arguments; else a `StepFailed`. Its `__cause__` carries the recorded traceback.

    Parameters
    ----------
    failure: `{type, message, traceback, args?, …}`.
    what: what failed, for the text (`step charge`).
    """
    module, _, qualname = failure.get("type", "").partition(":")
    text = f"{what} failed: {qualname}: {failure.get('message', '')}"
    if module == "batuta":
        own = getattr(errors, qualname, None)
        if isinstance(own, type) and issubclass(own, StepFailed):
            return own(failure.get("message") or text, failure)
    original = _original(module, qualname, failure.get("args"))
    if original is None:
        return StepFailed(text, failure)
    original.__cause__ = StepFailed(text, failure)
    return original


def revive_child(failure: dict[str, Any], run: str) -> Exception:
    """The exception to raise in a workflow whose child run failed."""
    return RunFailed(f"run {run} failed: {failure.get('message', '')}", failure)


def _original(module: str, qualname: str, args: list[Any] | None) -> Exception | None:
    # Only what is loaded already: a name in a journal must not import code.
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    if not (isinstance(found, type) and issubclass(found, Exception)) or args is None:
        return None
    try:
        return found(*args)
    except Exception:  # its constructor wants something else: any error of the user's own
        return None
