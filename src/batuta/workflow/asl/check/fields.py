"""Which fields a state of each type has, by query language."""

from __future__ import annotations

from json import dumps
from typing import Any

BOTH: dict[str, tuple[str, ...]] = {
    "Pass": ("Next", "End", "Assign"),
    "Task": (
        "Next", "End", "Assign", "Resource", "Retry", "Catch", "TimeoutSeconds",
        "HeartbeatSeconds", "Credentials",
    ),
    "Choice": ("Choices", "Default", "Assign"),
    "Wait": ("Next", "End", "Assign", "Seconds", "Timestamp"),
    "Succeed": (),
    "Fail": ("Error", "Cause"),
    "Parallel": ("Next", "End", "Assign", "Branches", "Retry", "Catch"),
    "Map": (
        "Next", "End", "Assign", "ItemProcessor", "Iterator", "Retry", "Catch", "MaxConcurrency",
        "ToleratedFailureCount", "ToleratedFailurePercentage", "ItemSelector", "ItemReader",
        "ItemBatcher", "ResultWriter", "Label",
    ),
}  # fmt: skip
IN_OUT = ("InputPath", "OutputPath")
JSONPATH: dict[str, tuple[str, ...]] = {
    "Pass": (*IN_OUT, "Parameters", "Result", "ResultPath"),
    "Task": (
        *IN_OUT, "Parameters", "ResultSelector", "ResultPath", "TimeoutSecondsPath",
        "HeartbeatSecondsPath",
    ),
    "Choice": IN_OUT,
    "Wait": (*IN_OUT, "SecondsPath", "TimestampPath"),
    "Succeed": IN_OUT,
    "Fail": ("ErrorPath", "CausePath"),
    "Parallel": (*IN_OUT, "Parameters", "ResultSelector", "ResultPath"),
    "Map": (
        *IN_OUT, "Parameters", "ItemsPath", "ResultSelector", "ResultPath", "MaxConcurrencyPath",
        "ToleratedFailureCountPath", "ToleratedFailurePercentagePath",
    ),
}  # fmt: skip
JSONATA: dict[str, tuple[str, ...]] = {
    "Pass": ("Output",),
    "Task": ("Arguments", "Output"),
    "Choice": ("Output",),
    "Wait": ("Output",),
    "Succeed": ("Output",),
    "Fail": (),
    "Parallel": ("Arguments", "Output"),
    "Map": ("Items", "Output"),
}
COMMON = ("Type", "Comment", "QueryLanguage")
TYPES = tuple(BOTH)

REQUIRED: dict[str, tuple[str, ...]] = {
    "Task": ("Resource",), "Choice": ("Choices",), "Parallel": ("Branches",),
}  # fmt: skip
ONE_OF: dict[str, tuple[tuple[str, ...], ...]] = {
    "Wait": (("Seconds", "SecondsPath", "Timestamp", "TimestampPath"),),
    "Map": (("ItemProcessor", "Iterator"),),
}
"""Exactly one of each group has to be there."""

ONLY_ONE: dict[str, tuple[tuple[str, ...], ...]] = {
    "Task": (
        ("TimeoutSeconds", "TimeoutSecondsPath"),
        ("HeartbeatSeconds", "HeartbeatSecondsPath"),
    ),
    "Fail": (("Error", "ErrorPath"), ("Cause", "CausePath")),
    "Map": (
        ("MaxConcurrency", "MaxConcurrencyPath"),
        ("ToleratedFailureCount", "ToleratedFailureCountPath"),
        ("ToleratedFailurePercentage", "ToleratedFailurePercentagePath"),
        ("ItemSelector", "Parameters"), ("Items", "ItemsPath"), ("Items", "ItemReader"),
    ),
}  # fmt: skip
"""At most one of each group may be there."""

TEXTS = ("Comment", "Resource", "Default", "Next", "Label", "Error", "Cause")
RETRY = (
    "ErrorEquals", "IntervalSeconds", "MaxAttempts", "BackoffRate", "MaxDelaySeconds",
    "JitterStrategy", "Comment",
)  # fmt: skip
CATCH = ("ErrorEquals", "Next", "ResultPath", "Assign", "Output", "Comment")


def allowed(kind: str, jsonata: bool) -> frozenset[str]:
    """The fields of a state."""
    return frozenset((*COMMON, *BOTH[kind], *(JSONATA if jsonata else JSONPATH)[kind]))


def kind_of(value: Any) -> str:
    """What a value is, in JSON's words."""
    if isinstance(value, bool):
        return "a boolean"
    if value is None:
        return "null"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "an object"


def quoted(names: Any) -> str:
    """Names as a JSON list."""
    return dumps(list(names))
