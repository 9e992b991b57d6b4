"""100,000 runs asleep: what they cost, and how soon 10,000 that are due at once go on."""

from __future__ import annotations

import time

from bench import Figure, figure, machine, scratch, server

RUNS = 100_000
DUE = 10_000
DUE_AFTER_S = 25.0
IDLE_S = 5.0
FAR = 4_000_000_000.0


def main() -> list[Figure]:
    """Measure and print."""
    print(machine())
    found: list[Figure] = []
    with scratch() as folder:
        path = str(folder / "journal.db")
        with server(path) as first:
            empty = first.rss()
            spent = first.ask("start", flow="nap", prefix="far", count=RUNS - DUE, arg=FAR)
            due = time.time() + DUE_AFTER_S
            more = first.ask("start", flow="nap", prefix="due", count=DUE, arg=due)
            first.ask("settle")
            each = (first.rss() - empty) / RUNS
            seconds = spent["seconds"] + more["seconds"]
            found.append(figure("runs put to sleep/s", RUNS / seconds, "runs/s"))
            found.append(
                figure("memory of a sleeping run, as started", each / 1024, "KiB",
                       beside=f"{empty / 2**20:.0f} MiB without", value_limit=("<=", 1.0))
            )  # fmt: skip
        with server(path) as second:
            started = time.perf_counter() - second.began
            each = (second.rss() - empty) / RUNS
            found.append(figure("start with 100,000 runs asleep", started, "s"))
            found.append(
                figure("memory of a sleeping run, after a restart", each / 1024, "KiB",
                       beside=f"{empty / 2**20:.0f} MiB without", value_limit=("<=", 1.0))
            )  # fmt: skip
            before = second.ask("stats")["cpu"]
            time.sleep(IDLE_S)
            idle = (second.ask("stats")["cpu"] - before) / IDLE_S * 100
            found.append(figure("CPU with 100,000 runs asleep", idle, "%"))
            if time.time() > due:
                raise RuntimeError("this machine is too slow: the runs were due before they slept")
            late = second.ask("ended", count=DUE)["at"] - due
            found.append(
                figure("10,000 due at once, all resumed and ended in", late, "s",
                       value_limit=("<=", 5.0))
            )  # fmt: skip
    return found


if __name__ == "__main__":
    main()
