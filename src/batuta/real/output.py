"""What steps print: caught per command, secrets hidden, kept in one bounded file per run."""

from __future__ import annotations

import hashlib
import io
import os
import re
import sys
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, Protocol, TextIO

from batuta.real.context import Output, running
from batuta.real.mask import Mask, MaskedStream

LINE_LIMIT = 16 * 1024
RUN_LIMIT = 10 * 1024 * 1024
OPEN_FILES = 64


class LogSink(Protocol):
    """Keeps what commands print. Called from any thread."""

    def write(self, command: str, stream: str, text: str) -> bool:
        """Keep whole lines (`stream`: `out` or `err`); False: nothing more is kept."""

    def end(self, command: str, dropped: int) -> None:
        """The command has ended; so many more bytes of it were not even offered."""


def log_path(folder: Path, run: str) -> Path:
    """The file that holds what the steps of a run printed."""
    name = re.sub(r"[^A-Za-z0-9._@:-]", "_", run)
    if name != run or len(name) > 100 or name.startswith("."):
        name = f"{name[:80].lstrip('.')}~{hashlib.sha256(run.encode()).hexdigest()[:16]}"
    return folder / f"{name}.log"


class _RunFile:
    __slots__ = ("descriptor", "size")

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self.descriptor = os.open(path, flags, 0o600)
        self.size = os.fstat(self.descriptor).st_size


class LogFiles:
    """One file per run that only grows, to a limit: a line is `TIME KEY.ATTEMPT out|err TEXT`.

    Parameters
    ----------
    folder: where the files are; made when first needed.
    now: the time, ns.
    limit: bytes per run; what comes after them is counted and dropped.
    """

    def __init__(self, folder: Path, now: Callable[[], int], limit: int = RUN_LIMIT) -> None:
        self._folder = folder
        self._now = now
        self._limit = limit
        self._files: OrderedDict[str, _RunFile] = OrderedDict()
        self._dropped: dict[str, int] = {}
        self._lock = Lock()

    def write(self, command: str, stream: str, text: str) -> bool:
        """Keep whole lines; False where the run's file is full."""
        run, _, place = command.rpartition("/")
        with self._lock:
            file = self._open(run)
            stamp = self._stamp()
            head = f"{stamp} {place} {stream} "
            lines = "".join(f"{head}{line}\n" for line in text.splitlines())
            data = lines.encode("utf-8", "backslashreplace")
            if file.size + len(data) > self._limit:
                room = max(0, data.rfind(b"\n", 0, max(0, self._limit - file.size)) + 1)
                self._dropped[command] = self._dropped.get(command, 0) + len(data) - room
                file.size = self._limit
                os.write(file.descriptor, data[:room])
                return False
            file.size += len(data)
            os.write(file.descriptor, data)
            return True

    def end(self, command: str, dropped: int) -> None:
        """Say in the file how much of the command's output is missing."""
        run, _, place = command.rpartition("/")
        with self._lock:
            dropped += self._dropped.pop(command, 0)
            if dropped:
                text = f"{self._stamp()} {place} err … {dropped:,} bytes dropped\n"
                os.write(self._open(run).descriptor, text.encode())

    def close(self) -> None:
        """Let go of the open files."""
        with self._lock:
            for file in self._files.values():
                os.close(file.descriptor)
            self._files.clear()

    def _stamp(self) -> str:
        time = datetime.fromtimestamp(self._now() / 1e9, UTC)
        return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03}Z"

    def _open(self, run: str) -> _RunFile:
        file = self._files.get(run)
        if file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = self._files[run] = _RunFile(log_path(self._folder, run))
            if len(self._files) > OPEN_FILES:
                os.close(self._files.popitem(last=False)[1].descriptor)
        else:
            self._files.move_to_end(run)
        return file


class StepOutput:
    """The output of one command on its way to the log: whole lines, secrets hidden."""

    def __init__(self, command: str, sink: LogSink, mask: Mask) -> None:
        self._command = command
        self._sink = sink
        self._mask = mask
        self._masked: dict[str, MaskedStream] = {}
        self._parts: dict[str, bytes] = {}
        self._full = False
        self._dropped = 0

    def write(self, stream: str, text: str) -> None:
        self.write_bytes(stream, text.encode("utf-8", "backslashreplace"))

    def write_bytes(self, stream: str, data: bytes) -> None:
        """Take output as it comes."""
        if self._full:
            self._dropped += len(data)
            return
        if self._mask:
            masked = self._masked.get(stream)
            if masked is None:
                masked = self._masked[stream] = MaskedStream(self._mask)
            data = masked.feed(data)
        data = self._parts.get(stream, b"") + data
        cut = data.rfind(b"\n") + 1
        if not cut and len(data) > LINE_LIMIT:
            cut = len(data)
        if cut:
            self._emit(stream, data[:cut])
            data = data[cut:]
        self._parts[stream] = data

    def end(self) -> None:
        """The command has ended: what is left of a line is one."""
        for stream, masked in self._masked.items():
            self._parts[stream] = self._parts.get(stream, b"") + masked.end()
        for stream, data in self._parts.items():
            if data:
                self._emit(stream, data)
        self._masked, self._parts = {}, {}
        with suppress(OSError):
            self._sink.end(self._command, self._dropped)
        self._dropped = 0

    def _emit(self, stream: str, data: bytes) -> None:
        if self._full:
            self._dropped += len(data)
        else:
            text = data.decode("utf-8", "replace")
            try:
                self._full = not self._sink.write(self._command, stream, text)
            except OSError:  # a full disk must not fail the step, only cost its output
                self._full = True
                self._dropped += len(data)


class _StepBytes(io.RawIOBase):
    """`sys.stdout.buffer` inside a step."""

    def __init__(self, stream: str, output: Output) -> None:
        self._stream = stream
        self._output = output

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        raw = bytes(data)
        self._output.write_bytes(self._stream, raw)
        return len(raw)


class Splitter(io.TextIOBase):
    """Stands in for `sys.stdout` or `sys.stderr`: a step's output goes to its log, all else on."""

    def __init__(self, stream: str, outside: TextIO) -> None:
        self._stream = stream
        self.outside = outside

    def write(self, text: str) -> int:
        output = _output()
        if output is None:
            return self.outside.write(text)
        output.write(self._stream, text)
        return len(text)

    def flush(self) -> None:
        if _output() is None:
            self.outside.flush()

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return _output() is None and self.outside.isatty()

    def fileno(self) -> int:
        return self.outside.fileno()

    def close(self) -> None:
        """A step, or whoever thinks that this is a file of its own, cannot close it."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.outside.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self.outside.errors

    @property
    def buffer(self) -> Any:
        """Where bytes go."""
        output = _output()
        return self.outside.buffer if output is None else _StepBytes(self._stream, output)


def _output() -> Output | None:
    context = running.get()
    if context is None:
        return None
    if context.output is None and context.opens is not None:
        context.output = context.opens(context.command)
    return context.output


class Capture:
    """Puts the splitters in place, once for all worlds of the process, and takes them away."""

    def __init__(self) -> None:
        self._users = 0
        self._lock = Lock()

    def install(self) -> None:
        """From now on, or still, the output of steps is caught."""
        with self._lock:
            self._users += 1
            if self._users == 1:
                sys.stdout = Splitter("out", sys.stdout)
                sys.stderr = Splitter("err", sys.stderr)

    def remove(self) -> None:
        """The last one to leave puts things back."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                for name in ("stdout", "stderr"):
                    stream = getattr(sys, name)
                    if isinstance(stream, Splitter):
                        setattr(sys, name, stream.outside)


capture = Capture()
