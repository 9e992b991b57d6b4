"""Server-sent events: the journal followed live, frames gathered, the id of a frame is its seq."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, suppress

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import StreamingResponse

from batuta.kernel.event import Event
from batuta.server.api_runs import event_json
from batuta.server.port import System
from batuta.server.reply import encode, system_of

FRAME_S = 0.05  # at most 20 frames a second
HEARTBEAT_S = 15.0
BUFFER = 1000  # events that may wait for one slow reader
FRAME_EVENTS = 500
RENDER_SHARE = 10  # a page is rendered at most a tenth of the time
END = object()

Render = Callable[[list[Event]], str]


def stream(request: Request, chunks: AsyncGenerator[str, None]) -> StreamingResponse:
    """An SSE answer that no proxy holds back and that ends when the server stops."""
    return StreamingResponse(
        ended_with(request.app.state.stopping, chunks),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


def event_stream(
    request: Request, after: int, types: Sequence[str], subject: str | None
) -> StreamingResponse:
    """Each event as one message: `id` is its seq, `event` its type, `data` its JSON."""
    after = resumed(request, after)
    batches = gathered(system_of(request), after, types, subject)
    return stream(request, frames(batches, _messages))


def page_stream(
    request: Request,
    after: int,
    types: Sequence[str],
    subject: str | None,
    parts: Callable[[], list[tuple[str, str]]],
) -> StreamingResponse:
    """The parts of a page again after each change: only those that differ from what was sent.

    A page that takes long to render is rendered less often, so that no page can keep the
    server busy.
    """
    sent: dict[str, int] = {}
    took_s = 0.0

    def render(events: list[Event]) -> str:
        nonlocal took_s
        began = time.perf_counter()
        changed = []
        for name, html in parts():
            if sent.get(name) != hash(html):
                sent[name] = hash(html)
                changed.append(
                    f'<hx-partial hx-target="#{name}" hx-swap="outerMorph">{html}</hx-partial>'
                )
        took_s = time.perf_counter() - began
        return frame("\n".join(changed), events[-1].seq) if changed else ""

    after = resumed(request, after)
    batches = gathered(
        system_of(request), after, types, subject, lambda: max(FRAME_S, took_s * RENDER_SHARE)
    )
    return stream(request, frames(batches, render))


def resumed(request: Request, after: int) -> int:
    """Where to go on: `Last-Event-ID` of a client that comes back wins."""
    last = request.headers.get("last-event-id", "")
    return int(last) if last.isascii() and last.isdigit() and len(last) < 19 else after


def _messages(events: list[Event]) -> str:
    return "".join(
        f"id: {event.seq}\nevent: {one_line(event.type)}\n"
        f"data: {encode(event_json(event)).decode()}\n\n"
        for event in events
    )


def one_line(text: str) -> str:
    """A text that fits into one field of SSE."""
    return " ".join(text.split())


def frame(html: str, seq: int) -> str:
    """HTML as one unnamed message, which htmx swaps into the page."""
    lines = "".join(f"data: {line}\n" for line in html.splitlines())
    return f"id: {seq}\n{lines}\n"


async def gathered(
    system: System,
    after: int,
    types: Sequence[str] = (),
    subject: str | None = None,
    pause_s: Callable[[], float] = lambda: FRAME_S,
) -> AsyncGenerator[list[Event], None]:
    """Events in lists, one list at most every `pause_s()`; an empty list is a heartbeat."""
    queue: asyncio.Queue[object] = asyncio.Queue(BUFFER)

    async def pump() -> None:
        try:
            async for event in system.follow(after, types, subject):
                await queue.put(event)
        finally:
            with suppress(asyncio.QueueFull):
                queue.put_nowait(END)

    task = asyncio.create_task(pump())
    try:
        while True:
            events, ended = await _next(queue, task)
            yield events
            if ended:
                return
            if events:
                await asyncio.sleep(pause_s())
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task


async def _next(queue: asyncio.Queue[object], task: asyncio.Task[None]) -> tuple[list[Event], bool]:
    """What is there, or an empty list after a while of silence; and whether that was all."""
    try:
        first = await asyncio.wait_for(queue.get(), HEARTBEAT_S)
    except TimeoutError:
        return [], task.done()
    found = [first]
    while not queue.empty() and len(found) < FRAME_EVENTS:
        found.append(queue.get_nowait())
    events = [event for event in found if isinstance(event, Event)]
    return events, END in found


async def frames(
    batches: AsyncGenerator[list[Event], None], render: Render
) -> AsyncGenerator[str, None]:
    """Rendered batches; a comment as heartbeat. The first line sets the time to reconnect."""
    yield "retry: 1000\n\n"
    async with aclosing(batches):
        async for events in batches:
            text = await run_in_threadpool(render, events) if events else ""
            yield text or ": still here\n\n"


async def ended_with(
    stopping: asyncio.Event, chunks: AsyncGenerator[str, None]
) -> AsyncIterator[str]:
    """The same, until the server stops: an open stream shall not hold it up."""
    stop = asyncio.ensure_future(stopping.wait())
    step: asyncio.Future[str | None] | None = None
    try:
        while True:
            step = asyncio.ensure_future(anext(chunks, None))
            await asyncio.wait({step, stop}, return_when=asyncio.FIRST_COMPLETED)
            chunk = step.result() if step.done() else None
            if chunk is None:
                return
            yield chunk
    finally:
        stop.cancel()
        if step is not None:
            step.cancel()
            await asyncio.gather(step, return_exceptions=True)
        await chunks.aclose()
