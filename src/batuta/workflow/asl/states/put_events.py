"""`events:putEvents`: events onto Batuta's own journal, written with the execution's next event."""

from __future__ import annotations

from collections.abc import Mapping
from json import JSONDecodeError, dumps, loads
from typing import TYPE_CHECKING, Any

from batuta.workflow.ask import RESERVED, Emit
from batuta.workflow.asl.errors import RUNTIME, StateFailed
from batuta.workflow.asl.states.task import Task

if TYPE_CHECKING:
    from batuta.workflow.asl.execution import Execution, Then
    from batuta.workflow.asl.scope import Scope

FAILED_ENTRY = "EventBridge.FailedEntry"
REQUIRED = ("Source", "DetailType", "Detail")
ENTRIES_MAX = 10

Refused = dict[str, str]


class PutEvents(Task):
    """Writes each entry as an event: its `DetailType` is the type, its `Detail` the data, the
    first of its `Resources` (else the run) the subject."""

    def call(
        self, execution: Execution, scope: Scope, step: Any, data: dict[str, Any], then: Then
    ) -> None:
        """Write them; no world is asked."""
        entries = data["input"].get("Entries") if isinstance(data["input"], dict) else None
        if not isinstance(entries, list) or not 0 < len(entries) <= ENTRIES_MAX:
            text = f"`Entries` of events:putEvents has to be a list of 1 to {ENTRIES_MAX} events"
            raise StateFailed(RUNTIME, text)
        told = [self._put(execution, scope, entry) for entry in entries]
        failed = sum("ErrorCode" in each for each in told)
        result = {"Entries": told, "FailedEntryCount": failed}
        if not failed:
            then(execution, scope, result, None)
            return
        cause = dumps(result, separators=(",", ":"), ensure_ascii=False)
        self.broke(execution, scope, FAILED_ENTRY, cause)

    @staticmethod
    def _put(execution: Execution, scope: Scope, entry: Any) -> dict[str, str]:
        event = event_of(entry, execution.run)
        if isinstance(event, dict):
            return event
        return {"EventId": execution.emit(scope, event)}


def event_of(entry: Any, run: str) -> Emit | Refused:
    """The event that an entry asks for, or why there is none, in EventBridge's words.

    Parameters
    ----------
    run: the id that stands in for the subject where the entry names no resource.
    """
    if not isinstance(entry, Mapping):
        return _refused("InvalidArgument", "Entry is not valid. Reason: it is no object.")
    for name in REQUIRED:
        if entry.get(name) in (None, ""):
            text = f"Parameter {name} is not valid. Reason: {name} is a required argument."
            return _refused("InvalidArgument", text)
    kind = entry["DetailType"]
    if not isinstance(kind, str) or kind.startswith(RESERVED):
        text = (
            "Parameter DetailType is not valid. Reason: such events are written by Batuta itself."
        )
        return _refused("InvalidArgument", text)
    detail = entry["Detail"]
    if isinstance(detail, str):
        try:
            detail = loads(detail)
        except JSONDecodeError:
            detail = None
    if not isinstance(detail, dict):
        return _refused("MalformedDetail", "Detail is malformed.")
    resources = entry.get("Resources") or []
    subject = next((each for each in resources if isinstance(each, str)), run)
    return Emit(kind, subject, detail, str(entry["Source"]))


def _refused(code: str, message: str) -> Refused:
    return {"ErrorCode": code, "ErrorMessage": message}
