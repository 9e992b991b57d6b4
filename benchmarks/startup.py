"""How long `batuta --help` and `import batuta` take beside a Python that does nothing."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from bench import Figure, figure, machine

ROUNDS = 15
HELP_MS = 100.0
IMPORT_MS = 80.0


def span(*arguments: str) -> float:
    """Milliseconds of one Python process."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - began) * 1e3


def main() -> list[Figure]:
    """Measure and print."""
    print(machine())
    wanted = {"batuta --help": ("-m", "batuta", "--help"), "import batuta": ("-c", "import batuta")}
    bare: list[float] = []
    spans: dict[str, list[float]] = {name: [] for name in wanted}
    for _ in range(ROUNDS):
        bare.append(span("-c", "pass"))
        for name, arguments in wanted.items():
            spans[name].append(span(*arguments))
    nothing = statistics.median(bare)
    found: list[Figure] = []
    for name, most in (("batuta --help", HELP_MS), ("import batuta", IMPORT_MS)):
        above = statistics.median(one - other for one, other in zip(spans[name], bare, strict=True))
        found.append(
            figure(f"{name}, above the bare interpreter", above, "ms",
                   beside=f"python -c pass {nothing:.0f} ms", value_limit=("<=", most))
        )  # fmt: skip
    return found


if __name__ == "__main__":
    main()
