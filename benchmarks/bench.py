"""What all benchmarks share: trivial workflows, server processes, floors, and figures."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from batuta import now, sleep, step, workflow
from batuta.common.problem import Problem
from batuta.kernel.loop import Turn
from batuta.kernel.world import Command
from batuta.real.system import System
from batuta.workflow.asl.machine import StateMachine
from batuta.workflow.model import Definitions

HERE = Path(__file__).resolve().parent

# -- what is run ----------------------------------------------------------------------------


@step
async def add(n: int) -> int:
    """The trivial step of every benchmark."""
    return n + 1


@step(repeatable=True)
async def add_repeatable(n: int) -> int:
    """The same, declared repeatable."""
    return n + 1


@workflow
async def ten(n: int) -> int:
    """Ten steps, one after the other."""
    for _ in range(10):
        n = await add(n)
    return n


@workflow
async def ten_repeatable(n: int) -> int:
    """The same with repeatable steps."""
    for _ in range(10):
        n = await add_repeatable(n)
    return n


@workflow
async def nap(until: float) -> float:
    """Sleep until a second since 1970."""
    await sleep(until - now().timestamp())
    return until


@dataclass
class Gate:
    """Where the steps of `held` wait, and how many of them do."""

    wanted: int = 0
    waiting: int = 0
    full: asyncio.Event | None = None
    opened: asyncio.Event | None = None


GATE = Gate()


@step
async def wait_at_gate(n: int) -> int:
    """Wait until whoever counts lets all go on."""
    GATE.waiting += 1
    if GATE.full is not None and GATE.waiting == GATE.wanted:
        GATE.full.set()
    if GATE.opened is not None:
        await GATE.opened.wait()
    return n


@workflow
async def held(n: int) -> int:
    """Three steps, one that waits, and one more."""
    for _ in range(3):
        n = await add(n)
    n = await wait_at_gate(n)
    return await add(n)


FLOWS = (ten, ten_repeatable, nap, held)

ADD = "arn:batuta:step:add"
FIVE = {
    "StartAt": "Take",
    "States": {
        "Take": {"Type": "Pass", "Parameters": {"n.$": "$"}, "Next": "One"},
        "One": {"Type": "Task", "Resource": ADD, "ResultPath": "$.n", "Next": "Which"},
        "Which": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.n", "NumericGreaterThan": 0, "Next": "Two"}],
            "Default": "Two",
        },
        "Two": {"Type": "Task", "Resource": ADD, "ResultPath": "$.n", "Next": "Done"},
        "Done": {"Type": "Succeed"},
    },
}
"""Five states, two of which ask for a trivial step."""

ITEMS = 10_000
MAP = {
    "QueryLanguage": "JSONata",
    "StartAt": "Items",
    "States": {
        "Items": {"Type": "Pass", "Output": f"{{% [1..{ITEMS}] %}}", "Next": "Each"},
        "Each": {
            "Type": "Map",
            "MaxConcurrency": 40,
            "ItemProcessor": {
                "StartAt": "Add",
                "States": {"Add": {"Type": "Task", "Resource": ADD, "End": True}},
            },
            "Output": "{% $count($states.result) %}",
            "End": True,
        },
    },
}
"""A trivial step for each of 10,000 items, 40 of them at once."""


def machines() -> list[StateMachine]:
    """The state machines of the benchmarks."""
    return [StateMachine("five", json.dumps(FIVE)), StateMachine("map", json.dumps(MAP))]


def definitions() -> Definitions:
    """Everything that a benchmark's system runs."""
    found = Definitions.of(*FLOWS, add)
    for each in machines():
        found.workflows[each.name] = each
    return found


@dataclass
class Benchmark:
    """Definitions as a project."""

    folder: Path
    definitions: Definitions = field(default_factory=definitions)
    name: str = "benchmark"
    problems: list[Problem] = field(default_factory=list)


async def drive(
    system: System, flow: str, ids: Sequence[str], at_once: int, args: Sequence[Any] = (0,)
) -> float:
    """Start these runs, `at_once` of them at any time, and wait for all to end: seconds.

    A run has ended when the commit of its end has returned. This is seen in the commits
    themselves: reading the journal meanwhile would be work that nobody asked for.
    """
    coming, asked, ended = iter(ids), 0, 0
    done = asyncio.Event()
    pending: set[asyncio.Future[Any]] = set()
    committed = system.loop.committed
    data = {"workflow": flow, "args": list(args)}

    def fill() -> None:
        nonlocal asked
        while asked - ended < at_once and (id := next(coming, None)) is not None:
            asked += 1
            asking = asyncio.ensure_future(system.submit("run.start", id, dict(data)))
            pending.add(asking)
            asking.add_done_callback(pending.discard)

    def counting(turn: Turn) -> list[Command]:
        nonlocal ended
        more = sum(record.status == "completed" for record in turn.batch.records)
        if more:
            ended += more
            fill()
            if ended == len(ids):
                done.set()
        return committed(turn)

    system.loop.committed = counting  # type: ignore[method-assign]
    began = time.perf_counter()
    fill()
    await done.wait()
    spent = time.perf_counter() - began
    system.loop.committed = committed  # type: ignore[method-assign]
    return spent


# -- server processes -----------------------------------------------------------------------


class Server:
    """A server process (`serve.py`) on a journal; commands go in and answers come out as JSON."""

    def __init__(self, journal: str, **options: Any) -> None:
        self.began = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "serve.py"), journal, json.dumps(options)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip
        self.ready = self.answer()

    def tell(self, do: str, **what: Any) -> None:
        """Send a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **what}) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Wait for the answer to a command."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the server process ended")
        found: dict[str, Any] = json.loads(line)
        return found

    def ask(self, do: str, **what: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self.tell(do, **what)
        return self.answer()

    def rss(self) -> int:
        """Bytes of memory that it has now."""
        done = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(self._process.pid)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return int(done.stdout) * 1024

    def kill(self) -> None:
        """`kill -9`."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


@contextmanager
def server(journal: str, **options: Any) -> Iterator[Server]:
    """A server process that is killed at the end."""
    found = Server(journal, **options)
    try:
        yield found
    finally:
        found.kill()


def environment(name: str, *requirements: str) -> Path:
    """The Python of an environment of a peer's own, made on first use."""
    folder = HERE / f".venv-{name}"
    python = folder / "bin" / "python"
    ready = folder / ".ready"
    if not ready.exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        subprocess.run(
            [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check",
             "--quiet", "install", *requirements],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        ready.touch()
    return python


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder on the disk that the repository is on (a RAM disk would flatter every figure)."""
    folder = Path(tempfile.mkdtemp(prefix=".bench-", dir=HERE))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# -- floors ---------------------------------------------------------------------------------


def event_row(at: int) -> tuple[Any, ...]:
    """A row as the event of a step's end has it."""
    return (
        at + 1, 1_790_000_000_000_000_000 + at, "step.completed", at % 100, at,
        f"/{at % 10}.1", '{"key":"3","attempt":1,"result":4,"started":17900000000000}',
        4_000_000_000 - at,
    )  # fmt: skip


class BareWriter:
    """A bare writer to SQLite: the same columns, one index, one commit a batch."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"floor-{time.monotonic_ns()}.db"
        self._rows = 0
        self._bare = sqlite3.connect(self._path, isolation_level=None)
        self._bare.execute("PRAGMA journal_mode = WAL")
        self._bare.execute("PRAGMA synchronous = FULL")
        self._bare.execute(
            "CREATE TABLE event (seq INTEGER PRIMARY KEY, time INT, type TEXT, subject INT,"
            " cause INT, command TEXT, data TEXT, crc INT)"
        )
        self._bare.execute("CREATE INDEX event_subject ON event (subject)")

    def commit(self, batch: int) -> None:
        """Write so many rows and wait for the disk."""
        first, self._rows = self._rows, self._rows + batch
        self._bare.execute("BEGIN")
        self._bare.executemany(
            "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [event_row(at) for at in range(first, self._rows)],
        )
        self._bare.execute("COMMIT")

    def close(self) -> None:
        """Close the file and remove it."""
        self._bare.close()
        self._path.unlink()


def sqlite_floor(folder: Path, rows: int, batch: int) -> float:
    """Rows per second of a bare writer."""
    bare = BareWriter(folder)
    began = time.perf_counter()
    for _ in range(0, rows, batch):
        bare.commit(batch)
    spent = time.perf_counter() - began
    bare.close()
    return rows / spent


def fsync_ms(folder: Path, times: int = 200) -> list[float]:
    """How long the disk takes to keep 4 KB more, sorted, ms."""
    spans: list[float] = []
    with (folder / "fsync").open("wb") as file:
        for _ in range(times):
            file.write(b"x" * 4096)
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            spans.append((time.perf_counter() - began) * 1e3)
    return sorted(spans)


def machine() -> str:
    """The machine in one line."""
    load = os.getloadavg()[0]
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, load {load:.1f}"
    )


# -- figures --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figure:
    """One thing that was measured.

    Parameters
    ----------
    beside: what was measured in the same run to compare it with.
    ratio: of the two. reach: what is to be reached, in words; passed: whether it was.
    """

    name: str
    value: float
    unit: str
    beside: str = ""
    ratio: float | None = None
    reach: str = ""
    passed: bool | None = None


Limit = tuple[str, float]
"""(`>=` or `<=`, bound)."""


def figure(
    name: str,
    value: float,
    unit: str,
    *,
    beside: str = "",
    ratio: float | None = None,
    ratio_limit: Limit | None = None,
    value_limit: Limit | None = None,
) -> Figure:
    """Print a figure in one line, and give it back."""
    words: list[str] = []
    passed: bool | None = None
    for limit, found, of in ((value_limit, value, unit), (ratio_limit, ratio, "x")):
        if limit is not None and found is not None:
            sign, bound = limit
            words.append(f"{sign} {bound:,g} {of}")
            held = found >= bound if sign == ">=" else found <= bound
            passed = held if passed is None else passed and held
    made = Figure(name, value, unit, beside, ratio, " and ".join(words), passed)
    verdict = "" if passed is None else "pass" if passed else "SHORT"
    print(
        f"{name:<46} {number(value):>10} {unit:<9} {beside:<46}"
        f" {'' if ratio is None else f'{number(ratio)} x':>9}  {made.reach:<32} {verdict}".rstrip(),
        flush=True,
    )
    return made


def paired(ours: Sequence[float], beside: Sequence[float]) -> float:
    """The ratio of two things that were measured in turns: the median over the rounds."""
    return statistics.median(one / other for one, other in zip(ours, beside, strict=True))


def number(value: float) -> str:
    """A number with as many digits as mean something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def as_json(figures: Sequence[Any]) -> list[Any]:
    """Figures for a file."""
    return [asdict(one) if isinstance(one, Figure) else one for one in figures]
