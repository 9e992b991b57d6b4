"""Opening the journal of a place."""

from __future__ import annotations

import importlib
from pathlib import Path

from batuta.cli.place import Place, no_journal
from batuta.kernel.errors import BatutaError
from batuta.kernel.journal import Journal
from batuta.kernel.sqlite import SqliteJournal


def open_journal(place: Place, *, make: bool) -> Journal:
    """The journal of a place.

    Parameters
    ----------
    make: whether it may be made where there is none.

    Raises
    ------
    BatutaError: there is none, or it cannot be used.
    """
    if place.database is not None:
        return _postgres(place.database)
    if not make and not place.file.exists():
        raise no_journal(place)
    make_state(place.state)
    return SqliteJournal(place.file)


def make_state(state: Path) -> None:
    """The folder for the journal, kept out of version control."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        ignore = state / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
    except OSError as error:
        raise BatutaError(
            f"`{state}` cannot be made: {error.strerror}",
            hint="name a folder that may be written with --state FOLDER",
        ) from error


def _postgres(database: str) -> Journal:
    if not database.startswith(("postgresql://", "postgres://")):
        raise BatutaError(
            f"`{database}` is no address of a database", hint="write postgresql://USER@HOST/NAME"
        )
    try:
        # The driver is an extra: whoever keeps the journal in a file does without it.
        module = importlib.import_module("batuta.kernel.postgres")
    except ModuleNotFoundError as error:
        raise BatutaError(
            f"PostgreSQL needs `{error.name}`, which is not installed",
            hint="pip install 'batuta[postgres]'",
        ) from error
    journal: Journal = module.PostgresJournal(database)
    return journal
