"""`kill -9` of one server on SQLite, under load: nothing is lost, nothing done again."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.crash.proof import PROJECT, Request, check
from tests.crash.servers import Load, Server, tell

from batuta.kernel.journal import Journal
from batuta.kernel.sqlite import SqliteJournal

pytestmark = [pytest.mark.crash, pytest.mark.xdist_group("crash-sqlite")]

SEED = 20_261
KILLS = 30
RUNS = 240


def requests(count: int) -> list[Request]:
    """Starts of all kinds of runs, each with the signals and events that it needs after it."""
    todo: list[Request] = []
    for n in range(count):
        flow = ("plain", "asks", "undoes", "parcel", "waits", "plain")[n % 6]
        if flow == "parcel":
            todo.append(execution(flow, n))
            continue
        todo.append(start(flow, n, f"{flow}-{n}"))
        if flow == "asks":
            body = {"name": "answer", "value": n + 7}
            todo.append((f"/api/runs/asks-{n}/signal", body))
    return todo


def start(flow: str, n: int, id: str) -> Request:
    """The start of a run."""
    return "/api/runs", {"workflow": flow, "args": [n], "id": id}


def execution(machine: str, n: int, **more: Any) -> Request:
    """The start of an execution of a state machine."""
    input = {"n": n, **more}
    return "/api/runs", {"workflow": machine, "args": [input], "id": f"{machine}:{n}"}


def open_runs(journal: Journal) -> list[str]:
    """Runs that have not ended."""
    return [one.id for one in journal.records("run", statuses=("running", "sleeping", "parked"))]


def await_end(journal: Journal, limit_s: float) -> None:
    """Wait until every run has ended."""
    until = time.monotonic() + limit_s
    while left := open_runs(journal):
        if time.monotonic() > until:
            events = [
                f"#{event.seq} {event.type} {event.data}" for event in journal.histories(left[:3])
            ]
            raise AssertionError("\n".join([f"{len(left)} runs go on: {left[:10]}", *events]))
        time.sleep(0.05)


@pytest.fixture
def effects(tmp_path: Path) -> Path:
    """The file that every effect is written to."""
    return tmp_path / "effects"


@pytest.fixture
def server(tmp_path: Path, effects: Path) -> Iterator[Server]:
    """A server on SQLite, not started."""
    env = {"CRASH_EFFECTS": str(effects), "CRASH_SERVER": "one"}
    made = Server(PROJECT, tmp_path / "state", name="one", env=env)
    try:
        yield made
    finally:
        made.kill()


def test_thirty_kills_lose_nothing_and_repeat_nothing_that_was_recorded(
    server: Server, effects: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    luck = random.Random(SEED)
    server.start()
    todo = requests(RUNS)
    # Pings come last, so that those who wait for them do by then.
    load = Load([server], todo, pause_s=0.05).start(6)
    try:
        for _ in range(KILLS):
            time.sleep(luck.uniform(0.0, 0.5))
            server.kill()
            server.spawn()
            if luck.random() < 0.8:  # else it is killed again while it starts
                server.await_ready()
        server.await_ready()
        load.finish(30)
        waiting = [item for item in load.acknowledged if item[1].get("workflow") == "waits"]
        _await_waits(server, waiting)
        pinging = [
            start("pings", item[1]["args"][0], f"pings-{i}") for i, item in enumerate(waiting)
        ]
        pings = Load([server], pinging).start(6)
        pings.finish(20)
        journal = SqliteJournal(server.state / "journal.db")
        try:
            await_end(journal, 30)
        finally:
            server.stop()
        found = check(journal, effects, load.acknowledged + pings.acknowledged)
        journal.close()
    except BaseException:
        tell(f"seed {SEED}\n{server.tail()}")
        raise
    finally:
        load.end()
    # Asked again because the answer was lost with the server, when the run was over already.
    assert all("completed and cannot be signalled" in str(said) for _, said in load.refused)
    assert found["runs"] >= RUNS
    with capsys.disabled():
        tell(f"\n  sqlite, {KILLS} kills: {found}")


def _await_waits(server: Server, waiting: list[Request]) -> None:
    """Every run that waits for an event has come to that point."""
    until = time.monotonic() + 20
    for _, body in waiting:
        while not _waits(server.ask("GET", f"/api/runs/{body['id']}/history")[1]):
            assert time.monotonic() < until, body
            time.sleep(0.02)


def _waits(history: dict[str, Any]) -> bool:
    return any(event["type"] == "wait.set" for event in history["events"])


def test_a_second_server_on_one_file_is_refused_until_the_first_is_dead(
    server: Server, tmp_path: Path, effects: Path
) -> None:
    server.start()
    env = {"CRASH_EFFECTS": str(effects), "CRASH_SERVER": "two"}
    second = Server(PROJECT, server.state, name="two", env=env)
    try:
        for stopped in (False, True):
            if stopped:
                server.send(signal.SIGSTOP)
            second.log.unlink(missing_ok=True)
            second.spawn()
            assert second.wait(20) != 0
            told = second.tail()
            assert "a server runs on" in told or "another server is running" in told, told
            assert str(server.pid) in told, told
            assert "hint:" in told, told
        server.kill()
        began = time.monotonic()
        second.start()
        assert time.monotonic() - began < 5
        assert second.result("pings", 1)["status"] == "completed"
    finally:
        second.kill()
