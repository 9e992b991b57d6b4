"""Services that moto does not play, or not so: a server that answers what it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.real.cloud import CREDENTIALS, places, task
from tests.real.support import Harness, run

ANSWERS: dict[str, list[Any]] = {}
HEARD: list[tuple[str, Any]] = []


class Canned(BaseHTTPRequestHandler):
    """Gives the next answer of an operation; the last one again and again."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        target = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        name = target or f"{self.command} {self.path}"
        HEARD.append((name, json.loads(body) if body else None))
        answers = ANSWERS.get(name, [])
        told = answers.pop(0) if len(answers) > 1 else (answers or [None])[0]
        status = 200 if told is not None else 404
        content = json.dumps({} if told is None else told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = answer  # noqa: N815 - the base class looks for these names

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name, text in CREDENTIALS.items():
        monkeypatch.setenv(name, text)
    ANSWERS.clear()
    HEARD.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Canned)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def asked(address: str, folder: Path, resource: str, input: Any) -> Any:
    """The outcome of one task."""
    found: list[Any] = []

    async def story(it: Harness) -> None:
        found.append(await it.outcome(it.perform("aws", task(resource, input), id="run-1/a.1")))

    run(story, integrations=places(address, folder))
    return found[0]


def test_a_model_answers_with_json(address: str, tmp_path: Path) -> None:
    ANSWERS["POST /model/m/invoke"] = [{"results": [1]}]
    given = {"ModelId": "m", "Body": {"inputText": "hello"}}
    outcome = asked(address, tmp_path, "bedrock:invokeModel", given)
    assert outcome.failure is None, outcome.failure
    assert outcome.value["Body"] == {"results": [1]}
    assert HEARD[0][1] == {"inputText": "hello"}
    outcome = asked(
        address, tmp_path, "bedrock:invokeModel", {**given, "Input": {"S3Uri": "s3://a"}}
    )
    assert "is not supported: use `Body`" in outcome.failure.message


JOBS: list[tuple[str, Any, dict[str, list[Any]], Any]] = [
    (
        "glue:startJobRun.sync",
        {"JobName": "j"},
        {
            "StartJobRun": [{"JobRunId": "r"}],
            "GetJobRun": [
                {"JobRun": {"Id": "r", "JobRunState": "RUNNING"}},
                {"JobRun": {"Id": "r", "JobRunState": "SUCCEEDED", "StartedOn": 1.5}},
            ],
        },
        {"Id": "r", "JobRunState": "SUCCEEDED", "StartedOn": 1500},
    ),
    (
        "batch:submitJob.sync",
        {"JobName": "n", "JobQueue": "q", "JobDefinition": "d"},
        {
            "POST /v1/submitjob": [{"jobName": "n", "jobId": "i"}],
            "POST /v1/describejobs": [
                {"jobs": [{"jobId": "i", "status": "RUNNABLE"}]},
                {"jobs": [{"jobId": "i", "status": "SUCCEEDED"}]},
            ],
        },
        {"JobId": "i", "Status": "SUCCEEDED"},
    ),
    (
        "databrew:startJobRun.sync",
        {"Name": "n"},
        {
            "POST /jobs/n/startJobRun": [{"RunId": "r"}],
            "GET /jobs/n/jobRun/r": [{"RunId": "r", "State": "SUCCEEDED"}],
        },
        {"RunId": "r", "State": "SUCCEEDED"},
    ),
    (
        "mediaconvert:createJob.sync",
        {"Role": "r", "Settings": {}},
        {
            "POST /2017-08-29/jobs": [{"job": {"id": "i", "status": "SUBMITTED"}}],
            "GET /2017-08-29/jobs/i": [{"job": {"id": "i", "status": "COMPLETE"}}],
        },
        {"Job": {"Id": "i", "Status": "COMPLETE"}},
    ),
    (
        "emr-containers:startJobRun.sync",
        {"VirtualClusterId": "v"},
        {
            "POST /virtualclusters/v/jobruns": [{"id": "i", "virtualClusterId": "v"}],
            "GET /virtualclusters/v/jobruns/i": [{"jobRun": {"id": "i", "state": "COMPLETED"}}],
        },
        {"JobRun": {"Id": "i", "State": "COMPLETED"}},
    ),
    (
        "emr-serverless:startJobRun.sync",
        {"ApplicationId": "a", "ExecutionRoleArn": "r"},
        {
            "POST /applications/a/jobruns": [{"jobRunId": "i", "applicationId": "a"}],
            "GET /applications/a/jobruns/i": [{"jobRun": {"jobRunId": "i", "state": "SUCCESS"}}],
        },
        {"JobRun": {"JobRunId": "i", "State": "SUCCESS"}},
    ),
    (
        "elasticmapreduce:addStep.sync",
        {"ClusterId": "c", "Step": {"Name": "s", "HadoopJarStep": {"Jar": "x"}}},
        {
            "AddJobFlowSteps": [{"StepIds": ["s-1"]}],
            "DescribeStep": [{"Step": {"Id": "s-1", "Status": {"State": "COMPLETED"}}}],
        },
        {"Step": {"Id": "s-1", "Status": {"State": "COMPLETED"}}},
    ),
    (
        "states:startExecution.sync:2",
        {"StateMachineArn": "m", "Input": {"a": 1}},
        {
            "StartExecution": [{"executionArn": "e", "startDate": 1.0}],
            "DescribeExecution": [
                {
                    "executionArn": "e", "status": "SUCCEEDED", "input": '{"a":1}', "output": "[2]",
                    "startDate": 1.0, "redriveCount": 0,
                },
            ],
        },
        {
            "ExecutionArn": "e", "Status": "SUCCEEDED", "Input": {"a": 1}, "Output": [2],
            "StartDate": 1000,
        },
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("resource", "input", "answers", "output"), JOBS, ids=[job[0] for job in JOBS]
)
def test_a_job_succeeds(
    address: str, tmp_path: Path, resource: str, input: Any, answers: Any, output: Any
) -> None:
    ANSWERS.update({name: [*each] for name, each in answers.items()})
    outcome = asked(address, tmp_path, resource, input)
    assert outcome.failure is None, outcome.failure
    assert outcome.value["output"] == output
    assert "SdkHttpMetadata" in outcome.value["submitted"]


FAILING: list[tuple[str, Any, dict[str, list[Any]]]] = [
    (
        "glue:startJobRun.sync",
        {"JobName": "j"},
        {
            "StartJobRun": [{"JobRunId": "r"}],
            "GetJobRun": [{"JobRun": {"Id": "r", "JobRunState": "FAILED"}}],
        },
    ),
    (
        "batch:submitJob.sync",
        {"JobName": "n", "JobQueue": "q", "JobDefinition": "d"},
        {
            "POST /v1/submitjob": [{"jobName": "n", "jobId": "i"}],
            "POST /v1/describejobs": [{"jobs": [{"jobId": "i", "status": "FAILED"}]}],
        },
    ),
    (
        "ecs:runTask.sync",
        {"TaskDefinition": "d"},
        {
            "RunTask": [{"tasks": [{"taskArn": "t"}], "failures": []}],
            "DescribeTasks": [
                {
                    "tasks": [
                        {
                            "taskArn": "t", "lastStatus": "STOPPED",
                            "containers": [{"exitCode": 0}, {"exitCode": 1}],
                        }
                    ]
                }
            ],
        },
    ),
    (
        "ecs:runTask.sync",
        {"TaskDefinition": "d"},
        {"RunTask": [{"tasks": [], "failures": [{"reason": "RESOURCE:MEMORY"}]}]},
    ),
    (
        "states:startExecution.sync",
        {"StateMachineArn": "m"},
        {
            "StartExecution": [{"executionArn": "e", "startDate": 1.0}],
            "DescribeExecution": [{"executionArn": "e", "status": "TIMED_OUT"}],
        },
    ),
]  # fmt: skip


@pytest.mark.parametrize(("resource", "input", "answers"), FAILING)
def test_a_job_fails(address: str, tmp_path: Path, resource: str, input: Any, answers: Any) -> None:
    ANSWERS.update({name: [*each] for name, each in answers.items()})
    outcome = asked(address, tmp_path, resource, input)
    assert outcome.failure.type == "States.TaskFailed"
    assert json.loads(outcome.failure.message)
    assert "SdkHttpMetadata" in outcome.detail["submitted"]


def test_a_job_that_cannot_be_seen_any_more_fails(address: str, tmp_path: Path) -> None:
    ANSWERS["StartJobRun"] = [{"JobRunId": "r"}]
    outcome = asked(address, tmp_path, "glue:startJobRun.sync", {"JobName": "j"})
    assert outcome.failure.type.startswith("Glue.")
    assert outcome.detail["submitted"]["JobRunId"] == "r"


def test_a_build_has_a_token_of_its_command(address: str, tmp_path: Path) -> None:
    ANSWERS["StartBuild"] = [{"build": {"id": "b"}}]
    ANSWERS["BatchGetBuilds"] = [{"builds": [{"id": "b", "buildStatus": "SUCCEEDED"}]}]
    for _ in range(2):
        outcome = asked(address, tmp_path, "codebuild:startBuild.sync", {"ProjectName": "p"})
        assert outcome.value["output"] == {"Build": {"Id": "b", "BuildStatus": "SUCCEEDED"}}
    sent = [body["idempotencyToken"] for name, body in HEARD if name == "StartBuild"]
    assert len(sent) == 2
    assert sent[0] == sent[1]
