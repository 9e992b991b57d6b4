"""Putting a backup back."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from batuta.kernel.errors import Conflict, JournalCorrupt, JournalError
from batuta.kernel.journal import Journal
from batuta.kernel.sqlite import SqliteJournal


def restore(source: Path, journal: Journal, place: Callable[[str], int] | None = None) -> None:
    """Fill an empty journal from a backup of any journal; the backup is read and checked only.

    Parameters
    ----------
    source: the file that `backup` wrote.
    journal: empty, of any database.
    place: subject -> partition, needed where the new journal has another number of partitions.

    Raises
    ------
    JournalCorrupt: the backup is damaged. JournalTooNew: a later program wrote it.
    Conflict: the journal is not empty, or `place` is missing.
    """
    if not source.is_file():
        raise JournalError(f"there is no file {source}", hint="`batuta backup` makes one")
    with tempfile.TemporaryDirectory(prefix="batuta-restore-") as folder:
        copied = Path(folder) / "backup.db"
        shutil.copyfile(source, copied)
        backup = SqliteJournal(copied)
        try:
            for finding in backup.verify():
                raise JournalCorrupt(
                    f"the backup {source} is damaged: {finding}", hint="use an older backup"
                )
            if backup.partitions != journal.partitions and place is None:
                raise Conflict(
                    f"the backup has {backup.partitions} partitions and the journal"
                    f" {journal.partitions}",
                    hint="make the journal with the same number of partitions",
                )
            moved = place if backup.partitions != journal.partitions else None
            journal.load(backup.rows, moved)
        finally:
            backup.close()
