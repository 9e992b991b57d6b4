"""Step Functions for the tasks of a system that no server is in front of."""

from __future__ import annotations

from batuta.real.system import System
from batuta.server.stepfunctions.deploy import deploy
from batuta.server.stepfunctions.inside import Inside
from batuta.server.stepfunctions.service import Service
from batuta.server.stepfunctions.settings import read_settings


async def answer_tasks(system: System) -> None:
    """Let nested executions be begun in this process: there is no server that would."""
    await deploy(system)
    service = Service(system, read_settings(system.project.folder))
    system.services.answer(Inside(service))
