"""Names of services, members and exceptions, as Step Functions writes them and boto3 knows them.

The service names things as the SDK of Java does: version 2 in `aws-sdk` integrations, version 1
in optimised ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

_BOTO_NAMES = {
    "applicationdiscovery": "discovery", "applicationdiscoveryservice": "discovery",
    "cloudwatchlogs": "logs", "cognitoidentityprovider": "cognito-idp",
    "config": "config", "configservice": "config",
    "costandusagereport": "cur", "costandusagereportservice": "cur",
    "costexplorer": "ce", "databasemigration": "dms", "databasemigrationservice": "dms",
    "directory": "ds", "directoryservice": "ds", "directoryservicedata": "ds-data",
    "elasticloadbalancing": "elb", "elasticloadbalancingv2": "elbv2",
    "elasticmapreduce": "emr", "elasticsearch": "es", "elasticsearchservice": "es",
    "eventbridge": "events", "iotdataplane": "iot-data", "iotjobsdataplane": "iot-jobs-data",
    "lexmodelbuilding": "lex-models", "lexmodelbuildingservice": "lex-models",
    "lexmodelsv2": "lexv2-models", "lexruntime": "lex-runtime",
    "lexruntimeservice": "lex-runtime", "lexruntimev2": "lexv2-runtime",
    "marketplaceentitlement": "marketplace-entitlement",
    "marketplaceentitlementservice": "marketplace-entitlement",
    "marketplacemetering": "meteringmarketplace", "migrationhub": "mgh",
    "pinpointsmsvoice": "sms-voice", "serverlessapplicationrepository": "serverlessrepo",
    "sfn": "stepfunctions", "simpledb": "sdb", "states": "stepfunctions",
}  # fmt: skip
"""Services whose name in a resource is not their name in boto3 without its hyphens."""

OPERATIONS = {
    ("bedrock", "invokeModel"): ("bedrock-runtime", "InvokeModel"),
    ("elasticmapreduce", "createCluster"): ("emr", "RunJobFlow"),
    ("elasticmapreduce", "terminateCluster"): ("emr", "TerminateJobFlows"),
    ("elasticmapreduce", "setClusterTerminationProtection"): ("emr", "SetTerminationProtection"),
    ("elasticmapreduce", "addStep"): ("emr", "AddJobFlowSteps"),
    ("elasticmapreduce", "cancelStep"): ("emr", "CancelSteps"),
}
"""Optimised integrations that are called otherwise than the operation behind them."""


@dataclass(frozen=True, slots=True)
class Words:
    """How errors of an optimised integration name their service.

    Parameters
    ----------
    prefix: before the exception's name. base: the exception for errors that have no own one.
    service: in the cause.
    """

    prefix: str
    base: str
    service: str


_WORDS = {
    "apigateway": Words("ApiGateway", "AmazonApiGatewayException", "AmazonApiGateway"),
    "athena": Words("Athena", "AmazonAthenaException", "AmazonAthena"),
    "batch": Words("Batch", "AWSBatchException", "AWSBatch"),
    "bedrock": Words("Bedrock", "BedrockException", "Bedrock"),
    "codebuild": Words("CodeBuild", "AWSCodeBuildException", "AWSCodeBuild"),
    "databrew": Words("DataBrew", "AWSGlueDataBrewException", "AWSGlueDataBrew"),
    "dynamodb": Words("DynamoDB", "AmazonDynamoDBException", "AmazonDynamoDBv2"),
    "ecs": Words("ECS", "AmazonECSException", "AmazonECS"),
    "eks": Words("EKS", "AmazonEKSException", "AmazonEKS"),
    "elasticmapreduce": Words(
        "ElasticMapReduce", "AmazonElasticMapReduceException", "AmazonElasticMapReduce"
    ),
    "emr-containers": Words(
        "EMRContainers", "AmazonEMRContainersException", "AmazonEMRContainers"
    ),
    "emr-serverless": Words("EMRServerless", "AWSEMRServerlessException", "AWSEMRServerless"),
    "events": Words("EventBridge", "AmazonEventBridgeException", "AmazonEventBridge"),
    "glue": Words("Glue", "AWSGlueException", "AWSGlue"),
    "lambda": Words("Lambda", "AWSLambdaException", "AWSLambda"),
    "mediaconvert": Words("MediaConvert", "AWSMediaConvertException", "AWSMediaConvert"),
    "sagemaker": Words("SageMaker", "AmazonSageMakerException", "AmazonSageMaker"),
    "sns": Words("SNS", "AmazonSNSException", "AmazonSNS"),
    "sqs": Words("SQS", "AmazonSQSException", "AmazonSQS"),
    "states": Words("StepFunctions", "AWSStepFunctionsException", "AWSStepFunctions"),
}  # fmt: skip


def words_of(service: str) -> Words:
    """How errors of an optimised integration name their service."""
    return _WORDS[service]


def boto_name(word: str, known: Iterable[str]) -> str | None:
    """The name in boto3 of a service as a resource names it; None where there is none."""
    lower = word.lower()
    known = set(known)
    if lower in known:
        return lower
    found = _BOTO_NAMES.get(lower)
    if found in known:
        return found
    return next((name for name in known if name.replace("-", "") == lower), None)


def operation_name(action: str) -> str:
    """`putItem` -> `PutItem`."""
    return action[:1].upper() + action[1:]


@lru_cache(maxsize=4096)
def lower_first(name: str) -> str:
    """A name with its leading capitals lowered: `DBName` -> `dbName`, `ETag` -> `eTag`."""
    at = 1
    while at < len(name) and name[at].isupper() and not name[at + 1 : at + 2].islower():
        at += 1
    return name[:at].lower() + name[at:]


@lru_cache(maxsize=4096)
def member_name(name: str) -> str:
    """A member of a shape as `aws-sdk` integrations write it: `DBName` -> `DbName`.

    `NULL`, a type of DynamoDB, cannot be a name in Java.
    """
    return "Nul" if name == "NULL" else upper_first(lower_first(name))


def upper_first(name: str) -> str:
    """A member of a shape as optimised integrations write it: `taskArn` -> `TaskArn`."""
    return name[:1].upper() + name[1:]


def pascal(text: str) -> str:
    """Words in PascalCase, acronyms too: `DynamoDB` -> `DynamoDb`, `SFN` -> `Sfn`."""
    text = re.sub(r"[^A-Za-z0-9]+", " ", text)
    text = re.sub(r"(?<=[a-z])(?=[A-Z][A-Za-z0-9])", " ", text)
    text = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1 \2", text)
    text = re.sub(r"([0-9])([A-Za-z])", r"\1 \2", text)
    return "".join(word[:1].upper() + word[1:].lower() for word in text.split())


def exception_name(shape: str) -> str:
    """The exception's class of an error's shape: `NoSuchKey` -> `NoSuchKeyException`."""
    return shape.removesuffix("Exception").removesuffix("Fault") + "Exception"
