"""What a Task's `Resource` means: who performs it, how its end is known, and its history words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

REQUEST, SYNC, SYNC_2, CALLBACK = "request", "sync", "sync:2", "waitForTaskToken"
PATTERNS = (CALLBACK, SYNC_2, SYNC)
_JOB = frozenset({REQUEST, SYNC})
_ANY_CALL = frozenset({REQUEST, CALLBACK})
_CALL = frozenset({REQUEST})


@dataclass(frozen=True, slots=True)
class Resource:
    """A task's resource, understood.

    Parameters
    ----------
    text: as it was written.
    kind: who performs it: `function` (a step of the project's), `shell`, `lambda`, `activity`,
        `invoke` (an HTTP call), `nested` (another state machine), `events`, `aws`; `unknown` where
        it is nothing of these.
    service: `sqs`, `aws-sdk:s3`; the function's or activity's ARN without its qualifier; a step:
        `step`.
    action: `sendMessage`; the qualifier of a function (`$LATEST` where none is given); the name of
        an activity or step.
    pattern: `request` (the answer is the result), `sync` and `sync:2` (until the job has ended),
        `waitForTaskToken` (until somebody sends the token back).
    family: which of the history's families of events it writes: `task`, `lambda`, `activity`.
    resource_type: what the history's `resourceType` says (`aws-sdk:s3`).
    resource: what the history's `resource` says (`sendMessage.waitForTaskToken`).
    """

    text: str
    kind: str
    service: str = ""
    action: str = ""
    pattern: str = REQUEST
    family: str = "task"
    resource_type: str = ""
    resource: str = ""

    @property
    def allowed(self) -> bool:
        """Whether the service can be asked so, and in this pattern."""
        if self.kind == "unknown":
            return False
        if self.service.startswith("aws-sdk:"):
            return self.pattern in _ANY_CALL and bool(self.action)
        if self.family != "task" or self.service == "step":
            return True
        return self.pattern in patterns(self.service, self.action)


OPTIMISED: Mapping[str, Mapping[str, frozenset[str]]] = {
    "apigateway": {"invoke": _ANY_CALL},
    "athena": {
        "startQueryExecution": _JOB, "stopQueryExecution": _CALL, "getQueryExecution": _CALL,
        "getQueryResults": _CALL,
    },
    "batch": {"submitJob": _JOB},
    "bedrock": {"invokeModel": _CALL, "createModelCustomizationJob": _JOB},
    "codebuild": {
        "startBuild": _JOB, "stopBuild": _CALL, "batchDeleteBuilds": _CALL,
        "batchGetReports": _CALL, "startBuildBatch": _JOB, "stopBuildBatch": _CALL,
        "retryBuildBatch": _JOB, "deleteBuildBatch": _CALL,
    },
    "databrew": {"startJobRun": _JOB},
    "dynamodb": {
        "getItem": _CALL, "putItem": _CALL, "deleteItem": _CALL, "updateItem": _CALL,
    },
    "ecs": {"runTask": _JOB | {CALLBACK}},
    "eks": {
        "createCluster": _JOB, "deleteCluster": _JOB, "createNodegroup": _JOB,
        "deleteNodegroup": _JOB, "createFargateProfile": _JOB, "deleteFargateProfile": _JOB,
        "call": _CALL, "runJob": _JOB,
    },
    "elasticmapreduce": {
        "createCluster": _JOB, "setClusterTerminationProtection": _CALL, "terminateCluster": _JOB,
        "addStep": _JOB, "cancelStep": _CALL, "modifyInstanceFleetByName": _CALL,
        "modifyInstanceGroupByName": _CALL,
    },
    "emr-containers": {
        "createVirtualCluster": _CALL, "deleteVirtualCluster": _JOB, "startJobRun": _JOB,
    },
    "emr-serverless": {
        "createApplication": _JOB, "startApplication": _JOB, "stopApplication": _JOB,
        "deleteApplication": _JOB, "startJobRun": _JOB, "cancelJobRun": _JOB,
    },
    "events": {"putEvents": _ANY_CALL},
    "glue": {"startJobRun": _JOB},
    "http": {"invoke": _CALL},
    "lambda": {"invoke": _ANY_CALL},
    "mediaconvert": {"createJob": _JOB},
    "sagemaker": {
        "createEndpoint": _CALL, "createEndpointConfig": _CALL,
        "createHyperParameterTuningJob": _JOB, "createLabelingJob": _JOB, "createModel": _CALL,
        "createProcessingJob": _JOB, "createTrainingJob": _JOB, "createTransformJob": _JOB,
        "updateEndpoint": _CALL,
    },
    "shell": {"run": _ANY_CALL},
    "sns": {"publish": _ANY_CALL},
    "sqs": {"sendMessage": _ANY_CALL},
    "states": {"startExecution": _JOB | {SYNC_2, CALLBACK}},
}  # fmt: skip
"""The integrations that take and give what the service documents for them, and their patterns."""

_KINDS = {
    ("lambda", "invoke"): "lambda",
    ("http", "invoke"): "invoke",
    ("states", "startExecution"): "nested",
    ("events", "putEvents"): "events",
}


def patterns(service: str, action: str) -> frozenset[str]:
    """The patterns in which an optimised integration can be asked; none where it is not one."""
    return OPTIMISED.get(service, {}).get(action, frozenset())


def parse(resource: str) -> Resource:
    """Understand a task's resource; never fails, see `Resource.kind` and `Resource.allowed`."""
    if resource.startswith("arn:batuta:"):
        return _own(resource)
    parts = resource.split(":", 5)
    if len(parts) < 6 or parts[0] != "arn":
        return Resource(resource, "unknown")
    service, rest = parts[2], parts[5]
    if service == "lambda" and rest.startswith("function:"):
        return _function(resource, ":".join(parts[:5]), rest)
    if service != "states":
        return Resource(resource, "unknown")
    if rest.startswith("activity:"):
        name = rest.removeprefix("activity:")
        return Resource(
            resource, "activity", resource, name, REQUEST, "activity", "activity", resource
        )
    return _integration(resource, rest)


def _own(resource: str) -> Resource:
    """`arn:batuta:step:NAME` and `arn:batuta:shell`."""
    kind, _, rest = resource.removeprefix("arn:batuta:").partition(":")
    if kind == "step" and rest:
        name, pattern = _split(rest)
        return Resource(resource, "function", "step", name, pattern, "task", "step", rest)
    kind, pattern = _split(kind)
    if kind == "shell" and not rest:
        suffix = "" if pattern == REQUEST else f".{pattern}"
        return Resource(resource, "shell", "shell", "run", pattern, "task", "shell", f"run{suffix}")
    return Resource(resource, "unknown")


def _function(resource: str, place: str, rest: str) -> Resource:
    """The ARN of a Lambda function, with or without a version or alias."""
    _, _, name = rest.partition(":")
    name, _, qualifier = name.partition(":")
    if not name:
        return Resource(resource, "unknown")
    return Resource(
        resource, "lambda", f"{place}:function:{name}", qualifier or "$LATEST", REQUEST, "lambda",
        "lambda", resource,
    )  # fmt: skip


def _integration(resource: str, rest: str) -> Resource:
    """`SERVICE:ACTION` or `aws-sdk:SERVICE:ACTION`, with a pattern at its end."""
    head, _, tail = rest.partition(":")
    if head == "aws-sdk":
        service, _, tail = tail.partition(":")
        head = f"aws-sdk:{service}"
    action, pattern = _split(tail)
    sdk = head.startswith("aws-sdk:")
    known = bool(action) and ":" not in action if sdk else action in OPTIMISED.get(head, {})
    if head == "shell":
        known = False
    kind = _KINDS.get((head, action), "aws") if known else "unknown"
    return Resource(resource, kind, head, action, pattern, "task", head, tail)


def _split(text: str) -> tuple[str, str]:
    """An action and its pattern."""
    for pattern in PATTERNS:
        if text.endswith(f".{pattern}"):
            return text[: -len(pattern) - 1], pattern
    return text, REQUEST
