"""Logs in two forms."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from batuta.server.log import configure


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    text = io.StringIO()
    yield text
    for name in ("batuta", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers = [each for each in logger.handlers if each.get_name() != "batuta"]
        logger.propagate = True
        logger.setLevel(logging.NOTSET)


def test_json_lines(stream: io.StringIO) -> None:
    configure("json", stream=stream)
    log = logging.getLogger("batuta.server")
    log.info("run %s started", "a\nb", extra={"run": "a"})
    try:
        raise ValueError("no")
    except ValueError:
        log.exception("oops")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["message"], first["run"], first["level"]) == ("run a\nb started", "a", "info")
    assert first["time"].endswith("Z")
    assert "ValueError: no" in second["traceback"]


def test_for_people(stream: io.StringIO) -> None:
    configure("human", "warning", stream=stream)
    configure("human", "warning", stream=stream)
    log = logging.getLogger("batuta.x")
    log.info("not shown")
    log.warning("disk is %d %% full", 97, extra={"disk": "a"})
    [line] = stream.getvalue().splitlines()
    assert line[9:] == "warning: disk is 97 % full (disk=a)"
