"""State machines and their versions: create, describe, update, delete, list, publish."""

from __future__ import annotations

from functools import lru_cache
from json import loads
from typing import Any
from uuid import uuid4

from starlette.requests import Request

from batuta.kernel.event import Record
from batuta.server.stepfunctions.configuration import logging_of, stored, tags_of
from batuta.server.stepfunctions.definition import check_definition
from batuta.server.stepfunctions.errors import no_machine, validation
from batuta.server.stepfunctions.names import MachineArn, check_name, machine_of
from batuta.server.stepfunctions.paging import paged, place_in, size_of, token_for
from batuta.server.stepfunctions.references import references
from batuta.server.stepfunctions.service import Answer, Asked, Service, date
from batuta.workflow.asl.registry import ServiceError, subject_of, version_of

MACHINES_MAX = 10_000
OWNED_KEY = {"type": "AWS_OWNED_KEY"}


async def create_state_machine(service: Service, asked: Asked, request: Request) -> Answer:
    """A new state machine, or the same one again."""
    name = check_name(asked["name"])
    arn = service.place.machine(name)
    _check_version_description(asked)
    check_definition(asked["definition"], asked.get("type", "STANDARD"))
    if service.settings.strict:
        await _check_number(service)
    data = {
        "arn": arn, "type": asked.get("type", "STANDARD"), "definition": asked["definition"],
        "role": asked["roleArn"], "tags": tags_of(asked), **stored(asked, whole=True),
        "publish": asked.get("publish", False), "description": asked.get("versionDescription"),
    }  # fmt: skip
    made = await service.system.submit("machine.create", subject_of(name), data)
    return {"stateMachineArn": arn, "creationDate": date(made["created"]), **_published(arn, made)}


async def _check_number(service: Service) -> None:
    counts = await service.read(lambda journal: journal.counts("machine"))
    if sum(count for (_, status), count in counts.items() if status == "active") >= MACHINES_MAX:
        raise ServiceError(
            "StateMachineLimitExceeded", f"There are {MACHINES_MAX:,} state machines already."
        )


def _check_version_description(asked: Asked) -> None:
    if "versionDescription" in asked and not asked.get("publish"):
        raise validation("Version description can only be set when publish is true")


def _published(arn: str, reply: dict[str, Any]) -> Answer:
    number = reply.get("version")
    return {} if number is None else {"stateMachineVersionArn": f"{arn}:{number}"}


async def update_state_machine(service: Service, asked: Asked, request: Request) -> Answer:
    """Definition, role or configuration become another revision where they differ."""
    arn = asked["stateMachineArn"]
    name = _unqualified(arn).name
    fields = ("definition", "roleArn", "loggingConfiguration", "tracingConfiguration",
              "encryptionConfiguration")  # fmt: skip
    if not any(field in asked for field in fields):
        raise ServiceError(
            "MissingRequiredParameter",
            "Either the definition, the role ARN, the LoggingConfiguration, or the "
            "TracingConfiguration must be specified",
        )
    _check_version_description(asked)
    known = await service.record("machine", subject_of(name))
    if known is None:
        raise no_machine(arn)
    if "definition" in asked:
        check_definition(asked["definition"], known.data["type"])
    data = {
        "arn": arn, "definition": asked.get("definition"), "role": asked.get("roleArn"),
        **stored(asked), "revision": str(uuid4()), "publish": asked.get("publish", False),
        "description": asked.get("versionDescription"),
    }  # fmt: skip
    done = await service.system.submit("machine.update", subject_of(name), data)
    answer: Answer = {"updateDate": date(done["updated"])}
    if done["revision"] is not None:
        answer["revisionId"] = done["revision"]
    return {**answer, **_published(service.place.machine(name), done)}


def _unqualified(arn: str) -> MachineArn:
    """The ARN of a state machine itself. Raises `ServiceError` for a version's or an alias's,
    which are none as far as changing them goes."""
    found = machine_of(arn)
    if found.qualifier is not None or found.label is not None:
        raise no_machine(arn)
    return found


async def delete_state_machine(service: Service, asked: Asked, request: Request) -> Answer:
    """It is gone at once with its versions and aliases; executions that run go on."""
    found = machine_of(asked["stateMachineArn"])
    if found.qualifier is not None or found.label is not None:
        raise validation(f"State machine ARN must not be qualified: '{asked['stateMachineArn']}'")
    name = found.name
    if await service.record("machine", subject_of(name)) is not None:
        await service.system.submit("machine.delete", subject_of(name), {})
    return {}


async def describe_state_machine(service: Service, asked: Asked, request: Request) -> Answer:
    """A state machine as it is now, or as a version of it was."""
    arn = asked["stateMachineArn"]
    found = machine_of(arn)
    record = await service.record("machine", subject_of(found.name))
    if record is None or found.alias is not None:
        raise no_machine(arn)
    answer: Answer = {
        "stateMachineArn": service.place.machine(found.name), "name": found.name,
        "status": "ACTIVE", "creationDate": date(record.time),
    }  # fmt: skip
    shown = record.data
    if found.version is not None:
        shown = await version_data(service, found, arn)
        entry = record.data["versions"][str(found.version)]
        answer["stateMachineArn"] += f":{found.version}"
        answer["creationDate"] = date(entry["created"])
        if shown.get("description"):
            answer["description"] = shown["description"]
    if found.label is not None:
        answer["label"] = found.label
    if shown["revision"] is not None:
        answer["revisionId"] = shown["revision"]
    answer["type"] = shown["type"]
    return {**answer, **configured(shown, asked)}


async def version_data(service: Service, found: MachineArn, arn: str) -> Any:
    """What a version was published with. Raises `ServiceError`."""
    assert found.version is not None
    version = await service.record("version", version_of(found.name, found.version))
    if version is None:
        raise no_machine(arn)
    return version.data


def configured(shown: Any, asked: Asked) -> Answer:
    """What the state machine, a version, and the state machine of an execution share."""
    answer: Answer = {
        "roleArn": shown["role"], "loggingConfiguration": shown.get("logging") or logging_of({}),
        "tracingConfiguration": shown.get("tracing") or {"enabled": False},
        "encryptionConfiguration": shown.get("encryption") or OWNED_KEY,
    }  # fmt: skip
    if asked.get("includedData") == "METADATA_ONLY":
        # The definition is required in an answer, so it is empty rather than absent.
        return {**answer, "definition": ""}
    used = variables_in(shown["definition"])
    if used:
        answer["variableReferences"] = used
    return {**answer, "definition": shown["definition"]}


@lru_cache(maxsize=100)
def variables_in(definition: str) -> dict[str, list[str]]:
    """Which variables each state of a definition refers to."""
    return references(loads(definition))


async def list_state_machines(service: Service, asked: Asked, request: Request) -> Answer:
    """All state machines, the newest last."""
    about = ["machines"]
    after = place_in(asked.get("nextToken"), about)
    size = size_of(asked)
    behind = None if after is None else (int(after[0]), str(after[1]))
    records = await service.read(
        lambda journal: list(
            journal.records("machine", statuses=("active",), after=behind, limit=size + 1)
        )
    )
    answer: Answer = {"stateMachines": [_listed(service, record) for record in records[:size]]}
    if len(records) > size:
        last = records[size - 1]
        answer["nextToken"] = token_for(about, [last.time, last.id])
    return answer


def _listed(service: Service, record: Record) -> Answer:
    return {
        "stateMachineArn": service.place.machine(record.name), "name": record.name,
        "type": record.data["type"], "creationDate": date(record.time),
    }  # fmt: skip


# -- versions ------------------------------------------------------------------------------------


async def publish_state_machine_version(service: Service, asked: Asked, request: Request) -> Answer:
    """The present revision as a version, for ever as it is now."""
    arn = asked["stateMachineArn"]
    name = _unqualified(arn).name
    data = {"arn": arn, "wanted": asked.get("revisionId"), "description": asked.get("description")}
    done = await service.system.submit("machine.publish", subject_of(name), data)
    return {"creationDate": date(done["created"]), **_published(service.place.machine(name), done)}


async def delete_state_machine_version(service: Service, asked: Asked, request: Request) -> Answer:
    """A version that no alias points to."""
    arn = asked["stateMachineVersionArn"]
    found = machine_of(arn)
    if found.version is None:
        raise validation(
            f"1 validation error detected: Value '{arn}' at 'stateMachineVersionArn' failed to "
            "satisfy constraint: Member must be a state machine version ARN"
        )
    if await service.record("machine", subject_of(found.name)) is not None:
        data = {"number": found.version}
        await service.system.submit("machine.delete_version", subject_of(found.name), data)
    return {}


async def list_state_machine_versions(service: Service, asked: Asked, request: Request) -> Answer:
    """The versions of a state machine, the newest first."""
    arn = asked["stateMachineArn"]
    name = _unqualified(arn).name
    record = await service.record("machine", subject_of(name))
    versions = {} if record is None else record.data["versions"]
    newest = sorted(versions.items(), key=lambda entry: -int(entry[0]))
    page, more = paged(
        asked, ["versions", name], newest,
        lambda entry: {
            "stateMachineVersionArn": f"{service.place.machine(name)}:{entry[0]}",
            "creationDate": date(entry[1]["created"]),
        },
    )  # fmt: skip
    return {"stateMachineVersions": page, **more}
