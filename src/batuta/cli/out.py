"""What the command line shows: colours, tables, trees, times and errors, as text that fits."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TextIO

from batuta.kernel.errors import BatutaError

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

COLOURS = {
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
    "grey": "90",
    "bold": "1",
}
# The colour of each status; a word without one is shown plainly.
STATUS_COLOURS = {
    "running": "blue",
    "sleeping": "cyan",
    "waiting": "cyan",
    "parked": "yellow",
    "completed": "green",
    "done": "green",
    "active": "green",
    "failed": "red",
    "dead": "red",
    "cancelled": "yellow",
    "terminated": "magenta",
    "continued": "grey",
}
ROUND = {
    "├─ ": "|- ",
    "└─ ": "`- ",
    "│  ": "|  ",
    "…": "...",
    "✓": "+",
    "✗": "x",
    "·": "-",
    "→": "->",
}


class Cell(NamedTuple):
    """A table's cell, or any piece of text, with its colour."""

    text: str
    colour: str = ""


class Column(NamedTuple):
    """A table's column. `shrink` allows its cells to be cut where the terminal is narrow; an
    id never is, since it shall be pasted."""

    title: str
    right: bool = False
    shrink: bool = False


class Node(NamedTuple):
    """A line of a tree, the lines that explain it, and what hangs below it."""

    text: str
    notes: Sequence[str] = ()
    children: Sequence[Node] = ()


class Out:
    """The two streams: data on `stdout`, everything that is said about it on `stderr`.

    Parameters
    ----------
    stdout, stderr: where to; the process's own by default.
    env: the environment (`NO_COLOR`, `TERM`).
    json: write data as JSON, one value a line.
    """

    def __init__(
        self,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
        *,
        env: Mapping[str, str] | None = None,
        json: bool = False,
    ) -> None:
        self.stdout = stdout or sys.stdout
        self.stderr = stderr or sys.stderr
        self.json = json
        env = os.environ if env is None else env
        plain = bool(env.get("NO_COLOR")) or env.get("TERM") == "dumb"
        self.live = self.stderr.isatty() and env.get("TERM") != "dumb"
        self._colour = {
            id(self.stdout): self.stdout.isatty() and not plain,
            id(self.stderr): self.stderr.isatty() and not plain,
        }

    @property
    def width(self) -> int | None:
        """Columns of the terminal that data goes to; None: it goes elsewhere, cut nothing."""
        return shutil.get_terminal_size((100, 24)).columns if self.stdout.isatty() else None

    def paint(self, text: str, colour: str) -> str:
        """Text for `stdout` in a colour, where it has any."""
        return paint(text, colour) if self._colour[id(self.stdout)] else text

    def tint(self, text: str, colour: str) -> str:
        """Text for `stderr` in a colour, where it has any."""
        return paint(text, colour) if self._colour[id(self.stderr)] else text

    def line(self, text: str = "") -> None:
        """A line of data."""
        _write(self.stdout, text)

    def value(self, value: Any) -> None:
        """A value as one line of JSON."""
        _write(self.stdout, json_line(value))

    def note(self, text: str = "") -> None:
        """A line about what is going on."""
        _write(self.stderr, text)

    def done(self, verb: str, rest: str, nanoseconds: int | None = None) -> None:
        """`Cancelled order-1 in 12 ms`: a past-tense verb, its object, and how long it took."""
        tail = "" if nanoseconds is None else f" in {span(nanoseconds)}"
        self.note(f"{self.tint(verb, 'green')} {rest}{self.tint(tail, 'grey')}")

    def warn(self, message: str, *, hint: str | None = None) -> None:
        """Something that is not as it should be and does not stop us."""
        self.note(f"{self.tint('warning:', 'yellow')} {message}")
        if hint:
            self.note(f"  {self.tint('hint:', 'cyan')} {hint}")

    def error(self, error: BatutaError, excerpt: Sequence[str] = ()) -> None:
        """What is wrong, where, and what to do."""
        self.note(f"{self.tint('error:', 'red')} {error.message}")
        if error.at:
            self.note(f"  --> {self.tint(error.at, 'cyan')}")
        for row in excerpt:
            self.note(row)
        if error.hint:
            self.note(f"  {self.tint('hint:', 'cyan')} {error.hint}")

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[str | Cell]]) -> None:
        """A table on `stdout`, as wide as the terminal at most."""
        for row in table(columns, rows, self.width, self.paint):
            self.line(row)

    def tree(self, nodes: Iterable[Node]) -> None:
        """Trees on `stdout`."""
        for node in nodes:
            for row in tree(node):
                self.line(row)

    def status(self, word: str) -> Cell:
        """A status in its colour."""
        return Cell(word, STATUS_COLOURS.get(word, ""))


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text + "\n")
    except UnicodeEncodeError:
        for sign, plain in ROUND.items():
            text = text.replace(sign, plain)
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()


def paint(text: str, colour: str) -> str:
    """Text with the codes of a colour around it."""
    return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m" if colour and text else text


def json_line(value: Any) -> str:
    """A value as JSON on one line, in the order of its fields."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def clean(text: str) -> str:
    """Text that may come from anywhere, without what would drive the terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def text_width(text: str) -> int:
    """How many columns a text takes."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(bool(unicodedata.combining(c)) for c in text)


def cut(text: str, width: int | None) -> str:
    """The text, or as much of its beginning as fits with a `…` behind it."""
    if width is None or text_width(text) <= width:
        return text
    kept, used = [], 1
    for c in text:
        used += text_width(c)
        if used > width:
            break
        kept.append(c)
    return "".join(kept) + "…"


def brief(value: Any, width: int | None) -> str:
    """A value as JSON, cut to a width."""
    return cut(clean(json_line(value)), width)


# -- tables and trees --------------------------------------------------------------------------


def table(
    columns: Sequence[Column],
    rows: Iterable[Sequence[str | Cell]],
    width: int | None = None,
    painter: Any = lambda text, colour: text,
) -> list[str]:
    """The lines of a table, its titles first.

    Parameters
    ----------
    columns: from left to right.
    rows: a cell for each column.
    width: of the terminal; None: as wide as needed.
    painter: what puts a colour around a text.
    """
    cells = [[_cell(c) for c in row] for row in rows]
    heads = [Cell(c.title.upper(), "grey") for c in columns]
    widths = _widths(columns, [heads, *cells], width)
    lines = []
    for row in [heads, *cells]:
        parts = []
        for column, cell, room in zip(columns, row, widths, strict=True):
            text = cut(cell.text, room)
            space = " " * (room - text_width(text))
            painted = painter(text, cell.colour)
            parts.append(space + painted if column.right else painted + space)
        lines.append("  ".join(parts).rstrip())
    return lines


def _cell(cell: str | Cell) -> Cell:
    cell = Cell(cell) if isinstance(cell, str) else cell
    return Cell(clean(cell.text), cell.colour)


def _widths(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int | None
) -> list[int]:
    widths = [max(text_width(row[i].text) for row in rows) for i in range(len(columns))]
    if width is None:
        return widths
    least = {i: max(8, text_width(c.title)) for i, c in enumerate(columns) if c.shrink}
    excess = sum(widths) + 2 * (len(widths) - 1) - width
    # The widest gives first, one column of the screen at a time, so that none is starved.
    while excess > 0:
        open_ = [i for i, low in least.items() if widths[i] > low]
        if not open_:
            break
        widths[max(open_, key=widths.__getitem__)] -= 1
        excess -= 1
    return widths


def tree(node: Node, first: str = "", rest: str = "") -> list[str]:
    """The lines of a tree."""
    lines = [first + node.text]
    bar = "│  " if node.children else "   "
    lines += [f"{rest}{bar}{note}" for note in node.notes]
    for index, child in enumerate(node.children):
        last = index == len(node.children) - 1
        lines += tree(child, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))
    return lines


# -- time --------------------------------------------------------------------------------------


def now() -> int:
    """This moment, ns since 1970-01-01 UTC."""
    return time.time_ns()


def span(ns: int) -> str:
    """A duration in the unit that suits it: `820 µs`, `12 ms`, `1.25 s`, `4 min 3 s`, `2 d 4 h`."""
    if ns < 0:
        return f"-{span(-ns)}"
    if ns < 999_500:
        return f"{ns / 1e3:.0f} µs"
    if ns < 999_500_000:
        return f"{ns / 1e6:.0f} ms"
    if ns < 10 * SECOND:
        return f"{ns / 1e9:.2f} s"
    if ns < MINUTE:
        return f"{ns / 1e9:.1f} s"
    for unit, name, below, below_name in (
        (DAY, "d", HOUR, "h"),
        (HOUR, "h", MINUTE, "min"),
        (MINUTE, "min", SECOND, "s"),
    ):
        if ns >= unit:
            small = ns % unit // below
            return f"{ns // unit} {name}" + (f" {small} {below_name}" if small else "")
    raise AssertionError(ns)


def ago(moment: int, at: int) -> str:
    """How far a moment is from now: `3 min ago`, `in 2 h`, `just now`."""
    distance = at - moment
    if abs(distance) < SECOND:
        return "just now"
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min"), (SECOND, "s")):
        if abs(distance) >= unit:
            count = abs(distance) // unit
            return f"{count} {name} ago" if distance > 0 else f"in {count} {name}"
    raise AssertionError(distance)


def clock(moment: int) -> str:
    """The local time of day: `14:05:09.120`."""
    seconds, rest = divmod(moment, SECOND)
    return f"{time.strftime('%H:%M:%S', time.localtime(seconds))}.{rest // 1_000_000:03d}"


def stamp(moment: int) -> str:
    """The local date and time: `2026-11-21 14:05:09`."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment // SECOND))


def iso(moment: int) -> str:
    """The time in UTC as programs read it: `2026-11-21T13:05:09.120000Z`."""
    seconds, rest = divmod(moment, SECOND)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest // 1000:06d}Z"
