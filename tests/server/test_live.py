"""Streams over a real socket: live, resumable, gathered, and no hindrance to a stop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest
from tests.server.fake import FakeSystem, story
from tests.server.support import served, streaming

from batuta.kernel.errors import BatutaError
from batuta.kernel.event import Event
from batuta.server import live
from batuta.server.live import frame, gathered
from batuta.server.serve import bind, serve


async def ids(lines: AsyncIterator[str], count: int) -> list[int]:
    found = []
    async for line in lines:
        if line.startswith("id: "):
            found.append(int(line.removeprefix("id: ")))
            if len(found) == count:
                break
    return found


def test_a_stream_goes_on_live_and_resumes_where_it_was() -> None:
    async def main() -> None:
        system = FakeSystem()
        story(system)
        head = system.journal.head()
        async with served(system) as url:
            async with streaming(f"{url}/api/events?follow=true&after={head - 2}") as lines:
                assert await ids(lines, 2) == [head - 1, head]
                await system.add([system.event("order.paid", "1", data={})])
                assert await ids(lines, 1) == [head + 1]
            again = {"last-event-id": str(head)}
            async with streaming(f"{url}/api/events?follow=true", headers=again) as lines:
                assert await ids(lines, 1) == [head + 1]
        system.journal.close()

    asyncio.run(main())


def test_a_stream_is_filtered_and_its_messages_are_json() -> None:
    async def main() -> None:
        system = FakeSystem()
        story(system)
        async with served(system) as url:
            path = "/api/events?follow=1&type=run.*&subject=order-1"
            async with streaming(url + path) as lines:
                message: dict[str, str] = {}
                async for line in lines:
                    name, _, value = line.partition(": ")
                    message[name] = value
                    if name == "data":
                        break
            assert message["event"] == "run.started"
            assert json.loads(message["data"])["data"]["workflow"] == "checkout"
        system.journal.close()

    asyncio.run(main())


def test_a_stop_does_not_wait_for_open_streams() -> None:
    async def main() -> None:
        system = FakeSystem()
        story(system)
        loop = asyncio.get_running_loop()
        async with served(system) as url:
            manager = streaming(f"{url}/api/events?follow=true")
            lines = await manager.__aenter__()
            await ids(lines, 1)
            began = loop.time()
        assert loop.time() - began < 2
        await manager.__aexit__(None, None, None)
        system.journal.close()

    asyncio.run(main())


def test_events_that_come_at_once_make_one_frame() -> None:
    async def main() -> None:
        system = FakeSystem()
        system.write([system.event("a", str(n)) for n in range(300)])
        batches = gathered(system, 0)
        sizes: list[int] = []
        while sum(sizes) < 300:
            sizes.append(len(await anext(batches)))
        await batches.aclose()
        assert len(sizes) <= 5
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert others == set()
        system.journal.close()

    asyncio.run(main())


def test_silence_is_filled_with_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_S", 0.01)

    async def main() -> None:
        system = FakeSystem()
        async with served(system) as url, streaming(f"{url}/api/events?follow=true") as lines:
            async for line in lines:
                if line == ": still here":
                    break
        system.journal.close()

    asyncio.run(main())


def test_a_frame_is_one_message() -> None:
    assert frame("<p>\n</p>", 7) == "id: 7\ndata: <p>\ndata: </p>\n\n"


def test_a_follower_that_fails_ends_the_stream() -> None:
    class Lost(FakeSystem):
        async def follow(self, *_: object, **__: object) -> AsyncIterator[Event]:
            yield self.event("a", "b")
            raise BatutaError("gone")

    async def main() -> None:
        system = Lost()
        sizes = [len(batch) async for batch in gathered(system, 0)]
        assert sum(sizes) == 1
        system.journal.close()

    asyncio.run(main())


def test_a_port_that_is_taken_says_so() -> None:
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BatutaError, match="cannot listen on") as caught:
            bind("127.0.0.1", port)
        assert "--port" in (caught.value.hint or "")
    with pytest.raises(BatutaError, match="there is no port 70000"):
        bind("127.0.0.1", 70000)


def test_the_server_asks_for_its_token_and_survives_nonsense() -> None:
    async def main() -> None:
        system = FakeSystem()
        async with served(system, token="s3cret") as url:
            host, port = url.removeprefix("http://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"\x16\x03\x01 nonsense\r\n\r\n")
            await writer.drain()
            assert b"400" in await reader.read()
            writer.close()
            async with httpx.AsyncClient() as client:
                assert (await client.get(url + "/api/runs")).status_code == 401
                bearer = {"authorization": "Bearer s3cret"}
                assert (await client.get(url + "/api/runs", headers=bearer)).status_code == 200
        system.journal.close()

    asyncio.run(main())


def test_serve_listens_on_loopback_by_default() -> None:
    assert serve.__defaults__ is not None
    assert serve.__defaults__[0] == "127.0.0.1"
