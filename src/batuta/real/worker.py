"""The program that performs steps in a process of its own: `python -m batuta.real.worker FD`.

It reads one job at a time from the socket it was given and answers with heartbeats and a
result; each message is a length in four bytes and as much JSON.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import json
import os
import queue
import signal
import socket
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

from batuta.common.failure import bases_by_name, bases_of, failure_of
from batuta.kernel.world import Failure
from batuta.real.call import Refused, StepDefinition, arguments, exited, stored
from batuta.real.context import StepContext, running

PATH_VARIABLE = "BATUTA_PYTHONPATH"
Frame = dict[str, Any]


def pack(frame: Frame) -> bytes:
    """A message as bytes."""
    data = json.dumps(frame).encode()
    return len(data).to_bytes(4, "big") + data


class Channel:
    """The socket to the server; a thread reads it, so that the server's end is noticed."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self.jobs: queue.SimpleQueue[Frame] = queue.SimpleQueue()

    def send(self, frame: Frame) -> None:
        """Send one message; from any thread."""
        with self._lock:
            self._connection.sendall(pack(frame))

    def read(self) -> None:
        """Put jobs into the queue until the server is gone; then end, whatever runs here.

        A server that starts again performs the command again: two at once would be wrong.
        """
        try:
            while True:
                length = int.from_bytes(self._exactly(4), "big")
                self.jobs.put(json.loads(self._exactly(length)))
        except (EOFError, OSError):
            os.killpg(0, signal.SIGKILL)

    def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            part = self._connection.recv(min(count - len(data), 1 << 20))
            if not part:
                raise EOFError
            data += part
        return bytes(data)


def find_step(module: str, file: str, qualname: str) -> StepDefinition:
    """The step as its module defines it, imported by name or else from its file."""
    found: Any = _module(module, file)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    if found is None or not hasattr(found, "fn") or not hasattr(found, "codec"):
        raise Refused(
            Failure(
                "batuta:NotImportable",
                f"step `{qualname}` is not at the top level of {file}: another process cannot "
                "import it. Move it there, under the name of its function",
                retryable=False,
            )
        )
    step: StepDefinition = found
    return step


def _module(name: str, file: str) -> ModuleType:
    loaded = sys.modules.get(name)
    if loaded is not None and _same(getattr(loaded, "__file__", None), file):
        return loaded
    if name != "__main__":
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            spec = None
        if spec is not None and _same(spec.origin, file):
            return importlib.import_module(name)
    name = name if name != "__main__" else "__batuta_main__"
    loaded = sys.modules.get(name)
    if loaded is not None and _same(getattr(loaded, "__file__", None), file):
        return loaded
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} cannot be imported")
    folder = str(Path(file).parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _same(one: str | None, other: str) -> bool:
    return one is not None and os.path.realpath(one) == os.path.realpath(other)


def perform(job: Frame, channel: Channel) -> Frame:
    """Run one job; the answer to the server."""
    context = StepContext(job["id"], job["name"], job["attempt"], job.get("heartbeat"))
    context.send = lambda details: channel.send({"heartbeat": details})
    running.set(context)
    try:
        sys.path[:] = job["path"] + [entry for entry in sys.path if entry not in job["path"]]
        step = find_step(job["module"], job["file"], job["qualname"])
        channel.send({"began": True})  # its time runs from here: imports may have taken long
        args, kwargs = arguments(step, job)
        value = step.fn(*args, **kwargs)
        if inspect.iscoroutine(value):
            value = asyncio.run(value)
        return {"value": stored(step, value, job["limit"])}
    except Refused as refused:
        return {"failure": asdict(refused.failure), "bases": bases_by_name(refused.failure.type)}
    except (SystemExit, KeyboardInterrupt, GeneratorExit) as error:
        failure = exited(context, error)
        return {"failure": asdict(failure), "bases": bases_by_name(failure.type)}
    except BaseException as error:  # a step may raise anything; all of it is data to us
        return {"failure": asdict(failure_of(error)), "bases": bases_of(error)}
    finally:
        running.set(None)


def flush() -> None:
    """Let the server see what was printed before it sees the result."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue  # the step closed it


def main() -> None:
    """Perform jobs until the server is gone."""
    given = os.environ.pop(PATH_VARIABLE, "")
    os.environ["PYTHONPATH"] = given  # what steps start shall see the server's own
    if not given:
        del os.environ["PYTHONPATH"]
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    channel = Channel(socket.socket(fileno=descriptor))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")
    threading.Thread(target=channel.read, daemon=True, name="batuta-server").start()
    # Ctrl-C in a terminal reaches the server, which decides what happens to its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel.send({"ready": True})
    while True:
        job = channel.jobs.get()
        answer = perform(job, channel)
        flush()
        channel.send(answer)


if __name__ == "__main__":
    main()
