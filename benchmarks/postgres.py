"""Two servers on one PostgreSQL, beside bare batched inserts and DBOS on the same database."""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import time
from contextlib import ExitStack
from multiprocessing.synchronize import Barrier
from typing import Any

import psycopg
from bench import HERE, Figure, event_row, figure, machine, paired, server
from peers import AT_ONCE, dbos

sys.path.insert(0, str(HERE.parent))
from tests.conformance.postgres import Server, running_server

SERVERS = 2
RUNS = 2000
RUNS_AT_ONCE = 250
"""Each server; together 500."""
ROUNDS = 3
SHARE_S = 30.0


def write(dsn: str, rows: int, batch: int, start: Barrier, first: int) -> None:
    """A bare writer on one connection: one COPY and one commit a batch."""
    with psycopg.connect(dsn) as connection:
        start.wait()
        for at in range(first, first + rows, batch):
            with connection.cursor() as cursor, cursor.copy("COPY event FROM STDIN") as copying:
                for row in range(at, at + batch):
                    copying.write_row(event_row(row))
            connection.commit()
        start.wait()


def floor(postgres: Server, rows: int, batch: int) -> float:
    """Rows per second of two bare writers in processes of their own."""
    dsn = postgres.fresh()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE event (seq int8 PRIMARY KEY, time int8, type text, subject int8,"
            " cause int8, command text, data text, crc int8)"
        )
        connection.execute("CREATE INDEX event_subject ON event (subject)")
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(SERVERS + 1)
    writers = [
        spawn.Process(target=write, args=(dsn, rows // SERVERS, batch, start, at * 10**9))
        for at in range(SERVERS)
    ]
    for writer in writers:
        writer.start()
    start.wait(60)
    began = time.perf_counter()
    start.wait(60)
    spent = time.perf_counter() - began
    for writer in writers:
        writer.join()
    return rows / spent


def throughput(postgres: Server) -> dict[str, float]:
    """Two servers that share the partitions, each with the runs of its own."""
    dsn = postgres.fresh()
    with ExitStack() as living:
        servers = [living.enter_context(server(dsn, name=f"server{at}")) for at in range(SERVERS)]
        until = time.perf_counter() + SHARE_S
        while any(one.ask("stats")["partitions"] != 16 / SERVERS for one in servers):
            if time.perf_counter() > until:
                raise RuntimeError("the servers did not share the partitions")
            time.sleep(0.2)
        drive(servers, "warm", RUNS_AT_ONCE)
        spent, found = drive(servers, "run", RUNS)
        for one in servers:
            one.ask("leave")
    events, commits = sum(one["events"] for one in found), sum(one["commits"] for one in found)
    steps = RUNS * SERVERS * 10
    return {
        "steps": steps / spent,
        "rows": events / spent,
        "events": events,
        "batch": max(1, round(events / commits)),
        "cpu_us": sum(one["cpu"] for one in found) / steps * 1e6,
    }


def drive(servers: list[Any], prefix: str, runs: int) -> tuple[float, list[dict[str, float]]]:
    """Let all servers run so many at the same time."""
    began = time.perf_counter()
    for one in servers:
        one.tell("drive", flow="ten", prefix=prefix, count=runs, at_once=RUNS_AT_ONCE)
    found = [one.answer() for one in servers]
    return time.perf_counter() - began, found


def main() -> list[Figure]:
    """Measure and print: in turns, the best of each."""
    print(machine())
    here: list[dict[str, float]] = []
    bare: list[float] = []
    there: list[float] = []
    with running_server() as postgres:
        for at in range(ROUNDS):
            here.append(throughput(postgres))
            bare.append(floor(postgres, int(here[-1]["events"]), int(here[-1]["batch"])))
            if at < ROUNDS - 1:
                how = ("threads", "async")[at % 2]
                there.append(dbos(url(postgres, at), how))
    steps, rows = max(one["steps"] for one in here), [one["rows"] for one in here]
    middle = statistics.median(one["steps"] for one in here)
    batch = statistics.median(one["batch"] for one in here)
    cpu = min(one["cpu_us"] for one in here)
    return [
        figure("durable steps, two servers, 500 runs at once", steps, "steps/s",
               beside=f"median {middle:,.0f}; {cpu:.0f} us CPU a step",
               value_limit=(">=", 15_000)),
        figure("  the rows that they are, median", statistics.median(rows), "rows/s",
               beside=f"2 bare writers {statistics.median(bare):,.0f} at {batch:.0f} a batch",
               ratio=paired(rows, bare), ratio_limit=(">=", 0.25)),
        figure(f"DBOS on the same PostgreSQL, {AT_ONCE} at once", max(there), "steps/s",
               beside=f"ours {steps:,.0f}", ratio=steps / max(there), ratio_limit=(">=", 20)),
    ]  # fmt: skip


def url(postgres: Server, at: int) -> str:
    """A new database of the server's, as DBOS wants its address."""
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE dbos{at}".encode())
    return f"postgresql+psycopg://postgres@/dbos{at}?host={postgres.folder}"


if __name__ == "__main__":
    main()
