"""Mocked results of service calls, held against the shapes that the services describe.

The descriptions come with botocore, which is installed beside boto3 (`batuta[aws]`); where it
is not, results are taken as they are.
"""

from __future__ import annotations

import gzip
import re
from functools import lru_cache
from importlib.util import find_spec
from json import loads
from pathlib import Path
from typing import Any

from batuta.server.stepfunctions.errors import validation

SERVICES = {"sfn": "stepfunctions", "states": "stepfunctions", "eventbridge": "events",
            "cloudwatchlogs": "logs", "cloudwatch": "cloudwatch"}  # fmt: skip
FREE = {("lambda", "Invoke"): {"Payload"}, ("stepfunctions", "StartSyncExecution"): {"Output"}}
"""Members that the integration gives as JSON, whatever the service's own type is."""

RESOURCE = re.compile(r"arn:[^:]+:states:[^:]*:[^:]*:(?:aws-sdk:)?([^:]+):([A-Za-z0-9]+)$")
TEXTS = ("string", "blob", "timestamp", "character")
NUMBERS = ("integer", "long", "float", "double", "short", "byte", "bigInteger", "bigDecimal")
_WANTED: dict[str, tuple[tuple[type, ...], str]] = {
    **dict.fromkeys(TEXTS, ((str,), "a string")),
    **dict.fromkeys(NUMBERS, ((int, float), "a number")),
    "boolean": ((bool,), "a boolean"), "list": ((list,), "an array"),
    "structure": ((dict,), "an object"), "map": ((dict,), "an object"),
}  # fmt: skip
Shapes = dict[str, dict[str, Any]]


def check_mock(resource: str, result: Any, mode: str) -> None:
    """Raises `ServiceError` where a result cannot be one of the service's.

    Parameters
    ----------
    resource: of the Task state. mode: `STRICT` (what is required has to be there), `PRESENT`
        (what is there has to fit) or `NONE`.
    """
    found = RESOURCE.fullmatch(resource)
    if mode == "NONE" or found is None or not isinstance(result, dict):
        return
    service = SERVICES.get(found[1].lower(), found[1].lower())
    action = found[2][0].upper() + found[2][1:]
    model = _model(service)
    operation = None if model is None else model["operations"].get(action)
    if model is None or operation is None or "output" not in operation:
        return
    free = FREE.get((service, action), set())
    given = {name: value for name, value in result.items() if name not in free}
    _check(given, operation["output"]["shape"], model["shapes"], "", mode == "STRICT", free)


@lru_cache(maxsize=20)
def _model(service: str) -> dict[str, Any] | None:
    spec = find_spec("botocore")
    if spec is None or spec.origin is None or not service.replace("-", "").isalnum():
        return None
    folder = Path(spec.origin).parent / "data" / service
    files = sorted(folder.glob("*/service-2.json*"))
    if not files:
        return None
    content = files[-1].read_bytes()
    model: dict[str, Any] = loads(
        gzip.decompress(content) if files[-1].suffix == ".gz" else content
    )
    return model


def _check(
    value: Any, name: str, shapes: Shapes, field: str, strict: bool, free: set[str] | None = None
) -> None:
    shape = shapes[name]
    types, word = _WANTED[shape["type"]]
    fits = isinstance(value, types) and (isinstance(value, bool) is (shape["type"] == "boolean"))
    if not fits:
        raise _wrong(field, f"must be {word}")
    if shape["type"] == "structure":
        _check_members(value, shape, shapes, strict, free or set())
    elif shape["type"] == "list":
        _check_size(len(value), shape, field)
        for part in value:
            _check(part, shape["member"]["shape"], shapes, field, strict)
    elif shape["type"] == "map":
        for key, part in value.items():
            _check(part, shape["value"]["shape"], shapes, key, strict)
    elif isinstance(value, str):
        _check_text(value, shape, field)
    elif not isinstance(value, bool):
        if "min" in shape and value < shape["min"]:
            raise _wrong(field, "is less than the minimum value")
        if "max" in shape and value > shape["max"]:
            raise _wrong(field, "exceeds the maximum value")


def _check_members(
    value: dict[str, Any], shape: dict[str, Any], shapes: Shapes, strict: bool, free: set[str]
) -> None:
    known = {name[0].upper() + name[1:]: member for name, member in shape["members"].items()}
    if strict:
        for name in shape.get("required", ()):
            shown = name[0].upper() + name[1:]
            if shown not in value and shown not in free:
                raise _wrong(shown, "is required but was not found")
    for name, part in value.items():
        member = known.get(name)
        if member is not None and part is not None:
            _check(part, member["shape"], shapes, name, strict)


def _check_size(size: int, shape: dict[str, Any], field: str) -> None:
    if "min" in shape and size < shape["min"]:
        raise _wrong(field, "is smaller than the minimum length")
    if "max" in shape and size > shape["max"]:
        raise _wrong(field, "exceeds the maximum length")


def _check_text(value: str, shape: dict[str, Any], field: str) -> None:
    if shape["type"] == "timestamp":
        return
    _check_size(len(value), shape, field)
    if "enum" in shape and value not in shape["enum"]:
        raise _wrong(field, "is not an expected value")


def _wrong(field: str, what: str) -> Exception:
    return validation(f"Mock result schema validation error: Field '{field}' {what}")
