"""What each action may be asked: the members of its request and their limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

KIB, MIB = 1024, 1024 * 1024


@dataclass(frozen=True, slots=True)
class Shape:
    """The form of one value.

    Parameters
    ----------
    kind: `text`, `whole`, `number`, `truth`, `list` or `object`.
    least, most: of a text's or list's length, or of a number.
    ours: the greatest length where the service's own quotas are not asked for.
    pattern, choices: of a text.
    secret: its value is not repeated in messages.
    item: of a list. members: of an object. required: names of members.
    name: how the service calls an object in its messages.
    """

    kind: str
    least: int | None = None
    most: int | None = None
    ours: int | None = None
    pattern: str | None = None
    choices: tuple[str, ...] = ()
    secret: bool = False
    item: Shape | None = None
    members: Mapping[str, Shape] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    name: str = ""


def text(least: int | None = None, most: int | None = None, ours: int | None = None) -> Shape:
    """A text of bounded length."""
    return Shape("text", least, most, ours)


def secret(most: int, ours: int | None = None) -> Shape:
    """A text that messages do not repeat."""
    return Shape("text", None, most, ours, secret=True)


def one_of(*words: str) -> Shape:
    """One of these words."""
    return Shape("text", choices=words)


def objects(name: str, members: Mapping[str, Shape], *required: str) -> Shape:
    """An object with these members."""
    return Shape("object", members=members, required=required, name=name)


def lists(item: Shape, least: int | None = None, most: int | None = None) -> Shape:
    """A list of these."""
    return Shape("list", least, most, item=item)


TRUTH = Shape("truth")
ARN, LONG_ARN, NAME = text(1, 256), text(1, 2000), text(1, 80)
DEFINITION = Shape("text", 1, MIB, 2_000_000, secret=True)
DATA = secret(256 * KIB, 8 * MIB)
ERROR, CAUSE = secret(256), secret(32 * KIB)
DESCRIPTION = text(None, 256)
PAGE, TOKEN, LONG_TOKEN = Shape("whole", 0, 1000), text(1, 1024), text(1, 3096)
TASK_TOKEN = text(1, 2048)
TRACE = Shape("text", 0, 256, pattern=r"\p{ASCII}*")
INCLUDED = one_of("ALL_DATA", "METADATA_ONLY")
TYPE = one_of("STANDARD", "EXPRESS")
COUNT = Shape("whole", 0)
TAG = objects("Tag", {"key": text(1, 128), "value": text(0, 256)})
TAGS = lists(TAG)
ENCRYPTION = objects(
    "EncryptionConfiguration",
    {
        "kmsKeyId": text(1, 2048),
        "kmsDataKeyReusePeriodSeconds": Shape("whole", 60, 900),
        "type": one_of("AWS_OWNED_KEY", "CUSTOMER_MANAGED_KMS_KEY"),
    },
    "type",
)
LOGGING = objects(
    "LoggingConfiguration",
    {
        "level": one_of("ALL", "ERROR", "FATAL", "OFF"),
        "includeExecutionData": TRUTH,
        "destinations": lists(
            objects(
                "LogDestination",
                {"cloudWatchLogsLogGroup": objects("CloudWatchLogsLogGroup", {"logGroupArn": ARN})},
            )
        ),
    },
)
TRACING = objects("TracingConfiguration", {"enabled": TRUTH})
ALIAS_NAME = Shape("text", 1, 80, pattern=r"^(?=.*[a-zA-Z_\-\.])[a-zA-Z0-9_\-\.]+$")
ROUTING = lists(
    objects(
        "RoutingConfigurationListItem",
        {"stateMachineVersionArn": ARN, "weight": Shape("whole", 0, 100)},
        "stateMachineVersionArn",
        "weight",
    ),
    1,
    2,
)
MOCK = objects(
    "MockInput",
    {
        "result": DATA,
        "errorOutput": objects("MockErrorOutput", {"error": ERROR, "cause": CAUSE}),
        "fieldValidationMode": one_of("STRICT", "PRESENT", "NONE"),
    },
)
STATE_CONFIGURATION = objects(
    "TestStateConfiguration",
    {
        "retrierRetryCount": COUNT,
        "errorCausedByState": NAME,
        "mapIterationFailureCount": COUNT,
        "mapItemReaderData": DATA,
    },
)

_MACHINE, _EXECUTION, _ACTIVITY = (
    {"stateMachineArn": ARN},
    {"executionArn": ARN},
    {"activityArn": ARN},
)
_ALIAS, _MAP_RUN, _RESOURCE = (
    {"stateMachineAliasArn": ARN},
    {"mapRunArn": LONG_ARN},
    {"resourceArn": ARN},
)
_PAGED = {"maxResults": PAGE, "nextToken": TOKEN}
_CONFIGURED = {
    "definition": DEFINITION, "roleArn": ARN, "loggingConfiguration": LOGGING,
    "tracingConfiguration": TRACING, "publish": TRUTH, "versionDescription": DESCRIPTION,
    "encryptionConfiguration": ENCRYPTION,
}  # fmt: skip
_STARTED = {**_MACHINE, "name": NAME, "input": DATA, "traceHeader": TRACE}


def _asked(members: Mapping[str, Shape], *required: str) -> Shape:
    return Shape("object", members=members, required=required)


ACTIONS: dict[str, Shape] = {
    "CreateActivity": _asked(
        {"name": NAME, "tags": TAGS, "encryptionConfiguration": ENCRYPTION}, "name"
    ),
    "CreateStateMachine": _asked(
        {"name": NAME, "type": TYPE, "tags": TAGS, **_CONFIGURED}, "name", "definition", "roleArn"
    ),
    "CreateStateMachineAlias": _asked(
        {"description": DESCRIPTION, "name": ALIAS_NAME, "routingConfiguration": ROUTING},
        "name", "routingConfiguration",
    ),
    "DeleteActivity": _asked(_ACTIVITY, "activityArn"),
    "DeleteStateMachine": _asked(_MACHINE, "stateMachineArn"),
    "DeleteStateMachineAlias": _asked(_ALIAS, "stateMachineAliasArn"),
    "DeleteStateMachineVersion": _asked(
        {"stateMachineVersionArn": LONG_ARN}, "stateMachineVersionArn"
    ),
    "DescribeActivity": _asked(_ACTIVITY, "activityArn"),
    "DescribeExecution": _asked({**_EXECUTION, "includedData": INCLUDED}, "executionArn"),
    "DescribeMapRun": _asked(_MAP_RUN, "mapRunArn"),
    "DescribeStateMachine": _asked({**_MACHINE, "includedData": INCLUDED}, "stateMachineArn"),
    "DescribeStateMachineAlias": _asked(_ALIAS, "stateMachineAliasArn"),
    "DescribeStateMachineForExecution": _asked(
        {**_EXECUTION, "includedData": INCLUDED}, "executionArn"
    ),
    "GetActivityTask": _asked({**_ACTIVITY, "workerName": NAME}, "activityArn"),
    "GetExecutionHistory": _asked(
        {**_EXECUTION, **_PAGED, "reverseOrder": TRUTH, "includeExecutionData": TRUTH},
        "executionArn",
    ),
    "ListActivities": _asked(_PAGED),
    "ListExecutions": _asked(
        {**_MACHINE, **_MAP_RUN, "maxResults": PAGE, "nextToken": LONG_TOKEN,
         "statusFilter": one_of("SUCCEEDED", "TIMED_OUT", "PENDING_REDRIVE", "ABORTED", "FAILED",
                                "RUNNING"),
         "redriveFilter": one_of("REDRIVEN", "NOT_REDRIVEN")},
    ),
    "ListMapRuns": _asked({**_EXECUTION, **_PAGED}, "executionArn"),
    "ListStateMachineAliases": _asked({**_MACHINE, **_PAGED}, "stateMachineArn"),
    "ListStateMachineVersions": _asked({**_MACHINE, **_PAGED}, "stateMachineArn"),
    "ListStateMachines": _asked(_PAGED),
    "ListTagsForResource": _asked(_RESOURCE, "resourceArn"),
    "PublishStateMachineVersion": _asked(
        {**_MACHINE, "revisionId": text(), "description": DESCRIPTION}, "stateMachineArn"
    ),
    "RedriveExecution": _asked(
        {**_EXECUTION, "clientToken": Shape("text", 1, 64, pattern="[!-~]+")}, "executionArn"
    ),
    "SendTaskFailure": _asked(
        {"taskToken": TASK_TOKEN, "error": ERROR, "cause": CAUSE}, "taskToken"
    ),
    "SendTaskHeartbeat": _asked({"taskToken": TASK_TOKEN}, "taskToken"),
    "SendTaskSuccess": _asked({"taskToken": TASK_TOKEN, "output": DATA}, "taskToken", "output"),
    "StartExecution": _asked(_STARTED, "stateMachineArn"),
    "StartSyncExecution": _asked({**_STARTED, "includedData": INCLUDED}, "stateMachineArn"),
    "StopExecution": _asked({**_EXECUTION, "error": ERROR, "cause": CAUSE}, "executionArn"),
    "TagResource": _asked({**_RESOURCE, "tags": TAGS}, "resourceArn", "tags"),
    "TestState": _asked(
        {"definition": DEFINITION, "roleArn": ARN, "input": DATA, "revealSecrets": TRUTH,
         "inspectionLevel": one_of("INFO", "DEBUG", "TRACE"), "variables": DATA,
         "stateName": NAME, "mock": MOCK, "context": DATA,
         "stateConfiguration": STATE_CONFIGURATION},
        "definition",
    ),
    "UntagResource": _asked(
        {**_RESOURCE, "tagKeys": lists(text(1, 128))}, "resourceArn", "tagKeys"
    ),
    "UpdateMapRun": _asked(
        {**_MAP_RUN, "maxConcurrency": COUNT, "toleratedFailureCount": COUNT,
         "toleratedFailurePercentage": Shape("number", 0, 100)},
        "mapRunArn",
    ),
    "UpdateStateMachine": _asked({**_MACHINE, **_CONFIGURED}, "stateMachineArn"),
    "UpdateStateMachineAlias": _asked(
        {**_ALIAS, "description": DESCRIPTION, "routingConfiguration": ROUTING},
        "stateMachineAliasArn",
    ),
    "ValidateStateMachineDefinition": _asked(
        {"definition": DEFINITION, "type": TYPE, "severity": one_of("ERROR", "WARNING"),
         "maxResults": Shape("whole", 0, 100)},
        "definition",
    ),
}  # fmt: skip
