"""The rules for one state."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from batuta.workflow.asl.check import expressions
from batuta.workflow.asl.check.fields import (
    CATCH,
    ONE_OF,
    ONLY_ONE,
    REQUIRED,
    RETRY,
    TEXTS,
    TYPES,
    allowed,
    kind_of,
    quoted,
)
from batuta.workflow.asl.check.finding import RESOURCE, Findings
from batuta.workflow.asl.check.many import of_map, of_parallel
from batuta.workflow.asl.choice import COMPARE, IS, moment
from batuta.workflow.asl.errors import ALL
from batuta.workflow.asl.resource import parse

Value = Mapping[str, Any]
OWN = "arn:batuta:"
LAMBDA = re.compile(
    r"arn:[\w-]+:lambda:[\w-]*:\d*:function:[\w-]+(:(\$LATEST|[\w-]+))?|.*\$\{.*\}.*"
)
PATHS = ("InputPath", "OutputPath", "ResultPath")
DEFINITE = (
    "ItemsPath", "SecondsPath", "TimestampPath", "TimeoutSecondsPath", "HeartbeatSecondsPath",
    "MaxConcurrencyPath", "ToleratedFailureCountPath", "ToleratedFailurePercentagePath",
)  # fmt: skip
TEMPLATES = ("Parameters", "ResultSelector", "ItemSelector", "Assign", "Credentials")
NUMBERS: dict[str, tuple[float, float, type]] = {
    "TimeoutSeconds": (1, 99_999_999, int), "HeartbeatSeconds": (1, 99_999_999, int),
    "Seconds": (0, 99_999_999, int), "MaxConcurrency": (0, 10**9, int),
    "ToleratedFailureCount": (0, 10**9, int), "ToleratedFailurePercentage": (0, 100, float),
}  # fmt: skip
VARIABLE = re.compile(r"[^\W\d][\w-]*(\.\$)?")


def state(value: Any, location: str, jsonata: bool, type: str, found: Findings) -> None:
    """Everything about a state that its neighbours have no part in.

    Parameters
    ----------
    type: of the machine, `STANDARD` or `EXPRESS`.
    """
    if not isinstance(value, dict):
        found.schema(f"A state is an object, but this is {kind_of(value)}", location)
        return
    kind = value.get("Type")
    if kind not in TYPES:
        what = "These fields are required: [Type]" if kind is None else (
            f'Field "Type" has value "{kind}", not one of the allowed values {quoted(TYPES)}'
        )  # fmt: skip
        found.schema(what, location if kind is None else f"{location}/Type")
        return
    _names(value, kind, location, jsonata, found)
    for field in TEXTS:
        if field in value and not isinstance(value[field], str):
            text = f'Field "{field}" has to be a string, but it is {kind_of(value[field])}'
            found.schema(text, f"{location}/{field}")
    _paths(value, location, jsonata, found)
    _numbers(value, location, jsonata, found)
    _variables(value, location, found)
    PARTS.get(kind, _nothing)(value, location, jsonata, found)
    if kind == "Task":
        _resource(value, location, type, found)
    for name, check in (("Retry", _retrier), ("Catch", _catcher)):
        if name in value:
            _recoveries(value[name], f"{location}/{name}", name, check, jsonata, found)


def _nothing(value: Value, location: str, jsonata: bool, found: Findings) -> None:
    """A type without further rules."""


def _names(value: Value, kind: str, location: str, jsonata: bool, found: Findings) -> None:
    fields = allowed(kind, jsonata)
    for name in value:
        if name not in fields:
            other = name in allowed(kind, not jsonata)
            why = f" in {'JSONata' if jsonata else 'JSONPath'}" if other else ""
            text = f'Field "{name}" is not supported by a {kind} state{why}'
            found.schema(text, f"{location}/{name}")
    missing = [name for name in REQUIRED.get(kind, ()) if name not in value]
    if missing:
        found.schema(f"These fields are required: [{', '.join(missing)}]", location)
    for group in ONE_OF.get(kind, ()):
        there = [name for name in group if name in value]
        if len(there) != 1:
            what = "has to have one of" if not there else "may have only one of"
            found.schema(f"A {kind} state {what} {quoted(group)}", location)
    for group in ONLY_ONE.get(kind, ()):
        if sum(name in value for name in group) > 1:
            found.schema(f"A {kind} state may have only one of {quoted(group)}", location)


def _paths(value: Value, location: str, jsonata: bool, found: Findings) -> None:
    if jsonata:
        for field in ("Arguments", "Output", "Assign", "Items", "ItemSelector", "Seconds",
                      "Timestamp", "Error", "Cause", "Credentials", "TimeoutSeconds",
                      "HeartbeatSeconds", "MaxConcurrency"):  # fmt: skip
            if field in value:
                expressions.jsonata(value[field], f"{location}/{field}", found)
        return
    for field in PATHS:
        if field in value and value[field] is not None:
            text = value[field]
            expressions.path(text, field, f"{location}/{field}", found,
                             definite=field == "ResultPath")  # fmt: skip
            if (
                field == "ResultPath"
                and isinstance(text, str)
                and text != "$"
                and not text.startswith(("$.", "$["))
            ):
                said = f'"ResultPath" cannot name a variable or the context: {text}'
                found.schema(said, f"{location}/{field}")
    for field in DEFINITE:
        if field in value:
            expressions.path(value[field], field, f"{location}/{field}", found, definite=True)
    for field in ("ErrorPath", "CausePath"):
        text = value.get(field)
        if field in value and not (isinstance(text, str) and text.startswith("States.")):
            expressions.path(text, field, f"{location}/{field}", found)
    for field in TEMPLATES:
        if field in value:
            expressions.template(value[field], f"{location}/{field}", found)


def _numbers(value: Value, location: str, jsonata: bool, found: Findings) -> None:
    for field, (least, most, kind) in NUMBERS.items():
        if field not in value:
            continue
        number, at = value[field], f"{location}/{field}"
        if isinstance(number, str) and (jsonata or "${" in number):
            continue
        wanted = (int,) if kind is int else (int, float)
        if isinstance(number, bool) or not isinstance(number, wanted):
            what = "an integer" if kind is int else "a number"
            found.schema(f'Field "{field}" has to be {what}, but it is {kind_of(number)}', at)
        elif number < least:
            found.schema(f'Field "{field}" is {number}, but the allowed minimum is {least}', at)
        elif number > most:
            found.schema(f'Field "{field}" is {number}, but the allowed maximum is {most}', at)
    timeout, beat = value.get("TimeoutSeconds"), value.get("HeartbeatSeconds")
    if isinstance(timeout, int) and isinstance(beat, int) and beat >= timeout:
        text = '"HeartbeatSeconds" has to be smaller than "TimeoutSeconds"'
        found.schema(text, f"{location}/HeartbeatSeconds")
    stamp = value.get("Timestamp")
    if isinstance(stamp, str) and "%" not in stamp and "${" not in stamp and moment(stamp) is None:
        text = f'Field "Timestamp" is not an ISO-8601 timestamp with an offset: {stamp}'
        found.schema(text, f"{location}/Timestamp")


def _variables(value: Value, location: str, found: Findings) -> None:
    assigned = value.get("Assign")
    if assigned is None:
        return
    if not isinstance(assigned, dict):
        text = f'Field "Assign" has to be an object, but it is {kind_of(assigned)}'
        found.schema(text, f"{location}/Assign")
        return
    for name in assigned:
        bare = name.removesuffix(".$")
        if bare == "states" or not VARIABLE.fullmatch(name) or len(bare) > 80:
            why = "is reserved" if bare == "states" else "is no name of a variable"
            found.schema(f'"{bare}" {why}', f"{location}/Assign/{name}")


# -- by type -------------------------------------------------------------------------------------


def _resource(value: Value, location: str, type: str, found: Findings) -> None:
    resource, at = value.get("Resource"), f"{location}/Resource"
    if isinstance(resource, str):
        if ":" not in resource and not ("${" in resource and "}" in resource):
            found.add(RESOURCE, f'Field "Resource" is not an ARN: {resource}', at)
        elif (
            ":lambda:" in resource and ":states:" not in resource and not LAMBDA.fullmatch(resource)
        ):
            found.add(RESOURCE, f"Not the ARN of a Lambda function: {resource}", at)
        elif resource.startswith(OWN) and parse(resource).kind == "unknown":
            text = f"Not a resource of Batuta, which are {OWN}step:NAME and {OWN}shell: {resource}"
            found.add(RESOURCE, text, at)
        if type == "EXPRESS":
            _express(resource, at, found)
    credentials = value.get("Credentials")
    if "Credentials" not in value:
        return
    at = f"{location}/Credentials"
    if not isinstance(credentials, dict):
        found.schema(
            f'Field "Credentials" has to be an object, but it is {kind_of(credentials)}', at
        )
    elif not any(name.removesuffix(".$") == "RoleArn" for name in credentials):
        found.schema("The field 'RoleArn' is required but was missing", at)


def _express(resource: str, at: str, found: Findings) -> None:
    if ":activity:" in resource:
        found.schema("Express state machine does not support Activity ARN", at)
    elif resource.endswith((".sync", ".sync:2")):
        found.schema("Express state machine does not support '.sync' service integration", at)
    elif resource.endswith(".waitForTaskToken"):
        text = "Express state machine does not support '.waitForTaskToken' service integration "
        found.schema(text, at)


def _choice(value: Value, location: str, jsonata: bool, found: Findings) -> None:
    choices = value.get("Choices")
    if not isinstance(choices, list) or not choices:
        if "Choices" in value:
            found.schema('Field "Choices" has to be an array with at least one rule',
                         f"{location}/Choices")  # fmt: skip
        return
    for at, each in enumerate(choices):
        where = f"{location}/Choices/{at}"
        if isinstance(each, dict) and not isinstance(each.get("Next"), str):
            found.schema("These fields are required: [Next]", where)
        _rule(each, where, jsonata, found, top=True)


def _rule(each: Any, location: str, jsonata: bool, found: Findings, *, top: bool) -> None:
    if not isinstance(each, dict):
        found.schema(f"A choice rule is an object, but this is {kind_of(each)}", location)
        return
    own = ("Next", "Assign", "Output", "Comment") if top else ("Comment",)
    if jsonata:
        if "Condition" not in each:
            found.schema("These fields are required: [Condition]", location)
        for name in each:
            if name not in (*own, "Condition"):
                found.schema(f'Field "{name}" is not supported by a choice rule in JSONata',
                             f"{location}/{name}")  # fmt: skip
        expressions.jsonata(each.get("Condition"), f"{location}/Condition", found)
        return
    tests = [name for name in each if name not in (*own, "Variable")]
    if len(tests) != 1:
        text = "A choice rule has exactly one comparison, And, Or or Not; this has " + (
            quoted(tests) if tests else "none"
        )
        found.schema(text, location)
        return
    name = tests[0]
    if name in ("And", "Or"):
        parts = each[name]
        if not isinstance(parts, list) or not parts:
            found.schema(f'Field "{name}" has to be an array of rules', f"{location}/{name}")
            return
        for at, part in enumerate(parts):
            _rule(part, f"{location}/{name}/{at}", False, found, top=False)
    elif name == "Not":
        _rule(each[name], f"{location}/Not", False, found, top=False)
    else:
        _comparison(each, name, location, found)


def _comparison(each: Value, name: str, location: str, found: Findings) -> None:
    if "Variable" not in each:
        found.schema("These fields are required: [Variable]", location)
    else:
        expressions.path(each["Variable"], "Variable", f"{location}/Variable", found, definite=True)
    wanted, at = each[name], f"{location}/{name}"
    bare = name.removesuffix("Path")
    if name in IS or name == "IsPresent":
        if not isinstance(wanted, bool):
            found.schema(f'Field "{name}" has to be a boolean, but it is {kind_of(wanted)}', at)
    elif bare not in COMPARE or name == "StringMatchesPath":
        found.schema(f'Field "{name}" is not supported by a choice rule', at)
    elif name.endswith("Path"):
        expressions.path(wanted, name, at, found, definite=True)
    else:
        kinds: dict[str, tuple[type, ...]] = {"Numeric": (int, float), "Boolean": (bool,)}
        kind = next((types for word, types in kinds.items() if name.startswith(word)), (str,))
        if not isinstance(wanted, kind) or (isinstance(wanted, bool) and bool not in kind):
            found.schema(f'Field "{name}" is {kind_of(wanted)}, which it cannot be', at)
        elif name.startswith("Timestamp") and moment(wanted) is None:
            found.schema(f'Field "{name}" is not an ISO-8601 timestamp with an offset', at)


PARTS: dict[str, Callable[[Value, str, bool, Findings], None]] = {
    "Choice": _choice, "Map": of_map, "Parallel": of_parallel,
}  # fmt: skip


# -- Retry and Catch -----------------------------------------------------------------------------


def _recoveries(
    value: Any,
    location: str,
    name: str,
    check: Callable[[Value, str, bool, Findings], None],
    jsonata: bool,
    found: Findings,
) -> None:
    if not isinstance(value, list):
        found.schema(f'Field "{name}" has to be an array, but it is {kind_of(value)}', location)
        return
    for at, each in enumerate(value):
        where = f"{location}/{at}"
        if not isinstance(each, dict):
            found.schema(f"This has to be an object, but it is {kind_of(each)}", where)
            continue
        for field in each:
            if field not in (RETRY if name == "Retry" else CATCH):
                found.schema(f'Field "{field}" is not supported in {name}', f"{where}/{field}")
        _errors(each, where, last=at == len(value) - 1, found=found)
        check(each, where, jsonata, found)


def _errors(each: Value, location: str, *, last: bool, found: Findings) -> None:
    errors = each.get("ErrorEquals")
    if "ErrorEquals" not in each:
        found.schema("These fields are required: [ErrorEquals]", location)
    elif not isinstance(errors, list) or not errors or not all(isinstance(e, str) for e in errors):
        found.schema('Field "ErrorEquals" has to be an array of strings, non-empty required',
                     f"{location}/ErrorEquals")  # fmt: skip
    elif ALL in errors and (len(errors) > 1 or not last):
        found.schema(f'"{ALL}" has to stand alone in "ErrorEquals", and in the last entry',
                     f"{location}/ErrorEquals")  # fmt: skip


def _retrier(each: Value, location: str, jsonata: bool, found: Findings) -> None:
    limits: tuple[tuple[str, float, str, bool], ...] = (
        ("IntervalSeconds", 1, "allowed minimum is 1", True),
        ("MaxAttempts", 0, "allowed minimum is 0", True),
        ("BackoffRate", 1, "allowed minimum is 1", False),
        ("MaxDelaySeconds", 1, "allowed floor is 0", True),
    )
    for field, least, words, whole in limits:
        if field not in each:
            continue
        number, at = each[field], f"{location}/{field}"
        if isinstance(number, bool) or not isinstance(number, (int,) if whole else (int, float)):
            what = "an integer" if whole else "a number"
            found.schema(f'Field "{field}" has to be {what}, but it is {kind_of(number)}', at)
        elif number < least:
            found.schema(f'Field "{field}" has value {number}, but the {words}', at)
    jitter = each.get("JitterStrategy", "NONE")
    if jitter not in ("FULL", "NONE"):
        text = f'Field "JitterStrategy" has value "{jitter}", not one of the allowed values '
        found.schema(text + quoted(("FULL", "NONE")), f"{location}/JitterStrategy")


def _catcher(each: Value, location: str, jsonata: bool, found: Findings) -> None:
    if not isinstance(each.get("Next"), str):
        found.schema("These fields are required: [Next]", location)
    if each.get("ResultPath") is not None:
        expressions.path(each["ResultPath"], "ResultPath", f"{location}/ResultPath", found,
                         definite=True)  # fmt: skip
    _variables(each, location, found)
    if jsonata:
        for field in ("Output", "Assign"):
            expressions.jsonata(each.get(field), f"{location}/{field}", found)
    elif "Assign" in each:
        expressions.template(each["Assign"], f"{location}/Assign", found)
