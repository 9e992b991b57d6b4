"""Jobs of services (`.sync`): how each is looked at, when it has ended, and how it is stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Ids = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]
Fails = Callable[[dict[str, Any]], bool]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of job.

    Parameters
    ----------
    look: the operation that tells how it is (PascalCase).
    ids: what to ask it with, from the start's parameters and its result.
    status: where its state stands in the answer: members and places in lists.
    good, bad: the states in which it has ended.
    result: where in the answer the task's result stands. stop: the operation that ends it.
    stop_ids: what to ask that with, where it is something else than for `look`.
    gone: it has ended well when it is not found any more.
    fails: says of a result whose state is good whether it is a failure all the same.
    service: by its name in boto3, where `look` is of another one than the start.
    """

    look: str
    ids: Ids
    status: tuple[str | int, ...]
    good: frozenset[str]
    bad: frozenset[str]
    result: tuple[str | int, ...] = ()
    stop: str | None = None
    stop_ids: Ids | None = None
    gone: bool = False
    fails: Fails | None = None
    extra: tuple[str, ...] = field(default=())


def dig(value: Any, path: tuple[str | int, ...]) -> Any:
    """What stands at a place in an answer; None where there is nothing."""
    for step in path:
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and len(value) > step else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _from_start(**names: str) -> Ids:
    """Members of the start's result: argument -> member."""
    return lambda sent, told: {name: told.get(member) for name, member in names.items()}


def _from_input(**names: str) -> Ids:
    """Members of the start's parameters: argument -> member."""
    return lambda sent, told: {name: sent.get(member) for name, member in names.items()}


def _ecs(sent: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    arn = dig(told, ("Tasks", 0, "TaskArn"))
    cluster = {"cluster": sent["Cluster"]} if sent.get("Cluster") else {}
    return {**cluster, "tasks": [arn]}


def _ecs_stop(sent: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    found = _ecs(sent, told)
    found["task"] = found.pop("tasks")[0]
    return found


def _ecs_failed(task: dict[str, Any]) -> bool:
    """A container that ended with anything but 0, or one that never ran."""
    if task.get("StopCode") == "TaskFailedToStart":
        return True
    codes = [container.get("ExitCode") for container in task.get("Containers", [])]
    return any(code not in (0, None) for code in codes)


def _listed(name: str, *member: str | int) -> Ids:
    """One id, in a list."""
    return lambda sent, told: {name: [dig(told, member)]}


def _glue_stop(sent: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    return {"JobName": sent.get("JobName"), "JobRunIds": [told.get("JobRunId")]}


def _joined(sent_names: Mapping[str, str], told_names: Mapping[str, str]) -> Ids:
    """Some from the parameters, some from the result."""
    first, second = _from_input(**sent_names), _from_start(**told_names)
    return lambda sent, told: {**first(sent, told), **second(sent, told)}


def _sagemaker(what: str, stop: bool = True) -> Kind:
    name = f"{what}Name"
    return Kind(
        f"Describe{what}", _from_input(**{name: name}), (f"{what}Status",),
        _words("Completed"), _words("Failed Stopped"), stop=f"Stop{what}" if stop else None,
    )  # fmt: skip


def _build(what: str, many: str) -> Kind:
    return Kind(
        f"BatchGet{many}", _listed("ids", what, "Id"), (many, 0, f"{what}Status"),
        _words("SUCCEEDED"), _words("FAILED FAULT TIMED_OUT STOPPED"), (many, 0), f"Stop{what}",
        lambda sent, told: {"id": dig(told, (what, "Id"))}, extra=(what,),
    )  # fmt: skip


_CLUSTER = _from_input(name="Name")
_SERVERLESS = {"applicationId": "ApplicationId"}
_RUN = ("JobRun", "State")


def _application(good: str, ids: Ids) -> Kind:
    return Kind(
        "GetApplication", ids, ("Application", "State"), _words(good), _words("TERMINATED"),
        ("Application",),
    )  # fmt: skip


def _eks(look: str, what: str, ids: Ids) -> Kind:
    bad = _words("FAILED CREATE_FAILED DELETE_FAILED DEGRADED")
    return Kind(look, ids, (what, "Status"), _words("ACTIVE"), bad, extra=())


def _eks_gone(look: str, what: str, ids: Ids) -> Kind:
    return Kind(look, ids, (what, "Status"), frozenset(), _words("DELETE_FAILED"), gone=True)


_NODEGROUP = _from_input(clusterName="ClusterName", nodegroupName="NodegroupName")
_FARGATE = _from_input(clusterName="ClusterName", fargateProfileName="FargateProfileName")
_EXECUTION = Kind(
    "DescribeExecution", _from_start(executionArn="ExecutionArn"), ("Status",),
    _words("SUCCEEDED"), _words("FAILED TIMED_OUT ABORTED"), stop="StopExecution",
)  # fmt: skip

KINDS: Mapping[str, Kind] = {
    "athena:startQueryExecution": Kind(
        "GetQueryExecution", _from_start(QueryExecutionId="QueryExecutionId"),
        ("QueryExecution", "Status", "State"), _words("SUCCEEDED"), _words("FAILED CANCELLED"),
        stop="StopQueryExecution",
    ),
    "batch:submitJob": Kind(
        "DescribeJobs", _listed("jobs", "JobId"), ("Jobs", 0, "Status"), _words("SUCCEEDED"),
        _words("FAILED"), ("Jobs", 0), "TerminateJob",
        lambda sent, told: {"jobId": told.get("JobId"), "reason": "the execution was stopped"},
    ),
    "bedrock:createModelCustomizationJob": Kind(
        "GetModelCustomizationJob", _from_start(jobIdentifier="JobArn"), ("Status",),
        _words("Completed"), _words("Failed Stopped"), stop="StopModelCustomizationJob",
    ),
    "codebuild:startBuild": _build("Build", "Builds"),
    "codebuild:startBuildBatch": _build("BuildBatch", "BuildBatches"),
    "codebuild:retryBuildBatch": _build("BuildBatch", "BuildBatches"),
    "databrew:startJobRun": Kind(
        "DescribeJobRun", _joined({"Name": "Name"}, {"RunId": "RunId"}), ("State",),
        _words("SUCCEEDED"), _words("FAILED TIMEOUT STOPPED"), stop="StopJobRun",
    ),
    "ecs:runTask": Kind(
        "DescribeTasks", _ecs, ("Tasks", 0, "LastStatus"), _words("STOPPED"), frozenset(),
        ("Tasks", 0), "StopTask", _ecs_stop, fails=_ecs_failed,
    ),
    "eks:createCluster": _eks("DescribeCluster", "Cluster", _CLUSTER),
    "eks:deleteCluster": _eks_gone("DescribeCluster", "Cluster", _CLUSTER),
    "eks:createNodegroup": _eks("DescribeNodegroup", "Nodegroup", _NODEGROUP),
    "eks:deleteNodegroup": _eks_gone("DescribeNodegroup", "Nodegroup", _NODEGROUP),
    "eks:createFargateProfile": _eks("DescribeFargateProfile", "FargateProfile", _FARGATE),
    "eks:deleteFargateProfile": _eks_gone("DescribeFargateProfile", "FargateProfile", _FARGATE),
    "elasticmapreduce:createCluster": Kind(
        "DescribeCluster", _from_start(ClusterId="ClusterId"), ("Cluster", "Status", "State"),
        _words("WAITING TERMINATED"), _words("TERMINATED_WITH_ERRORS"), stop="TerminateJobFlows",
        stop_ids=_listed("JobFlowIds", "ClusterId"), extra=("ClusterId",),
    ),
    "elasticmapreduce:terminateCluster": Kind(
        "DescribeCluster", _from_input(ClusterId="ClusterId"), ("Cluster", "Status", "State"),
        _words("TERMINATED"), _words("TERMINATED_WITH_ERRORS"),
    ),
    "elasticmapreduce:addStep": Kind(
        "DescribeStep", _joined({"ClusterId": "ClusterId"}, {"StepId": "StepId"}),
        ("Step", "Status", "State"), _words("COMPLETED"), _words("CANCELLED FAILED INTERRUPTED"),
        stop="CancelSteps",
        stop_ids=lambda sent, told: {
            "ClusterId": sent.get("ClusterId"), "StepIds": [told.get("StepId")],
        },
    ),
    "emr-containers:startJobRun": Kind(
        "DescribeJobRun", _joined({"virtualClusterId": "VirtualClusterId"}, {"id": "Id"}), _RUN,
        _words("COMPLETED"), _words("FAILED CANCELLED"), stop="CancelJobRun",
    ),
    "emr-containers:deleteVirtualCluster": Kind(
        "DescribeVirtualCluster", _from_input(id="Id"), ("VirtualCluster", "State"),
        _words("TERMINATED"), _words("ARRESTED"),
    ),
    "emr-serverless:createApplication": _application(
        "CREATED STARTED", _from_start(applicationId="ApplicationId")
    ),
    "emr-serverless:startApplication": _application("STARTED", _from_input(**_SERVERLESS)),
    "emr-serverless:stopApplication": _application("STOPPED", _from_input(**_SERVERLESS)),
    "emr-serverless:deleteApplication": Kind(
        "GetApplication", _from_input(**_SERVERLESS), ("Application", "State"),
        _words("TERMINATED"), frozenset(), ("Application",), gone=True,
    ),
    "emr-serverless:startJobRun": Kind(
        "GetJobRun", _joined(_SERVERLESS, {"jobRunId": "JobRunId"}), _RUN, _words("SUCCESS"),
        _words("FAILED CANCELLED"), stop="CancelJobRun",
    ),
    "emr-serverless:cancelJobRun": Kind(
        "GetJobRun", _from_input(applicationId="ApplicationId", jobRunId="JobRunId"), _RUN,
        _words("CANCELLED"), _words("FAILED SUCCESS"),
    ),
    "glue:startJobRun": Kind(
        "GetJobRun", _joined({"JobName": "JobName"}, {"RunId": "JobRunId"}),
        ("JobRun", "JobRunState"), _words("SUCCEEDED"), _words("FAILED TIMEOUT STOPPED ERROR"),
        ("JobRun",), "BatchStopJobRun", _glue_stop,
    ),
    "mediaconvert:createJob": Kind(
        "GetJob", lambda sent, told: {"Id": dig(told, ("Job", "Id"))}, ("Job", "Status"),
        _words("COMPLETE"), _words("ERROR CANCELED"), stop="CancelJob",
    ),
    "sagemaker:createHyperParameterTuningJob": _sagemaker("HyperParameterTuningJob"),
    "sagemaker:createLabelingJob": _sagemaker("LabelingJob"),
    "sagemaker:createProcessingJob": _sagemaker("ProcessingJob"),
    "sagemaker:createTrainingJob": _sagemaker("TrainingJob"),
    "sagemaker:createTransformJob": _sagemaker("TransformJob"),
    "states:startExecution": _EXECUTION,
}  # fmt: skip
"""What is waited for, by service and action."""
