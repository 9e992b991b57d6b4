"""Two servers on one PostgreSQL: killed, suspended, joining, and sharing the limits of queues."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.conformance.postgres import Server as Database
from tests.crash.proof import OUTCOMES, PROJECT, check, check_performances, everything
from tests.crash.servers import Load, Performance, Server, performances, tell
from tests.crash.test_kill import await_end, execution, requests, start
from tests.crash.test_machines import AT_ONCE, ITEMS

from batuta.kernel.errors import Fenced
from batuta.kernel.event import Event
from batuta.kernel.journal import Batch
from batuta.kernel.postgres import PostgresJournal

pytestmark = [
    pytest.mark.crash,
    pytest.mark.postgres,
    pytest.mark.xdist_group("crash-postgres"),
]

SEED = 20_262
KILLS = 30
RUNS = 150
PARTITIONS = 8
Make = Callable[[str], Server]


@pytest.fixture
def effects(tmp_path: Path) -> Path:
    """The file that every effect is written to."""
    return tmp_path / "effects"


@pytest.fixture
def journal(postgres_server: Database) -> Iterator[PostgresJournal]:
    """An empty journal for both servers."""
    made = PostgresJournal(postgres_server.fresh(), partitions=PARTITIONS)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def make(
    journal: PostgresJournal, postgres_server: Database, tmp_path: Path, effects: Path
) -> Iterator[Make]:
    """Makes servers that are killed at the end."""
    schema = journal.dsn.partition("search_path=")[2].rstrip("'")
    options = quote(f"-c search_path={schema}")
    folder = quote(str(postgres_server.folder), safe="")
    database = f"postgresql://postgres@/postgres?host={folder}&options={options}"
    servers: list[Server] = []

    def server(name: str) -> Server:
        env = {"CRASH_EFFECTS": str(effects), "CRASH_SERVER": name}
        made = Server(PROJECT, tmp_path / name, database=database, name=name, env=env)
        servers.append(made)
        return made

    try:
        yield server
    finally:
        for made in servers:
            made.kill()


def owners(journal: PostgresJournal) -> dict[int, str]:
    """Who owns each partition now: the server's name."""
    now = time.time_ns()
    return {
        lease.partition: lease.owner.partition("@")[0]
        for lease in journal.leases()
        if lease.partition < PARTITIONS and lease.owner and lease.until > now
    }


def await_shares(journal: PostgresJournal, shares: dict[str, int], limit_s: float = 15) -> None:
    """Wait until each server owns so many partitions."""
    until = time.monotonic() + limit_s
    while True:
        found = list(owners(journal).values())
        if {name: found.count(name) for name in shares} == shares:
            return
        assert time.monotonic() < until, f"{owners(journal)} instead of {shares}"
        time.sleep(0.05)


def await_waits(journal: PostgresJournal, count: int) -> None:
    """Wait until so many runs wait for their event."""
    until = time.monotonic() + 20
    while True:
        events = journal.read(0, 100_000, types=("wait.set",))
        found = sum(event.data["kind"] == "event" for event in events)
        if found >= count:
            return
        assert time.monotonic() < until, f"{found} of {count} runs wait"
        time.sleep(0.05)


def test_thirty_kills_of_one_or_the_other_lose_nothing(
    make: Make, journal: PostgresJournal, effects: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    luck = random.Random(SEED)
    servers = [make("one").start(), make("two").start()]
    await_shares(journal, {"one": 4, "two": 4})
    load = Load(servers, requests(RUNS), pause_s=0.5).start(6)
    pings = Load(servers, [start("pings", n, f"pings-{n}") for n in range(4, RUNS, 6)], pause_s=0.2)
    try:
        for kill in range(KILLS):
            time.sleep(luck.uniform(0.0, 0.5))
            server = luck.choice(servers)
            server.kill()
            server.spawn()
            if luck.random() < 0.4:  # else the other, or the same, is killed while it starts
                server.await_ready()
            if kill == 2 * KILLS // 3:
                load.finish(40)
                await_waits(journal, len(pings.todo))
                pings.start(4)
        for server in servers:
            server.await_ready()
        pings.finish(30)
        await_end(journal, 40)
        for server in servers:
            server.stop()
        found = check(journal, effects, load.acknowledged + pings.acknowledged)
        _check_fenced(journal)
    except BaseException:
        tell(f"seed {SEED}\n{owners(journal)}")
        tell("\n".join(server.tail() for server in servers))
        raise
    finally:
        load.end()
        pings.end()
    assert found["runs"] >= RUNS
    with capsys.disabled():
        tell(f"\n  postgres, two servers, {KILLS} kills: {found}")


def _check_fenced(journal: PostgresJournal) -> None:
    """A commit under any epoch but the present one is refused, in each partition."""
    before = journal.head()
    for lease in journal.leases():
        if lease.partition < PARTITIONS:
            stale = Event("late", "x", {}, None, time.time_ns(), None, lease.partition)
            with pytest.raises(Fenced):
                journal.commit(Batch([stale], epochs={lease.partition: lease.epoch - 1}))
    assert journal.head() == before


def test_a_suspended_server_writes_nothing_when_it_wakes_and_goes_on(
    make: Make, journal: PostgresJournal, effects: Path
) -> None:
    one, two = make("one").start(), make("two").start()
    await_shares(journal, {"one": 4, "two": 4})
    load = Load([two], [start("slows", n, f"slows-{n}") for n in range(40)]).start(6)
    try:
        load.finish(20)
        time.sleep(0.2)
        one.send(signal.SIGSTOP)
        await_shares(journal, {"one": 0, "two": PARTITIONS}, 20)
        epochs = {lease.partition: lease.epoch for lease in journal.leases()}
        await_end(journal, 30)
        head = journal.head()
        one.send(signal.SIGCONT)
        await_shares(journal, {"one": 4, "two": 4}, 20)
        written = [event.type for event in journal.read(head, 1000)]
        assert not [type for type in written if type.startswith(("step.", "run."))], written
        taken = {lease.partition: lease.epoch for lease in journal.leases()}
        assert any(taken[part] > epochs[part] for part in range(PARTITIONS))
        one.await_ready()
        more = Load([one], [start("plain", n, f"plain-{n}") for n in range(30)]).start(4)
        more.finish(20)
        await_end(journal, 20)
    except BaseException:
        tell(f"{owners(journal)}\n{one.tail()}\n{two.tail()}")
        raise
    finally:
        load.end()
    one.stop()
    two.stop()
    check(journal, effects, load.acknowledged + more.acknowledged)
    servers = {performance.server for performance in performances(effects)}
    assert servers == {"one", "two"}


def test_a_server_that_joins_gets_partitions_and_no_step_is_repeated(
    make: Make, journal: PostgresJournal, effects: Path
) -> None:
    one = make("one").start()
    load = Load([one], [start("slows", n, f"slows-{n}") for n in range(160)], pause_s=0.1).start(4)
    try:
        time.sleep(1)
        two = make("two").start()
        await_shares(journal, {"one": 4, "two": 4}, 20)
        load.finish(30)
        await_end(journal, 30)
    except BaseException:
        tell(f"{owners(journal)}\n{one.tail()}")
        raise
    finally:
        load.end()
    one.stop()
    two.stop()
    found = check(journal, effects, load.acknowledged)
    assert {performance.server for performance in performances(effects)} == {"one", "two"}
    assert found["repeated"] == 0


def test_the_limit_of_a_queue_holds_over_both_servers(
    make: Make, journal: PostgresJournal, effects: Path
) -> None:
    servers = [make("one").start(), make("two").start()]
    await_shares(journal, {"one": 4, "two": 4})
    load = Load(servers, [start("narrows", n, f"narrows-{n}") for n in range(60)]).start(6)
    try:
        load.finish(30)
        await_end(journal, 40)
    except BaseException:
        tell("\n".join(server.tail() for server in servers))
        raise
    finally:
        load.end()
    for server in servers:
        server.stop()
    check(journal, effects, load.acknowledged)
    done = list(performances(effects))
    assert {performance.server for performance in done} == {"one", "two"}
    assert 5 <= most_at_once(done) <= 10


def most_at_once(done: list[Performance]) -> int:
    """How many performances overlapped at most."""
    changes = [(one.began, 1) for one in done] + [(one.ended or one.began, -1) for one in done]
    now = most = 0
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most


def test_the_map_of_a_killed_server_goes_on_on_the_other_and_repeats_nothing(
    make: Make, journal: PostgresJournal, effects: Path
) -> None:
    servers = {name: make(name).start() for name in ("one", "two")}
    await_shares(journal, {"one": 4, "two": 4})
    path, body = execution("many", 0, count=ITEMS)
    status, answer = servers["one"].ask("POST", path, body)
    assert status in (200, 201), answer
    while not effects.exists() or effects.read_bytes().count(b"end") < ITEMS // 2:
        time.sleep(0.01)
    (first,) = {performance.server for performance in performances(effects)}
    servers.pop(first).kill()
    (other,) = servers.values()
    ended = other.ending(answer["id"], 60)
    assert ended["status"] == "completed"
    assert ended["result"] == [-n for n in range(1, ITEMS + 1)]
    other.stop()
    done = list(performances(effects))
    assert {performance.server for performance in done} == {"one", "two"}
    assert check_performances(everything(journal), done) <= AT_ONCE
    assert len(done) <= ITEMS + AT_ONCE


def test_the_proof_finds_what_was_done_again_after_its_outcome(
    journal: PostgresJournal,
) -> None:
    asked = Event("step.asked", "r", {}, None, 5, "r/1.1")
    done = Event("step.completed", "r", {}, asked, 10, "r/1.1")
    assert done.type in OUTCOMES
    good = Performance("r/1", 1, "one", 6, 9)
    assert check_performances([asked, done], [good, good]) == 1
    with pytest.raises(AssertionError, match="after its outcome"):
        check_performances([asked, done], [good, Performance("r/1", 1, "two", 11, 12)])
    with pytest.raises(AssertionError, match="by nobody"):
        check_performances([asked, done], [])
    assert everything(journal) == []
