"""Output of processes: read as fast as it comes, kept to a limit, counted beyond it."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable

from batuta.real.mask import Mask

READ_SIZE = 64 * 1024
KEPT = 1024 * 1024


class Pipe:
    """The reading end of a pipe in the event loop.

    Parameters
    ----------
    take: gets each piece as it comes.

    Attributes
    ----------
    writer: the end for the other process; close it here once that one has it.
    ended: done when nobody can write any more.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, take: Callable[[bytes], None]) -> None:
        self._loop = loop
        self._take = take
        self._reader, self.writer = os.pipe()
        os.set_blocking(self._reader, False)
        self.ended: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._reader, self._read)
        self._open = True

    def close_writer(self) -> None:
        """Leave the writing end to the other process alone."""
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    def drain(self) -> None:
        """Take what is there at this moment."""
        while self._open and self._read():
            pass

    def close(self) -> None:
        """Read no more."""
        self.close_writer()
        if self._open:
            self._open = False
            self._loop.remove_reader(self._reader)
            os.close(self._reader)
            if not self.ended.done():
                self.ended.set_result(None)

    def _read(self) -> bool:
        try:
            data = os.read(self._reader, READ_SIZE)
        except BlockingIOError:
            return False
        if not data:
            self.close()
            return False
        self._take(data)
        return True


class Kept:
    """The beginning and the end of a stream; what lies between is counted and dropped."""

    def __init__(self, limit: int = KEPT) -> None:
        self._half = limit // 2
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self.dropped = 0

    def add(self, data: bytes) -> None:
        """Take the next piece."""
        room = self._half - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if not data:
            return
        self._tail.append(data)
        self._tail_size += len(data)
        while self._tail_size - len(self._tail[0]) >= self._half:
            gone = len(self._tail.popleft())
            self._tail_size -= gone
            self.dropped += gone

    def text(self, mask: Mask) -> str:
        """What was kept, secrets hidden, with a note where something is missing."""
        head, tail = bytes(self._head), b"".join(self._tail)
        excess = len(tail) - self._half
        if not self.dropped and excess <= 0:
            return mask.hide(head + tail).decode("utf-8", "replace")
        if excess > 0:
            tail = tail[excess:]
            self.dropped += excess
            self._tail = deque([tail])
            self._tail_size = len(tail)
        head, tail = mask.hide_edges(head, tail)
        note = f"\n… {self.dropped:,} bytes dropped …\n".encode()
        return (head + note + tail).decode("utf-8", "replace")

    def last_lines(self, mask: Mask, count: int = 20, limit: int = 4000) -> str:
        """The end of it, for the text of an error."""
        return "\n".join(self.text(mask).rstrip().splitlines()[-count:])[-limit:]
