"""All benchmarks one after the other, or those that are named: `run.py [NAME…]`.

Each is a module with a `main` that prints figures and gives them back; each has a process of its
own, so that none disturbs the next, and one that fails does not end the others.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import HERE, as_json, environment, machine

NAMES = (
    "startup", "durable", "machines", "recovery", "asleep", "simulate_steps", "simulate_memory",
    "postgres", "peers",
)  # fmt: skip
BESIDE = {"simulate_steps": ("simpy", "simpy")}
RESULTS = HERE / "results.json"
LIMIT_S = 240
GRACE_S = 20


def one(name: str, into: str) -> None:
    """Run one benchmark in this process, and leave its figures in a file."""
    sys.argv = [f"{name}.py"]
    found: Any = importlib.import_module(name).main()
    figures = as_json(found) if isinstance(found, list) else []
    Path(into).write_text(json.dumps(figures, default=str), "utf-8")


def measured(name: str) -> dict[str, Any]:
    """Run one benchmark in a process of its own."""
    print(f"\n-- {name} " + "-" * (130 - len(name)), flush=True)
    began, at = time.perf_counter(), datetime.now(UTC).isoformat(timespec="seconds")
    found: dict[str, Any] = {"began": at, "machine": machine(), "figures": []}
    with tempfile.TemporaryDirectory() as folder:
        into = Path(folder) / "figures.json"
        command = [sys.executable, __file__, "--one", name, str(into)]
        try:
            perform(command, surroundings(name))
            found["figures"] = json.loads(into.read_text("utf-8"))
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired, OSError) as error:
            found["error"] = str(error)
            print(f"{name} failed: {error}", file=sys.stderr, flush=True)
    found["seconds"] = round(time.perf_counter() - began, 1)
    return found


def surroundings(name: str) -> dict[str, str]:
    """The environment variables of a benchmark: what it is compared with in the same process
    stands in an environment of its own, too."""
    if name not in BESIDE:
        return dict(os.environ)
    library = environment(*BESIDE[name]).parent.parent / "lib"
    return {**os.environ, "PYTHONPATH": str(next(library.glob("python*/site-packages")))}


def perform(command: list[str], env: dict[str, str]) -> None:
    """Run a command with all that it starts; after the limit it is interrupted, which lets it
    stop its own servers, and then killed."""
    process = subprocess.Popen(command, start_new_session=True, env=env)
    try:
        code = process.wait(LIMIT_S)
    except BaseException:
        os.killpg(process.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if code:
        raise subprocess.CalledProcessError(code, command)


def there(name: str) -> bool:
    """Whether there is such a benchmark."""
    return importlib.util.find_spec(name) is not None


def main() -> int:
    names = sys.argv[1:] or [name for name in NAMES if there(name)]
    unknown = [name for name in names if name not in NAMES or not there(name)]
    if unknown:
        print(f"error: there is no benchmark `{unknown[0]}`", file=sys.stderr)
        print(f"  hint: there are {', '.join(filter(there, NAMES))}", file=sys.stderr)
        return 2
    results: dict[str, Any] = {}
    if RESULTS.exists():
        results = json.loads(RESULTS.read_text("utf-8"))
    for name in names:
        results[name] = measured(name)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    short = [f["name"] for n in names for f in results[n]["figures"] if f.get("passed") is False]
    failed = [name for name in names if "error" in results[name]]
    print(f"\nfalls short: {', '.join(short) or 'nothing'}; results are in {RESULTS.name}")
    return 1 if failed else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(*sys.argv[2:4])
    else:
        sys.exit(main())
