"""Calls of services, with moto as the cloud."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.real.cloud import client, cloud, places, task
from tests.real.support import Harness, run

from batuta.real.aws.shapes import BODY_LIMIT
from batuta.real.integrations import Integrations


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with cloud() as found:
        client(found, "s3").create_bucket(Bucket="bucket")
        client(found, "dynamodb").create_table(
            TableName="orders",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        yield found


async def ask(it: Harness, resource: str, input: Any, **more: Any) -> Any:
    options = {name: more.pop(name) for name in ("timeout_s",) if name in more}
    return await it.outcome(it.perform("aws", task(resource, input, **more), **options))


async def value(it: Harness, resource: str, input: Any, **more: Any) -> Any:
    outcome = await ask(it, resource, input, **more)
    assert outcome.failure is None, outcome.failure
    return outcome.value


async def failure(it: Harness, resource: str, input: Any, **more: Any) -> tuple[str, str]:
    outcome = await ask(it, resource, input, **more)
    assert outcome.failure is not None, outcome.value
    return outcome.failure.type, outcome.failure.message


# -- aws-sdk -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "etag"),
    [
        (False, "68934a3e9455fa72420237eb05902327"),
        (0, "cfcd208495d565ef66e7dff9f98764da"),
        ("text", "20cd815523e5806aec29a57282b0d49f"),
        ({"a": 1}, "bb6cb5c68df4652941caf652a366f2d8"),
    ],
)
def test_a_body_is_text_or_json(address: str, tmp_path: Path, body: Any, etag: str) -> None:
    async def story(it: Harness) -> None:
        put = {"Bucket": "bucket", "Key": "k", "Body": body}
        told = await value(it, "aws-sdk:s3:putObject", put)
        assert told["ETag"] == f'"{etag}"'
        got = await value(it, "aws-sdk:s3:getObject", {"Bucket": "bucket", "Key": "k"})
        assert got["ETag"] == f'"{etag}"'
        assert got["Metadata"] == {}
        assert "ChecksumCRC32" not in got
        assert got["LastModified"].endswith("Z")
        assert isinstance(got["Body"], str)

    run(story, integrations=places(address, tmp_path))


def test_a_body_that_is_too_large_is_refused(address: str, tmp_path: Path) -> None:
    client(address, "s3").put_object(Bucket="bucket", Key="large", Body=b"x" * (BODY_LIMIT + 1))

    async def story(it: Harness) -> None:
        large = {"Bucket": "bucket", "Key": "large"}
        error, cause = await failure(it, "aws-sdk:s3:getObject", large)
        assert error == "States.DataLimitExceeded"
        assert cause.startswith("the answer is larger than 16,777,216 bytes")
        part = await value(it, "aws-sdk:s3:getObject", {**large, "Range": "bytes=0-3"})
        assert part["Body"] == "xxxx"

    run(story, integrations=places(address, tmp_path))


def test_items_of_dynamodb_keep_their_types(address: str, tmp_path: Path) -> None:
    async def story(it: Harness) -> None:
        item = {"id": {"S": "1"}, "total": {"N": "3"}}
        put = {"TableName": "orders", "Item": item}
        assert await value(it, "aws-sdk:dynamodb:putItem", put) == {}
        key = {"TableName": "orders", "Key": {"id": {"S": "1"}}}
        assert await value(it, "aws-sdk:dynamodb:getItem", key) == {"Item": item}
        found = await value(it, "dynamodb:getItem", key)
        assert found["Item"] == item
        assert found["SdkHttpMetadata"]["HttpStatusCode"] == 200
        headers = found["SdkHttpMetadata"]["HttpHeaders"]
        assert headers["Content-Type"] == "application/x-amz-json-1.0"
        assert found["SdkHttpMetadata"]["AllHttpHeaders"]["Content-Type"] == [
            headers["Content-Type"]
        ]
        assert found["SdkResponseMetadata"]["RequestId"] == headers["x-amzn-RequestId"]
        query = {
            "TableName": "orders",
            "KeyConditionExpression": "id = :id",
            "ExpressionAttributeValues": {":id": {"S": "1"}},
        }
        told = await value(it, "aws-sdk:dynamodb:query", query)
        assert told == {"Items": [item], "Count": 1, "ScannedCount": 1}

    run(story, integrations=places(address, tmp_path))


def test_types_of_dynamodb_are_written_as_each_integration_does(
    address: str, tmp_path: Path
) -> None:
    async def story(it: Harness) -> None:
        item = {
            "id": {"S": "2"},
            "tags": {"SS": ["a"]},
            "paid": {"BOOL": True},
            "by": {"NULL": True},
        }
        await value(it, "dynamodb:putItem", {"TableName": "orders", "Item": item})
        key = {"TableName": "orders", "Key": {"id": {"S": "2"}}}
        assert (await value(it, "dynamodb:getItem", key))["Item"] == item
        found = (await value(it, "aws-sdk:dynamodb:getItem", key))["Item"]
        assert found == {
            "id": {"S": "2"}, "tags": {"Ss": ["a"]}, "paid": {"Bool": True}, "by": {"Nul": True},
        }  # fmt: skip
        again = {"TableName": "orders", "Item": found}
        assert await value(it, "aws-sdk:dynamodb:putItem", again) == {}

    run(story, integrations=places(address, tmp_path))


def test_names_of_members_follow_the_sdk(address: str, tmp_path: Path) -> None:
    async def story(it: Harness) -> None:
        assert await value(it, "aws-sdk:secretsmanager:listSecrets", {}) == {"SecretList": []}
        vpcs = await value(it, "aws-sdk:ec2:describeVpcs", {})
        assert "VpcId" in vpcs["Vpcs"][0]
        groups = await value(
            it, "aws-sdk:cloudwatchlogs:describeLogGroups", {"LogGroupNamePrefix": "x"}
        )
        assert groups == {"LogGroups": []}
        key = (await value(it, "aws-sdk:kms:createKey", {}))["KeyMetadata"]["KeyId"]
        sealed = await value(it, "aws-sdk:kms:encrypt", {"KeyId": key, "Plaintext": "secret"})
        opened = await value(
            it, "aws-sdk:kms:decrypt", {"CiphertextBlob": sealed["CiphertextBlob"]}
        )
        assert opened["Plaintext"] == "secret"

    run(story, integrations=places(address, tmp_path))


# -- errors ------------------------------------------------------------------------------------


def test_errors_have_the_names_and_texts_of_the_service(address: str, tmp_path: Path) -> None:
    async def story(it: Harness) -> None:
        missing = {"Bucket": "bucket", "Key": "nothing"}
        error, cause = await failure(it, "aws-sdk:s3:getObject", missing)
        assert error == "S3.NoSuchKeyException"
        begin = "The specified key does not exist. (Service: S3, Status Code: 404, Request ID: "
        assert cause.startswith(begin)
        assert ", Extended Request ID: " in cause
        error, cause = await failure(it, "aws-sdk:s3:listObjects", {"Bucket": "nowhere"})
        assert error == "S3.NoSuchBucketException"
        item = {"TableName": "nowhere", "Item": {"id": {"S": "1"}}}
        error, cause = await failure(it, "dynamodb:putItem", item)
        assert error == "DynamoDB.ResourceNotFoundException"
        begin = (
            "Requested resource not found (Service: AmazonDynamoDBv2; Status Code: 400; "
            "Error Code: ResourceNotFoundException; Request ID: "
        )
        assert cause.startswith(begin)
        assert cause.endswith("; Proxy: null)")
        once = {**item, "TableName": "orders", "ConditionExpression": "attribute_exists(nothing)"}
        error, _ = await failure(it, "aws-sdk:dynamodb:putItem", once)
        assert error == "DynamoDb.ConditionalCheckFailedException"

    run(story, integrations=places(address, tmp_path))


def test_required_members_that_are_null_are_refused_as_the_service_does(
    address: str, tmp_path: Path
) -> None:
    async def story(it: Harness) -> None:
        text = (
            "1 validation error detected: Value null at 'item' failed to satisfy constraint: "
            "Member must not be null"
        )
        empty = {"TableName": "orders", "Item": None}
        error, cause = await failure(it, "aws-sdk:dynamodb:putItem", empty)
        assert error == "DynamoDb.DynamoDbException"
        assert cause.startswith(f"{text} (Service: DynamoDb, Status Code: 400, Request ID: ")
        error, cause = await failure(it, "dynamodb:putItem", empty)
        assert error == "DynamoDB.AmazonDynamoDBException"
        assert "Error Code: ValidationException" in cause
        error, cause = await failure(it, "sqs:sendMessage", {"QueueUrl": "x", "MessageBody": None})
        assert error == "SQS.AmazonSQSException"
        assert cause.startswith(
            "The request must contain the parameter MessageBody. (Service: AmazonSQS;"
        )

    run(story, integrations=places(address, tmp_path))


def test_parameters_that_do_not_fit_do_not_start_the_task(address: str, tmp_path: Path) -> None:
    async def story(it: Harness) -> None:
        error, cause = await failure(it, "sqs:sendMessage", {"QueueUrl": "x", "Foo": 1})
        assert error == "States.Runtime"
        assert cause == (
            'The Parameters \'{"QueueUrl":"x","Foo":1}\' could not be used to start the Task: '
            '[The field "Foo" is not supported by Step Functions, '
            'The field "MessageBody" is required but was missing]'
        )

    run(story, integrations=places(address, tmp_path))


def test_what_nobody_performs_is_refused(address: str, tmp_path: Path) -> None:
    async def story(it: Harness) -> None:
        for resource, text in [
            ("aws-sdk:nosuch:foo", "there is no service `nosuch`"),
            ("aws-sdk:s3:foo", "the service `s3` has no API action `foo`"),
            ("sqs:sendMessage.sync", "is not supported"),
            ("eks:call", "by http:invoke"),
        ]:
            error, cause = await failure(it, resource, {})
            assert (error, text in cause) == ("States.Runtime", True), cause

    run(story, integrations=places(address, tmp_path))


def test_a_service_that_is_not_there_is_an_error_of_the_client(
    address: str, tmp_path: Path
) -> None:
    async def story(it: Harness) -> None:
        error, cause = await failure(it, "aws-sdk:sqs:listQueues", {})
        assert error == "Sqs.SdkClientException"
        assert cause.startswith("Unable to execute HTTP request: ")

    here = Integrations(tmp_path, "us-east-1", address, {"sqs": "http://127.0.0.1:9"})
    run(story, integrations=here)


def test_step_functions_may_be_this_server_itself(address: str, tmp_path: Path) -> None:
    async def story(it: Harness) -> None:
        it.world.services.clients.answer_here(address)
        given = {"StateMachineArn": "arn:aws:states:us-east-1:000000000000:stateMachine:no"}
        error, cause = await failure(it, "aws-sdk:sfn:describeStateMachine", given)
        assert error == "Sfn.StateMachineDoesNotExistException"
        assert "(Service: Sfn, Status Code: 400, Request ID: " in cause

    run(story, integrations=Integrations(tmp_path))


def test_without_boto3_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(it: Harness) -> None:
        error, cause = await failure(it, "aws-sdk:sqs:listQueues", {})
        assert error == "States.Runtime"
        assert "pip install 'batuta[aws]'" in cause

    monkeypatch.setitem(sys.modules, "boto3", None)
    run(story, integrations=Integrations(tmp_path))


# -- optimised integrations --------------------------------------------------------------------


def test_a_message_with_a_token_reaches_its_queue(address: str, tmp_path: Path) -> None:
    queues = client(address, "sqs")
    url = queues.create_queue(QueueName="tasks")["QueueUrl"]

    async def story(it: Harness) -> None:
        body = {"order": 1, "token": "abc"}
        given = {"QueueUrl": url, "MessageBody": body}
        told = await value(it, "sqs:sendMessage.waitForTaskToken", given, token="abc")
        assert told["MD5OfMessageBody"]
        assert told["SdkHttpMetadata"]["HttpStatusCode"] == 200

    run(story, integrations=places(address, tmp_path))
    messages = queues.receive_message(QueueUrl=url)["Messages"]
    assert messages[0]["Body"] == '{"order":1,"token":"abc"}'


def test_a_topic_gets_messages_with_attributes(address: str, tmp_path: Path) -> None:
    topic = client(address, "sns").create_topic(Name="orders")["TopicArn"]

    async def story(it: Harness) -> None:
        attributes = {"kind": {"DataType": "String", "StringValue": "new"}}
        given = {"TopicArn": topic, "Message": {"a": 1}, "MessageAttributes": attributes}
        assert (await value(it, "sns:publish", given))["MessageId"]
        error, cause = await failure(it, "sns:publish", {**given, "TopicArn": f"{topic}x"})
        assert error == "SNS.NotFoundException"
        assert "(Service: AmazonSNS; Status Code: 404; Error Code: NotFound; Request ID: " in cause

    run(story, integrations=places(address, tmp_path))


def test_a_role_is_assumed(address: str, tmp_path: Path) -> None:
    async def story(it: Harness) -> None:
        role = {"RoleArn": "arn:aws:iam::111111111111:role/other"}
        told = await value(it, "aws-sdk:sts:getCallerIdentity", {}, credentials=role)
        assert told["Arn"].startswith("arn:aws:sts::111111111111:assumed-role/other/")
        told = await value(it, "aws-sdk:sts:getCallerIdentity", {})
        assert ":assumed-role/" not in told["Arn"]

    run(story, integrations=places(address, tmp_path))


# -- calls that hang ---------------------------------------------------------------------------


def test_a_call_that_hangs_ends_with_its_time(tmp_path: Path, address: str) -> None:
    release = threading.Event()

    class Hanging(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            release.wait(10)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hanging)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    async def story(it: Harness) -> None:
        error, _ = await failure(it, "aws-sdk:sqs:listQueues", {}, timeout_s=0.2)
        assert error == "batuta:TimedOut"
        id = it.perform("aws", task("aws-sdk:sqs:listQueues", {}))
        it.world.cancel(id)
        assert (await it.failure(id)).type == "batuta:Cancelled"

    here = places(f"http://127.0.0.1:{server.server_address[1]}", tmp_path)
    run(story, integrations=here)
    release.set()
    server.shutdown()
    server.server_close()
