"""Steps that fail, exit, or return what cannot be stored: the server goes on."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from tests.real import steps
from tests.real.support import Harness, run


@pytest.mark.parametrize(
    ("target", "args", "text"),
    [
        (steps.exit_async, (), "StepExit(3)"),
        (steps.exit_thread, (), "StepExit(3)"),
        (steps.sys_exit_thread, (), "SystemExit(bye)"),
        (steps.leave_async, ("system",), "SystemExit(2)"),
        (steps.leave_async, ("keyboard",), "KeyboardInterrupt()"),
    ],
)
def test_a_step_cannot_end_the_server(target: steps.FakeStep, args: tuple[str], text: str) -> None:
    async def story(it: Harness) -> None:
        id = it.ask(target, *args)
        failure = await it.failure(id)
        assert failure.type == "batuta:StepExited"
        assert text in failure.message
        assert target.name in failure.message
        assert await it.value(it.ask(steps.double, 4)) == 8

    run(story)


def test_a_step_that_raises_a_cancellation_of_its_own_just_fails() -> None:
    async def story(it: Harness) -> None:
        failure = await it.failure(it.ask(steps.leave_async, "cancel"))
        assert failure.type == "asyncio.exceptions:CancelledError"
        assert await it.value(it.ask(steps.double, 4)) == 8

    run(story)


def test_outside_of_a_step_and_in_a_child_exit_is_exit() -> None:
    code = """
import asyncio, os
before = os._exit
from batuta.kernel.world import Command
from batuta.real.world import RealWorld
from batuta.real.context import StepContext, running
async def main():
    world = RealWorld(lambda outcomes: None)
    world.perform(Command("r/0.1", "none", "none", {}, None))
    assert os._exit is not before
    running.set(StepContext("r/1.1", "forks", 1))
    child = os.fork()
    if child == 0:
        os._exit(5)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    running.set(None)
    os._exit(status + 1)
asyncio.run(main())
"""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    env = {**os.environ, "PYTHONPATH": path}
    assert subprocess.run([sys.executable, "-c", code], env=env).returncode == 6


def test_the_guard_goes_with_the_last_world() -> None:
    before = os._exit

    async def story(it: Harness) -> None:
        assert os._exit is before
        await it.value(it.ask(steps.double, 1))
        assert os._exit is not before
        second = Harness()
        await second.value(second.ask(steps.double, 1))
        await second.world.close()
        await second.world.close()
        assert os._exit is not before

    run(story)
    assert os._exit is before


def test_failures_keep_type_bases_cause_and_arguments() -> None:
    async def story(it: Harness) -> None:
        id = it.ask(steps.declined)
        failure = await it.failure(id)
        assert failure.type == "tests.real.steps:Declined"
        assert failure.args == ["no money", 7]
        assert not failure.retryable
        assert it.outcomes[id].detail["bases"] == ["batuta:NotRetryable", "builtins:Exception"]
        assert "KeyError: 'card'" in failure.traceback
        assert "direct cause" in failure.traceback
        assert "batuta/real" not in failure.traceback

        id = it.ask(steps.unreachable)
        failure = await it.failure(id)
        assert failure.retryable
        assert it.outcomes[id].detail["bases"][:2] == [
            "builtins:ConnectionError",
            "builtins:OSError",
        ]

    run(story)


def test_a_result_that_is_too_large_names_the_place() -> None:
    async def story(it: Harness) -> None:
        failure = await it.failure(it.ask(steps.large, 2_000_000))
        assert failure.type == "batuta:ValueTooLarge"
        assert "2,000,0" in failure.message
        assert "1,000,000 are allowed" in failure.message
        assert "result.items[1].blob" in failure.message
        assert not failure.retryable
        assert len((await it.value(it.ask(steps.large, 900_000)))["items"]) == 2

    run(story, value_limit=1_000_000)


def test_a_result_that_cannot_be_stored_names_the_place() -> None:
    async def story(it: Harness) -> None:
        failure = await it.failure(it.ask(steps.lock))
        assert failure.type == "batuta:Unstorable"
        assert "deep[0]" in failure.message
        assert not failure.retryable

    run(story)


def test_arguments_that_do_not_fit_fail_for_good() -> None:
    async def story(it: Harness) -> None:
        for args in (["a", "b"], ["no number"]):
            failure = await it.failure(it.ask(steps.double, *args))
            assert failure.type.startswith("batuta:")
            assert not failure.retryable

    run(story)
