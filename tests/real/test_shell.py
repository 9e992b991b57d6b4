"""Shell commands: results, surroundings, limits, secrets, the end of whole groups."""

from __future__ import annotations

import asyncio
import base64
import resource
import time
from pathlib import Path
from typing import Any

import pytest
from tests.real.support import Harness, run, until
from tests.real.test_process import alive

from batuta.real import shell


def sh(it: Harness, command: str, **data: Any) -> str:
    options = {name: data.pop(name) for name in ("timeout_s",) if name in data}
    return it.perform("shell", {"command": command, **data}, "sh", **options)


def test_output_and_exit_code(tmp_path: Path) -> None:
    async def story(it: Harness) -> None:
        value = await it.value(sh(it, "pwd; echo careful >&2", cwd="sub"))
        assert value == {
            "exit_code": 0,
            "stdout": f"{tmp_path}/sub\n",
            "stderr": "careful\n",
            "dropped": 0,
        }

    (tmp_path / "sub").mkdir()
    run(story, folder=tmp_path)


def test_a_command_of_a_state_machine() -> None:
    async def story(it: Harness) -> None:
        data = {"resource": "arn:batuta:shell", "input": {"command": "echo $A", "env": {"A": 1}}}
        assert (await it.value(it.perform("shell", data)))["stdout"] == "1\n"
        data = {**data, "input": {"command": "echo $BATUTA_TASK_TOKEN"}, "token": "abc"}
        assert (await it.value(it.perform("shell", data)))["stdout"] == "abc\n"
        failure = await it.failure(it.perform("shell", {**data, "input": "echo"}))
        assert "the task's input has no command" in failure.message

    run(story)


def test_an_exit_code_other_than_0_fails_with_the_end_of_stderr() -> None:
    async def story(it: Harness) -> None:
        id = sh(it, "echo first; echo broken >&2; exit 3")
        failure = await it.failure(id)
        assert failure.type == "batuta:CommandFailed"
        assert "ended with exit code 3:\nbroken" in failure.message
        assert it.outcomes[id].detail["exit_code"] == 3
        assert it.outcomes[id].detail["stdout"] == "first\n"
        value = await it.value(sh(it, "exit 3", check=False))
        assert value["exit_code"] == 3
        failure = await it.failure(sh(it, "kill -9 $$"))
        assert "was killed by SIGKILL" in failure.message

    run(story)


def test_the_least_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER_SECRET", "do not leak")
    monkeypatch.setenv("TOKEN", "from-the-environment")

    async def story(it: Harness) -> None:
        command = "echo ${SERVER_SECRET-none} $COLOUR ${#TOKEN} ${PATH:+path}"
        value = await it.value(sh(it, command, env={"COLOUR": "red"}, secrets=["TOKEN"]))
        assert value["stdout"] == "none red 20 path\n"
        failure = await it.failure(sh(it, "true", secrets=["NOWHERE"]))
        assert "`NOWHERE` is not known" in failure.message
        assert not failure.retryable

    run(story)


def test_secrets_are_hidden_in_every_form() -> None:
    secret = "p4ss/word+1"

    async def story(it: Harness) -> None:
        encoded = base64.b64encode(b"user:" + secret.encode()).decode()
        command = f"echo $TOKEN; echo {encoded}; printf 'p4ss/w'; sleep 0.1; printf 'ord+1 %s' ok"
        value = await it.value(sh(it, command, secrets=["TOKEN"]))
        assert value["stdout"].startswith("***\n")
        assert value["stdout"].endswith("*** ok")
        assert encoded[8:-2] not in value["stdout"]
        failure = await it.failure(sh(it, "echo $TOKEN >&2; exit 1", secrets=["TOKEN"]))
        assert failure.message.endswith("\n***")

    run(story, secrets={"TOKEN": secret})


def test_stdin() -> None:
    async def story(it: Harness) -> None:
        assert (await it.value(sh(it, "tr a-z A-Z", stdin="hello")))["stdout"] == "HELLO"
        assert (await it.value(sh(it, "true", stdin="x" * 1_000_000)))["exit_code"] == 0
        assert (await it.value(sh(it, "cat")))["stdout"] == ""

    run(story)


def test_a_gigabyte_of_output_neither_blocks_nor_fills_memory() -> None:
    async def story(it: Harness) -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        id = sh(it, "echo begin; head -c 500000000 /dev/zero | tr '\\0' 'x'; echo end")
        longest, last = 0.0, time.monotonic()
        while id not in it.outcomes:
            await asyncio.sleep(0.001)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
        value = await it.value(id)
        assert value["stdout"].startswith("begin\nxxx")
        assert value["stdout"].endswith("xxxend\n")
        assert len(value["stdout"]) < 1_100_000
        assert value["dropped"] == 500_000_010 - 1024 * 1024
        assert longest < 1
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 50_000

    run(story, secrets={"A": "not-in-there"})


@pytest.mark.parametrize("how", ["timeout", "cancel"])
def test_the_whole_group_ends(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "TERM_GRACE_S", 0.2)

    async def story(it: Harness) -> None:
        pids = tmp_path / "pids"
        command = f"trap '' TERM; sleep 60 & echo $$ $! > {pids}; wait; sleep 60"
        id = sh(it, command, timeout_s=0.3 if how == "timeout" else None)
        await until(lambda: pids.exists() and pids.read_text().endswith("\n"))
        if how == "cancel":
            it.world.cancel(id)
        expected = {"timeout": "batuta:TimedOut", "cancel": "batuta:Cancelled"}[how]
        assert (await it.failure(id)).type == expected
        await until(lambda: not any(alive(int(pid)) for pid in pids.read_text().split()))

    run(story)


def test_what_a_command_leaves_behind_does_not_keep_it_from_ending(tmp_path: Path) -> None:
    async def story(it: Harness) -> None:
        began = time.monotonic()
        value = await it.value(sh(it, "sleep 60 & echo $!"))
        assert time.monotonic() - began < 5
        await until(lambda: not alive(int(value["stdout"])))

    run(story)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    async def story(it: Harness) -> None:
        failure = await it.failure(sh(it, "true", cwd="nowhere"))
        assert "no such folder" in failure.message
        assert not failure.retryable

    run(story, folder=tmp_path)


def test_no_more_at_once_than_allowed(tmp_path: Path) -> None:
    async def story(it: Harness) -> None:
        ids = [
            sh(it, f"echo + >> {tmp_path}/log; sleep 0.05; echo - >> {tmp_path}/log")
            for _ in range(6)
        ]
        for id in ids:
            await it.value(id)
        inside = most = 0
        for line in (tmp_path / "log").read_text().split():
            inside += 1 if line == "+" else -1
            most = max(most, inside)
        assert most == 2

    run(story, limits={"shell": 2})
