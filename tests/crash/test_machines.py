"""`kill -9` of a server that executes state machines, on SQLite."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.crash.proof import PROJECT, check, check_performances, everything
from tests.crash.servers import Server, performances
from tests.crash.test_kill import await_end, execution

from batuta.kernel.event import Event
from batuta.kernel.sqlite import SqliteJournal
from batuta.workflow.asl.history import HistoryEvent, history_of
from batuta.workflow.asl.ran import AnySteps
from batuta.workflow.model import Definitions

pytestmark = [pytest.mark.crash, pytest.mark.xdist_group("crash-machines")]

ITEMS = 10_000
AT_ONCE = 40


@pytest.fixture
def effects(tmp_path: Path) -> Path:
    """The file that every effect is written to."""
    return tmp_path / "effects"


@pytest.fixture
def server(tmp_path: Path, effects: Path) -> Iterator[Server]:
    """A server on SQLite, started."""
    env = {"CRASH_EFFECTS": str(effects), "CRASH_SERVER": "one"}
    made = Server(PROJECT, tmp_path / "state", name="one", env=env)
    try:
        yield made.start()
    finally:
        made.kill()


def submit(server: Server, n: int, machine: str = "parcel", **more: Any) -> str:
    path, body = execution(machine, n, **more)
    status, answer = server.ask("POST", path, body)
    assert status in (200, 201), answer
    id: str = answer["id"]
    return id


def events_of(journal: SqliteJournal, id: str) -> list[Event]:
    return [*journal.histories([id])]


def told(events: list[Event]) -> list[tuple[str, Any]]:
    """The history of an execution: types and details. What concurrent branches wrote is sorted,
    for it comes in the order in which the world answered."""
    found = history_of(Definitions(steps=AnySteps()), events)
    return sorted((each.type, _detail(each)) for each in found)


def _detail(event: HistoryEvent) -> str:
    details = event.details or {}
    return str({name: details[name] for name in ("name", "output", "error") if name in details})


def test_a_machine_that_is_killed_after_each_of_its_events_ends_as_the_undisturbed_one(
    server: Server, effects: Path
) -> None:
    assert server.ending(submit(server, 1))["status"] == "completed"
    journal = SqliteJournal(server.state / "journal.db")
    try:
        undisturbed = events_of(journal, "parcel:1")
        wanted = told(undisturbed)
        requests = [execution("parcel", 1)]
        for number in range(1, len(undisturbed)):
            n = 1 + 3 * number  # n % 3 is the same, so that as much is tried again
            id = submit(server, n)
            requests.append(execution("parcel", n))
            while len(events_of(journal, id)) < number:
                time.sleep(0.001)
            server.kill()
            server.start()
        await_end(journal, 20)
        for _, body in requests:
            types = [kind for kind, _ in told(events_of(journal, body["id"]))]
            assert types == [kind for kind, _ in wanted], body
        server.stop()
        found = check(journal, effects, requests)
    finally:
        journal.close()
    assert found["runs"] == len(undisturbed)


def test_no_item_that_has_finished_is_performed_again(server: Server, effects: Path) -> None:
    id = submit(server, 0, "many", count=ITEMS)
    for part in (0.3, 0.6):
        while not effects.exists() or effects.read_bytes().count(b"end") < part * ITEMS:
            time.sleep(0.01)
        server.kill()
        server.start()
    ended = server.ending(id, 60)
    assert ended["status"] == "completed"
    assert ended["result"] == [-n for n in range(1, ITEMS + 1)]
    server.stop()
    journal = SqliteJournal(server.state / "journal.db")
    try:
        events = everything(journal)
    finally:
        journal.close()
    done = list(performances(effects))
    repeated = check_performances(events, done)
    assert repeated <= 2 * AT_ONCE
    assert len(done) <= ITEMS + 2 * AT_ONCE
