"""Logs for people, or as JSON lines for machines; on stderr, so that stdout holds data only."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

FORMS = ("human", "json")
USUAL = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {
    "message", "asctime", "taskName",
}  # fmt: skip


class JsonLines(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, and what `extra=` gave."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        line = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in record.__dict__.items() if name not in USUAL}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class Human(logging.Formatter):
    """`09:30:00 warning: message (name=value)`, then the traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).astimezone()
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        extra = [f"{n}={v}" for n, v in record.__dict__.items() if n not in USUAL]
        more = f" ({', '.join(extra)})" if extra else ""
        text = f"{moment:%H:%M:%S} {level}{record.getMessage()}{more}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def configure(
    form: str = "human", level: str = "info", stream: TextIO | None = None
) -> logging.Handler:
    """Send the logs of Batuta, and the errors of the web server, to stderr in that form.

    Calling it again replaces what the call before set up.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else Human())
    handler.set_name("batuta")
    for name, least in (("batuta", level.upper()), ("uvicorn", "WARNING")):
        logger = logging.getLogger(name)
        for old in [each for each in logger.handlers if each.get_name() == "batuta"]:
            logger.removeHandler(old)
        logger.addHandler(handler)
        logger.setLevel(least)
        logger.propagate = False
    return handler
