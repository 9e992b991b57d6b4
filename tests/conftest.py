"""What every test has: one Hypothesis profile, and none of the developer's own settings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from batuta.workflow.asl.jsonata import GUARD

# Two workers share two cores: a deadline per example measures the neighbour, not the code.
settings.register_profile(
    "batuta", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("batuta")


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's folder."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def unguarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that ran in a test before leaves no process for expressions to this one."""
    monkeypatch.setattr(GUARD, "evaluate", None)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No colours, and nothing of `BATUTA_*` or OpenTelemetry that the developer's shell has set."""
    monkeypatch.setenv("NO_COLOR", "1")
    for name in list(os.environ):
        if name.startswith(("BATUTA_", "OTEL_")):
            monkeypatch.delenv(name)
