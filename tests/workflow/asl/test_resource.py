"""What a Task's `Resource` means."""

from __future__ import annotations

import pytest

from batuta.workflow.asl.resource import parse

STATES = "arn:aws:states:::"
FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:charge"
ACTIVITY = "arn:aws:states:us-east-1:000000000000:activity:pack"

READ = [
    (f"{STATES}sqs:sendMessage", "aws", "sqs", "sendMessage", "request"),
    (f"{STATES}sqs:sendMessage.waitForTaskToken", "aws", "sqs", "sendMessage", "waitForTaskToken"),
    (f"{STATES}lambda:invoke", "lambda", "lambda", "invoke", "request"),
    (f"{STATES}http:invoke", "invoke", "http", "invoke", "request"),
    (f"{STATES}states:startExecution", "nested", "states", "startExecution", "request"),
    (f"{STATES}states:startExecution.sync", "nested", "states", "startExecution", "sync"),
    (f"{STATES}states:startExecution.sync:2", "nested", "states", "startExecution", "sync:2"),
    (f"{STATES}events:putEvents", "events", "events", "putEvents", "request"),
    (f"{STATES}ecs:runTask.sync", "aws", "ecs", "runTask", "sync"),
    (f"{STATES}aws-sdk:s3:putObject", "aws", "aws-sdk:s3", "putObject", "request"),
    (
        f"{STATES}aws-sdk:sfn:startExecution.waitForTaskToken",
        *("aws", "aws-sdk:sfn", "startExecution", "waitForTaskToken"),
    ),
    ("arn:aws-cn:states:::sns:publish", "aws", "sns", "publish", "request"),
    (FUNCTION, "lambda", FUNCTION, "$LATEST", "request"),
    (f"{FUNCTION}:live", "lambda", FUNCTION, "live", "request"),
    (ACTIVITY, "activity", ACTIVITY, "pack", "request"),
    ("arn:batuta:step:charge", "function", "step", "charge", "request"),
    (
        "arn:batuta:step:charge.waitForTaskToken",
        *("function", "step", "charge"),
        "waitForTaskToken",
    ),
    ("arn:batuta:shell", "shell", "shell", "run", "request"),
]


@pytest.mark.parametrize(("text", "kind", "service", "action", "pattern"), READ)
def test_a_resource_says_who_is_asked_and_how(
    text: str, kind: str, service: str, action: str, pattern: str
) -> None:
    found = parse(text)
    assert (found.kind, found.service, found.action, found.pattern) == (
        *(kind, service, action),
        pattern,
    )
    assert found.allowed


@pytest.mark.parametrize(
    ("text", "family", "resource_type", "resource"),
    [
        (
            f"{STATES}sqs:sendMessage.waitForTaskToken",
            "task",
            "sqs",
            "sendMessage.waitForTaskToken",
        ),
        (f"{STATES}states:startExecution.sync:2", "task", "states", "startExecution.sync:2"),
        (f"{STATES}aws-sdk:dynamodb:getItem", "task", "aws-sdk:dynamodb", "getItem"),
        (FUNCTION, "lambda", "lambda", FUNCTION),
        (ACTIVITY, "activity", "activity", ACTIVITY),
        ("arn:batuta:step:charge", "task", "step", "charge"),
        ("arn:batuta:shell.waitForTaskToken", "task", "shell", "run.waitForTaskToken"),
    ],
)
def test_a_resource_has_the_words_of_the_history(
    text: str, family: str, resource_type: str, resource: str
) -> None:
    found = parse(text)
    assert (found.family, found.resource_type, found.resource) == (family, resource_type, resource)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "foo:bar",
        "arn:aws:swf:us-east-1:123456789012:task:X",
        f"{STATES}sqs:deleteQueue",
        f"{STATES}aws-sdk:s3",
        f"{STATES}aws-sdk:s3:",
        f"{STATES}shell:run",
        "arn:batuta:step:",
        "arn:batuta:cron:x",
        "arn:aws:lambda:us-east-1:000000000000:function:",
    ],
)
def test_what_nobody_performs_is_unknown(text: str) -> None:
    found = parse(text)
    assert (found.kind, found.allowed) == ("unknown", False)


@pytest.mark.parametrize(
    "text",
    [
        f"{STATES}sqs:sendMessage.sync",
        f"{STATES}batch:submitJob.waitForTaskToken",
        f"{STATES}aws-sdk:ecs:runTask.sync",
        f"{STATES}ecs:runTask.sync:2",
    ],
)
def test_a_pattern_that_the_service_does_not_have_is_not_allowed(text: str) -> None:
    assert not parse(text).allowed
