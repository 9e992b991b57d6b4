"""State machines: durable transitions, latency through boto3, a large Map, and virtual time."""

from __future__ import annotations

import asyncio
import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from bench import (
    FIVE,
    HERE,
    ITEMS,
    Benchmark,
    Figure,
    drive,
    environment,
    figure,
    machine,
    scratch,
    server,
)  # fmt: skip
from botocore.config import Config

from batuta.kernel.sqlite import SqliteJournal
from batuta.real.system import System
from batuta.real.tuning import tune
from batuta.simulate.machine import Performance, run
from batuta.workflow.asl.machine import StateMachine

EXECUTIONS = 1000
STATES = len(FIVE["States"])  # type: ignore[arg-type]
ROUNDS = 3
PEER = ("moto[server,stepfunctions]", "boto3")
PLAIN = {
    "StartAt": "A",
    "States": {
        "A": {"Type": "Pass", "Next": "B"},
        "B": {"Type": "Pass", "Result": {"n": 1}, "Next": "C"},
        "C": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.n", "NumericEquals": 1, "Next": "D"}],
            "Default": "D",
        },
        "D": {"Type": "Pass", "Next": "E"},
        "E": {"Type": "Succeed"},
    },
}
"""Five states without tasks: what the peer can run too, without containers."""


async def throughput(folder: Path) -> float:
    """Transitions per second, 100 executions at once, with the disk waited for."""
    path = folder / f"five-{time.monotonic_ns()}.db"
    journal = SqliteJournal(path)
    system = System(Benchmark(folder), journal)
    await system.start()
    spent = await drive(system, "five", [f"five:e{at}" for at in range(EXECUTIONS)], 100)
    await system.stop()
    journal.close()
    path.unlink()
    return EXECUTIONS * STATES / spent


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """`batuta up` on an empty project: its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "empty.py").write_text("import batuta\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "batuta", "up", folder, "--port", str(port), "--no-follow",
         "--state", folder / "state"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def latencies(url: str, count: int = 100) -> list[float]:
    """Milliseconds from StartExecution to a DescribeExecution that says SUCCEEDED."""
    client = boto3.client(
        "stepfunctions", endpoint_url=url, region_name="us-east-1", aws_access_key_id="x",
        aws_secret_access_key="x", config=Config(retries={"total_max_attempts": 1}),
    )  # fmt: skip
    arn = client.create_state_machine(
        name="plain", definition=json.dumps(PLAIN), roleArn="arn:aws:iam::000000000000:role/r"
    )["stateMachineArn"]
    spans: list[float] = []
    for _ in range(count):
        began = time.perf_counter()
        execution = client.start_execution(stateMachineArn=arn, input="{}")["executionArn"]
        while client.describe_execution(executionArn=execution)["status"] == "RUNNING":
            pass
        spans.append((time.perf_counter() - began) * 1e3)
    return spans


def peer() -> dict[str, float]:
    """The same machine in moto, which has LocalStack's interpreter in it."""
    python = environment("moto", *PEER)
    done = subprocess.run(
        [python, HERE / "peer_moto.py", json.dumps(PLAIN)], capture_output=True, text=True,
        check=True, timeout=200,
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def simulated(seconds: float = 2.0) -> float:
    """Transitions per second of CPU on virtual time."""
    flow = StateMachine("loop", json.dumps(LOOP))
    done = Performance(1, takes=1_000_000)
    began, transitions = time.process_time(), 0
    while time.process_time() - began < seconds:
        transitions += run(flow, {"left": 50}, lambda command: done, history=False).transitions
    return transitions / (time.process_time() - began)


LOOP = {
    "StartAt": "Work",
    "States": {
        "Work": {
            "Type": "Task",
            "Resource": "arn:aws:lambda:us-east-1:000000000000:function:work",
            "ResultPath": "$.done",
            "Next": "Less",
        },
        "Less": {
            "Type": "Pass",
            "Parameters": {"left.$": "States.MathAdd($.left, -1)"},
            "Next": "More",
        },
        "More": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.left", "NumericGreaterThan": 0, "Next": "Pause"}],
            "Default": "Done",
        },
        "Pause": {"Type": "Wait", "Seconds": 60, "Next": "Work"},
        "Done": {"Type": "Succeed"},
    },
}


def large_map(folder: Path) -> tuple[float, float]:
    """Seconds and MiB of a Map over 10,000 items."""
    with server(str(folder / "map.db")) as running:
        done = running.ask("drive", flow="map", prefix="map:m", count=1, at_once=1)
        return done["seconds"], running.rss() / 2**20


def main() -> list[Figure]:
    """The figures of state machines."""
    tune()
    print(f"state machines; {machine()}")
    with scratch() as folder:
        ours = max(asyncio.run(throughput(folder)) for _ in range(ROUNDS))
        other: dict[str, Any] = {}
        try:
            other = peer()
        except (OSError, subprocess.SubprocessError) as missing:
            print(f"moto could not be measured: {missing}", file=sys.stderr)
        rate = other.get("transitions")
        found = [
            figure(
                "transitions, STANDARD, 100 at once", ours, "/s",
                beside=f"moto {rate:,.0f}/s" if rate else "",
                ratio=ours / rate if rate else None, ratio_limit=(">=", 50),
                value_limit=(">=", 8000),
            )
        ]  # fmt: skip
        (folder / "project").mkdir()
        with served(folder / "project") as url:
            p50 = statistics.median(latencies(url))
        theirs = other.get("p50_ms")
        found.append(
            figure("five states through boto3, p50", p50, "ms",
                   beside=f"moto {theirs:.1f} ms" if theirs else "",
                   ratio=p50 / theirs if theirs else None, value_limit=("<=", 10))
        )  # fmt: skip
        seconds, memory = large_map(folder)
        found.append(figure(f"Map of {ITEMS:,} items, 40 at once", seconds, "s",
                            value_limit=("<=", 5)))  # fmt: skip
        found.append(figure("its server's memory", memory, "MiB", value_limit=("<=", 300)))
    found.append(figure("simulated transitions, one core", simulated(), "/s",
                        value_limit=(">=", 100_000)))  # fmt: skip
    return found


if __name__ == "__main__":
    main()
