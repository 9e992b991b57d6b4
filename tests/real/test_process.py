"""Steps in processes of their own: reuse, death, heartbeats, cancellation."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest
from tests.real import steps
from tests.real.support import Harness, run, until

ONE = {"process": 1}


def alive(pid: int) -> bool:
    """Whether a process is there and is not a zombie."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_worker_is_reused_and_ends_with_the_world() -> None:
    async def story(it: Harness) -> None:
        pids = {(await it.value(it.ask(steps.nap_process, 0.0))) for _ in range(3)}
        assert len(pids) == 1
        assert os.getpid() not in pids
        assert await it.value(it.ask(steps.async_process, 4)) == 5
        found.extend(pids)

    found: list[int] = []
    run(story, limits=ONE)
    assert not alive(found[0])


def test_isolated_sends_an_ordinary_step_to_a_process() -> None:
    async def story(it: Harness) -> None:
        failure = await it.failure(it.ask(steps.exit_thread, isolated=True))
        assert failure.type == "batuta:WorkerDied"
        assert "exit code 3" in failure.message
        assert await it.value(it.ask(steps.double, 4, isolated=True)) == 8

    run(story, limits=ONE)


def test_a_step_that_is_no_module_level_name_cannot_be_isolated() -> None:
    async def inner() -> int:
        return 1

    async def story(it: Harness) -> None:
        failure = await it.failure(it.ask(steps.FakeStep(inner, "async"), isolated=True))
        assert failure.type == "batuta:NotImportable"
        assert not failure.retryable

    run(story, limits=ONE)


def test_a_worker_that_dies_is_named_with_its_last_words_and_replaced() -> None:
    async def story(it: Harness) -> None:
        failure = await it.failure(it.ask(steps.exit_process, 7))
        assert failure.type == "batuta:WorkerDied"
        assert "ended with exit code 7" in failure.message
        assert failure.message.endswith("last words")
        assert failure.retryable
        killed = await it.failure(it.ask(steps.kill_itself))
        assert "was killed by SIGKILL" in killed.message
        assert await it.value(it.ask(steps.async_process, 1)) == 2
        assert it.world.stats()["process.died"] == 2

    run(story, limits=ONE)


def test_sys_exit_fails_the_step_and_keeps_the_worker() -> None:
    async def story(it: Harness) -> None:
        before = await it.value(it.ask(steps.nap_process, 0.0))
        failure = await it.failure(it.ask(steps.sys_exit_process))
        assert failure.type == "batuta:StepExited"
        assert "SystemExit(4)" in failure.message
        assert await it.value(it.ask(steps.nap_process, 0.0)) == before

    run(story, limits=ONE)


@pytest.mark.parametrize("how", ["timeout", "cancel", "close"])
def test_a_step_that_must_end_is_killed_with_its_children(how: str, tmp_path: Path) -> None:
    async def story(it: Harness) -> None:
        path = tmp_path / "pids"
        timeout = 1.0 if how == "timeout" else None
        id = it.ask(steps.hang_process, str(path), timeout_s=timeout)
        await until(lambda: path.exists() and " " in path.read_text())
        pids.extend(int(pid) for pid in path.read_text().split())
        if how == "close":
            return
        if how == "cancel":
            it.world.cancel(id)
        expected = {"timeout": "batuta:TimedOut", "cancel": "batuta:Cancelled"}[how]
        assert (await it.failure(id)).type == expected
        assert await it.value(it.ask(steps.async_process, 1)) == 2

    pids: list[int] = []
    run(story, limits=ONE)
    deadline = time.monotonic() + 5
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(pids) == 2
    assert not any(alive(pid) for pid in pids)


def test_heartbeats_come_out_of_the_process() -> None:
    async def story(it: Harness) -> None:
        await it.value(it.ask(steps.async_process, 1))  # the start of Python is no silence
        id = it.ask(steps.beating_process, 30, heartbeat_s=0.4)
        failure = await it.failure(id)
        assert failure.type == "batuta:HeartbeatLost"
        assert it.outcomes[id].detail["heartbeat"] == 29

    run(story, limits=ONE)


def test_the_start_of_a_worker_counts_against_no_time_limit() -> None:
    async def story(it: Harness) -> None:
        id = it.ask(steps.nap_process, 0.0, timeout_s=60, heartbeat_s=60)
        asked = it.world.now()
        await it.value(id)
        assert it.outcomes[id].started - asked > 20_000_000

    run(story, limits=ONE)


def test_failures_keep_their_type_bases_and_traceback() -> None:
    async def story(it: Harness) -> None:
        id = it.ask(steps.declined_process)
        failure = await it.failure(id)
        assert failure.type == "tests.real.steps:Declined"
        assert failure.args == ["no money", 7]
        assert not failure.retryable
        assert "batuta:NotRetryable" in it.outcomes[id].detail["bases"]
        assert 'raise Declined("no money", 7)' in failure.traceback
        assert "batuta/real" not in failure.traceback

    run(story, limits=ONE)


def test_no_more_processes_than_allowed() -> None:
    async def story(it: Harness) -> None:
        ids = [it.ask(steps.nap_process, 0.05) for _ in range(6)]
        assert it.world.stats()["process.waiting"] == 4
        assert len({await it.value(id) for id in ids}) <= 2

    run(story, limits={"process": 2})


def test_after_renew_workers_import_anew(tmp_path: Path) -> None:
    async def story(it: Harness) -> None:
        before = await it.value(it.ask(steps.nap_process, 0.0))
        it.world.renew()
        assert await it.value(it.ask(steps.nap_process, 0.0)) != before

    run(story, limits=ONE)


@pytest.mark.parametrize("given", [None, "/somewhere"])
def test_what_steps_start_sees_the_path_of_the_server(
    given: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if given is None:
        monkeypatch.delenv("PYTHONPATH", raising=False)
    else:
        monkeypatch.setenv("PYTHONPATH", given)

    async def story(it: Harness) -> None:
        assert await it.value(it.ask(steps.path_process)) == given

    run(story, limits=ONE)


def test_a_server_that_is_killed_takes_its_workers_along(tmp_path: Path) -> None:
    """Seen from the worker: its socket ends while it is in the middle of a step."""

    async def story(it: Harness) -> None:
        path = tmp_path / "pids"
        it.ask(steps.hang_process, str(path))
        await until(lambda: path.exists() and " " in path.read_text())
        worker, child = (int(pid) for pid in path.read_text().split())
        (held,) = it.world._processes._all
        held._writer.close()
        await until(lambda: not alive(worker) and not alive(child))
        await asyncio.sleep(0)

    run(story, limits=ONE)
