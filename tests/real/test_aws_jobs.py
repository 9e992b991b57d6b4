"""Jobs of services (`.sync`), with moto as the cloud."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.real.cloud import client, cloud, places, task
from tests.real.support import Harness, run, until

from batuta.real.aws.calls import Asked, Operation
from batuta.real.aws.clients import Clients
from batuta.real.aws.jobs import KINDS, dig
from batuta.workflow.asl.resource import OPTIMISED, SYNC

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "x.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}
LOOP = json.dumps({"StartAt": "a", "States": {"a": {"Type": "Pass", "End": True}}})


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with cloud() as found:
        yield found


@pytest.fixture(scope="module")
def role(address: str) -> str:
    made = client(address, "iam").create_role(
        RoleName="role", AssumeRolePolicyDocument=json.dumps(TRUST)
    )
    return str(made["Role"]["Arn"])


async def job(it: Harness, resource: str, input: Any, **options: Any) -> Any:
    return await it.outcome(it.perform("aws", task(resource, input), **options))


def test_every_job_of_the_table_is_known() -> None:
    for service, actions in OPTIMISED.items():
        for action, patterns in actions.items():
            if SYNC in patterns and f"{service}:{action}" != "eks:runJob":
                assert f"{service}:{action}" in KINDS


def test_a_place_in_an_answer() -> None:
    assert dig({"a": [{"b": 1}]}, ("a", 0, "b")) == 1
    assert dig({"a": []}, ("a", 0, "b")) is None
    assert dig({}, ("a", "b")) is None


def test_a_build_is_waited_for(address: str, role: str, tmp_path: Path) -> None:
    builds = client(address, "codebuild")
    builds.create_project(
        name="shop",
        source={"type": "S3", "location": "bucket/p.zip"},
        artifacts={"type": "NO_ARTIFACTS"},
        environment={
            "type": "LINUX_CONTAINER", "image": "x", "computeType": "BUILD_GENERAL1_SMALL",
        },
        serviceRole=role,
    )  # fmt: skip

    async def story(it: Harness) -> None:
        outcome = await job(it, "codebuild:startBuild.sync", {"ProjectName": "shop"})
        assert outcome.failure is None
        assert outcome.value["submitted"]["Build"]["Id"]
        assert outcome.value["submitted"]["SdkHttpMetadata"]["HttpStatusCode"] == 200
        assert outcome.value["output"]["Build"]["BuildStatus"] == "SUCCEEDED"
        outcome = await job(it, "codebuild:startBuild.sync", {"ProjectName": "nothing"})
        assert outcome.failure.type == "CodeBuild.ResourceNotFoundException"
        assert "submitted" not in outcome.detail

    run(story, integrations=places(address, tmp_path))


def test_a_query_is_waited_for(address: str, tmp_path: Path) -> None:
    async def story(it: Harness) -> None:
        query = {
            "QueryString": "select 1",
            "ResultConfiguration": {"OutputLocation": "s3://bucket/"},
        }
        outcome = await job(it, "athena:startQueryExecution.sync", query)
        told = outcome.value["output"]["QueryExecution"]
        assert told["Status"]["State"] == "SUCCEEDED"

    run(story, integrations=places(address, tmp_path))


def test_a_job_that_is_begun_again_is_the_same_job(address: str, tmp_path: Path) -> None:
    clients = Clients(places(address, tmp_path))

    def tokens(service: str, action: str, given: dict[str, Any]) -> list[str]:
        found: list[str] = []
        for command in ("run-1/a.1", "run-1/a.1", "run-1/a.2"):
            asked = Asked(service, action, given, command)
            arguments = Operation(clients, asked).arguments(given)
            found.append(next(text for name, text in arguments.items() if "oken" in name))
        return found

    for service, action, given in [
        ("athena", "startQueryExecution", {"QueryString": "select 1"}),
        ("ecs", "runTask", {"TaskDefinition": "web"}),
        ("emr-serverless", "startJobRun", {"ApplicationId": "a", "ExecutionRoleArn": "b"}),
    ]:
        first, again, next_attempt = tokens(service, action, given)
        assert first == again != next_attempt


def test_a_training_job_is_waited_for(address: str, role: str, tmp_path: Path) -> None:
    async def story(it: Harness) -> None:
        training = {
            "TrainingJobName": "t",
            "RoleArn": role,
            "AlgorithmSpecification": {"TrainingImage": "x", "TrainingInputMode": "File"},
            "OutputDataConfig": {"S3OutputPath": "s3://bucket"},
            "ResourceConfig": {
                "InstanceType": "ml.m4.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1,
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        }  # fmt: skip
        outcome = await job(it, "sagemaker:createTrainingJob.sync", training)
        assert outcome.value["output"]["TrainingJobStatus"] == "Completed"

    run(story, integrations=places(address, tmp_path))


def test_clusters_come_and_go(address: str, role: str, tmp_path: Path) -> None:
    subnet = client(address, "ec2").describe_subnets()["Subnets"][0]["SubnetId"]

    async def story(it: Harness) -> None:
        given = {
            "Name": "cluster", "RoleArn": role, "ResourcesVpcConfig": {"SubnetIds": [subnet]},
        }  # fmt: skip
        outcome = await job(it, "eks:createCluster.sync", given)
        assert outcome.value["output"]["Cluster"]["Status"] == "ACTIVE"
        outcome = await job(it, "eks:deleteCluster.sync", {"Name": "cluster"})
        assert outcome.failure is None
        flow = {
            "Name": "flow",
            "Instances": {
                "InstanceCount": 1, "MasterInstanceType": "m5.xlarge",
                "KeepJobFlowAliveWhenNoSteps": True,
            },
            "ServiceRole": "role",
            "JobFlowRole": "role",
        }  # fmt: skip
        outcome = await job(it, "elasticmapreduce:createCluster.sync", flow)
        cluster = outcome.value["output"]["ClusterId"]
        assert outcome.value["output"]["Cluster"]["Id"] == cluster
        outcome = await job(it, "elasticmapreduce:terminateCluster.sync", {"ClusterId": cluster})
        assert outcome.value["output"]["Cluster"]["Status"]["State"] == "TERMINATED"

    run(story, integrations=places(address, tmp_path))


def test_a_step_is_added_to_a_cluster(address: str, tmp_path: Path) -> None:
    emr = client(address, "emr")
    cluster = emr.run_job_flow(
        Name="c", Instances={"InstanceCount": 1, "MasterInstanceType": "m5.xlarge"}
    )["JobFlowId"]

    async def story(it: Harness) -> None:
        step = {"Name": "s", "HadoopJarStep": {"Jar": "x.jar"}}
        given = {"ClusterId": cluster, "Step": step}
        outcome = await job(it, "elasticmapreduce:addStep", given)
        assert outcome.value["StepId"].startswith("s-")

    run(story, integrations=places(address, tmp_path))


def test_a_task_of_ecs_is_waited_for(address: str, tmp_path: Path) -> None:
    subnet = client(address, "ec2").describe_subnets()["Subnets"][0]["SubnetId"]
    ecs = client(address, "ecs")
    ecs.create_cluster(clusterName="c")
    ecs.register_task_definition(
        family="web", containerDefinitions=[{"name": "x", "image": "x", "memory": 128}],
        requiresCompatibilities=["FARGATE"], networkMode="awsvpc", cpu="256", memory="512",
    )  # fmt: skip

    async def story(it: Harness) -> None:
        network = {"AwsvpcConfiguration": {"Subnets": [subnet], "SecurityGroups": []}}
        given = {
            "Cluster": "c", "TaskDefinition": "web", "LaunchType": "FARGATE",
            "NetworkConfiguration": network,
        }  # fmt: skip
        outcome = await job(it, "ecs:runTask.sync", given)
        assert outcome.failure is None
        assert outcome.value["output"]["LastStatus"] == "STOPPED"
        assert (
            outcome.value["submitted"]["Tasks"][0]["TaskArn"]
            == (outcome.value["output"]["TaskArn"])
        )

    run(story, integrations=places(address, tmp_path))


def test_an_execution_elsewhere_is_waited_for_and_stopped(
    address: str, role: str, tmp_path: Path
) -> None:
    machines = client(address, "stepfunctions")
    arn = machines.create_state_machine(name="m", definition=LOOP, roleArn=role)["stateMachineArn"]

    async def story(it: Harness) -> None:
        data = task("states:startExecution.sync:2", {"StateMachineArn": arn, "Input": {"a": 1}})
        id = it.perform("nested", data)
        await until(lambda: bool(machines.list_executions(stateMachineArn=arn)["executions"]))
        job = it.world._jobs[id]
        await until(lambda: job.detail is not None)
        it.world.cancel(id)
        assert (await it.failure(id)).type == "batuta:Cancelled"
        assert it.outcomes[id].detail["submitted"]["ExecutionArn"].startswith("arn:")
        listed = machines.list_executions(stateMachineArn=arn)["executions"]
        assert [each["status"] for each in listed] == ["ABORTED"]
        missing = task("states:startExecution.sync", {"StateMachineArn": f"{arn}x"})
        found = await it.failure(it.perform("nested", missing))
        assert found.type == "StepFunctions.StateMachineDoesNotExistException"

    run(story, integrations=places(address, tmp_path))
