"""Task tokens: workers fetch tasks, tell how they ended, and give signs of life."""

from __future__ import annotations

import asyncio
import time
from json import dumps, loads
from typing import Any, Protocol

from starlette.requests import Request

from batuta.kernel.event import Event
from batuta.server.stepfunctions.activities import known_activity
from batuta.server.stepfunctions.errors import invalid_token
from batuta.server.stepfunctions.service import Answer, Asked, Service
from batuta.workflow.asl.arn import of_token
from batuta.workflow.asl.registry import ServiceError

POLL_S = 60.0
LOOK_S = 0.25
ENDED = ("wait.expired", "wait.cancelled")


async def get_activity_task(service: Service, asked: Asked, request: Request) -> Answer:
    """The next task of an activity; an empty answer where none comes within a minute. A worker
    that goes away meanwhile is given none."""
    arn = asked["activityArn"]
    await known_activity(service, arn)
    desk = desk_of(service)
    until = time.monotonic() + POLL_S
    while time.monotonic() < until:
        task = await desk.take(arn, asked.get("workerName"), LOOK_S)
        gone = await request.is_disconnected()
        if task is not None and not gone:
            token, input = task
            return {"taskToken": token, "input": dumps(input, ensure_ascii=False)}
        if gone:
            if task is not None:
                desk.put_back(task[0])
            break
    return {}


class Desk(Protocol):
    """Where the tasks of activities wait for workers."""

    async def take(
        self, activity: str, worker: str | None, wait_s: float
    ) -> tuple[str, Any] | None:
        """The token and the input of the next task of an activity; None where none came."""

    def put_back(self, token: str) -> None:
        """The worker went away before it had the task: another one gets it."""

    def tell(self, token: str, value: dict[str, Any]) -> bool:
        """The outcome (`ok`, or `error` and `cause`) or a sign of life (`beat`) of a task;
        False where it is none of an activity's here."""


class NoDesk:
    """A system that has no activities: nothing ever waits there."""

    async def take(
        self, activity: str, worker: str | None, wait_s: float
    ) -> tuple[str, Any] | None:
        """Nothing comes."""
        await asyncio.sleep(wait_s)
        return None

    def put_back(self, token: str) -> None:
        """There was nothing."""

    def tell(self, token: str, value: dict[str, Any]) -> bool:
        """It is somebody else's."""
        return False


def desk_of(service: Service) -> Desk:
    """The system's desk."""
    desk: Desk = getattr(service.system, "activities", None) or NoDesk()
    return desk


async def send_task_success(service: Service, asked: Asked, request: Request) -> Answer:
    """The task is done, with this output."""
    try:
        output = loads(asked["output"])
    except (ValueError, RecursionError) as wrong:
        raise ServiceError("InvalidOutput", f"Invalid Output: '{wrong}'") from None
    return await _tell(service, asked["taskToken"], {"ok": output})


async def send_task_failure(service: Service, asked: Asked, request: Request) -> Answer:
    """The task failed."""
    told = {"error": asked.get("error"), "cause": asked.get("cause")}
    return await _tell(service, asked["taskToken"], told)


async def send_task_heartbeat(service: Service, asked: Asked, request: Request) -> Answer:
    """The task is still worked on."""
    return await _tell(service, asked["taskToken"], {"beat": True})


async def _tell(service: Service, token: str, value: dict[str, Any]) -> Answer:
    """Hand something to the state that waits for a token. Raises `ServiceError`."""
    found = of_token(token)
    if found is None:
        raise invalid_token()
    run, _ = found
    if desk_of(service).tell(token, value):
        return {}
    record = await service.record("run", run)
    if record is None:
        raise ServiceError(
            "TaskDoesNotExist", "Task Does Not Exist: 'Provided task does not exist'"
        )
    name = f"task:{token}"
    if record.ended is not None or await _is_over(service, run, name):
        raise ServiceError("TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'")
    await service.system.submit("run.signal", run, {"name": name, "value": value})
    return {}


async def _is_over(service: Service, run: str, name: str) -> bool:
    """Whether nobody waits for a token any more: it had its outcome, or its time ran out."""
    types = ("wait.set", "signal.received", *ENDED)
    events: list[Event] = await service.read(
        lambda journal: journal.read(0, 100_000, types=types, subject=run)
    )
    last: Event | None = None
    waits: dict[str, None] = {}
    for event in events:
        data = event.data
        if event.type == "signal.received" and data["name"] == name:
            if "beat" not in (data.get("value") or {}):
                return True
        elif event.type == "wait.set" and data.get("name") == name:
            waits[data["key"]] = None
            last = event
        elif event.type in ENDED and data.get("key") in waits:
            last = event
    return last is not None and last.type in ENDED
