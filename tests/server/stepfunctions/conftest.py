"""One server for all tests of a module: names in them differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.server.stepfunctions.serving import Served, served


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("project")) as found:
        yield found


@pytest.fixture(scope="module")
def client(server: Served) -> Any:
    return server.client()
