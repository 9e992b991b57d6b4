"""What a server does to its journal beside writing it: forgetting what ended long ago."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor

from batuta.kernel.errors import JournalError
from batuta.kernel.journal import Journal

log = logging.getLogger("batuta")

EVERY_S = 300.0


async def forget(
    journal: Journal, writer: Executor, now: Callable[[], int], retain_s: float
) -> None:
    """Remove what ended more than `retain_s` seconds ago, again and again.

    It is done on the writer's thread, in small transactions, so that commits go between.
    """
    loop = asyncio.get_running_loop()
    while True:
        before = now() - int(retain_s * 1e9)
        try:
            removed = await loop.run_in_executor(writer, journal.retain, before)
            if removed:
                log.info("forgot %d events and records that ended long ago", removed)
        except JournalError as error:
            log.warning("what ended long ago could not be removed: %s", error)
        await asyncio.sleep(EVERY_S)
