"""What the recorded executions find around them: buckets, tables, topics and queues of moto, other
state machines, and somebody who returns task tokens."""

from __future__ import annotations

import csv
import io
import json
import threading
import time
from collections.abc import Callable
from typing import Any

from tests.conformance.asl.functions import call_ours
from tests.real.cloud import client

ROLE = "arn:aws:iam::000000000000:role/snf_role_arn"
MOTO_DIFFERS = ("$..ChecksumType", "$..ConsumedCapacity", "$..ServerSideEncryption")
"""Members that moto's answers lack, or have where the service's do not."""
BUCKET = {"TopicArn": "arn:aws:sns:us-east-1:111111111111:t"}
"""What the cases have where the recorder put a bucket's name."""
QUEUE = "https://sqs.us-east-1.amazonaws.com/111111111111/q"
TOPIC = "arn:aws:sns:us-east-1:111111111111:t"
TABLE = "sfn_test_table_00000000"
FAILED = {"event": "TaskFailed", "error": "Failure error", "cause": "Failure cause"}
TARGET = "arn:aws:states:us-east-1:111111111111:stateMachine:"
ACTIVITY = "arn:aws:states:us-east-1:111111111111:activity:activity-00000000"
SHEET = [
    ["Value1", "Value2", "Value3"], ["Value4", "Value5", "Value6"], ["", "", ""],
    ["true", "1", "'HelloWorld'"], ["Null", "None", ""], ["   ", "", ""],
]  # fmt: skip


class Surroundings:
    """Makes them, case by case.

    Parameters
    ----------
    address: moto's. states: boto3's client of the server under test.
    """

    def __init__(self, address: str, states: Any) -> None:
        self.states = states
        self.s3, self.sqs, self.sns, self.dynamodb = (
            client(address, name) for name in ("s3", "sqs", "sns", "dynamodb")
        )
        self.closed = threading.Event()
        self._threads: list[threading.Thread] = []

    def prepared(self, number: int, case: dict[str, Any], *parts: str) -> dict[str, Any]:
        """A case whose parts (definition, input, calls) name what there is."""
        text = call_ours(case, json.dumps({part: case[part] for part in parts}))
        for role in (f'"CredentialsRoleArn": {json.dumps(BUCKET)}',):
            text = text.replace(role, f'"CredentialsRoleArn": "{ROLE}"')
        for recorded, made in self._made(case).items():
            if recorded in text:
                text = text.replace(recorded, made(number, case))
        return {**case, **json.loads(text)}

    def _made(self, case: dict[str, Any]) -> dict[str, Callable[[int, dict[str, Any]], str]]:
        """What stands in a case, in JSON, and what makes the thing that we have instead."""
        found: dict[str, Callable[[int, dict[str, Any]], str]] = {
            json.dumps(BUCKET): self._bucket,
            json.dumps(BUCKET).replace('"', '\\"'): self._bucket_in_text,
            "result-bucket": self._result_bucket, QUEUE: self._queue, TOPIC: self._topic,
            ACTIVITY: self._activity, TABLE: self._table,
            f"{TARGET}statemachine_create_and_record_execution_00000000": self._target,
        }  # fmt: skip
        if "no_such" in case["id"] or case["kind"] == "api":
            del found[f"{TARGET}statemachine_create_and_record_execution_00000000"]
        if case["kind"] == "api":
            del found[ACTIVITY]
        return found

    def close(self) -> None:
        """Nobody returns tokens any more."""
        self.closed.set()
        for thread in self._threads:
            thread.join(10)

    # -- things of the cloud ------------------------------------------------------------------

    def _bucket(self, number: int, case: dict[str, Any]) -> str:
        name = f"bucket-{number}"
        self.s3.create_bucket(Bucket=name)
        if case["needs"] == "s3":
            self.s3.put_object(Bucket=name, Key=case["input"]["Key"], Body=_file(case))
        elif "empty_binary" in case["id"]:
            self.s3.put_object(Bucket=name, Key=case["input"]["Key"], Body=b"")
        return json.dumps(name)

    def _bucket_in_text(self, number: int, case: dict[str, Any]) -> str:
        return self._bucket(number, case).replace('"', '\\"')

    def _result_bucket(self, number: int, case: dict[str, Any]) -> str:
        self.s3.create_bucket(Bucket="result-bucket")
        return "result-bucket"

    def _table(self, number: int, case: dict[str, Any]) -> str:
        name = f"table-{number}"
        self.dynamodb.create_table(
            TableName=name, KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )  # fmt: skip
        return name

    def _topic(self, number: int, case: dict[str, Any]) -> str:
        fifo = ".fifo" if "fifo" in case["id"] else ""
        attributes = {"FifoTopic": "true"} if fifo else {}
        made = self.sns.create_topic(Name=f"topic-{number}{fifo}", Attributes=attributes)
        arn: str = made["TopicArn"]
        if "error_topic_arn" in case["id"]:
            self.sns.delete_topic(TopicArn=arn)
        elif "wait_for_task_token" in case["id"]:
            self.sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=self._queue_arn(number, case))
        return arn

    def _queue(self, number: int, case: dict[str, Any]) -> str:
        url: str = self.sqs.create_queue(QueueName=f"queue-{number}")["QueueUrl"]
        if "waitForTaskToken" in json.dumps(case):
            self._begin(self._return_tokens, url, case)
        return url

    def _queue_arn(self, number: int, case: dict[str, Any]) -> str:
        url = self._queue(number, case)
        found = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        arn: str = found["Attributes"]["QueueArn"]
        return arn

    # -- other state machines, and who answers ------------------------------------------------

    def _target(self, number: int, case: dict[str, Any]) -> str:
        """The machine that is started from within the case, which ends as it did there."""
        answer: dict[str, Any] = next(iter(case["tasks"] or [{"answer": {}}]))["answer"]
        told = answer.get("output") or {}
        if not isinstance(told, dict) or "cause" in answer:
            told = json.loads(answer.get("cause", "{}"))
        flow: dict[str, Any] = {"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}}
        if told.get("Status") == "FAILED":
            state = {"Type": "Fail", "Error": told["Error"], "Cause": told.get("Cause", "")}
            flow["States"]["A"] = state
        elif told.get("Status") == "TIMED_OUT":
            flow["States"]["A"] = {"Type": "Wait", "Seconds": 30, "End": True}
            flow["TimeoutSeconds"] = 1
        elif "Output" in told:
            flow["States"]["A"]["Result"] = json.loads(told["Output"])
        return machine(self.states, f"target-{number}", flow)

    def _activity(self, number: int, case: dict[str, Any]) -> str:
        arn: str = self.states.create_activity(name=f"activity-{number}")["activityArn"]
        if "deleted" in case["id"]:
            self.states.delete_activity(activityArn=arn)
        else:
            self._begin(self._work, arn, case)
        return arn

    def _begin(self, act: Any, place: str, case: dict[str, Any]) -> None:
        answers = [task["answer"] for task in case.get("tasks") or ()]
        if "sqs_send_task_failure_state_machine" in json.dumps(case):
            answers = [FAILED]
        thread = threading.Thread(target=act, args=(place, answers), daemon=True)
        thread.start()
        self._threads.append(thread)

    def _return_tokens(self, url: str, answers: list[dict[str, Any]]) -> None:
        while answers and not self.closed.is_set():
            for message in self.sqs.receive_message(QueueUrl=url).get("Messages", ()):
                body = json.loads(message["Body"])
                body = json.loads(body["Message"]) if "TopicArn" in body else body
                self._answer(_token(body), answers.pop(0))
            time.sleep(0.2)

    def _work(self, arn: str, answers: list[dict[str, Any]]) -> None:
        got = self.states.get_activity_task(activityArn=arn, workerName="BASE_ID_ACTIVITY_CONSUMER")
        if got.get("taskToken"):
            self._answer(got["taskToken"], answers.pop(0))

    def _answer(self, token: str, answer: dict[str, Any]) -> None:
        if answer["event"].endswith("TimedOut"):
            return
        self.states.send_task_heartbeat(taskToken=token)
        if answer["event"].endswith("Succeeded"):
            said = answer["output"]
            said = {**said, "TaskToken": token} if _has_token(said) else said
            self.states.send_task_success(taskToken=token, output=json.dumps(said))
        else:
            told = {name: answer[name] for name in ("error", "cause") if name in answer}
            self.states.send_task_failure(taskToken=token, **told)


def machine(states: Any, name: str, definition: Any, type: str = "STANDARD") -> str:
    """The ARN of a new state machine."""
    made = states.create_state_machine(
        name=name, definition=json.dumps(definition), roleArn=ROLE, type=type
    )
    arn: str = made["stateMachineArn"]
    return arn


def _has_token(said: Any) -> bool:
    return isinstance(said, dict) and "TaskToken" in said


def _token(body: dict[str, Any]) -> str:
    token: str = body["TaskToken"]
    return token


def _file(case: dict[str, Any]) -> bytes:
    """The file that the case reads; recorded are only the items that came of it."""
    output = case["expected"]["outcome"].get("output") or []
    if case["input"]["Key"].endswith(".json"):
        if '"ItemsPath"' in json.dumps(case["definition"]):
            output = [["from-bucket-item-0"]]
        return json.dumps([item for each in output for item in _items(each)]).encode()
    rows = SHEET
    if "first_line" in case["id"]:
        rows = [["Col1", "Col2", "Col3"], *SHEET]
    elif "typed_headers" in case["id"]:
        rows = [["0", "True", "{}"], *SHEET[1:]]
    elif "first_row_extra" in case["id"]:
        rows = [["H1", ""], *(row[:3] for row in SHEET[1:])]
    elif "max_items" in case["id"]:
        values = [[f"Value{2 * n + 1}", f"Value{2 * n + 2}"] for n in range(4)]
        rows = [["Col1", "Col2"], *values]
    file = io.StringIO()
    csv.writer(file).writerows(rows)
    return file.getvalue().encode()


def _items(each: Any) -> list[Any]:
    found = each["Items"] if isinstance(each, dict) and "Items" in each else [each]
    return list(found)
