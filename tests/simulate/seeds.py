"""Run seeds by hand: `python -m tests.simulate.seeds` without end, with numbers just those."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from itertools import count

from tests.simulate.oracle import Oracle
from tests.simulate.scenario import HORIZON, START, prepare, run

from batuta.common.duration import show


def say(text: str) -> None:
    """Write to the terminal."""
    sys.stdout.write(text)
    sys.stdout.flush()


def story(oracle: Oracle) -> str:
    """What happened, line by line, in order."""
    lines = []
    simulation = oracle.simulation
    for id, plan in oracle.scenario.plans.items():
        lines.append(f"{id}: {plan}")
    for at, owner, text in oracle.trace or []:
        lines.append(f"{show(at - START):>10} {owner:<12} {text}")
    lines += [
        f"{event.seq:>5} {show(event.time - START):>9} p{event.partition} {event.type:<16} "
        f"{event.subject:<14} <- {event.cause_seq} {event.command or ''} {event.data}"
        for event in simulation.journal.read(0, 1_000_000)
    ]
    lines.append(f"faults: {simulation.faults.rates} {simulation.faults.counts}")
    return "\n".join(lines)


def explain(seed: int) -> bool:
    """Run one seed and print all of it; whether it held."""
    simulation, oracle = prepare(seed)
    oracle.trace = []
    try:
        simulation.run(START + HORIZON)
        oracle.check()
        problem = None
    except Exception:
        problem = traceback.format_exc()
    say(story(oracle) + "\n")
    say((problem or f"seed {seed}: everything holds") + "\n")
    return problem is None


def endless(first: int) -> int:
    """Run seeds until one fails or somebody stops it."""
    began = time.monotonic()
    for seed in count(first):
        try:
            run(seed)
        except Exception as problem:
            say(f"\nseed {seed}: {type(problem).__name__}: {problem}\n")
            say(f"  `python -m tests.simulate.seeds {seed}` tells the whole story\n")
            return 1
        if seed % 100 == 99:
            rate = (seed - first + 1) / (time.monotonic() - began)
            say(f"\r{seed + 1 - first} seeds hold, {rate:.0f} a second")
    return 0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulate.seeds", description=__doc__)
    parser.add_argument("seed", type=int, nargs="*", help="tell the story of these seeds")
    parser.add_argument("--forever", action="store_true", help="go on until one fails (default)")
    parser.add_argument("--first", type=int, help="the first seed of an endless run")
    given = parser.parse_args()
    if given.seed:
        told = [explain(seed) for seed in given.seed]
        return 0 if all(told) else 1
    first = given.first if given.first is not None else time.time_ns() % 10**9
    try:
        return endless(first)
    except KeyboardInterrupt:
        say("\n")
        return 0


if __name__ == "__main__":
    sys.exit(main())
