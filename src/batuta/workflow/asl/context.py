"""The context object: what a state may know about its execution."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batuta.workflow.asl.execution import Execution
    from batuta.workflow.asl.scope import Scope

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp(ns: int) -> str:
    """A time as the service writes it: ISO 8601, UTC, milliseconds."""
    moment = EPOCH + timedelta(microseconds=ns // 1_000_000 * 1000)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def context_of(execution: Execution, scope: Scope) -> dict[str, Any]:
    """The context object of the state where a scope stands."""
    state: dict[str, Any] = {"EnteredTime": timestamp(scope.entered_at), "Name": scope.node.name}
    if scope.node.retriable:
        state["RetryCount"] = scope.retried
    found: dict[str, Any] = {**execution.about, "State": state}
    if scope.token is not None:
        found["Task"] = {"Token": scope.token}
    around: Scope | None = scope
    while around is not None:
        if around.item is not None:
            index, value = around.item
            found["Map"] = {"Item": {"Index": index, "Value": value}}
            break
        around = around.join.scope if around.join is not None else None
    return found
