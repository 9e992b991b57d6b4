"""10,000 runs in flight, `kill -9` of the server, start: until all of them go on."""

from __future__ import annotations

import time

from bench import Figure, figure, machine, scratch, server

RUNS = 10_000
ROUNDS = 2


def crash() -> tuple[float, float]:
    """Seconds from the start after the crash until all steps are performed again, and until
    all runs have ended."""
    with scratch() as folder:
        path = str(folder / "journal.db")
        with server(path, gate=RUNS, concurrency=2 * RUNS) as first:
            first.ask("start", flow="held", prefix="r", count=RUNS, arg=0)
            first.ask("gate")
        # Leaving the block is the `kill -9`.
        began = time.time()
        with server(path, gate=RUNS, concurrency=2 * RUNS) as second:
            performing = second.ask("gate")["at"] - began
            done = second.ask("open_gate", count=RUNS)["at"] - began
    return performing, done


def main() -> list[Figure]:
    """Measure and print."""
    print(machine())
    spans = [crash() for _ in range(ROUNDS)]
    performing, done = min(span[0] for span in spans), min(span[1] for span in spans)
    return [
        figure("10,000 runs in flight, kill -9: all perform again", performing, "s",
               beside="from the start of the new process", value_limit=("<=", 3.0)),
        figure("  and all have ended, a step and their end later", done, "s"),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
