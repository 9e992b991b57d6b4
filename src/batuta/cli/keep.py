"""The verbs around the journal's keeping: `backup`, `restore`, `env`, `version`."""

from __future__ import annotations

import argparse
import shlex
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path

from batuta.cli.out import Out, now
from batuta.cli.place import Place, find
from batuta.cli.storage import make_state, open_journal
from batuta.kernel.errors import BatutaError
from batuta.kernel.loop import partition_of
from batuta.kernel.restore import restore as put_back
from batuta.kernel.sqlite import SqliteJournal


def backup(args: argparse.Namespace, out: Out) -> int:
    """Copy the journal."""
    place = _own(find(args), "backup")
    target = Path(args.file)
    if target.exists():
        raise BatutaError(f"`{args.file}` is there already", hint="name a file that is not")
    if not target.absolute().parent.is_dir():
        raise BatutaError(f"the folder of `{args.file}` does not exist", hint="make it first")
    began = now()
    journal = open_journal(place, make=False)
    try:
        journal.backup(str(target))
    finally:
        journal.close()
    return _told(out, "Backed up", place.shown, target, began)


def restore(args: argparse.Namespace, out: Out) -> int:
    """Make a backup the journal."""
    place = _own(find(args), "restore")
    source = Path(args.file)
    if not source.is_file():
        raise BatutaError(f"`{args.file}` is no file", hint="name what `batuta backup` wrote")
    server = place.server()
    if server is not None:
        raise BatutaError(
            f"a server runs on {place.shown} (process {server.pid})",
            hint="stop it with Ctrl-C before you put another journal in its place",
        )
    if place.database is not None:
        return _restore_into(place, source, out)
    if place.file.exists() and not args.force:
        raise BatutaError(
            f"there is a journal in {place.shown}", hint="--force puts the backup in its place"
        )
    began = now()
    _check(source)
    make_state(place.state)
    _replace(source, place.file)
    return _told(out, "Restored", str(source), place.file, began)


def _restore_into(place: Place, source: Path, out: Out) -> int:
    """Fill an empty PostgreSQL journal; a backup of SQLite moves to it that way."""
    began = now()
    journal = open_journal(place, make=True)
    try:
        many = journal.partitions
        # A child run stands in its parent's partition: their ids begin alike.
        put_back(source, journal, lambda subject: partition_of(subject.partition("/")[0], many))
    finally:
        journal.close()
    return _told(out, "Restored", str(source), source, began)


def _check(source: Path) -> None:
    """A backup is read whole before anything is replaced by it."""
    journal = SqliteJournal(source)
    try:
        damage = next(iter(journal.verify()), None)
    finally:
        journal.close()
    if damage is not None:
        raise BatutaError(f"`{source}` is damaged: {damage}", hint="use another backup")


def _replace(source: Path, target: Path) -> None:
    """Copy beside the target and rename: at no instant is there half a journal."""
    temporary = target.with_name(f"{target.name}.new")
    temporary.unlink(missing_ok=True)
    journal = SqliteJournal(source)
    try:
        journal.backup(str(temporary))
    finally:
        journal.close()
    for suffix in ("-wal", "-shm"):
        target.with_name(target.name + suffix).unlink(missing_ok=True)
    temporary.replace(target)


def _own(place: Place, verb: str) -> Place:
    if place.url is not None:
        raise BatutaError(
            f"`{verb}` works on the journal itself, not through a server",
            hint="run it where the journal is, with --state FOLDER or --database URL",
        )
    return place


def _told(out: Out, verb: str, source: str, target: Path, began: int) -> int:
    size = target.stat().st_size if target.exists() else 0
    if out.json:
        out.value({"from": source, "to": str(target), "bytes": size})
    else:
        out.done(verb, f"{source} to {target} ({size / 1e6:.1f} MB)", now() - began)
    return 0


def env(args: argparse.Namespace, out: Out) -> int:
    """Print lines that a shell can evaluate."""
    place = find(args)
    server = place.server()
    values = {"BATUTA_STATE": str(place.state)}
    url = place.url or (server.url if server else None)
    if url:
        values = {"BATUTA_URL": url} | values
    if out.json:
        out.value(values)
        return 0
    for name, value in values.items():
        out.line(f"export {name}={shlex.quote(value)}")
    if not url:
        out.note(f"No server runs on {place.shown}; `batuta up` starts one")
    return 0


def version(args: argparse.Namespace, out: Out) -> int:
    """Print the version."""
    try:
        number = installed("batuta")
    except PackageNotFoundError:
        number = "unknown"
    if out.json:
        out.value({"version": number})
    else:
        out.line(f"batuta {number}")
    return 0
