"""Where the journal of a command is: a server's address, a folder, or a database."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batuta.kernel.errors import BatutaError
from batuta.real.output import log_path

STATE = ".batuta"
DATABASE = "journal.db"
SERVER = "server.json"
LOGS = "logs"
PORT = 8420


@dataclass(frozen=True, slots=True)
class Server:
    """A server as it described itself when it started.

    Parameters
    ----------
    url: where it answers. pid: its process. started: when, ns.
    born: what tells the process from a later one of the same number; empty where unknown.
    """

    url: str
    pid: int
    started: int
    born: str = ""

    @property
    def alive(self) -> bool:
        """Whether its process is still there."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except (PermissionError, OverflowError):
            pass
        return not self.born or born(self.pid) in ("", self.born)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command works.

    Parameters
    ----------
    project: the folder with the definitions.
    state: the folder with the journal and what belongs to it.
    database: address of a PostgreSQL journal, or None for the file in `state`.
    url: a server that was named, or None.
    token: for the server.
    """

    project: Path
    state: Path
    database: str | None = None
    url: str | None = None
    token: str | None = None

    @property
    def file(self) -> Path:
        """The journal's file."""
        return self.state / DATABASE

    @property
    def shown(self) -> str:
        """How the journal is called in messages; a password in an address is left out."""
        if self.database is None:
            return short(self.file)
        head, at, tail = self.database.rpartition("@")
        return f"{head.rpartition('//')[0]}//…@{tail}" if at else self.database

    def server(self) -> Server | None:
        """The server that runs on this state, where there is one."""
        found = read_server(self.state)
        return found if found and found.alive else None


def find(args: argparse.Namespace, env: Mapping[str, str] | None = None) -> Place:
    """The place that the options, the environment and the working folder name.

    What is typed goes before the environment. The project is the nearest folder, from the
    present one upwards, that holds a `.batuta`; the present one where none does.
    """
    env = os.environ if env is None else env
    project = getattr(args, "project", None) or getattr(args, "dir", None)
    state = args.state or (None if project else env.get("BATUTA_STATE"))
    typed = bool(project or args.state or args.database)
    url = getattr(args, "url", None) or (None if typed else env.get("BATUTA_URL"))
    folder = Path(os.path.abspath(project)) if project else _nearest(Path.cwd())
    if state and not project and Path(state).name == STATE:
        folder = Path(os.path.abspath(state)).parent
    return Place(
        folder,
        Path(os.path.abspath(state)) if state else folder / STATE,
        args.database or (None if typed else env.get("BATUTA_DATABASE")),
        url.rstrip("/") if url else None,
        args.token or env.get("BATUTA_TOKEN"),
    )


def _nearest(folder: Path) -> Path:
    for each in (folder, *folder.parents):
        if (each / STATE).is_dir():
            return each
    return folder


def short(path: Path) -> str:
    """A path as it is shown: relative to the present folder where it is below it."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


# -- server.json -------------------------------------------------------------------------------


def born(pid: int) -> str:
    """When a process started, as its system counts; empty where that is not told."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[19]


def write_server(state: Path, url: str, now: int) -> None:
    """Say that this process serves the state from now on."""
    value = {"url": url, "pid": os.getpid(), "started": now, "born": born(os.getpid())}
    temporary = state / f"{SERVER}.{os.getpid()}"
    temporary.write_text(json.dumps(value) + "\n", encoding="utf-8")
    temporary.replace(state / SERVER)


def remove_server(state: Path) -> None:
    """Say that this process serves the state no more; another one's word stays."""
    found = read_server(state)
    if found and found.pid == os.getpid():
        (state / SERVER).unlink(missing_ok=True)


def read_server(state: Path) -> Server | None:
    """What the file says, dead or alive; None where it is not there or says nothing."""
    try:
        value: Any = json.loads((state / SERVER).read_text(encoding="utf-8"))
        return Server(
            str(value["url"]), int(value["pid"]), int(value["started"]), str(value.get("born", ""))
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def no_journal(place: Place) -> BatutaError:
    """The error of a command that wants to read a journal which is not there."""
    return BatutaError(
        f"there is no journal in `{short(place.state)}`",
        hint="go to the project's folder, name it with --project DIR, or a server with --url URL; "
        "`batuta up DIR` makes a journal",
    )


def read_output(state: Path, run: str) -> list[str]:
    """What the steps of a run printed: lines `TIME KEY.ATTEMPT out|err TEXT`."""
    try:
        text = log_path(state / LOGS, run).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.splitlines()
