"""A headless Chromium driven over its pipe: as much of the protocol as the tests need."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from tempfile import TemporaryDirectory
from typing import Any

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--remote-debugging-pipe", "about:blank",
)  # fmt: skip
Message = dict[str, Any]


class Tab:
    """One page and everything that it complained about."""

    def __init__(self, reader: asyncio.StreamReader, pipe: int) -> None:
        self._reader = reader
        self._pipe = pipe
        self._session: str | None = None
        self._last = 0
        self._answers: dict[int, asyncio.Future[Message]] = {}
        self._loaded = asyncio.Event()
        self.complaints: list[str] = []
        self._task = asyncio.create_task(self._read())

    async def open(self) -> None:
        targets = (await self.call("Target.getTargets"))["targetInfos"]
        first = next(each["targetId"] for each in targets if each["type"] == "page")
        attached = await self.call("Target.attachToTarget", targetId=first, flatten=True)
        self._session = attached["sessionId"]
        # A tab in the background pauses its stream: this one counts as being looked at.
        await self.call("Emulation.setFocusEmulationEnabled", enabled=True)
        for domain in ("Page", "Runtime", "Log"):
            await self.call(f"{domain}.enable")

    async def call(self, method: str, **params: Any) -> Message:
        self._last += 1
        message: Message = {"id": self._last, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        future = asyncio.get_running_loop().create_future()
        self._answers[self._last] = future
        os.write(self._pipe, json.dumps(message).encode() + b"\0")
        return await asyncio.wait_for(future, 20)

    async def _read(self) -> None:
        while raw := await self._reader.readuntil(b"\0"):
            message = json.loads(raw[:-1])
            future = self._answers.pop(message.get("id", 0), None)
            if future is not None:
                if "error" in message:
                    future.set_exception(RuntimeError(str(message["error"])))
                else:
                    future.set_result(message["result"])
            else:
                self._happened(message.get("method", ""), message.get("params", {}))

    def _happened(self, method: str, params: Message) -> None:
        if method == "Page.loadEventFired":
            self._loaded.set()
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"])[:500])
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.complaints.append(str([each.get("value") for each in params["args"]]))

    async def go(self, url: str) -> None:
        self._loaded.clear()
        await self.call("Page.navigate", url=url)
        await asyncio.wait_for(self._loaded.wait(), 20)

    async def ask(self, expression: str) -> Any:
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, expression: str, limit_s: float = 20.0) -> None:
        """Wait until an expression is true in the page."""
        end = asyncio.get_running_loop().time() + limit_s
        while not await self.ask(expression):
            if asyncio.get_running_loop().time() > end:
                seen = await self.ask("document.visibilityState + ' ' + document.body.innerText")
                raise AssertionError(f"not within {limit_s} s: {expression}\n{seen[:2000]}")
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        self._session = None
        os.write(self._pipe, json.dumps({"id": 0, "method": "Browser.close"}).encode() + b"\0")
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@asynccontextmanager
async def browser() -> AsyncIterator[Tab]:
    """A fresh browser with one tab; ended, and its profile removed, at the end."""
    assert PROGRAM is not None
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        script = f'exec "$@" 3<&{to_read} 4>&{from_write}'
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", script, "bash", PROGRAM, *FLAGS, f"--user-data-dir={profile}",
            pass_fds=(to_read, from_write), stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_read)
        os.close(from_write)
        reader = asyncio.StreamReader(limit=64 * 1024 * 1024)
        pipe = os.fdopen(from_read, "rb", buffering=0)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        tab = Tab(reader, to_write)
        try:
            await tab.open()
            yield tab
        finally:
            await tab.close()
            try:
                await asyncio.wait_for(process.wait(), 10)
            except TimeoutError:
                process.kill()
                await process.wait()
            transport.close()
            os.close(to_write)
