"""What `batuta up` shows while it runs: a line for each run that ends, and what is going on."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, deque
from typing import Any

from batuta.cli.live import Live
from batuta.cli.look import error_text
from batuta.cli.out import Out, clean, clock, span
from batuta.kernel.event import Event
from batuta.real.system import System

TYPES = (
    "run.started", "run.completed", "run.failed", "run.cancelled", "run.terminated",
    "run.continued", "run.parked", "run.retried", "delivery.dead",
)  # fmt: skip
LINES_PER_S = 200
REMEMBERED = 100_000
FRAME_S = 0.2
COUNT_S = 1.0
COUNTED = ("running", "sleeping", "parked", "completed", "failed", "cancelled")
log = logging.getLogger("batuta.run")


class LogStream:
    """Where log lines go while there may be a live region: above it."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def write(self, text: str) -> None:
        """Take whole lines."""
        for line in text.splitlines():
            self._live.above(line)

    def flush(self) -> None:
        """Nothing is held back."""


class Watch:
    """Follows the journal from now on.

    Parameters
    ----------
    structured: write JSON lines for programs instead of lines for people.
    """

    def __init__(self, system: System, live: Live, out: Out, *, structured: bool) -> None:
        self._system = system
        self._live = live
        self._out = out
        self._structured = structured
        self._started: OrderedDict[str, tuple[str, int]] = OrderedDict()
        self._counts: dict[str, int] = {}
        self._steps: deque[tuple[float, float]] = deque(maxlen=10)
        self._second = 0
        self._lines = 0
        self._passed_over = 0

    async def run(self) -> None:
        """Until it is cancelled."""
        picture = asyncio.create_task(self._draw()) if self._out.live else None
        try:
            async for event in self._system.follow(self._system.journal.head(), TYPES):
                self._take(event)
        finally:
            if picture is not None:
                picture.cancel()

    # -- lines ---------------------------------------------------------------------------------

    def _take(self, event: Event) -> None:
        if event.type == "run.started":
            self._started[event.subject] = (str(event.data.get("workflow", "")), event.time)
            if len(self._started) > REMEMBERED:
                self._started.popitem(last=False)
            return
        workflow, started = self._run_of(event)
        took = event.time - started if started else None
        if self._structured:
            self._write(event, workflow, took)
        elif self._room():
            self._live.above(self._line(event, workflow, took))

    def _run_of(self, event: Event) -> tuple[str, int]:
        known = self._started.pop(event.subject, None)
        if known is not None:
            return known
        record = self._system.journal.record("run", event.subject)
        return (record.name, record.time) if record else ("", 0)

    def _room(self) -> bool:
        """No terminal can be read at a thousand lines a second: some are counted instead."""
        second = int(time.monotonic())
        if second != self._second:
            if self._passed_over:
                self._live.above(f"  … and {self._passed_over:,} more")
            self._second, self._lines, self._passed_over = second, 0, 0
        self._lines += 1
        if self._lines <= LINES_PER_S:
            return True
        self._passed_over += 1
        return False

    def _line(self, event: Event, workflow: str, took: int | None) -> str:
        word = event.type.partition(".")[2]
        error = event.data.get("error")
        reason = error_text(error, 160) if isinstance(error, dict) else event.data.get("reason")
        parts = [
            self._out.tint(clock(event.time), "grey"),
            self._out.tint(word.ljust(10), self._out.status(word).colour),
            clean(event.subject),
            clean(workflow),
            self._out.tint(span(took), "grey") if took is not None else "",
            clean(str(reason)) if reason else "",
        ]
        return "  ".join(part for part in parts if part)

    def _write(self, event: Event, workflow: str, took: int | None) -> None:
        extra: dict[str, Any] = {"run": event.subject, "workflow": workflow, "seq": event.seq}
        if took is not None:
            extra["seconds"] = took / 1e9
        if event.data.get("error"):
            extra["error"] = event.data["error"].get("message")
        level = logging.WARNING if event.type in ("run.failed", "run.parked") else logging.INFO
        log.log(level, "%s", event.type, extra=extra)

    # -- the picture ---------------------------------------------------------------------------

    async def _draw(self) -> None:
        counted = 0.0
        while True:
            at = time.monotonic()
            if at - counted >= COUNT_S:
                counted = at
                found = await asyncio.to_thread(self._system.journal.counts, "run")
                self._counts = {}
                for (_, status), count in found.items():
                    self._counts[status] = self._counts.get(status, 0) + count
            self._steps.append((at, self._system.stats()["steps"]))
            self._live.show([self._picture()])
            await asyncio.sleep(FRAME_S)

    def _picture(self) -> str:
        said = [
            f"{self._out.tint(word, self._out.status(word).colour)} {self._counts[word]:,}"
            for word in COUNTED
            if self._counts.get(word)
        ]
        (then, before), (at, steps) = self._steps[0], self._steps[-1]
        rate = (steps - before) / (at - then) if at > then else 0.0
        if rate >= 1:
            said.append(f"{rate:,.0f} steps/s")
        return "  ".join(said) if said else self._out.tint("no runs yet", "grey")
