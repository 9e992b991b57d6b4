"""Activities, and the tasks that workers fetch from them."""

from __future__ import annotations

from starlette.requests import Request

from batuta.kernel.event import Record
from batuta.server.stepfunctions.configuration import encryption_of, tags_of
from batuta.server.stepfunctions.errors import no_activity
from batuta.server.stepfunctions.machines import OWNED_KEY
from batuta.server.stepfunctions.names import activity_of, check_name
from batuta.server.stepfunctions.paging import place_in, size_of, token_for
from batuta.server.stepfunctions.service import Answer, Asked, Service, date
from batuta.workflow.asl.activities import PREFIX
from batuta.workflow.asl.registry import ServiceError

ACTIVITIES_MAX = 10_000


async def create_activity(service: Service, asked: Asked, request: Request) -> Answer:
    """A new activity, or the same one again."""
    name = check_name(asked["name"])
    arn = service.place.activity(name)
    if service.settings.strict:
        counts = await service.read(lambda journal: journal.counts("activity"))
        if sum(n for (_, status), n in counts.items() if status == "active") >= ACTIVITIES_MAX:
            raise ServiceError(
                "ActivityLimitExceeded", f"There are {ACTIVITIES_MAX:,} activities already."
            )
    data = {"arn": arn, "tags": tags_of(asked)}
    if "encryptionConfiguration" in asked:
        data["encryption"] = encryption_of(asked["encryptionConfiguration"])
    made = await service.system.submit("activity.create", PREFIX + name, data)
    return {"activityArn": arn, "creationDate": date(made["created"])}


async def describe_activity(service: Service, asked: Asked, request: Request) -> Answer:
    """An activity."""
    record = await known_activity(service, asked["activityArn"])
    kept = record.data.get("encryption") or OWNED_KEY
    return {**_listed(service, record), "encryptionConfiguration": kept}


async def known_activity(service: Service, arn: str) -> Record:
    """The record of an activity. Raises `ServiceError`."""
    record = await service.record("activity", PREFIX + activity_of(arn))
    if record is None:
        raise no_activity(arn)
    return record


def _listed(service: Service, record: Record) -> Answer:
    return {
        "activityArn": service.place.activity(record.name), "name": record.name,
        "creationDate": date(record.time),
    }  # fmt: skip


async def delete_activity(service: Service, asked: Asked, request: Request) -> Answer:
    """One that is not there counts as deleted; tasks that wait for a worker go on waiting."""
    name = activity_of(asked["activityArn"])
    if await service.record("activity", PREFIX + name) is not None:
        await service.system.submit("activity.delete", PREFIX + name, {})
    return {}


async def list_activities(service: Service, asked: Asked, request: Request) -> Answer:
    """All activities, the newest last."""
    about = ["activities"]
    after = place_in(asked.get("nextToken"), about)
    size = size_of(asked)
    behind = None if after is None else (int(after[0]), str(after[1]))
    records = await service.read(
        lambda journal: list(
            journal.records("activity", statuses=("active",), after=behind, limit=size + 1)
        )
    )
    answer: Answer = {"activities": [_listed(service, record) for record in records[:size]]}
    if len(records) > size:
        answer["nextToken"] = token_for(about, [records[size - 1].time, records[size - 1].id])
    return answer
