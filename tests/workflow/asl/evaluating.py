"""One expression or one rule, evaluated alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batuta.workflow.asl.choice import rule
from batuta.workflow.asl.env import Env
from batuta.workflow.asl.intrinsic import compile_intrinsic
from batuta.workflow.asl.jsonata import compile_jsonata
from batuta.workflow.asl.template import jsonata, payload

NOW = 1_700_000_000_123_000_000
CONTEXT = {"Execution": {"Name": "e"}, "State": {"RetryCount": 2}}


def env(input: Any = None, **variables: Any) -> Env:
    """What an expression sees; its luck is 1, 2, 3 … in the highest bits."""
    count = iter(range(1, 1000))
    return Env(input, lambda: CONTEXT, variables, lambda: next(count) << 40, NOW)


def intrinsic(text: str, root: Any = None, **variables: Any) -> Any:
    """The value of an intrinsic function."""
    return compile_intrinsic(text)(root, env(root, **variables))


def expression(text: str, input: Any = None, **variables: Any) -> Any:
    """The value of a JSONata expression."""
    return compile_jsonata("Output", text)(input, env(input, **variables))


def template(value: Any, root: Any = None, **variables: Any) -> Any:
    """The value of a payload template of JSONPath."""
    return payload("Parameters", value)(root, env(root, **variables))


def jsonata_template(value: Any, input: Any = None, **variables: Any) -> Any:
    """The value of a template of JSONata."""
    return jsonata("Output", value)(input, env(input, **variables))


def holds(value: Mapping[str, Any], root: Any = None, **variables: Any) -> bool:
    """Whether a choice rule holds."""
    return rule(value, "Condition" in value)(root, env(root, **variables))
