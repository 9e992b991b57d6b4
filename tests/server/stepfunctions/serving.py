"""A real system served on a thread, and boto3 as its client."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from batuta.common.problem import Problem
from batuta.kernel.sqlite import SqliteJournal
from batuta.real.system import System
from batuta.server.serve import serve
from batuta.workflow.model import Definitions

PASS = '{"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}'
ROLE = "arn:aws:iam::000000000000:role/r"
SESSION = boto3.Session(
    aws_access_key_id="AKIATEST", aws_secret_access_key="secret", region_name="us-east-1"
)


@dataclass
class Folder:
    """A project without files."""

    folder: Path
    definitions: Definitions = field(default_factory=Definitions)
    problems: list[Problem] = field(default_factory=list)
    name: str = "test"


@dataclass
class Served:
    """A server that answers.

    Parameters
    ----------
    url: where. system: what it serves; used in its own loop only.
    """

    url: str
    system: System
    loop: asyncio.AbstractEventLoop

    def client(self, key: str = "AKIATEST", secret: str = "secret", *, checks: bool = False) -> Any:
        """boto3 for this server; nothing is tried twice.

        Parameters
        ----------
        checks: whether boto3 looks at what is asked before it asks.
        """
        return SESSION.client(
            "stepfunctions", endpoint_url=self.url, aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=Config(
                retries={"total_max_attempts": 1}, parameter_validation=checks,
                inject_host_prefix=False, read_timeout=70,
            ),
        )  # fmt: skip


@contextmanager
def served(
    folder: Path, definitions: Definitions | None = None, *, database: str = ":memory:",
    **options: Any,
) -> Iterator[Served]:  # fmt: skip
    """A system on a journal in memory, served on a free port of the loopback."""
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    found: list[Any] = []

    async def run() -> None:
        journal = SqliteJournal(database)
        project = Folder(folder, definitions or Definitions())
        system = System(project, journal)
        await system.start()

        def tell(url: str) -> None:
            found.append(Served(url, system, loop))
            ready.set()

        try:
            await serve(system, on_ready=tell, **options)
        finally:
            await system.stop()
            journal.close()

    task = loop.create_task(run())
    thread = threading.Thread(target=_until_done, args=(loop, task, ready), daemon=True)
    thread.start()
    ready.wait(20)
    if not found:
        task.result()
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(20)


def _until_done(
    loop: asyncio.AbstractEventLoop, task: asyncio.Task[None], ready: threading.Event
) -> None:
    try:
        loop.run_until_complete(asyncio.wait([task]))
    finally:
        ready.set()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def tags(given: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as the API takes them."""
    return [{"key": key, "value": value} for key, value in given.items()]


def refused(ask: Callable[..., Any], **args: Any) -> str:
    """What an action is refused with: its code and text."""
    with pytest.raises(ClientError) as caught:
        ask(**args)
    error = caught.value.response["Error"]
    return f"{error['Code']}: {error['Message']}"


def machine(client: Any, name: str, definition: str = PASS, **more: Any) -> str:
    """The ARN of a new state machine."""
    made = client.create_state_machine(name=name, definition=definition, roleArn=ROLE, **more)
    arn: str = made["stateMachineArn"]
    return arn
