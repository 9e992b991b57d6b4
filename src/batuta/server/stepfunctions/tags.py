"""Tags of state machines and activities."""

from __future__ import annotations

from starlette.requests import Request

from batuta.kernel.event import Record
from batuta.server.stepfunctions.configuration import tags_of
from batuta.server.stepfunctions.errors import invalid_arn, no_resource, validation, wrong_resource
from batuta.server.stepfunctions.names import ARN, activity_of, machine_of
from batuta.server.stepfunctions.service import Answer, Asked, Service
from batuta.workflow.asl.activities import PREFIX
from batuta.workflow.asl.registry import subject_of

RESERVED = "aws:"


async def tag_resource(service: Service, asked: Asked, request: Request) -> Answer:
    """Set tags; those with other keys stay."""
    kind, record = await _resource(service, asked["resourceArn"])
    tags = tags_of(asked)
    for key in tags:
        if key.lower().startswith(RESERVED):
            raise validation(f"Tag key '{key}' is reserved: it begins with '{RESERVED}'")
    data = {"arn": asked["resourceArn"], "tags": tags}
    await service.system.submit(f"{kind}.tag", record.id, data)
    return {}


async def untag_resource(service: Service, asked: Asked, request: Request) -> Answer:
    """Take tags away; keys that are not there do not matter."""
    kind, record = await _resource(service, asked["resourceArn"])
    data = {"arn": asked["resourceArn"], "keys": asked["tagKeys"]}
    await service.system.submit(f"{kind}.untag", record.id, data)
    return {}


async def list_tags_for_resource(service: Service, asked: Asked, request: Request) -> Answer:
    """All tags of a resource."""
    _, record = await _resource(service, asked["resourceArn"])
    tags = record.data.get("tags") or {}
    return {"tags": [{"key": key, "value": value} for key, value in tags.items()]}


async def _resource(service: Service, arn: str) -> tuple[str, Record]:
    found = ARN.fullmatch(arn)
    if found is None:
        raise invalid_arn(arn)
    if found[1] == "stateMachine":
        machine = machine_of(arn)
        if machine.qualifier is not None:
            raise wrong_resource("statemachine")
        kind, id = "machine", subject_of(machine.name)
    elif found[1] == "activity":
        kind, id = "activity", PREFIX + activity_of(arn)
    else:
        raise wrong_resource(found[1].lower())
    record = await service.record(kind, id)
    if record is None:
        raise no_resource(arn)
    return kind, record
