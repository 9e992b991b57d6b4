"""What is special about states with others inside them: Map and Parallel."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from batuta.workflow.asl.check import expressions
from batuta.workflow.asl.check.fields import kind_of, quoted
from batuta.workflow.asl.check.finding import Findings

Value = Mapping[str, Any]
LABEL_MAX = 40
LABEL_FORBIDDEN = re.compile(r"[\s?*<>{}\[\]:;,\\|^~$#%&`\"\x00-\x1f\x7f-\x9f]")
ONE_OF: dict[str, tuple[tuple[str, ...], ...]] = {
    "ItemReader": (("MaxItems", "MaxItemsPath"),),
    "ItemBatcher": (
        ("MaxItemsPerBatch", "MaxItemsPerBatchPath"),
        ("MaxInputBytesPerBatch", "MaxInputBytesPerBatchPath"),
    ),
    "ResultWriter": (),
}
"""Parts of a Map, and of which of their fields there may be one only."""
PATHS = ("MaxItemsPath", "MaxItemsPerBatchPath", "MaxInputBytesPerBatchPath")
TEMPLATES = ("Parameters", "Arguments", "BatchInput")


def of_parallel(value: Value, location: str, jsonata: bool, found: Findings) -> None:
    """A Parallel: its branches; what is in them is checked with all other flows."""
    branches, at = value.get("Branches"), f"{location}/Branches"
    if "Branches" not in value:
        return
    if not isinstance(branches, list):
        found.schema(f'Field "Branches" has to be an array, but it is {kind_of(branches)}', at)
        return
    for index, each in enumerate(branches):
        if not isinstance(each, dict):
            found.schema(
                f"A branch has to be an object, but it is {kind_of(each)}", f"{at}/{index}"
            )


def of_map(value: Value, location: str, jsonata: bool, found: Findings) -> None:
    """A Map: its label, where its items come from, how they are batched, where results go."""
    _label(value, f"{location}/Label", found)
    for part, groups in ONE_OF.items():
        inner, at = value.get(part), f"{location}/{part}"
        if part not in value:
            continue
        if not isinstance(inner, dict):
            found.schema(f'Field "{part}" has to be an object', at)
            continue
        config = _object(inner, "ReaderConfig", at, found) if part == "ItemReader" else inner
        for group in groups:
            if sum(name in config for name in group) > 1:
                found.schema(f"May have only one of {quoted(group)}", at)
        _expressions(inner, at, jsonata, found)
        if config is not inner:
            _expressions(config, f"{at}/ReaderConfig", jsonata, found)
    for part in ("ItemProcessor", "Iterator"):
        inner = value.get(part)
        if isinstance(inner, dict):
            _object(inner, "ProcessorConfig", f"{location}/{part}", found)
    reader = value.get("ItemReader")
    if isinstance(reader, dict) and "Resource" not in reader:
        found.schema("These fields are required: [Resource]", f"{location}/ItemReader")


def _label(value: Value, at: str, found: Findings) -> None:
    label = value.get("Label")
    if not isinstance(label, str):
        return
    wrong = LABEL_FORBIDDEN.search(label)
    if not label:
        found.schema("Label cannot be empty", at)
    elif len(label) > LABEL_MAX:
        found.schema(f"Label cannot exceed {LABEL_MAX} characters", at)
    elif wrong is not None:
        found.schema(f"Label contains invalid character: {wrong.group()!r}", at)


def _object(value: Value, field: str, location: str, found: Findings) -> Value:
    """A field that has to be an object; an empty one where it is not there."""
    inner = value.get(field, {})
    if isinstance(inner, dict):
        return inner
    found.schema(f'Field "{field}" has to be an object, but it is {kind_of(inner)}',
                 f"{location}/{field}")  # fmt: skip
    return {}


def _expressions(value: Value, location: str, jsonata: bool, found: Findings) -> None:
    for name in PATHS:
        if name in value:
            expressions.path(value[name], name, f"{location}/{name}", found)
    for name in TEMPLATES:
        if name in value and jsonata:
            expressions.jsonata(value[name], f"{location}/{name}", found)
        elif name in value:
            expressions.template(value[name], f"{location}/{name}", found)
