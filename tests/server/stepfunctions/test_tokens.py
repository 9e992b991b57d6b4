"""Task tokens: what waits for one, what does no more, and workers that go away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.server.fake import FakeSystem

from batuta.kernel.event import Record
from batuta.server.stepfunctions import tokens
from batuta.server.stepfunctions.service import Service
from batuta.server.stepfunctions.settings import Settings
from batuta.workflow.asl.arn import token_of
from batuta.workflow.asl.registry import ServiceError

RUN = "pay:one"
TOKEN = token_of(RUN, "2")
NAME = f"task:{TOKEN}"
ARN = "arn:aws:states:us-east-1:000000000000:activity:work"


class Desk:
    """A desk with one task on it."""

    def __init__(self) -> None:
        self.tasks: list[tuple[str, Any]] = [("t1", {"a": "é"})]
        self.told: list[tuple[str, dict[str, Any]]] = []

    async def take(self, activity: str, worker: str | None, wait_s: float) -> Any:
        await asyncio.sleep(0)
        return self.tasks.pop() if self.tasks and activity == ARN else None

    def put_back(self, token: str) -> None:
        self.tasks.append((token, {}))

    def tell(self, token: str, value: dict[str, Any]) -> bool:
        self.told.append((token, value))
        return token == token_of("work:one", "1")


class Caller:
    """A request whose caller is there, or is not."""

    def __init__(self, gone: bool = False) -> None:
        self.gone = gone

    async def is_disconnected(self) -> bool:
        return self.gone


def system(status: str = "running") -> FakeSystem:
    made = FakeSystem()
    ended = 5 if status != "running" else None
    made.write([], [Record("run", RUN, 0, status, "pay", 1, ended)])
    made.write([], [Record("activity", "activity:work", 0, "active", "work", 1)])
    made.activities = Desk()  # type: ignore[attr-defined]
    return made


def ask(action: Any, made: FakeSystem, caller: Any = None, **asked: Any) -> Any:
    return asyncio.run(action(Service(made, Settings()), asked, caller or Caller()))


def refused(made: FakeSystem, token: str = TOKEN) -> str:
    with pytest.raises(ServiceError) as caught:
        ask(tokens.send_task_heartbeat, made, taskToken=token)
    return caught.value.message


def test_an_outcome_goes_to_the_run_that_the_token_names() -> None:
    made = system()
    ask(tokens.send_task_success, made, taskToken=TOKEN, output='{"a": 1}')
    told = ("run.signal", RUN, {"name": NAME, "value": {"ok": {"a": 1}}})
    assert made.submitted == [told]
    assert "Timed Out" in refused(made), "it had its outcome"


def test_a_failure_has_its_error_and_its_cause() -> None:
    made = system()
    ask(tokens.send_task_failure, made, taskToken=TOKEN, error="E")
    assert made.submitted[0][2]["value"] == {"error": "E", "cause": None}


def test_signs_of_life_may_come_often() -> None:
    made = system()
    for _ in range(3):
        ask(tokens.send_task_heartbeat, made, taskToken=TOKEN)
    assert len(made.submitted) == 3


Story = Callable[[FakeSystem], None]


def heard(made: FakeSystem) -> None:
    made.write([made.event("signal.received", RUN, name=NAME, value={"ok": 1})])


def late(made: FakeSystem) -> None:
    made.write([made.event("wait.set", RUN, key="2", name=NAME),
                made.event("wait.expired", RUN, key="2")])  # fmt: skip


@pytest.mark.parametrize("story", [heard, late])
def test_what_had_its_outcome_or_its_time_waits_no_more(story: Story) -> None:
    made = system()
    story(made)
    assert refused(made) == "Task Timed Out: 'Provided task does not exist anymore'"


def test_other_waits_do_not_matter() -> None:
    made = system()
    made.write([made.event("wait.set", RUN, key="1", name="task:other"),
                made.event("wait.expired", RUN, key="1"),
                made.event("signal.received", RUN, name=NAME, value={"beat": True}),
                made.event("wait.set", RUN, key="2", name=NAME),
                made.event("wait.met", RUN, key="2"),
                made.event("wait.set", RUN, key="3", name=NAME)])  # fmt: skip
    ask(tokens.send_task_heartbeat, made, taskToken=TOKEN)


def test_tokens_of_runs_that_ended_or_never_were() -> None:
    assert "Timed Out" in refused(system("completed"))
    assert "Does Not Exist" in refused(system(), token_of("pay:two", "1"))
    assert refused(system(), "%%%") == "Invalid Token: 'Invalid token'"


def test_a_worker_gets_a_task_and_tells_its_outcome() -> None:
    made = system()
    task = ask(tokens.get_activity_task, made, activityArn=ARN, workerName="w")
    assert task["taskToken"] == "t1"
    assert json.loads(task["input"]) == {"a": "é"}
    token = token_of("work:one", "1")
    ask(tokens.send_task_success, made, taskToken=token, output="1")
    assert made.activities.told == [(token, {"ok": 1})]  # type: ignore[attr-defined]
    assert made.submitted == []


def test_a_worker_that_went_away_takes_nothing_along() -> None:
    made = system()
    assert ask(tokens.get_activity_task, made, Caller(gone=True), activityArn=ARN) == {}
    assert [token for token, _ in made.activities.tasks] == ["t1"]  # type: ignore[attr-defined]


def test_without_a_task_the_answer_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "POLL_S", 0.05)
    made = system()
    made.activities = None  # type: ignore[attr-defined]
    assert ask(tokens.get_activity_task, made, activityArn=ARN) == {}
