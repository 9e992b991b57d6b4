"""The machine of state machines, by lists: messages in, events and rows out."""

from __future__ import annotations

from typing import Any

import pytest

from batuta.kernel.event import Event, Message, Record
from batuta.kernel.machine import Decision
from batuta.workflow.asl.activities import Activities
from batuta.workflow.asl.registry import ServiceError, StateMachines, fold

SUBJECT = "machine:pay"
CREATE = {"arn": "arn:pay", "definition": "{}", "type": "STANDARD", "role": "r"}


class Stage:
    """One state machine's messages, one after the other, with the rows as the loop keeps them."""

    def __init__(self, machine: Any = None) -> None:
        self.machine = machine or StateMachines()
        self.rows: dict[str, Record] = {}
        self.events: list[Event] = []
        self.time = 0

    def ask(self, what: str, subject: str = SUBJECT, /, **data: Any) -> dict[str, Any]:
        self.time += 1
        message = Message(str(self.time), 0, what, subject, data, None, self.time)
        into = Decision()
        record = self.machine.record_of(subject) or self.rows.get(subject)
        reply: dict[str, Any] = self.machine.receive(message, record, [], into)
        self.events += into.events
        self.rows.update({row.id: row for row in into.records})
        return reply

    def settle(self) -> None:
        self.machine.decide(self.time, Decision())

    @property
    def types(self) -> list[str]:
        return [event.type.partition(".")[2] for event in self.events]


def created(**more: Any) -> Stage:
    stage = Stage()
    stage.ask("machine.create", **CREATE, **more)
    return stage


def refused(stage: Stage, what: str, /, **data: Any) -> str:
    with pytest.raises(ServiceError) as caught:
        stage.ask(what, **{"arn": "arn:pay", **data})
    return f"{caught.value.code}: {caught.value.message}"


def test_the_same_creation_twice_is_one() -> None:
    stage = created()
    assert stage.ask("machine.create", **{**CREATE, "role": "other"}) == {"created": 1}
    assert stage.types == ["created"]
    assert refused(stage, "machine.create", **{**CREATE, "definition": "{ }"}) == (
        "StateMachineAlreadyExists: State Machine Already Exists: 'arn:pay'"
    )


def test_only_what_differs_makes_a_revision() -> None:
    stage = created()
    assert stage.ask("machine.update", definition="{}", revision="a")["revision"] is None
    assert stage.ask("machine.update", definition="{1}", revision="b")["revision"] == "b"
    assert stage.ask("machine.update", definition="{1}", role="r", revision="c") == {
        "updated": 3, "revision": "b",
    }  # fmt: skip
    assert stage.types == ["created", "updated"]


def test_a_revision_is_published_once() -> None:
    stage = created(publish=True)
    assert stage.ask("machine.publish") == {"version": 1, "created": 1}
    stage.ask("machine.update", definition="{2}", revision="b")
    assert "current State Machine revision is b" in refused(stage, "machine.publish", wanted="a")
    assert stage.ask("machine.publish", wanted="b", description="two")["version"] == 2
    stage.ask("machine.delete_version", number=2)
    assert stage.ask("machine.publish")["version"] == 3, "numbers are not used again"
    assert stage.rows["machine:pay:1"].data["definition"] == "{}"
    assert stage.rows["machine:pay:2"].status == "deleted"


def test_a_version_that_an_alias_points_to_stays() -> None:
    stage = created(publish=True)
    stage.ask("machine.create_alias", alias="live", routing=[[1, 100]], arns=["v1"])
    assert refused(stage, "machine.delete_version", number=1) == (
        "ConflictException: Version to be deleted must not be referenced by an alias. "
        "Current list of aliases referencing this version: [live]"
    )
    stage.ask("machine.delete_alias", alias="live")
    stage.ask("machine.delete_version", number=1)
    assert stage.rows[SUBJECT].data["versions"] == {}


def test_an_alias_is_created_once_and_changed_by_updates() -> None:
    stage = created(publish=True)
    told = {"alias": "live", "routing": [[1, 100]], "arns": ["v1"], "description": "d"}
    assert stage.ask("machine.create_alias", **told) == stage.ask("machine.create_alias", **told)
    assert "ConflictException" in refused(
        stage, "machine.create_alias", **{**told, "description": "e"}
    )
    assert "Received: [v9]" in refused(
        stage, "machine.update_alias", alias="live", routing=[[9, 100]], arns=["v9"]
    )
    stage.ask("machine.update_alias", alias="live", description="e")
    alias = stage.rows[SUBJECT].data["aliases"]["live"]
    assert (alias["description"], alias["routing"]) == ("e", [[1, 100]])
    assert "ResourceNotFound" in refused(stage, "machine.update_alias", alias="dead")


def test_messages_of_one_turn_see_each_other() -> None:
    stage = created()
    stage.rows.clear()
    assert stage.ask("machine.publish")["version"] == 1
    stage.ask("machine.delete")
    assert "StateMachineDoesNotExist" in refused(stage, "machine.publish")
    stage.settle()
    assert stage.machine.record_of(SUBJECT) is None


def test_a_name_can_be_used_again_after_deletion() -> None:
    stage = created(publish=True)
    stage.ask("machine.delete")
    stage.settle()
    stage.ask("machine.create", **{**CREATE, "type": "EXPRESS"})
    row = stage.rows[SUBJECT]
    assert (row.status, row.time, row.data["type"], row.data["versions"]) == (
        "active", 3, "EXPRESS", {},
    )  # fmt: skip


def test_tags_are_bounded_and_unchanged_ones_are_not_written() -> None:
    stage = created()
    stage.ask("machine.tag", arn="a", tags={"k": "v"})
    stage.ask("machine.tag", arn="a", tags={"k": "v"})
    stage.ask("machine.untag", arn="a", keys=["k", "k", "other"])
    stage.ask("machine.untag", arn="a", keys=["k"])
    assert stage.types == ["created", "tagged", "untagged"]
    many = {str(number): "" for number in range(51)}
    assert refused(stage, "machine.tag", tags=many).startswith("TooManyTags")


def test_a_deployed_definition_is_created_updated_or_left() -> None:
    stage = Stage()
    told: dict[str, Any] = {
        "definition": "{}", "type": "STANDARD", "source": "pay.asl.json:1", "revision": "a",
    }  # fmt: skip
    assert stage.ask("machine.deploy", **told) == {"deployed": "created"}
    assert stage.ask("machine.deploy", **told) == {"deployed": "unchanged"}
    changed = {**told, "definition": "{1}", "revision": "b"}
    assert stage.ask("machine.deploy", **changed) == {"deployed": "updated"}
    assert stage.rows[SUBJECT].data["revision"] == "b"
    express = {**changed, "type": "EXPRESS"}
    assert stage.ask("machine.deploy", **express) == {"deployed": "created"}
    assert stage.types == ["created", "updated", "deleted", "created"]


def test_rows_are_folded_from_the_events_alone() -> None:
    stage = created(publish=True, tags={"k": "v"})
    stage.ask("machine.update", definition="{2}", revision="b", publish=True)
    stage.ask("machine.create_alias", alias="live", routing=[[1, 40], [2, 60]], arns=[])
    stage.ask("machine.untag", arn="a", keys=["k"])
    rows: dict[str, Record] = {}
    for event in stage.events:
        rows.update({row.id: row for row in fold(rows.get(SUBJECT), event)})
    assert rows == stage.rows


def test_activities_are_created_once_and_deleted() -> None:
    stage = Stage(Activities())
    subject = "activity:work"
    assert stage.ask("activity.create", subject, arn="a") == {"created": 1}
    assert stage.ask("activity.create", subject, arn="a") == {"created": 1}
    with pytest.raises(ServiceError, match="Already Exists"):
        stage.ask("activity.create", subject, arn="a", encryption={"type": "x"})
    stage.ask("activity.tag", subject, arn="a", tags={"k": "v"})
    stage.ask("activity.untag", subject, arn="a", keys=["k"])
    assert stage.rows[subject].data["tags"] == {}
    stage.ask("activity.delete", subject)
    stage.ask("activity.delete", subject)
    assert stage.types == ["created", "tagged", "untagged", "deleted"]
    with pytest.raises(ServiceError, match="Resource not found"):
        stage.ask("activity.tag", subject, arn="a", tags={})
