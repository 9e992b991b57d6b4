"""Steps as the real world sees them: functions with a name, a mode and a codec."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from batuta.common.codec import SignatureCodec, signature_codec
from batuta.kernel.errors import NotRetryable
from batuta.real.context import StepContext, current, heartbeat


class FakeStep:
    """What `@step` makes, as far as a world looks at it."""

    def __init__(self, fn: Callable[..., Any], mode: str) -> None:
        self.fn = fn
        self.mode = mode
        self.name = fn.__name__
        self.module = fn.__module__
        self._codec: SignatureCodec | None = None

    @property
    def codec(self) -> SignatureCodec:
        if self._codec is None:
            self._codec = signature_codec(self.fn)
        return self._codec


def mode(kind: str) -> Callable[[Callable[..., Any]], FakeStep]:
    return lambda fn: FakeStep(fn, kind)


class Declined(NotRetryable):
    """The card was declined."""


class Gauge:
    """How many are inside at once, and the most that ever were."""

    def __init__(self) -> None:
        self.inside = self.most = self.count = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self.inside += 1
            self.count += 1
            self.most = max(self.most, self.inside)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.inside -= 1


gauge = Gauge()
marker: ContextVar[str | None] = ContextVar("marker", default=None)
release = threading.Event()
notes: list[Any] = []


@mode("async")
async def double(number: int) -> int:
    return 2 * number


@mode("async")
async def nap(seconds: float) -> str:
    with gauge:
        await asyncio.sleep(seconds)
    return "rested"


@mode("async")
async def hang() -> None:
    try:
        await asyncio.Event().wait()
    finally:
        notes.append("hang ended")


@mode("async")
async def stubborn() -> str:
    for _ in range(500):
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            notes.append("ignored")
        if release.is_set():
            break
    return "still here"


@mode("async")
async def declined() -> None:
    try:
        raise KeyError("card")
    except KeyError as error:
        raise Declined("no money", 7) from error


@mode("async")
async def unreachable() -> None:
    raise ConnectionRefusedError(111, "refused")


@mode("async")
async def exit_async() -> None:
    os._exit(3)


@mode("async")
async def leave_async(how: str) -> None:
    raise {
        "system": SystemExit(2),
        "keyboard": KeyboardInterrupt(),
        "cancel": asyncio.CancelledError(),
    }[how]


@mode("async")
async def beating(times: int, every: float) -> object:
    for beat in range(times):
        await asyncio.sleep(every)
        heartbeat({"beat": beat})
    await asyncio.Event().wait()
    return None


@mode("async")
async def who() -> dict[str, Any]:
    await asyncio.sleep(0)
    return _told(current())


@mode("thread")
def who_thread() -> dict[str, Any]:
    return _told(current())


@mode("process")
def who_process() -> dict[str, Any]:
    return {**_told(current()), "pid": os.getpid()}


def _told(context: StepContext) -> dict[str, Any]:
    return {
        "id": context.id,
        "run": context.run,
        "attempt": context.attempt,
        "last": context.last_heartbeat,
    }


@mode("async")
async def speak(text: str) -> None:
    print(text)  # noqa: T201 - what a user writes
    await asyncio.sleep(0)
    sys.stderr.write("a warning")


@mode("thread")
def speak_thread(text: str) -> None:
    print(text)  # noqa: T201 - what a user writes
    sys.stdout.buffer.write(b"bytes too\n")


@mode("process")
def speak_process(text: str) -> None:
    print(text)  # noqa: T201 - what a user writes
    subprocess.run(["/bin/echo", "from a child"], check=True)


@mode("thread")
def flood(megabytes: int) -> int:
    block = ("x" * 99 + "\n") * 10_000
    for _ in range(megabytes):
        sys.stdout.write(block)
    return megabytes


@mode("process")
def flood_process(megabytes: int) -> int:
    block = ("x" * 99 + "\n") * 10_000
    for _ in range(megabytes):
        sys.stdout.write(block)
    return megabytes


@mode("thread")
def nap_thread(seconds: float) -> str:
    with gauge:
        time.sleep(seconds)
    return "rested"


@mode("thread")
def hang_thread() -> str:
    release.wait(20)
    notes.append(current().cancelled)
    return "late"


@mode("async")
async def hold_loop() -> None:
    await asyncio.sleep(0)
    try:
        while True:
            len(notes)
    except Exception:
        notes.append("swallowed")


@mode("async")
async def block_loop(seconds: float) -> None:
    time.sleep(seconds)  # noqa: ASYNC251 - what it should not do


@mode("async")
async def mark() -> str | None:
    before = marker.get()
    marker.set("marked")
    return before


@mode("thread")
def spin() -> None:
    try:
        while True:
            len(notes)
    except BaseException as error:
        notes.append(type(error).__name__)
        raise


@mode("thread")
def beat_until_stopped() -> None:
    try:
        while True:
            heartbeat()
            time.sleep(0.005)
    except BaseException as error:
        notes.append(type(error).__name__)
        raise


@mode("thread")
def exit_thread() -> None:
    os._exit(3)


@mode("thread")
def sys_exit_thread() -> None:
    sys.exit("bye")


@mode("thread")
def large(size: int) -> dict[str, Any]:
    return {"items": [1, {"blob": "x" * size}]}


@mode("thread")
def lock() -> Any:
    return {"deep": [threading.Lock()]}


@mode("process")
def path_process() -> str | None:
    return os.environ.get("PYTHONPATH")


@mode("process")
def exit_process(code: int) -> None:
    print("last words", file=sys.stderr)  # noqa: T201 - what a user writes
    os._exit(code)


@mode("process")
def kill_itself() -> None:
    os.kill(os.getpid(), 9)


@mode("process")
def sys_exit_process() -> None:
    sys.exit(4)


@mode("process")
def hang_process(path: str) -> None:
    child = subprocess.Popen(["sleep", "60"])
    with open(path, "w") as file:
        file.write(f"{os.getpid()} {child.pid}")
    while True:
        time.sleep(1)


@mode("process")
def beating_process(times: int) -> None:
    for beat in range(times):
        heartbeat(beat)
        time.sleep(0.02)
    time.sleep(60)


@mode("process")
async def async_process(number: int) -> int:
    await asyncio.sleep(0)
    return number + 1


@mode("process")
def declined_process() -> None:
    raise Declined("no money", 7)


@mode("process")
def nap_process(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()
