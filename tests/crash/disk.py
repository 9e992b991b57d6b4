"""A disk in memory, under the real SQLite, that remembers every write and can lose what was
not synced: whole sectors, any of them, or a part of one."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import apsw

from batuta.kernel.sqlite import Connection

SECTOR = 512
_names = count(1)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened to the disk; `mark` is not an operation but a note."""

    what: str  # write, truncate, sync, delete, mark
    file: str
    offset: int = 0
    data: bytes = b""


@dataclass(slots=True)
class Disk:
    """Files as the running program sees them, and how they came to be so."""

    files: dict[str, bytearray] = field(default_factory=dict)
    history: list[Step] = field(default_factory=list)
    connections: list[apsw.Connection] = field(default_factory=list)

    def do(self, step: Step) -> None:
        """Carry a step out and remember it."""
        self.history.append(step)
        apply(self.files, step)

    def unplug(self) -> None:
        """Let go of SQLite; what it still writes then is not looked at any more."""
        while self.connections:
            self.connections.pop().close()

    def mark(self, note: str) -> None:
        """Remember that the program was told something."""
        self.history.append(Step("mark", note))


def apply(files: dict[str, bytearray], step: Step) -> None:
    """What a step does to the files where nothing goes wrong."""
    if step.what == "write":
        content = files.setdefault(step.file, bytearray())
        if len(content) < step.offset:
            content.extend(bytes(step.offset - len(content)))
        content[step.offset : step.offset + len(step.data)] = step.data
    elif step.what == "truncate":
        del files.setdefault(step.file, bytearray())[step.offset :]
    elif step.what == "delete":
        files.pop(step.file, None)


def after_crash(history: Sequence[Step], survives: Callable[[], float]) -> dict[str, bytearray]:
    """The files as a machine finds them that lost its power after these steps.

    What came before the last sync of a file is there. Each sector that was written since
    is there (`survives()` near 0), is not (near 1), or is there in part (between).
    """
    safe: dict[str, bytearray] = {}
    pending: dict[str, list[Step]] = {}
    for step in history:
        if step.what == "sync":
            for late in pending.pop(step.file, ()):
                apply(safe, late)
        elif step.what == "delete":
            pending.pop(step.file, None)
            apply(safe, step)
        elif step.what != "mark":
            pending.setdefault(step.file, []).append(step)
    for steps in pending.values():
        for step in steps:
            for part in _sectors(step):
                fate = survives()
                if fate < 0.45:
                    apply(safe, part)
                elif fate < 0.55 and part.what == "write":
                    torn = part.data[: int((fate - 0.45) * 10 * len(part.data))]
                    apply(safe, Step("write", part.file, part.offset, torn))
    return safe


def _sectors(step: Step) -> Iterable[Step]:
    if step.what != "write":
        yield step
        return
    at, end = step.offset, step.offset + len(step.data)
    while at < end:
        stop = min(end, (at // SECTOR + 1) * SECTOR)
        yield Step("write", step.file, at, step.data[at - step.offset : stop - step.offset])
        at = stop


class _File:
    """What SQLite asks of an open file."""

    def __init__(self, disk: Disk, name: str) -> None:
        self._disk = disk
        self._name = name
        disk.files.setdefault(name, bytearray())

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        return bytes(self._disk.files[self._name][offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._disk.do(Step("write", self._name, offset, bytes(data)))

    def xTruncate(self, size: int) -> None:  # noqa: N802
        self._disk.do(Step("truncate", self._name, size))

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.do(Step("sync", self._name))

    def xFileSize(self) -> int:  # noqa: N802
        return len(self._disk.files[self._name])

    def xSectorSize(self) -> int:  # noqa: N802
        return SECTOR

    def xDeviceCharacteristics(self) -> int:  # noqa: N802
        return 0

    def xLock(self, level: int) -> None: ...  # noqa: N802

    def xUnlock(self, level: int) -> None: ...  # noqa: N802

    def xCheckReservedLock(self) -> bool:  # noqa: N802
        return False

    def xFileControl(self, op: int, pointer: int) -> bool:  # noqa: N802
        return False

    def xClose(self) -> None: ...  # noqa: N802


class _System(apsw.VFS):
    """The file system that has one disk."""

    def __init__(self, disk: Disk) -> None:
        self.name = f"disk-{next(_names)}"
        self._disk = disk
        super().__init__(self.name, "")

    def xOpen(self, name: Any, flags: list[int]) -> Any:  # noqa: N802
        flags[1] = flags[0]
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        return _File(self._disk, path or f"temporary-{next(_names)}")

    def xAccess(self, path: str, flags: int) -> bool:  # noqa: N802
        return path in self._disk.files

    def xDelete(self, path: str, sync: bool) -> None:  # noqa: N802
        self._disk.do(Step("delete", path))

    def xFullPathname(self, name: str) -> str:  # noqa: N802
        return name


class _Adapter:
    """apsw's connection with the errors of Python's own module."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> Any:
        return self._tried(self._connection.execute, sql, values)

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> Any:
        return self._tried(self._connection.executemany, sql, rows)

    def close(self) -> None:
        """The machine loses its power; nobody closes anything."""

    @staticmethod
    def _tried(run: Callable[..., Any], sql: str, values: Any) -> Any:
        try:
            return run(sql, values)
        except apsw.Error as error:
            known = sqlite3.DatabaseError(f"{type(error).__name__}: {error}")
            known.sqlite_errorcode = getattr(error, "extendedresult", apsw.SQLITE_ERROR)
            raise known from error


def connector(disk: Disk) -> Callable[[str, float], Connection]:
    """Opens connections on this disk; there is one, for a log without shared memory."""
    system = _System(disk)
    opened: list[_Adapter] = []

    def connect(path: str, busy_s: float) -> Connection:
        if not opened:
            connection = apsw.Connection(path, vfs=system.name)
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            disk.connections.append(connection)
            opened.append(_Adapter(connection))
        return opened[0]

    return connect


def fates(seed: str) -> Callable[[], float]:
    """For each sector a number between 0 and 1."""
    return random.Random(seed).random
