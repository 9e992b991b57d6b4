"""CloudFormation and SAM templates: the values that their functions (`Ref`, `Fn::Sub`, …) mean
where nothing was deployed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from batuta.workflow.asl.arn import DEFAULT, Place
from batuta.workflow.asl.source import DEPTH_MAX, NODES_MAX, Source, Unreadable, parse

VARIABLE = re.compile(r"\$\{(!?)([^}]*)\}")
NOTHING = object()  # AWS::NoValue: the member is not there
FUNCTIONS = ("AWS::Serverless::Function", "AWS::Lambda::Function")
MACHINES = ("AWS::Serverless::StateMachine", "AWS::StepFunctions::StateMachine")
# Type -> the property with its name, and its ARN below `arn:aws:`.
RESOURCES: dict[str, tuple[str, str]] = {
    **dict.fromkeys(FUNCTIONS, ("FunctionName", "lambda:{region}:{account}:function:{name}")),
    "AWS::Serverless::StateMachine": ("Name", "states:{region}:{account}:stateMachine:{name}"),
    "AWS::StepFunctions::StateMachine": (
        "StateMachineName", "states:{region}:{account}:stateMachine:{name}",
    ),
    "AWS::StepFunctions::Activity": ("Name", "states:{region}:{account}:activity:{name}"),
    "AWS::SQS::Queue": ("QueueName", "sqs:{region}:{account}:{name}"),
    "AWS::SNS::Topic": ("TopicName", "sns:{region}:{account}:{name}"),
    "AWS::DynamoDB::Table": ("TableName", "dynamodb:{region}:{account}:table/{name}"),
    "AWS::Serverless::SimpleTable": ("TableName", "dynamodb:{region}:{account}:table/{name}"),
    "AWS::S3::Bucket": ("BucketName", "s3:::{name}"),
    "AWS::Events::EventBus": ("Name", "events:{region}:{account}:event-bus/{name}"),
    "AWS::Events::Connection": ("Name", "events:{region}:{account}:connection/{name}"),
    "AWS::IAM::Role": ("RoleName", "iam::{account}:role/{name}"),
    "AWS::ECS::Cluster": ("ClusterName", "ecs:{region}:{account}:cluster/{name}"),
    "AWS::Batch::JobQueue": ("JobQueueName", "batch:{region}:{account}:job-queue/{name}"),
    "AWS::Batch::JobDefinition": (
        "JobDefinitionName", "batch:{region}:{account}:job-definition/{name}",
    ),
    "AWS::Kinesis::Stream": ("Name", "kinesis:{region}:{account}:stream/{name}"),
}  # fmt: skip
# Those whose `Ref` is their ARN; all others' is their name.
REF_IS_ARN = (
    *MACHINES, "AWS::StepFunctions::Activity", "AWS::SNS::Topic", "AWS::Batch::JobQueue",
    "AWS::Batch::JobDefinition",
)  # fmt: skip


class _Loader(yaml.SafeLoader):
    """Plain data only; the short forms of functions are written out, and dates stay text."""


def _short(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.MappingNode):
        value = loader.construct_mapping(node, deep=True)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = node.value
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_multi_constructor("!", _short)


def read_template(text: str, *, is_yaml: bool) -> Source:
    """A template as data with positions. Raises `Unreadable`."""
    source = parse(text, is_yaml=is_yaml)  # with all its limits
    if is_yaml:
        try:
            source.value = yaml.load(text, Loader=_Loader)  # a safe loader
        except (yaml.YAMLError, TypeError, ValueError, RecursionError) as wrong:
            raise Unreadable(f"not valid YAML: {' '.join(str(wrong).split())}") from wrong
    return source


class Template:
    """A template's resources, with every function in them worked out.

    Parameters
    ----------
    value: the template as data. place: region and account of the ARNs.
    stack: what the stack is called.
    """

    def __init__(self, value: Any, place: Place = DEFAULT, stack: str = "local") -> None:
        whole = _table(value)
        self.resources = {
            name: _table(each) for name, each in _table(whole.get("Resources")).items()
        }
        self.globals = _table(whole.get("Globals"))
        self.unset: set[str] = set()  # parameters without a default that somebody wanted
        self._parameters = _table(whole.get("Parameters"))
        self._conditions = _table(whole.get("Conditions"))
        self._mappings = _table(whole.get("Mappings"))
        self._names = {"region": place.region, "account": place.account}
        self._partition = place.partition
        self._pseudo: dict[str, Any] = {
            "AWS::Region": place.region, "AWS::AccountId": place.account,
            "AWS::Partition": place.partition, "AWS::URLSuffix": "amazonaws.com",
            "AWS::StackName": stack, "AWS::NoValue": NOTHING,
            "AWS::StackId": f"arn:aws:cloudformation:{place.region}:{place.account}:stack/{stack}",
            "AWS::NotificationARNs": [],
        }  # fmt: skip
        self._left = NODES_MAX

    # -- resources -----------------------------------------------------------------------------

    def of_type(self, *types: str) -> dict[str, dict[str, Any]]:
        """The properties, as they are written, of the resources that exist, by logical id."""
        return {
            id: _table(each.get("Properties"))
            for id, each in self.resources.items()
            if each.get("Type") in types and self._holds(each.get("Condition"), 0)
        }

    def name(self, id: str, depth: int = 0) -> str:
        """What a resource is called: as it says, else as its logical id."""
        resource = self.resources.get(id, {})
        wanted = RESOURCES.get(str(resource.get("Type")), ("", ""))[0]
        given = _table(resource.get("Properties")).get(wanted)
        name = None if given is None else self.value(given, depth + 1)
        return name if isinstance(name, str) and name else id

    def arn(self, id: str, depth: int = 0) -> str:
        """The ARN of a resource."""
        kind = str(self.resources.get(id, {}).get("Type"))
        service = [*kind.split("::"), ""][1].lower()
        form = RESOURCES.get(kind, ("", service + ":{region}:{account}:{name}"))[1]
        return f"arn:{self._partition}:{form.format(**self._names, name=self.name(id, depth))}"

    # -- functions -----------------------------------------------------------------------------

    def value(self, value: Any, depth: int = 0) -> Any:
        """A value with all functions in it worked out.

        Raises `Unreadable` for one that goes round in circles or grows without measure.
        """
        self._left -= 1
        if depth > DEPTH_MAX or self._left < 0:
            raise Unreadable("the template is nested too deeply, or its functions go in circles")
        if isinstance(value, list):
            made = [self.value(each, depth + 1) for each in value]
            return [each for each in made if each is not NOTHING]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            [(name, given)] = value.items()
            if name in CALLS:
                return CALLS[name](self, given, depth + 1)
        pairs = ((str(key), self.value(each, depth + 1)) for key, each in value.items())
        return {key: each for key, each in pairs if each is not NOTHING}

    def text(self, value: Any, depth: int = 0) -> str:
        """A value as it stands inside a text."""
        made = self.value(value, depth)
        if isinstance(made, bool):
            return "true" if made else "false"
        return "" if made is NOTHING or made is None else str(made)

    def ref(self, given: Any, depth: int) -> Any:
        """`Ref`: a parameter, a resource or a pseudo parameter."""
        name = str(given)
        if name in self._pseudo:
            return self._pseudo[name]
        if name in self._parameters:
            parameter = _table(self._parameters[name])
            if "Default" not in parameter:
                self.unset.add(name)
                return name
            default = parameter["Default"]
            is_list = "List" in str(parameter.get("Type"))
            return str(default).split(",") if is_list else default
        kind = self.resources.get(name, {}).get("Type")
        if kind in REF_IS_ARN:
            return self.arn(name, depth)
        if kind == "AWS::SQS::Queue":
            return self._queue(name, depth)
        function, _, what = name.partition(".")
        if what in ("Alias", "Version") and function in self.resources:
            return self.arn(function, depth)
        return self.name(name, depth)

    def attribute(self, given: Any, depth: int) -> Any:
        """`Fn::GetAtt`."""
        parts = given.split(".", 1) if isinstance(given, str) else [*given]
        id, what = str(parts[0]), self.text(parts[1] if len(parts) > 1 else "", depth)
        kind = self.resources.get(id, {}).get("Type")
        if what.endswith("Arn"):
            return self.arn(id, depth)
        if kind == "AWS::SQS::Queue" and what == "QueueUrl":
            return self._queue(id, depth)
        return self.name(id, depth) if what.endswith("Name") else f"{id}.{what}"

    def _queue(self, id: str, depth: int) -> str:
        region, account = self._names["region"], self._names["account"]
        return f"https://sqs.{region}.amazonaws.com/{account}/{self.name(id, depth)}"

    def sub(self, given: Any, depth: int) -> str:
        """`Fn::Sub`: a text, or a text and its own variables."""
        text, own = (given, {}) if isinstance(given, str) else (given[0], _table(given[1]))

        def put(found: re.Match[str]) -> str:
            literal, name = found.group(1), found.group(2).strip()
            if literal:
                return "${" + found.group(2) + "}"
            if name in own:
                return self.text(own[name], depth)
            if "." in name and name not in self._pseudo:
                function, _, what = name.partition(".")
                if what not in ("Alias", "Version"):
                    return str(self.attribute([function, what], depth))
            return self.text({"Ref": name}, depth)

        return VARIABLE.sub(put, str(text))

    def join(self, given: Any, depth: int) -> str:
        """`Fn::Join`."""
        between, parts = given
        return str(between).join(self.text(each, depth) for each in self.value(parts, depth))

    def select(self, given: Any, depth: int) -> Any:
        """`Fn::Select`: one of a list."""
        return self.value(given[1], depth)[int(self.text(given[0], depth))]

    def split(self, given: Any, depth: int) -> list[str]:
        """`Fn::Split`."""
        return self.text(given[1], depth).split(self.text(given[0], depth))

    def choose(self, given: Any, depth: int) -> Any:
        """`Fn::If`."""
        return self.value(given[1 if self._holds(given[0], depth) else 2], depth)

    def look_up(self, given: Any, depth: int) -> Any:
        """`Fn::FindInMap`."""
        table, first, second = (self.text(each, depth) for each in given[:3])
        return self.value(_table(_table(self._mappings.get(table)).get(first)).get(second), depth)

    def _holds(self, condition: Any, depth: int) -> bool:
        """Whether a condition is met: by its name, or written out."""
        if depth > DEPTH_MAX:
            raise Unreadable("the template's conditions go in circles")
        if condition is None:
            return True
        if isinstance(condition, str):
            return self._holds(self._conditions.get(condition), depth + 1)
        name, given = next(iter(_table(condition).items()), ("", None))
        if name == "Condition":
            return self._holds(given, depth + 1)
        if name == "Fn::Equals" and isinstance(given, list):
            return self.text(given[0], depth + 1) == self.text(given[1], depth + 1)
        each = [self._holds(one, depth + 1) for one in given] if isinstance(given, list) else []
        return {"Fn::Not": not all(each), "Fn::And": all(each), "Fn::Or": any(each)}.get(name, True)


CALLS: Mapping[str, Callable[[Template, Any, int], Any]] = {
    "Ref": Template.ref,
    "Fn::GetAtt": Template.attribute,
    "Fn::Sub": Template.sub,
    "Fn::Join": Template.join,
    "Fn::Select": Template.select,
    "Fn::Split": Template.split,
    "Fn::If": Template.choose,
    "Fn::FindInMap": Template.look_up,
    "Fn::ImportValue": Template.text,
    "Fn::ToJsonString": lambda self, given, depth: json.dumps(self.value(given, depth)),
}


def substituted(text: str, values: Mapping[str, str]) -> str:
    """A definition's text with its `${NAME}` replaced; unknown ones stay as they are."""

    def put(found: re.Match[str]) -> str:
        name = found.group(2).strip()
        return values.get(name, found.group()) if not found.group(1) else found.group()

    return VARIABLE.sub(put, text)


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
