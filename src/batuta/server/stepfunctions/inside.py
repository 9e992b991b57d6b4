"""The API for the tasks of this very server: nested executions need neither HTTP nor boto3."""

from __future__ import annotations

from typing import Any

from batuta.server.stepfunctions.activities import known_activity
from batuta.server.stepfunctions.constraints import checked
from batuta.server.stepfunctions.executions import described, known_execution
from batuta.server.stepfunctions.service import Answer, Service
from batuta.server.stepfunctions.shapes import ACTIONS
from batuta.server.stepfunctions.starting import begin_execution, end_of
from batuta.workflow.asl.registry import ServiceError


class Inside:
    """Answers what `states:startExecution` asks."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def start(self, asked: dict[str, Any], by: str) -> Answer:
        """StartExecution; the same `by` means the same execution, also when it has ended.

        Raises `ServiceError`.
        """
        given = checked(asked, ACTIONS["StartExecution"], self._service.settings.strict)
        return await begin_execution(self._service, {**given, "startedBy": by})

    async def ended(self, arn: str) -> Answer:
        """DescribeExecution, as soon as the execution has ended."""
        record, _ = await known_execution(self._service, arn, express=True)
        if record.ended is None:
            await end_of(self._service, record.id, record.seq)
        return await described(self._service, {"executionArn": arn}, express=True)

    async def stop(self, arn: str) -> None:
        """End it where it stands."""
        record, _ = await known_execution(self._service, arn, express=True)
        if record.ended is None:
            told = {"reason": "the execution that began it was stopped"}
            await self._service.system.submit("run.terminate", record.id, told)

    async def knows_activity(self, arn: str) -> bool:
        """Whether there is such an activity."""
        try:
            await known_activity(self._service, arn)
        except ServiceError:
            return False
        return True
