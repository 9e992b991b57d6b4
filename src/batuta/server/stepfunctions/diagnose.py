"""ValidateStateMachineDefinition: every mistake of a definition, without creating anything."""

from __future__ import annotations

from starlette.requests import Request

from batuta.server.stepfunctions.definition import mistakes
from batuta.server.stepfunctions.service import Answer, Asked, Service

MOST = 100


async def validate_state_machine_definition(
    service: Service, asked: Asked, request: Request
) -> Answer:
    """`OK` or `FAIL`, with the mistakes; warnings only where they are asked for."""
    found = mistakes(asked["definition"], asked.get("type", "STANDARD"))
    result = "FAIL" if any(each["severity"] == "ERROR" for each in found) else "OK"
    if asked.get("severity", "ERROR") == "ERROR":
        found = [each for each in found if each["severity"] == "ERROR"]
    most = asked.get("maxResults") or MOST
    return {"result": result, "diagnostics": found[:most], "truncated": len(found) > most}
