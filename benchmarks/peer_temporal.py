"""The trivial workflow on Temporal's development server, for its own environment, as JSON.

The server keeps its state in a file; the worker has room for all activities at once.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio import activity, workflow  # type: ignore[import-not-found]
from temporalio.testing import WorkflowEnvironment  # type: ignore[import-not-found]
from temporalio.worker import UnsandboxedWorkflowRunner, Worker  # type: ignore[import-not-found]

FOLDER, RUNS = Path(sys.argv[1]), int(sys.argv[2])
LIMIT = timedelta(seconds=60)


@activity.defn  # type: ignore[untyped-decorator]
async def add(n: int) -> int:
    return n + 1


@workflow.defn  # type: ignore[untyped-decorator]
class Ten:
    @workflow.run  # type: ignore[untyped-decorator]
    async def run(self, n: int) -> int:
        for _ in range(10):
            n = await workflow.execute_activity(add, n, start_to_close_timeout=LIMIT)
        return n


@workflow.defn  # type: ignore[untyped-decorator]
class TenLocal:
    @workflow.run  # type: ignore[untyped-decorator]
    async def run(self, n: int) -> int:
        for _ in range(10):
            n = await workflow.execute_local_activity(add, n, start_to_close_timeout=LIMIT)
        return n


async def timed(env: WorkflowEnvironment, flow: Any, prefix: str, runs: int) -> float:
    """Seconds until all have ended."""
    began = time.perf_counter()
    handles = await asyncio.gather(
        *(
            env.client.start_workflow(flow.run, at, id=f"{prefix}{at}", task_queue="bench")
            for at in range(runs)
        )
    )
    assert sum(await asyncio.gather(*(one.result() for one in handles))) == sum(
        range(10, runs + 10)
    )
    return time.perf_counter() - began


async def main() -> None:
    """Start the server from the wheel and measure both kinds of activities."""
    async with (
        await WorkflowEnvironment.start_local(
            dev_server_existing_path=str(Path(sys.executable).parent / "temporal"),
            dev_server_database_filename=str(FOLDER / "temporal.db"),
            dev_server_log_level="error",
        ) as env,
        Worker(
            env.client, task_queue="bench", workflows=[Ten, TenLocal], activities=[add],
            max_concurrent_activities=200, max_concurrent_workflow_tasks=200,
            workflow_runner=UnsandboxedWorkflowRunner(),
        ),
    ):  # fmt: skip
        await timed(env, Ten, "warm", 3)
        found = {"seconds": await timed(env, Ten, "a", RUNS)}
        found["local_seconds"] = await timed(env, TenLocal, "l", RUNS)
        print(json.dumps(found))


asyncio.run(main())
