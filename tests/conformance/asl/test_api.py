"""The recorded calls of the real service, through boto3 against a started server."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.asl.calls import Replay
from tests.conformance.asl.cases import parametrized
from tests.conformance.asl.functions import write_project
from tests.conformance.asl.surroundings import MOTO_DIFFERS, Surroundings
from tests.real.cloud import cloud
from tests.server.stepfunctions.serving import served

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with cloud() as found:
        yield found


@pytest.mark.parametrize("case", parametrized("api", "known_failures_api.txt"))
def test_calls_are_answered_as_the_service_answers(
    case: dict[str, Any], tmp_path: Path, address: str
) -> None:
    write_project(tmp_path, address)
    with served(tmp_path) as server:
        around = Surroundings(address, server.client())
        number = next(NUMBERS)
        asked = around.prepared(number, case, "calls")
        asked["localstack_ignores"] = [*case["localstack_ignores"], *MOTO_DIFFERS]
        worker = Worker(server.client(), asked)
        try:
            problems = Replay(server.client(checks=True), asked).run()
        finally:
            worker.end()
            around.close()
    assert not problems, "\n".join(problems)


class Worker:
    """Takes the tasks of the case's activity and never settles them, where the case has one."""

    def __init__(self, client: Any, case: dict[str, Any]) -> None:
        wanted = any(call["op"] == "sfn_activity_consumer" for call in case["calls"])
        self.closed = threading.Event()
        self._client = client
        self._thread = threading.Thread(target=self._work, daemon=True)
        if wanted:
            self._thread.start()

    def _work(self) -> None:
        name = "BASE_ID_ACTIVITY_CONSUMER"
        while not self.closed.wait(0.05):
            for activity in self._client.list_activities()["activities"]:
                arn = activity["activityArn"]
                if self._client.get_activity_task(activityArn=arn, workerName=name):
                    return

    def end(self) -> None:
        """Go home."""
        self.closed.set()
