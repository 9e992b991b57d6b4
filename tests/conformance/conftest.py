"""A PostgreSQL server for the session, and a journal of each kind for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.conformance.postgres import NoServer, Server, running_server

from batuta.kernel.postgres import PostgresJournal
from batuta.kernel.sqlite import SqliteJournal

AnyJournal = SqliteJournal | PostgresJournal


class Store:
    """One place where a journal is kept, which can be opened several times."""

    def __init__(self, kind: str, opener: Callable[[int], AnyJournal]) -> None:
        self.kind = kind
        self._opener = opener
        self._opened: list[AnyJournal] = []

    def open(self, partitions: int = 4) -> AnyJournal:
        """Another journal object on the same storage; in memory always the same one."""
        if self.kind == "memory" and self._opened:
            return self._opened[0]
        journal = self._opener(partitions)
        self._opened.append(journal)
        return journal

    def close(self) -> None:
        """Close all that was opened."""
        for journal in self._opened:
            journal.close()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """One server for all tests of this process; skips them where it cannot start."""
    try:
        context = running_server()
        server = context.__enter__()
    except NoServer as error:
        pytest.skip(f"NO POSTGRESQL, its tests are not run: {error}")
    try:
        yield server
    finally:
        context.__exit__(None, None, None)


@pytest.fixture(
    params=["memory", "file", pytest.param("postgres", marks=pytest.mark.postgres)],
)
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """Makes empty storage of each kind."""
    kind: str = request.param
    server: Server | None = None
    if kind == "postgres":
        server = request.getfixturevalue("postgres_server")
    made: list[Store] = []

    def make() -> Store:
        if server is not None:
            dsn = server.fresh()
            store = Store(kind, lambda partitions: PostgresJournal(dsn, partitions=partitions))
        else:
            path = ":memory:" if kind == "memory" else str(tmp_path / f"journal-{len(made)}.db")
            store = Store(kind, lambda partitions: SqliteJournal(path, partitions=partitions))
        made.append(store)
        return store

    try:
        yield make
    finally:
        for store in made:
            store.close()


@pytest.fixture
def store(stores: Callable[[], Store]) -> Store:
    """Storage of each kind, empty."""
    return stores()


@pytest.fixture
def journal(store: Store) -> AnyJournal:
    """A journal with four partitions."""
    return store.open()
