"""Optimised integrations: what they take and give where it is not the operation's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from json import loads
from typing import Any

from batuta.real.aws.calls import Operation
from batuta.real.aws.shapes import Misfits, metadata

Input = dict[str, Any]
Given = Callable[[Input], Input]
Told = Callable[[Input, Any], Any]

SILENT = frozenset({"athena:getQueryResults"})
"""Integrations whose result says nothing of HTTP."""


def call(operation: Operation) -> Any:
    """Call an operation once; its result as the state sees it. Blocks. Raises `Refused`."""
    asked = operation.asked
    key = f"{asked.service}:{asked.action}"
    if asked.service.startswith("aws-sdk:"):
        return operation.answer(operation.call(operation.arguments(asked.input)))
    value = asked.input
    if isinstance(value, dict) and key in _GIVEN:
        value = _GIVEN[key](value)
    answer = operation.call(operation.arguments(value))
    result = operation.answer(answer)
    if key in _TOLD:
        result = _TOLD[key](asked.input, result)
    return result if key in SILENT else {**result, **metadata(answer)}


# -- Bedrock -----------------------------------------------------------------------------------


def _model_call(value: Input) -> Input:
    given = {"ContentType": "application/json", "Accept": "*/*", **value}
    for name in ("Input", "Output"):
        if name in given:
            text = f"`{name}` of bedrock:invokeModel (a place in S3) is not supported: use `Body`"
            raise Misfits([text])
    return given


def _model_answer(value: Input, result: Any) -> Any:
    body = result.get("Body")
    with suppress(TypeError, ValueError):  # no JSON: the text as it came
        result["Body"] = loads(body)
    return result


# -- EMR: the integration's members have other names, and one step instead of a list -----------


def _renamed(names: Mapping[str, str]) -> Given:
    return lambda value: {names.get(name, name): each for name, each in value.items()}


def _flow(value: Input) -> Input:
    given = _renamed({"ClusterId": "JobFlowId"})(value)
    if "Step" in given:
        given["Steps"] = [given.pop("Step")]
    return given


def _flows(value: Input) -> Input:
    given = dict(value)
    if "ClusterId" in given:
        given["JobFlowIds"] = [given.pop("ClusterId")]
    return given


def _one_step(value: Input) -> Input:
    given = dict(value)
    if "StepId" in given:
        given["StepIds"] = [given.pop("StepId")]
    return given


def _cluster(value: Input, result: Any) -> Any:
    told = {"ClusterId": result.get("JobFlowId")}
    return {**told, "ClusterArn": result["ClusterArn"]} if "ClusterArn" in result else told


def _step(value: Input, result: Any) -> Any:
    return {"StepId": next(iter(result.get("StepIds", [])), None)}


def _cancelled(value: Input, result: Any) -> Any:
    return {"CancelStepsInfo": next(iter(result.get("CancelStepsInfoList", [])), {})}


_GIVEN: Mapping[str, Given] = {
    "bedrock:invokeModel": _model_call,
    "elasticmapreduce:addStep": _flow,
    "elasticmapreduce:cancelStep": _one_step,
    "elasticmapreduce:setClusterTerminationProtection": _flows,
    "elasticmapreduce:terminateCluster": _flows,
}
_TOLD: Mapping[str, Told] = {
    "bedrock:invokeModel": _model_answer,
    "elasticmapreduce:addStep": _step,
    "elasticmapreduce:cancelStep": _cancelled,
    "elasticmapreduce:createCluster": _cluster,
}
