"""What a distributed Map's child executions came to, as a `WriterConfig` wants it told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from json import JSONDecodeError, loads
from typing import Any


def transformed(results: Sequence[Mapping[str, Any]], config: Mapping[str, Any]) -> list[Any]:
    """The results as `Transformation` wants them: whole, their outputs, or what is in those.

    Parameters
    ----------
    results: of child executions, each with `Status`, and `Output` (text) or `Error` and `Cause`.
    config: the `WriterConfig`; without `Transformation` it is `NONE`.
    """
    how = config.get("Transformation", "NONE")
    if how == "NONE":
        return [*results]
    outputs = [_output(each) for each in results]
    if how == "COMPACT":
        return outputs
    flat: list[Any] = []
    for each in outputs:
        flat += each if isinstance(each, list) else [each]
    return flat


def _output(result: Mapping[str, Any]) -> Any:
    """What a child put out; an error where it failed."""
    if "Output" not in result:
        return {name: result[name] for name in ("Error", "Cause") if result.get(name)}
    try:
        return loads(result["Output"])
    except (JSONDecodeError, TypeError):
        return result["Output"]
