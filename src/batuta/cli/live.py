"""Lines at the bottom of a terminal that are drawn again and again while others scroll by above."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Sequence

from batuta.cli.out import Out, cut, text_width

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
FRAME_S = 0.1


class Live:
    """A region of a few lines on `stderr`; without a terminal it draws nothing at all.

    Use as a context manager: the region is gone when it ends, also after an error.
    """

    def __init__(self, out: Out) -> None:
        self._out = out
        self._drawn = 0
        self._lines: list[str] = []
        self._next = 0.0

    def __enter__(self) -> Live:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    @property
    def due(self) -> bool:
        """Whether it is time for another frame; a caller that asks saves making it."""
        return self._out.live and time.monotonic() >= self._next

    def show(self, lines: Sequence[str]) -> None:
        """Draw these lines instead of the present ones."""
        if not self._out.live:
            return
        self._next = time.monotonic() + FRAME_S
        self._lines = list(lines)
        self._erase()
        self._draw()

    def above(self, text: str, lines: Sequence[str] | None = None) -> None:
        """A line that stays, above the region; `lines` are what the region shows from now on."""
        if lines is not None and self._lines:
            self._lines = list(lines)
        self._erase()
        self._out.note(text)
        self._draw()

    def clear(self) -> None:
        """Take the region away."""
        self._lines = []
        self._erase()

    def _erase(self) -> None:
        if self._drawn:
            self._out.stderr.write(f"\x1b[{self._drawn}F\x1b[J")
            self._out.stderr.flush()
            self._drawn = 0

    def _draw(self) -> None:
        if not self._lines:
            return
        width = shutil.get_terminal_size((100, 24)).columns - 1
        fitting = [fit(line, width) for line in self._lines]
        self._out.stderr.write("".join(f"{line}\n" for line in fitting))
        self._out.stderr.flush()
        self._drawn = len(fitting)


def fit(line: str, width: int) -> str:
    """A line that may carry colours, cut to a width; where it must be cut, without them."""
    bare = ESCAPE.sub("", line)
    return line if text_width(bare) <= width else cut(bare, width)


def bar(done: int, total: int, width: int = 30) -> str:
    """A bar of progress, in eighths of a column."""
    eighths = round(8 * width * min(done, total) / total) if total else 0
    full, part = divmod(eighths, 8)
    return ("█" * full + (" ▏▎▍▌▋▊▉"[part] if part else "")).ljust(width, "░")
