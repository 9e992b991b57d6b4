"""What the journal may forget: things that ended long ago and that nothing needs any more.

Kept, however old: every record that has not ended, dead deliveries, schedules; the events of
all these; events that a waiting, running or dead delivery is about; the direct cause of every
event of an unfinished thing; everything after the newest snapshot of any machine, which starts
from there; child runs of an unfinished run. A chain of causes ends where something was removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from batuta.kernel.payload import decode
from batuta.kernel.reading import INDEXED_CAUSE, Query, Transaction
from batuta.kernel.rows import Row

Begin = Callable[[], AbstractContextManager[Transaction]]

_ASKING = ("waiting", "running", "dead")
_KEPT_TYPES = ("schedule:",)


@dataclass(frozen=True, slots=True)
class _Needed:
    """Events that unfinished deliveries are about, by seq or by the id in their data."""

    seqs: set[int]
    ids: set[str]


def retain(begin: Begin, before: int, batch: int = 1000) -> int:
    """Remove records and events of things that ended before `before` (ns).

    Parameters
    ----------
    begin: starts a transaction that excludes writers. batch: how much one of them removes.

    Returns
    -------
    How many events and records were removed.
    """
    removed = _remove_records(begin, before, batch) + _remove_events(begin, before, batch)
    with begin() as run:
        run(
            "DELETE FROM inbox WHERE taken IS NOT NULL AND time < ?"
            " AND NOT EXISTS (SELECT 1 FROM event WHERE event.seq = inbox.taken)"
            " AND NOT EXISTS (SELECT 1 FROM subject WHERE subject.name = inbox.subject)",
            [before],
        )
        _remove_payloads(run)
    return removed


def _remove_records(begin: Begin, before: int, batch: int) -> int:
    removed, after = 0, (-1, "", "")
    while True:
        with begin() as run:
            rows = run(
                "SELECT ended, kind, id, status, data FROM record"
                " WHERE ended IS NOT NULL AND ended < ? AND seq <= ?"
                " AND (ended, kind, id) > (?, ?, ?)"
                " ORDER BY ended, kind, id LIMIT ?",
                [before, _bound(run), *after, batch],
            )
            if not rows:
                return removed
            for ended, kind, id, status, data in rows:
                after = (ended, kind, id)
                if kind == "schedule" or status in _ASKING or _has_parent(run, kind, data):
                    continue
                run("DELETE FROM record WHERE kind = ? AND id = ?", [kind, id])
                removed += 1


def _bound(run: Query) -> int:
    """The seq up to which no machine will read again when it starts from its snapshot."""
    oldest = run(
        "SELECT min(newest) FROM (SELECT max(seq) AS newest FROM snapshot"
        " GROUP BY name, partition) AS each_machine"
    )[0][0]
    return int(oldest) if oldest is not None else 2**62


def _has_parent(run: Query, kind: str, data: str) -> bool:
    """Whether this is a child of a run that has not ended."""
    parent = decode(data).get("parent") if kind == "run" else None
    if not isinstance(parent, dict):
        return False
    return bool(
        run(
            "SELECT 1 FROM record WHERE kind = 'run' AND id = ? AND ended IS NULL",
            [parent.get("run")],
        )
    )


def _remove_events(begin: Begin, before: int, batch: int) -> int:
    removed, after = 0, 0
    while True:
        with begin() as run:
            rows = run(
                "SELECT seq, time, subject, number, data, large FROM events"
                " WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
                [after, _bound(run), batch],
            )
            old = [row for row in rows if row[1] < before]
            if not old:
                return removed
            after = rows[-1][0]
            kept = _owned(run, {row[2] for row in old})
            needed = _needed(run)
            free = [row for row in old if row[2] not in kept and not _is_needed(row, needed)]
            causes = _causes_of_unfinished(run, [row[0] for row in free])
            gone = [row for row in free if row[0] not in causes]
            if gone:
                _delete(run, gone)
                removed += len(gone)


def _owned(run: Query, subjects: set[str]) -> set[str]:
    """Which of these subjects have a record, or are a schedule's."""
    owned = {subject for subject in subjects if subject.startswith(_KEPT_TYPES)}
    for (kind,) in run("SELECT DISTINCT kind FROM record"):
        for chunk in _chunks(sorted(subjects - owned)):
            marks = ",".join("?" * len(chunk))
            rows = run(f"SELECT id FROM record WHERE kind = ? AND id IN ({marks})", [kind, *chunk])
            owned.update(row[0] for row in rows)
    return owned


def _needed(run: Query) -> _Needed:
    marks = ",".join("?" * len(_ASKING))
    rows = run(f"SELECT data FROM record WHERE kind = 'delivery' AND status IN ({marks})", _ASKING)
    events = [decode(row[0]).get("event") for row in rows]
    return _Needed(
        {event for event in events if isinstance(event, int)},
        {event for event in events if isinstance(event, str)},
    )


def _is_needed(row: Row, needed: _Needed) -> bool:
    seq, _, _, _, data, large = row
    if seq in needed.seqs:
        return True
    if not needed.ids:
        return False
    return (large is not None and '"id"' in large) or decode(data).get("id") in needed.ids


def _causes_of_unfinished(run: Query, seqs: list[int]) -> set[int]:
    """Which of these are the cause of an event whose subject is a record that goes on.

    Consequences of their own subject need not be found: that has ended, or they were not here.
    """
    causes: set[int] = set()
    for chunk in _chunks(seqs):
        marks = ",".join("?" * len(chunk))
        follow = [seq + 1 for seq in chunk]
        rows = run(
            f"SELECT cause, subject FROM events WHERE cause IN ({marks}) AND {INDEXED_CAUSE}"
            f" UNION ALL SELECT cause, subject FROM events WHERE seq IN ({marks})"
            " AND cause = seq - 1",
            [*chunk, *follow],
        )
        goes_on = _unfinished(run, {row[1] for row in rows})
        causes.update(row[0] for row in rows if row[1] in goes_on)
    return causes


def _unfinished(run: Query, subjects: set[str]) -> set[str]:
    found: set[str] = set()
    for (kind,) in run("SELECT DISTINCT kind FROM record"):
        for chunk in _chunks(sorted(subjects)):
            marks = ",".join("?" * len(chunk))
            rows = run(
                f"SELECT id FROM record WHERE kind = ? AND ended IS NULL AND id IN ({marks})",
                [kind, *chunk],
            )
            found.update(row[0] for row in rows)
    return found


def _delete(run: Query, rows: list[Row]) -> None:
    seqs = [row[0] for row in rows]
    # The head is kept apart from now on: the last event may be among those that go.
    run(
        "UPDATE head SET seq = CASE WHEN seq > (SELECT max(seq) FROM event) THEN seq"
        " ELSE (SELECT max(seq) FROM event) END"
    )
    low = run("SELECT low FROM head")[0][0]
    new_low = max(low, seqs[-1])
    run(
        "UPDATE head SET low = ?, kept = kept + ?, swept = swept + 1",
        [new_low, new_low - low - len(seqs)],
    )
    for chunk in _chunks(seqs):
        marks = ",".join("?" * len(chunk))
        run(f"DELETE FROM event WHERE seq IN ({marks})", chunk)
        run(f"DELETE FROM link WHERE seq IN ({marks})", chunk)
    for chunk in _chunks(sorted({row[3] for row in rows})):
        marks = ",".join("?" * len(chunk))
        run(
            f"DELETE FROM subject WHERE id IN ({marks})"
            " AND NOT EXISTS (SELECT 1 FROM event WHERE event.subject = subject.id)",
            chunk,
        )


def _remove_payloads(run: Query) -> None:
    used: set[str] = set()
    for table in ("event", "record", "inbox"):
        for (large,) in run(f"SELECT large FROM {table} WHERE large IS NOT NULL"):
            used.update(decode(large).values())
    stored: Iterable[Row] = run("SELECT digest FROM payload")
    for chunk in _chunks([digest for (digest,) in stored if digest not in used]):
        run(f"DELETE FROM payload WHERE digest IN ({','.join('?' * len(chunk))})", chunk)


def _chunks(values: list[Any], size: int = 500) -> Iterable[list[Any]]:
    return (values[at : at + size] for at in range(0, len(values), size))
