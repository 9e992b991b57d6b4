"""State machines, versions, aliases, activities and tags through boto3."""

from __future__ import annotations

from typing import Any

import pytest
from tests.server.stepfunctions.serving import PASS, ROLE, machine, refused, tags

OTHER = PASS.replace('"A"', '"B"')


def test_a_state_machine_is_described_as_it_was_made(client: Any) -> None:
    arn = machine(client, "described", type="EXPRESS", tags=tags({"a": "b"}))
    assert arn == "arn:aws:states:us-east-1:000000000000:stateMachine:described"
    found = client.describe_state_machine(stateMachineArn=arn)
    assert found["definition"] == PASS
    assert (found["type"], found["status"], found["roleArn"]) == ("EXPRESS", "ACTIVE", ROLE)
    assert "revisionId" not in found
    bare = client.describe_state_machine(stateMachineArn=arn, includedData="METADATA_ONLY")
    assert bare["definition"] == ""
    assert client.list_tags_for_resource(resourceArn=arn)["tags"] == tags({"a": "b"})


def test_a_deleted_one_is_gone(client: Any) -> None:
    arn = machine(client, "deleted")
    client.delete_state_machine(stateMachineArn=arn)
    client.delete_state_machine(stateMachineArn=arn)
    assert refused(client.describe_state_machine, stateMachineArn=arn) == (
        f"StateMachineDoesNotExist: State Machine Does Not Exist: '{arn}'"
    )
    names = [one["name"] for one in client.list_state_machines()["stateMachines"]]
    assert "deleted" not in names


def test_lists_go_page_by_page(client: Any) -> None:
    arns = {machine(client, f"page{number}") for number in range(7)}
    found: list[str] = []
    page = client.list_state_machines(maxResults=3)
    while True:
        assert len(page["stateMachines"]) <= 3
        found += [one["stateMachineArn"] for one in page["stateMachines"]]
        if "nextToken" not in page:
            break
        page = client.list_state_machines(maxResults=3, nextToken=page["nextToken"])
    assert arns <= set(found)
    assert len(found) == len(set(found))
    assert refused(client.list_state_machines, nextToken="nonsense") == (
        "InvalidToken: Invalid Token: 'Invalid token'"
    )
    other = client.list_state_machines(maxResults=3)["nextToken"]
    assert "InvalidToken" in refused(client.list_activities, nextToken=other)


def test_what_breaks_a_constraint_is_told_as_the_service_tells_it(client: Any) -> None:
    asked = client.create_state_machine
    text = refused(asked, name="x" * 81, definition="", type="SLOW")
    assert text == (
        "ValidationException: 4 validation errors detected: Value null at 'roleArn' failed to "
        "satisfy constraint: Member must not be null; "
        f"Value '{'x' * 81}' at 'name' failed to satisfy constraint: Member must have length less "
        "than or equal to 80; Value 'SLOW' at 'type' failed to satisfy constraint: Member must "
        "satisfy enum value set: [STANDARD, EXPRESS]; "
        "Value at 'definition' failed to satisfy constraint: Member must have length greater than "
        "or equal to 1"
    )
    text = refused(client.tag_resource, resourceArn="arn:x", tags=tags({"": "v"}))
    assert "Value '' at 'tags.1.member.key' failed to satisfy constraint" in text
    text = refused(client.list_executions, stateMachineArn="arn:x", maxResults=1001)
    assert text.endswith("Member must have value less than or equal to 1000")


@pytest.mark.parametrize("sign", ' <>{}[]?*"#%\\^|~`$&,;:/\x00\x1f\x7f\x9f')
def test_names_have_no_special_signs(client: Any, sign: str) -> None:
    name = f"a{sign}b"
    made = refused(client.create_state_machine, name=name, definition=PASS, roleArn=ROLE)
    assert made == f"InvalidName: Invalid Name: '{name}'"
    assert refused(client.create_activity, name=name) == f"InvalidName: Invalid Name: '{name}'"


@pytest.mark.parametrize(
    ("arn", "text"),
    [
        ("nothing", "Invalid Arn: 'Invalid ARN prefix: nothing'"),
        ("arn:aws:states:us-east-1:000000000000:activity:a",
         "Invalid Arn: 'Resource type not valid in this context: activity'"),
        ("arn:aws:states:us-east-1:000000000000:stateMachine:a:b:c",
         "Invalid Arn: 'arn:aws:states:us-east-1:000000000000:stateMachine:a:b:c'"),
    ],
)  # fmt: skip
def test_what_is_no_arn_of_a_state_machine_is_refused(client: Any, arn: str, text: str) -> None:
    assert refused(client.describe_state_machine, stateMachineArn=arn) == f"InvalidArn: {text}"


def test_updates_make_revisions_and_versions(client: Any) -> None:
    arn = machine(client, "revised")
    nothing = refused(client.update_state_machine, stateMachineArn=arn)
    assert nothing.startswith("MissingRequiredParameter: Either the definition")
    described = refused(
        client.update_state_machine, stateMachineArn=arn, roleArn=ROLE, versionDescription="d"
    )
    assert described.endswith("Version description can only be set when publish is true")
    done = client.update_state_machine(
        stateMachineArn=arn, definition=OTHER, publish=True, versionDescription="d"
    )
    assert done["stateMachineVersionArn"] == f"{arn}:1"
    version = client.describe_state_machine(stateMachineArn=f"{arn}:1")
    assert (version["definition"], version["description"]) == (OTHER, "d")
    assert version["revisionId"] == done["revisionId"]
    client.update_state_machine(stateMachineArn=arn, definition=PASS)
    assert client.describe_state_machine(stateMachineArn=f"{arn}:1")["definition"] == OTHER
    stale = refused(
        client.publish_state_machine_version, stateMachineArn=arn, revisionId=done["revisionId"]
    )
    assert stale.startswith("ConflictException: Failed to publish the State Machine version for")
    client.publish_state_machine_version(stateMachineArn=arn)
    listed = client.list_state_machine_versions(stateMachineArn=arn)["stateMachineVersions"]
    assert [one["stateMachineVersionArn"] for one in listed] == [f"{arn}:2", f"{arn}:1"]


def routing(arn: str, *weights: int) -> list[dict[str, Any]]:
    return [
        {"stateMachineVersionArn": f"{arn}:{number}", "weight": weight}
        for number, weight in enumerate(weights, 1)
    ]


def test_aliases_route_to_versions_by_weight(client: Any) -> None:
    arn = machine(client, "routed", publish=True)
    client.update_state_machine(stateMachineArn=arn, definition=OTHER, publish=True)
    create = client.create_state_machine_alias
    made = create(name="live", routingConfiguration=routing(arn, 90, 10), description="d")
    alias = made["stateMachineAliasArn"]
    assert alias == f"{arn}:live"
    found = client.describe_state_machine_alias(stateMachineAliasArn=alias)
    assert found["routingConfiguration"] == routing(arn, 90, 10)
    assert found["description"] == "d"
    used = client.list_state_machine_aliases(stateMachineArn=f"{arn}:2")
    assert [one["stateMachineAliasArn"] for one in used["stateMachineAliases"]] == [alias]
    taken = refused(client.delete_state_machine_version, stateMachineVersionArn=f"{arn}:1")
    assert "Current list of aliases referencing this version: [live]" in taken
    client.delete_state_machine_alias(stateMachineAliasArn=alias)
    client.delete_state_machine_version(stateMachineVersionArn=f"{arn}:1")
    gone = refused(client.describe_state_machine_alias, stateMachineAliasArn=alias)
    assert gone.startswith("ResourceNotFound: ")


def test_routings_that_make_no_sense_are_refused(client: Any) -> None:
    arn = machine(client, "misrouted", publish=True)
    create = client.create_state_machine_alias
    wrong = refused(create, name="live", routingConfiguration=routing(arn, 90, 20))
    assert wrong == (
        "ValidationException: Sum of routing configuration weights must equal 100. "
        "Received: [90, 20]"
    )
    wrong = refused(create, name="live", routingConfiguration=routing(arn, 50, 50))
    assert wrong.endswith(f"state machine version ARNs. Received: [{arn}:1, {arn}:2]")
    twice = routing(arn, 50) * 2
    wrong = refused(create, name="live", routingConfiguration=twice)
    assert "must contain distinct state machine version ARNs" in wrong
    wrong = refused(create, name="7", routingConfiguration=routing(arn, 100))
    assert wrong.endswith(
        r"Member must satisfy regular expression pattern: ^(?=.*[a-zA-Z_\-\.])[a-zA-Z0-9_\-\.]+$"
    )
    wrong = refused(create, name="a", routingConfiguration=routing(arn, 50, 40, 10))
    assert f"[RoutingConfigurationListItem(stateMachineVersionArn={arn}:1, weight=50)" in wrong


def test_activities_are_made_described_listed_and_deleted(client: Any) -> None:
    made = client.create_activity(name="work", tags=tags({"a": "b"}))
    arn = made["activityArn"]
    assert client.create_activity(name="work")["creationDate"] == made["creationDate"]
    found = client.describe_activity(activityArn=arn)
    assert (found["name"], found["encryptionConfiguration"]) == ("work", {"type": "AWS_OWNED_KEY"})
    assert arn in [one["activityArn"] for one in client.list_activities()["activities"]]
    client.untag_resource(resourceArn=arn, tagKeys=["a"])
    assert client.list_tags_for_resource(resourceArn=arn)["tags"] == []
    client.delete_activity(activityArn=arn)
    client.delete_activity(activityArn=arn)
    gone = f"ActivityDoesNotExist: Activity Does Not Exist: '{arn}'"
    assert refused(client.describe_activity, activityArn=arn) == gone
    assert refused(client.get_activity_task, activityArn=arn) == gone
    assert refused(client.tag_resource, resourceArn=arn, tags=[]).startswith("ResourceNotFound")


def test_configurations_are_checked(client: Any) -> None:
    text = refused(
        client.create_state_machine, name="logged", definition=PASS, roleArn=ROLE,
        loggingConfiguration={"level": "ALL"},
    )  # fmt: skip
    assert text == (
        "InvalidLoggingConfiguration: Invalid Logging Configuration: "
        "Must specify exactly one Log Destination."
    )
    text = refused(
        client.create_activity, name="locked",
        encryptionConfiguration={"type": "CUSTOMER_MANAGED_KMS_KEY"},
    )  # fmt: skip
    assert text.startswith("InvalidEncryptionConfiguration")


def test_a_version_is_not_changed_by_its_arn(client: Any) -> None:
    arn = machine(client, "versioned", publish=True)
    gone = f"StateMachineDoesNotExist: State Machine Does Not Exist: '{arn}:1'"
    assert refused(client.update_state_machine, stateMachineArn=f"{arn}:1", roleArn=ROLE) == gone
    assert refused(client.publish_state_machine_version, stateMachineArn=f"{arn}:1") == gone
    kept = refused(client.delete_state_machine, stateMachineArn=f"{arn}:1")
    assert kept.startswith("ValidationException")
