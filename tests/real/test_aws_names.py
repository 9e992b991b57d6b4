"""Names and values between state machines, boto3 and the service's texts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import botocore.session
import pytest

from batuta.real.aws.names import (
    boto_name,
    exception_name,
    member_name,
    operation_name,
    pascal,
    upper_first,
    words_of,
)
from batuta.real.aws.shapes import Misfits, arguments, optimised_answer, sdk_answer
from batuta.workflow.asl.resource import OPTIMISED

SESSION = botocore.session.get_session()


def shapes(service: str, operation: str) -> Any:
    return SESSION.get_service_model(service).operation_model(operation)


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("s3", "s3"), ("sfn", "stepfunctions"), ("SFN", "stepfunctions"),
        ("states", "stepfunctions"),
        ("cloudwatchlogs", "logs"), ("eventbridge", "events"),
        ("bedrockruntime", "bedrock-runtime"),
        ("cognitoidentityprovider", "cognito-idp"), ("elasticloadbalancingv2", "elbv2"),
        ("applicationautoscaling", "application-autoscaling"), ("costexplorer", "ce"),
        ("databasemigration", "dms"), ("rdsdata", "rds-data"), ("emr-containers", "emr-containers"),
        ("elasticmapreduce", "emr"), ("nothing", None),
    ],
)  # fmt: skip
def test_services_are_found_by_their_words(word: str, name: str | None) -> None:
    assert boto_name(word, SESSION.get_available_services()) == name


def test_every_service_of_boto3_is_found_by_the_name_that_java_gives_it() -> None:
    known = SESSION.get_available_services()
    loader = SESSION.get_component("data_loader")
    for name in ("logs", "events", "ce", "dms", "elb", "iot-data", "lex-models", "cur", "ds", "es"):
        service = loader.load_service_model(name, "service-2")["metadata"]["serviceId"]
        assert boto_name(service.replace(" ", ""), known) == name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("ETag", "ETag"), ("DBInstanceIdentifier", "DbInstanceIdentifier"),
        ("MD5OfMessageBody", "Md5OfMessageBody"), ("executionArn", "ExecutionArn"),
        ("ChecksumCRC32", "ChecksumCRC32"), ("VPCId", "VpcId"), ("Id", "Id"),
        ("URL", "Url"), ("NULL", "Nul"),
    ],
)  # fmt: skip
def test_members_are_written_as_the_sdk_of_java_does(name: str, shown: str) -> None:
    assert member_name(name) == shown


@pytest.mark.parametrize(
    ("service", "shown"),
    [
        ("DynamoDB", "DynamoDb"), ("SFN", "Sfn"), ("S3", "S3"), ("EC2", "Ec2"),
        ("Secrets Manager", "SecretsManager"), ("KMS", "Kms"),
        ("CloudWatch Logs", "CloudWatchLogs"),
        ("EventBridge", "EventBridge"), ("API Gateway", "ApiGateway"),
    ],
)  # fmt: skip
def test_services_are_written_as_the_sdk_of_java_does(service: str, shown: str) -> None:
    assert pascal(service) == shown


@pytest.mark.parametrize(
    ("shape", "shown"),
    [
        ("NoSuchKey", "NoSuchKeyException"), ("InvalidToken", "InvalidTokenException"),
        ("ResourceNotFoundException", "ResourceNotFoundException"),
        ("DbInstanceNotFoundFault", "DbInstanceNotFoundException"),
    ],
)  # fmt: skip
def test_errors_are_exceptions(shape: str, shown: str) -> None:
    assert exception_name(shape) == shown


def test_small_things() -> None:
    assert operation_name("putItem") == "PutItem"
    assert upper_first("taskArn") == "TaskArn"


def test_every_optimised_integration_has_words_for_its_errors() -> None:
    for service in OPTIMISED:
        if service not in ("http", "shell"):
            assert words_of(service).prefix


def test_parameters_become_arguments() -> None:
    shape = shapes("ecs", "RunTask").input_shape
    value = {
        "TaskDefinition": "web",
        "Count": "2",
        "Overrides": {"ContainerOverrides": [{"Name": "a", "Command": ["x", 1]}]},
        "EnableExecuteCommand": True,
        "Group": None,
    }
    assert arguments(shape, value)[0] == {
        "taskDefinition": "web",
        "count": 2,
        "overrides": {"containerOverrides": [{"name": "a", "command": ["x", "1"]}]},
        "enableExecuteCommand": True,
    }


def test_blobs_and_json_and_times_become_arguments() -> None:
    put, _ = arguments(shapes("s3", "PutObject").input_shape,
                       {"Bucket": "b", "Key": "k", "Body": {"a": [1]}})  # fmt: skip
    assert put["Body"] == b'{"a":[1]}'
    start, _ = arguments(shapes("stepfunctions", "StartExecution").input_shape,
                         {"StateMachineArn": "x", "Input": {"a": 1}})  # fmt: skip
    assert start["input"] == '{"a":1}'
    clear, _ = arguments(shapes("kms", "Decrypt").input_shape, {"CiphertextBlob": "aGk="})
    assert clear["CiphertextBlob"] == b"hi"
    logs, _ = arguments(shapes("cloudtrail", "LookupEvents").input_shape,
                        {"StartTime": "2024-01-02T03:04:05Z"})  # fmt: skip
    assert logs["StartTime"] == datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_parameters_that_do_not_fit_are_all_told() -> None:
    shape = shapes("ecs", "RunTask").input_shape
    with pytest.raises(Misfits) as misfits:
        arguments(shape, {"Cuont": 1, "Count": "many", "Overrides": [], "Tags": {}})
    assert misfits.value.problems == [
        'The field "Cuont" is not supported by Step Functions',
        "The value for the field 'Count' must be an integer",
        "The value for the field 'Overrides' must be an object",
        "The value for the field 'Tags' must be an array",
        'The field "TaskDefinition" is required but was missing',
    ]


def test_nulls_are_told_apart_from_what_is_missing() -> None:
    shape = shapes("dynamodb", "PutItem").input_shape
    assert arguments(shape, {"TableName": "t", "Item": None}) == ({"TableName": "t"}, ["Item"])


def test_answers_become_json() -> None:
    shape = shapes("kms", "Encrypt").output_shape
    assert sdk_answer(shape, {"CiphertextBlob": b"hi", "KeyId": "k", "Else": 1}) == {
        "CiphertextBlob": "aGk=",
        "KeyId": "k",
    }
    time = datetime(2024, 1, 2, 3, 4, 5, 250_000, tzinfo=UTC)
    shape = shapes("stepfunctions", "StartExecution").output_shape
    answer = {"executionArn": "arn", "startDate": time}
    assert sdk_answer(shape, answer) == {
        "ExecutionArn": "arn", "StartDate": "2024-01-02T03:04:05.250Z",
    }  # fmt: skip
    assert optimised_answer(shape, answer) == {"ExecutionArn": "arn", "StartDate": 1704164645250}
    assert sdk_answer(shape, {"startDate": time.replace(microsecond=0)}) == {
        "StartDate": "2024-01-02T03:04:05Z",
    }  # fmt: skip
    assert sdk_answer(None, {"ResponseMetadata": {}}) == {}
