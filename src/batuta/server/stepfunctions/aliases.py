"""Aliases: names that route executions to one version or, by weight, to two."""

from __future__ import annotations

from json import dumps
from typing import Any
from uuid import uuid4

from starlette.requests import Request

from batuta.server.stepfunctions.errors import invalid_arn, no_machine, validation
from batuta.server.stepfunctions.names import MachineArn, machine_of
from batuta.server.stepfunctions.paging import paged
from batuta.server.stepfunctions.service import Answer, Asked, Service, date
from batuta.workflow.asl.registry import ServiceError, subject_of

Routing = list[list[int]]


async def create_state_machine_alias(service: Service, asked: Asked, request: Request) -> Answer:
    """A new alias, or the same one again."""
    name, routing, arns = routing_of(asked["routingConfiguration"])
    data = {
        "alias": asked["name"], "routing": routing, "arns": arns,
        "arn": service.place.machine(name), "description": asked.get("description"),
    }  # fmt: skip
    if await service.record("machine", subject_of(name)) is None:
        raise no_resource_referenced()
    made = await service.system.submit("machine.create_alias", subject_of(name), data)
    arn = f"{service.place.machine(name)}:{asked['name']}"
    return {"stateMachineAliasArn": arn, "creationDate": date(made["created"])}


async def update_state_machine_alias(service: Service, asked: Asked, request: Request) -> Answer:
    """Another routing, another description, or both."""
    found = alias_of(asked["stateMachineAliasArn"])
    if "description" not in asked and "routingConfiguration" not in asked:
        raise validation("Either the description or the RoutingConfiguration must be specified")
    data: dict[str, Any] = {"alias": found.qualifier, "arn": asked["stateMachineAliasArn"]}
    if "routingConfiguration" in asked:
        name, data["routing"], data["arns"] = routing_of(asked["routingConfiguration"])
        if name != found.name:
            raise _foreign(data["arns"])
    if "description" in asked:
        data["description"] = asked["description"]
    done = await service.system.submit("machine.update_alias", subject_of(found.name), data)
    return {"updateDate": date(done["updated"])}


async def delete_state_machine_alias(service: Service, asked: Asked, request: Request) -> Answer:
    """One that is not there counts as deleted."""
    found = alias_of(asked["stateMachineAliasArn"])
    if await service.record("machine", subject_of(found.name)) is not None:
        data = {"alias": found.qualifier}
        await service.system.submit("machine.delete_alias", subject_of(found.name), data)
    return {}


async def describe_state_machine_alias(service: Service, asked: Asked, request: Request) -> Answer:
    """An alias with its routing."""
    found = alias_of(asked["stateMachineAliasArn"])
    record = await service.record("machine", subject_of(found.name))
    alias = None if record is None else record.data["aliases"].get(found.qualifier)
    if alias is None:
        raise no_resource_referenced()
    machine = service.place.machine(found.name)
    answer: Answer = {
        "stateMachineAliasArn": f"{machine}:{found.qualifier}", "name": found.qualifier,
        "routingConfiguration": [
            {"stateMachineVersionArn": f"{machine}:{version}", "weight": weight}
            for version, weight in alias["routing"]
        ],
        "creationDate": date(alias["created"]), "updateDate": date(alias["updated"]),
    }  # fmt: skip
    if alias["description"]:
        answer["description"] = alias["description"]
    return answer


async def list_state_machine_aliases(service: Service, asked: Asked, request: Request) -> Answer:
    """The aliases of a state machine, or those that point to one version of it."""
    arn = asked["stateMachineArn"]
    found = machine_of(arn)
    record = await service.record("machine", subject_of(found.name))
    if record is None:
        raise no_machine(arn)
    wanted = [
        (name, alias)
        for name, alias in record.data["aliases"].items()
        if found.version is None or any(v == found.version for v, _ in alias["routing"])
    ]
    page, more = paged(
        asked, ["aliases", arn], wanted,
        lambda entry: {
            "stateMachineAliasArn": f"{service.place.machine(found.name)}:{entry[0]}",
            "creationDate": date(entry[1]["created"]),
        },
    )  # fmt: skip
    return {"stateMachineAliases": page, **more}


def alias_of(arn: str) -> MachineArn:
    """An alias's ARN. Raises `ServiceError`."""
    found = machine_of(arn)
    if found.alias is None:
        raise invalid_arn(arn)
    return found


def no_resource_referenced() -> ServiceError:
    """An alias, or what it is to belong to, that is not there."""
    return ServiceError("ResourceNotFound", "Request references a resource that does not exist.")


def _foreign(arns: list[str]) -> ServiceError:
    return validation(
        "Routing configuration must contain state machine version ARNs. "
        f"Received: [{', '.join(arns)}]"
    )


def routing_of(given: list[dict[str, Any]]) -> tuple[str, Routing, list[str]]:
    """The state machine, the versions with their weights, and the ARNs of a routing.
    Raises `ServiceError`."""
    arns = [entry["stateMachineVersionArn"] for entry in given]
    if len(set(arns)) < len(arns):
        raise validation(
            "Routing configuration must contain distinct state machine version ARNs. "
            f"Received: [{', '.join(arns)}]"
        )
    weights = [entry["weight"] for entry in given]
    if sum(weights) != 100:
        raise validation(
            f"Sum of routing configuration weights must equal 100. Received: {dumps(weights)}"
        )
    found = [machine_of(arn) for arn in arns]
    versions = [one.version for one in found if one.version is not None]
    if len(versions) < len(found) or len({one.name for one in found}) > 1:
        raise _foreign(arns)
    routing = [[version, weight] for version, weight in zip(versions, weights, strict=True)]
    return found[0].name, routing, arns


def drawn(routing: Routing) -> int:
    """The version that one execution of an alias runs, by the weights."""
    place = uuid4().int % 100
    for version, weight in routing:
        place -= weight
        if place < 0:
            return version
    return routing[-1][0]
