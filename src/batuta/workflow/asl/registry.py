"""The machine of state machines: revisions, versions, aliases and tags as the service keeps them.

One record `machine:NAME` holds a state machine with its aliases and the list of its versions;
each published version has a record `machine:NAME:NUMBER` of its own, so that a long definition
is not read where only the list is wanted. Records are folded from the events alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from batuta.kernel.errors import BatutaError
from batuta.kernel.event import Event, Message, Record
from batuta.kernel.machine import Decision
from batuta.kernel.world import Outcome

PREFIX = "machine:"
DEPLOYED_ROLE = "arn:aws:iam::000000000000:role/batuta"
COMPARED = ("definition", "type", "logging", "tracing", "encryption")
"""What makes a second creation under the same name another one."""

CHANGED = ("definition", "role", "logging", "tracing", "encryption")
TAGS_MAX = 50
VERSIONS_MAX = 1000
ALIASES_MAX = 100


class ServiceError(BatutaError):
    """What the service refuses, by its own code.

    Parameters
    ----------
    code: what programs compare (`StateMachineDoesNotExist`). message: the service's text.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def subject_of(name: str) -> str:
    """The subject of a state machine's events, which is the id of its record."""
    return PREFIX + name


def version_of(name: str, number: int | str) -> str:
    """The id of a version's record."""
    return f"{PREFIX}{name}:{number}"


class StateMachines:
    """All state machines that were created by somebody or deployed from files."""

    kind = "machine"
    active = ()
    handles = (
        "machine.created", "machine.updated", "machine.deleted", "machine.version_published",
        "machine.version_deleted", "machine.alias_created", "machine.alias_updated",
        "machine.alias_deleted", "machine.tagged", "machine.untagged",
    )  # fmt: skip
    wants_history = ()

    def __init__(self) -> None:
        self._changed: dict[str, Record] = {}

    @property
    def receives(self) -> tuple[str, ...]:
        """The messages that it answers."""
        return tuple(ANSWERS)

    def own(self, partitions: Collection[int], now: int) -> None:
        """Its rows are its state: nothing is held in memory."""
        self._changed.clear()

    def recover(self, record: Record) -> bool:
        """Nothing of it is unfinished."""
        return False

    def knows(self, subject: str) -> bool:
        """There is no history to fold before a message is answered."""
        return True

    def record_of(self, subject: str) -> Record | None:
        """The row as this turn has left it."""
        return self._changed.get(subject)

    def load(self, record: Record, history: list[Event]) -> None:
        """Nothing is folded from histories here."""

    def receive(
        self, message: Message, record: Record | None, history: list[Event], into: Decision
    ) -> dict[str, Any]:
        """Answer one of the service's actions. Raises `ServiceError`."""
        if record is not None and record.status == "deleted":
            record = None
        change = Change(message, record)
        reply = ANSWERS[message.type](change)
        into.events.extend(change.events)
        into.records.extend(change.records.values())
        if change.record is not None and change.events:
            self._changed[message.subject] = change.record
        return reply

    def finish(self, outcome: Outcome, now: int, into: Decision) -> None:
        """It asks for no commands."""

    def apply(self, event: Event) -> None:
        """Events are folded into rows where they are made."""

    def decide(self, now: int, into: Decision) -> None:
        """The rows of this turn are on their way into the journal."""
        self._changed.clear()

    def next_wake(self) -> int | None:
        """It waits for nothing."""
        return None


class Change:
    """One message on its way into events and rows.

    Parameters
    ----------
    record: the state machine's row, None where there is none.
    """

    def __init__(self, message: Message, record: Record | None) -> None:
        self.message = message
        self.record = record
        self.data = message.data
        self.name = message.subject.removeprefix(PREFIX)
        self.events: list[Event] = []
        self.records: dict[str, Record] = {}

    @property
    def state(self) -> Mapping[str, Any]:
        """What is known of the state machine now. Raises `ServiceError` where it is gone."""
        if self.record is None:
            arn = self.data.get("arn", self.name)
            raise ServiceError("StateMachineDoesNotExist", f"State Machine Does Not Exist: '{arn}'")
        return self.record.data

    def write(self, type: str, data: dict[str, Any]) -> Event:
        """An event of it, folded into its rows at once."""
        message = self.message
        event = Event(
            type, message.subject, data, message.cause, message.time, None, message.partition
        )
        self.events.append(event)
        for record in fold(self.record, event):
            self.records[record.id] = record
            if record.id == message.subject:
                self.record = record
        return event


# -- folding -------------------------------------------------------------------------------------


def fold(record: Record | None, event: Event) -> list[Record]:
    """The rows after an event; pure, so that rows can always be made again.

    Parameters
    ----------
    record: the state machine's row before it; None before its creation.
    """
    name = event.subject.removeprefix(PREFIX)
    if record is None or event.type == "machine.created":
        state = {**event.data, "updated": event.time, "revision": None, "versions": {}, "next": 1,
                 "aliases": {}}  # fmt: skip
        return [_row(event.subject, name, event, state)]
    state = dict(record.data)
    FOLDS[event.type](state, event)
    row = replace(record, seq=0, data=state)
    if event.type == "machine.deleted":
        return [replace(row, status="deleted", ended=event.time)]
    number: int = event.data.get("number", 0)
    if event.type == "machine.version_published":
        kept = {part: state[part] for part in (*COMPARED, "role") if part in state}
        kept |= {"number": number, "description": event.data.get("description"),
                 "revision": state["revision"]}  # fmt: skip
        return [row, _row(version_of(name, number), name, event, kept)]
    if event.type == "machine.version_deleted":
        gone = _row(version_of(name, number), name, event, {"number": number})
        return [row, replace(gone, status="deleted", ended=event.time)]
    return [row]


def _row(id: str, name: str, event: Event, state: dict[str, Any]) -> Record:
    return Record("machine" if id == event.subject else "version", id, event.partition, "active",
                  name, event.time, data=state)  # fmt: skip


def _updated(state: dict[str, Any], event: Event) -> None:
    state.update({part: event.data[part] for part in (*CHANGED, "source") if part in event.data})
    state["revision"] = event.data["revision"]
    state["updated"] = event.time


def _published(state: dict[str, Any], event: Event) -> None:
    number = event.data["number"]
    entry = {"revision": state["revision"], "created": event.time}
    state["versions"] = {**state["versions"], str(number): entry}
    state["next"] = number + 1


def _version_deleted(state: dict[str, Any], event: Event) -> None:
    gone = str(event.data["number"])
    state["versions"] = {n: entry for n, entry in state["versions"].items() if n != gone}


def _aliased(state: dict[str, Any], event: Event) -> None:
    name = event.data["alias"]
    known = state["aliases"].get(name, {"created": event.time, "description": None})
    told = {part: event.data[part] for part in ("routing", "description") if part in event.data}
    state["aliases"] = {**state["aliases"], name: {**known, **told, "updated": event.time}}


def _alias_deleted(state: dict[str, Any], event: Event) -> None:
    gone = event.data["alias"]
    state["aliases"] = {name: alias for name, alias in state["aliases"].items() if name != gone}


def _tagged(state: dict[str, Any], event: Event) -> None:
    state["tags"] = {**state.get("tags", {}), **event.data["tags"]}


def _untagged(state: dict[str, Any], event: Event) -> None:
    keys = event.data["keys"]
    state["tags"] = {key: value for key, value in state.get("tags", {}).items() if key not in keys}


FOLDS: dict[str, Callable[[dict[str, Any], Event], None]] = {
    "machine.updated": _updated,
    "machine.version_published": _published,
    "machine.version_deleted": _version_deleted,
    "machine.alias_created": _aliased,
    "machine.alias_updated": _aliased,
    "machine.alias_deleted": _alias_deleted,
    "machine.tagged": _tagged,
    "machine.untagged": _untagged,
    "machine.deleted": lambda state, event: None,
}


# -- answering -----------------------------------------------------------------------------------


def _create(change: Change) -> dict[str, Any]:
    """A new state machine; one that is there already and is the same counts as created."""
    data = change.data
    if change.record is not None:
        known = change.record.data
        if any(known.get(part) != data.get(part) for part in COMPARED):
            raise ServiceError(
                "StateMachineAlreadyExists", f"State Machine Already Exists: '{data['arn']}'"
            )
    else:
        check_tags(data.get("tags", {}))
        kept = {part: data[part] for part in (*COMPARED, "role", "tags", "source")
                if data.get(part) is not None}  # fmt: skip
        change.write("machine.created", kept)
    reply: dict[str, Any] = {"created": _row_of(change).time}
    if data.get("publish"):
        reply["version"] = _publish_once(change, data.get("description"))
    return reply


def _update(change: Change) -> dict[str, Any]:
    """What changed gets a new revision; what is the same keeps the one it has."""
    state, data = change.state, change.data
    fresh = {part: data[part] for part in CHANGED if data.get(part) is not None}
    if any(state.get(part) != value for part, value in fresh.items()):
        change.write("machine.updated", {**fresh, "revision": data["revision"]})
    reply = {"updated": change.state["updated"], "revision": change.state["revision"]}
    if data.get("publish"):
        reply["version"] = _publish_once(change, data.get("description"))
    return reply


def _deploy(change: Change) -> dict[str, Any]:
    """A definition in a file of the project: created, updated where it changed, or as it is."""
    data = change.data
    known = change.record.data if change.record is not None else None
    fresh = {"definition": data["definition"], "source": data.get("source")}
    if known is None or known["type"] != data["type"]:
        if known is not None:
            change.write("machine.deleted", {})
        role = data.get("role") or DEPLOYED_ROLE
        made = {**fresh, "type": data["type"], "role": role, "logging": data.get("logging"),
                "tracing": data.get("tracing"), "tags": data.get("tags") or {}}  # fmt: skip
        change.write("machine.created", {k: v for k, v in made.items() if v is not None})
        return {"deployed": "created"}
    given = ((part, data[part]) for part in ("role", "logging", "tracing") if data.get(part))
    fresh.update(given)
    if any(known.get(part) != value for part, value in fresh.items()):
        change.write("machine.updated", {**fresh, "revision": data["revision"]})
        return {"deployed": "updated"}
    return {"deployed": "unchanged"}


def _delete(change: Change) -> dict[str, Any]:
    """It goes with its versions and aliases; executions that run go on."""
    if change.record is not None:
        for number in change.record.data["versions"]:
            change.write("machine.version_deleted", {"number": int(number)})
        change.write("machine.deleted", {})
    return {}


def _publish(change: Change) -> dict[str, Any]:
    state, wanted = change.state, change.data.get("wanted")
    if wanted is not None and wanted != (state["revision"] or "INITIAL"):
        raise ServiceError(
            "ConflictException",
            f"Failed to publish the State Machine version for revision {wanted}. "
            f"The current State Machine revision is {state['revision'] or 'INITIAL'}.",
        )
    number = _publish_once(change, change.data.get("description"))
    return {"version": number, "created": change.state["versions"][str(number)]["created"]}


def _publish_once(change: Change, description: str | None) -> int:
    """The number of the version that is the present revision, published now if it was not."""
    state = change.state
    for number, entry in state["versions"].items():
        if entry["revision"] == state["revision"]:
            return int(number)
    if len(state["versions"]) >= change.data.get("versions_max", VERSIONS_MAX):
        raise ServiceError(
            "ServiceQuotaExceededException",
            f"State machine '{change.name}' has {len(state['versions'])} versions already.",
        )
    number = int(state["next"])
    change.write("machine.version_published", {"number": number, "description": description})
    return number


def _delete_version(change: Change) -> dict[str, Any]:
    number = change.data["number"]
    if change.record is None or str(number) not in change.record.data["versions"]:
        return {}
    users = [
        name
        for name, alias in change.record.data["aliases"].items()
        if any(version == number for version, _ in alias["routing"])
    ]
    if users:
        raise ServiceError(
            "ConflictException",
            "Version to be deleted must not be referenced by an alias. "
            f"Current list of aliases referencing this version: [{', '.join(users)}]",
        )
    change.write("machine.version_deleted", {"number": number})
    return {}


def _create_alias(change: Change) -> dict[str, Any]:
    state, data = change.state, change.data
    _check_routing(change, data["routing"])
    known = state["aliases"].get(data["alias"])
    told: dict[str, Any] = {
        "routing": data["routing"],
        "description": data.get("description"),
    }
    if known is None:
        if len(state["aliases"]) >= data.get("aliases_max", ALIASES_MAX):
            raise ServiceError(
                "ServiceQuotaExceededException",
                f"State machine '{change.name}' has {len(state['aliases'])} aliases already.",
            )
        change.write("machine.alias_created", {"alias": data["alias"], **told})
    elif any(known[part] != value for part, value in told.items()):
        raise ServiceError(
            "ConflictException",
            "Failed to create alias because an alias with the same name and a different routing "
            "configuration already exists.",
        )
    return {"created": change.state["aliases"][data["alias"]]["created"]}


def _check_routing(change: Change, routing: list[list[int]]) -> None:
    versions = change.state["versions"]
    if any(str(version) not in versions for version, _ in routing):
        arns = ", ".join(change.data["arns"])
        raise ServiceError(
            "ValidationException",
            f"Routing configuration must contain state machine version ARNs. Received: [{arns}]",
        )


def _update_alias(change: Change) -> dict[str, Any]:
    data = change.data
    _known_alias(change)
    if "routing" in data:
        _check_routing(change, data["routing"])
    told: dict[str, Any] = {}
    told |= {part: data[part] for part in ("routing", "description") if part in data}
    change.write("machine.alias_updated", {"alias": data["alias"], **told})
    return {"updated": change.state["aliases"][data["alias"]]["updated"]}


def _known_alias(change: Change) -> None:
    if change.record is None or change.data["alias"] not in change.record.data["aliases"]:
        raise ServiceError("ResourceNotFound", "Request references a resource that does not exist.")


def _delete_alias(change: Change) -> dict[str, Any]:
    if change.record is not None and change.data["alias"] in change.record.data["aliases"]:
        change.write("machine.alias_deleted", {"alias": change.data["alias"]})
    return {}


def _tag(change: Change) -> dict[str, Any]:
    known = _row_of(change).data.get("tags", {})
    tags = change.data["tags"]
    check_tags({**known, **tags})
    if any(known.get(key) != value for key, value in tags.items()):
        change.write("machine.tagged", {"tags": tags})
    return {}


def _untag(change: Change) -> dict[str, Any]:
    known = _row_of(change).data.get("tags", {})
    keys = [key for key in dict.fromkeys(change.data["keys"]) if key in known]
    if keys:
        change.write("machine.untagged", {"keys": keys})
    return {}


def check_tags(tags: Mapping[str, str]) -> None:
    """Raises `ServiceError` where there are more tags than one resource may have."""
    if len(tags) > TAGS_MAX:
        raise ServiceError(
            "TooManyTags", f"A resource may have {TAGS_MAX} tags, it would have {len(tags)}."
        )


def _row_of(change: Change) -> Record:
    if change.record is None:
        raise ServiceError("ResourceNotFound", f"Resource not found: '{change.data['arn']}'")
    return change.record


ANSWERS: dict[str, Callable[[Change], dict[str, Any]]] = {
    "machine.create": _create,
    "machine.update": _update,
    "machine.deploy": _deploy,
    "machine.delete": _delete,
    "machine.publish": _publish,
    "machine.delete_version": _delete_version,
    "machine.create_alias": _create_alias,
    "machine.update_alias": _update_alias,
    "machine.delete_alias": _delete_alias,
    "machine.tag": _tag,
    "machine.untag": _untag,
}
