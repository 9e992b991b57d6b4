"""What a verb asks of a journal, whether a server holds it or nobody does."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, Self

from batuta.cli.place import find
from batuta.kernel.event import Event

Row = dict[str, Any]

# Who can answer; imported when needed, for each needs something that the others do not.
REMOTE = "batuta.cli.remote"  # HTTP
LOCAL = "batuta.cli.local"  # a database
HOSTED = "batuta.cli.hosted"  # the definitions, and a system that runs them


class Reader(Protocol):
    """Reads. Rows and views are JSON-able, the same from a server and from a file."""

    served: bool
    """Whether a server goes on with the runs, also when this command has ended."""

    @property
    def shown(self) -> str:
        """What it talks to, in words."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...

    def runs(
        self,
        *,
        statuses: Sequence[str] = (),
        workflow: str | None = None,
        text: str | None = None,
        attributes: dict[str, Any] | None = None,
        limit: int = 50,
    ) -> list[Row]:
        """Runs, the newest first."""

    def run(self, id: str) -> Row:
        """The view of one run. Raises `NotFound`."""

    def why(self, id: str) -> list[Row]:
        """The chain of causes. Raises `NotFound`."""

    def head(self) -> int:
        """The newest event's seq."""

    def events(
        self,
        after: int = 0,
        limit: int = 1000,
        *,
        types: Sequence[str] = (),
        subject: str | None = None,
        newest_first: bool = False,
    ) -> list[Event]:
        """Events behind a seq."""

    def follow(
        self, after: int, *, types: Sequence[str] = (), subject: str | None = None
    ) -> Iterator[Event | None]:
        """Events behind a seq, for ever; None now and then, so that the caller can draw."""

    def output(self, id: str) -> list[str]:
        """What the steps of a run printed: `TIME KEY.ATTEMPT out|err TEXT`."""

    def dead(self, limit: int) -> list[Row]:
        """The deliveries that were given up."""


class Client(Reader, Protocol):
    """Reads, knows the definitions, and asks."""

    def workflows(self) -> list[Row]:
        """What can be started."""

    def schedules(self) -> list[Row]:
        """What starts by itself."""

    def submit(self, type: str, subject: str, data: Row) -> Row:
        """Ask for something; it is durable when this returns."""

    def query(self, run: str, name: str, args: list[Any]) -> Any:
        """Ask a run a question."""


def reading(args: argparse.Namespace) -> Reader:
    """Whoever can tell: the server that was named, the one that runs here, or the journal."""
    found: Reader = _connect(args, LOCAL)
    return found


def asking(args: argparse.Namespace) -> Client:
    """Whoever can do something: a server as for `reading`, or a system in this process."""
    found: Client = _connect(args, HOSTED)
    return found


def _connect(args: argparse.Namespace, here: str) -> Any:
    place = find(args)
    server = None if place.url else place.server()
    remote = place.url is not None or server is not None
    return importlib.import_module(REMOTE if remote else here).connect(place, server)
