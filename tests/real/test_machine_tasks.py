"""Tasks of state machines in a whole system: asked for, performed, answered, stopped."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.real.cloud import REGION, client, cloud
from tests.real.test_lambdas import CODE

from batuta.common.problem import Problem
from batuta.kernel.sqlite import SqliteJournal
from batuta.real.system import System
from batuta.workflow.model import Definitions

MACHINE = f"arn:aws:states:{REGION}:000000000000:stateMachine:shop"
LAMBDA = f"arn:aws:lambda:{REGION}:000000000000:function:"
PACK = f"arn:aws:states:{REGION}:000000000000:activity:pack"
STATES = "arn:aws:states:::"


@dataclass
class Folder:
    """A project without Python files."""

    folder: Path
    definitions: Definitions = field(default_factory=Definitions)
    problems: list[Problem] = field(default_factory=list)
    name: str = "shop"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with cloud() as found:
        yield found


class Shop:
    """A system that runs machines of one state."""

    def __init__(self, system: System) -> None:
        self.system = system

    async def start(self, name: str, state: dict[str, Any], input: Any = None) -> str:
        """Begin an execution of a machine with one Task or Map state; its run's id."""
        definition = {"StartAt": "A", "States": {"A": {"End": True, **state}}}
        about = {
            "definition": json.dumps(definition), "type": "STANDARD", "name": "shop",
            "arn": MACHINE, "execution": name, "role": "r",
        }  # fmt: skip
        data = {"workflow": "shop", "args": [input], "kwargs": {}, "machine": about}
        await self.system.submit("run.start", f"shop:{name}", data)
        return f"shop:{name}"

    async def end(self, run: str) -> Any:
        """Its result, or the error that it failed with."""
        async with asyncio.timeout(20):
            while True:
                record = self.system.journal.record("run", run)
                if record is not None and record.ended is not None:
                    break
                await asyncio.sleep(0.01)
        last = [*self.system.journal.read(0, 100_000, subject=run)][-1].data
        return last.get("result", last.get("error"))


@asynccontextmanager
async def shop(folder: Path, database: str = ":memory:") -> AsyncIterator[Shop]:
    journal = SqliteJournal(database)
    system = System(Folder(folder), journal)
    await system.start()
    try:
        yield Shop(system)
    finally:
        await system.stop()
        journal.close()


def task(resource: str, **more: Any) -> dict[str, Any]:
    return {"Type": "Task", "Resource": resource, **more}


def test_functions_commands_and_errors(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(CODE)
    (tmp_path / "batuta.toml").write_text(
        '[lambda.echo]\nhandler = "shop.echo"\n[lambda.fail]\nhandler = "shop.fail"\n'
    )

    async def story() -> None:
        async with shop(tmp_path) as it:
            result = await it.end(await it.start("a", task(f"{LAMBDA}echo"), {"n": 1}))
            assert (result["event"], result["arn"]) == ({"n": 1}, f"{LAMBDA}echo")
            failed = await it.end(await it.start("b", task(f"{LAMBDA}fail"), {"what": "money"}))
            assert failed["type"] == "OrderRefused"
            command = task("arn:batuta:shell", Parameters={"command": "echo hi"})
            assert (await it.end(await it.start("c", command)))["stdout"] == "hi\n"

    asyncio.run(story())


def test_an_activity_outlives_the_server(tmp_path: Path) -> None:
    database = str(tmp_path / "journal.db")

    async def story() -> None:
        async with shop(tmp_path, database) as it:
            run = await it.start("a", task(PACK), {"n": 1})
            taken = await it.system.activities.take(PACK, "worker", 5)
            assert taken is not None
            assert taken[1] == {"n": 1}
        async with shop(tmp_path, database) as it:
            async with asyncio.timeout(10):
                while not it.system.activities.tell(taken[0], {"ok": "packed"}):
                    await asyncio.sleep(0.01)
            assert await it.end(run) == "packed"

    asyncio.run(story())


def test_a_message_with_a_token_and_its_answer(address: str, tmp_path: Path) -> None:
    (tmp_path / "batuta.toml").write_text(f'[aws]\nendpoint = "{address}"\n')
    queues = client(address, "sqs")
    url = queues.create_queue(QueueName="tasks")["QueueUrl"]
    send = task(
        f"{STATES}sqs:sendMessage.waitForTaskToken",
        Parameters={"QueueUrl": url, "MessageBody": {"token.$": "$$.Task.Token"}},
    )

    async def story() -> None:
        async with shop(tmp_path) as it:
            run = await it.start("a", send)
            messages: list[Any] = []
            while not messages:
                messages = queues.receive_message(QueueUrl=url).get("Messages", [])
                await asyncio.sleep(0.02)
            token = json.loads(messages[0]["Body"])["token"]
            answer = {"name": f"task:{token}", "value": {"ok": {"paid": True}}}
            await it.system.submit("run.signal", run, answer)
            assert await it.end(run) == {"paid": True}

    asyncio.run(story())


def test_a_job_is_waited_for(address: str, tmp_path: Path) -> None:
    (tmp_path / "batuta.toml").write_text(f'[aws.endpoints]\nathena = "{address}"\n')
    athena = client(address, "athena")
    query = task(
        f"{STATES}athena:startQueryExecution.sync",
        Parameters={"QueryString": "select 1"},
    )

    async def story() -> None:
        async with shop(tmp_path) as it:
            result = await it.end(await it.start("a", query))
            assert result["QueryExecution"]["Status"]["State"] == "SUCCEEDED"
            assert athena.list_query_executions()["QueryExecutionIds"]

    asyncio.run(story())


def test_items_go_through_a_map_into_files(tmp_path: Path) -> None:
    lines = "\n".join(json.dumps({"n": n}) for n in range(1500))
    (tmp_path / "items.jsonl").write_text(lines)
    mapping = {
        "Type": "Map",
        "ItemReader": {
            "Resource": f"{STATES}s3:getObject",
            "ReaderConfig": {"InputType": "JSONL"},
            "Parameters": {"Path": "items.jsonl"},
        },
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
            "StartAt": "P",
            "States": {"P": {"Type": "Pass", "End": True}},
        },
        "ResultWriter": {
            "Resource": f"{STATES}s3:putObject",
            "Parameters": {"Path": "out"},
            "WriterConfig": {"OutputType": "JSON", "Transformation": "COMPACT"},
        },
    }

    async def story() -> str:
        async with shop(tmp_path) as it:
            result = await it.end(await it.start("a", mapping))
            key: str = result["ResultWriterDetails"]["Key"]
            return key

    manifest = tmp_path / "out" / asyncio.run(story())
    files = json.loads(manifest.read_text())["ResultFiles"]
    items = json.loads((tmp_path / "out" / files["SUCCEEDED"][0]["Key"]).read_text())
    assert items == [{"n": n} for n in range(1500)]
