"""A served fake system for tests: a real socket, a real client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
from tests.server.fake import FakeSystem

from batuta.server.serve import serve


@asynccontextmanager
async def served(system: FakeSystem, **options: Any) -> AsyncIterator[str]:
    """The address of a server that stops at the end."""
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(system, on_ready=ready.set_result, **options))
    waiting: set[asyncio.Future[Any]] = {task, ready}
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await task
    try:
        yield await ready
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait_for(task, 10)


@asynccontextmanager
async def streaming(url: str, **options: Any) -> AsyncIterator[AsyncIterator[str]]:
    """The lines of a stream."""
    async with (
        httpx.AsyncClient(timeout=10) as client,
        client.stream("GET", url, **options) as answer,
    ):
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield answer.aiter_lines()
