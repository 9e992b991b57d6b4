"""State machines of a project's files stand in the same lists as those of the API."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.server.stepfunctions.serving import PASS, served
from tests.server.stepfunctions.test_executions import FIVE, ended, start

from batuta.server.stepfunctions.deploy import deploy
from batuta.workflow.asl.machine import StateMachine
from batuta.workflow.model import Definitions


def defined(**texts: str) -> Definitions:
    flows: dict[str, Any] = {
        name: StateMachine(name, text, source=f"{name}.asl.json:1") for name, text in texts.items()
    }
    return Definitions(flows)


def test_files_are_deployed_updated_and_left(tmp_path: Path) -> None:
    with served(tmp_path, defined(pay=PASS)) as server:
        client = server.client()
        (found,) = client.list_state_machines()["stateMachines"]
        arn = found["stateMachineArn"]
        assert ended(client, start(client, arn, input="1"))["output"] == "1"

        def again(**texts: str) -> dict[str, str]:
            server.system.project.definitions.workflows.clear()
            server.system.project.definitions.workflows.update(defined(**texts).workflows)
            work = deploy(server.system)
            return asyncio.run_coroutine_threadsafe(work, server.loop).result(10)

        assert again(pay=PASS) == {"pay": "unchanged"}
        assert again(pay=FIVE, more=PASS) == {"more": "created", "pay": "updated"}
        changed = client.describe_state_machine(stateMachineArn=arn)
        assert changed["definition"] == FIVE
        assert "revisionId" in changed
        assert len(client.list_state_machines()["stateMachines"]) == 2
