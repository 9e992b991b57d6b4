"""Stages are closed behind each test, so that no coroutine is left to the garbage collector."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.workflow.harness import STAGES


@pytest.fixture(autouse=True)
def closed_stages() -> Iterator[None]:
    yield
    while STAGES:
        STAGES.pop().close()
