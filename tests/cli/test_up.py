"""A server as a process: start, work, stop, kill, start again; and the verbs that ask it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batuta.cli.main import main

APP = """\
import asyncio
from batuta import on, query, signal, step, workflow

WORD = "Hello"


@step
def polish(name: str) -> str:
    print("polishing", name)
    return f"{WORD} {name.title()}"


@step
async def rest(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "rested"


@workflow
async def greet(name: str) -> str:
    return await polish(name)


@workflow
async def nap(seconds: float) -> str:
    return await rest(seconds)


@workflow
async def asks() -> bool:
    query("answer", lambda: 42)
    return await signal("approve", bool, within="1 day")


@on("order.paid")
async def reward(event) -> str:
    raise ValueError("no reward")
"""
WITHIN_S = 20.0

Batuta = Callable[..., tuple[int, str, str]]


class Up:
    """`batuta up` in a folder."""

    def __init__(self, folder: Path, *more: str) -> None:
        self.folder = folder
        self.errors = folder.parent / "up.err"
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "batuta", "up", str(folder), "--json", *more],
                cwd=folder, stdout=subprocess.PIPE, stderr=errors, text=True,
                env=os.environ | {"NO_COLOR": "1"},
            )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.said
        self.url: str = json.loads(line)["url"]

    @property
    def said(self) -> str:
        return self.errors.read_text()

    def end(self, number: int = signal.SIGINT) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(WITHIN_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def eventually(self, text: str) -> None:
        deadline = time.monotonic() + WITHIN_S
        while text not in self.said:
            assert time.monotonic() < deadline, self.said
            time.sleep(0.02)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "app.py").write_text(APP)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def up(shop: Path) -> Iterator[Callable[..., Up]]:
    started: list[Up] = []

    def start(*more: str) -> Up:
        port = [] if "--port" in more else ["--port", "0"]
        started.append(Up(shop, *port, *more))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.end(signal.SIGKILL)


@pytest.fixture
def batuta(capsys: pytest.CaptureFixture[str]) -> Batuta:
    def typed(*argv: str) -> tuple[int, str, str]:
        code = main(argv)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return typed


def test_three_lines_then_what_ends(up: Callable[..., Up], batuta: Batuta) -> None:
    server = up()
    assert batuta("run", "greet", "ada", "--id", "g1") == (0, '"Hello Ada"\n', "")
    server.eventually("g1  greet")
    assert server.end() == 0
    lines = re.sub(r"\d+(\.\d+)? (µs|ms|s)\b", "SPAN", server.said).splitlines()
    assert lines[:3] == [
        "Loaded shop: 4 workflows, 2 steps, 1 rule in SPAN",
        f"Serving {server.url}",
        "Keeping .batuta/journal.db (0 runs)",
    ]
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3}  completed   g1  greet  SPAN", lines[3])
    assert lines[4:] == ["Stopped: everything is kept in .batuta in SPAN"]
    assert not (server.folder / ".batuta" / "server.json").exists()


def test_every_verb_through_a_server(up: Callable[..., Up], batuta: Batuta, shop: Path) -> None:
    server = up()
    assert batuta("env")[1] == (
        f"export BATUTA_URL={server.url}\nexport BATUTA_STATE={shop}/.batuta\n"
    )
    assert batuta("run", "asks", "--id", "a/1", "--detach", "--attr", "n=1") == (0, "a/1\n", "")
    assert batuta("query", "a/1", "answer")[1] == "42\n"
    assert batuta("ps", "--attr", "n=1")[1].splitlines()[1].split()[1:3] == ["a/1", "asks"]
    assert batuta("signal", "a/1", "approve", "true") == (0, "", "Signalled a/1\n")
    assert batuta("run", "asks", "--id", "a/1")[1] == "true\n"
    assert json.loads(batuta("show", "a/1", "--json")[1])["result"] is True
    assert "signal `approve` arrived" in batuta("why", "a/1")[1]
    batuta("run", "greet", "ada", "--id", "g1")
    assert "is defined at app.py:19" in batuta("why", "g1")[1]
    assert "1.1 | polishing ada\n" in batuta("logs", "g1", "-f")[1]
    batuta("run", "asks", "--id", "a2", "--detach")
    assert batuta("cancel", "a2", "--wait")[::2] == (0, "Asked to cancel a2\nCancelled a2\n")
    batuta("run", "asks", "--id", "a3", "--detach")
    assert batuta("terminate", "a3")[::2] == (0, "Terminated a3\n")
    code, out, _ = batuta("fork", "g1", "1", "--wait")
    assert (code, out.splitlines()[1]) == (0, '"Hello Ada"')
    assert batuta("send", "order.paid", "--subject", "o1", "--id", "e1") == (
        0, "e1\n", "Sent order.paid about o1\n",
    )  # fmt: skip
    server.eventually("reward:e1")
    assert "no reward" in batuta("dead")[1]
    assert batuta("dead", "redrive", "reward:e1")[0] == 0
    names = [json.loads(line)["name"] for line in batuta("workflows", "--json")[1].splitlines()]
    assert names == ["asks", "greet", "nap", "reward"]
    assert batuta("schedules")[2] == "There are no schedules; `@every` and `@cron` make them\n"
    events = [
        json.loads(line) for line in batuta("events", "--json", "--limit", "9")[1].splitlines()
    ]
    assert len(events) == 9
    assert events[0]["seq"] < events[-1]["seq"]
    assert batuta("show", "nope")[2].startswith("error: there is no run `nope`\n")
    assert batuta("run", "gret")[2].startswith("error: there is no workflow `gret`\n")
    assert "Traceback" not in server.said


def test_the_first_ctrl_c_lets_steps_end(up: Callable[..., Up], batuta: Batuta) -> None:
    server = up()
    batuta("run", "nap", "0.7", "--id", "n1", "--detach")
    assert server.end() == 0
    assert "Stopping: steps in flight have 10 s to end (Ctrl-C again stops at once)" in server.said
    assert json.loads(batuta("ps", "--json")[1])["status"] == "completed"


def test_the_second_ctrl_c_stops_at_once_and_nothing_is_lost(
    up: Callable[..., Up], batuta: Batuta
) -> None:
    server = up()
    batuta("run", "nap", "60", "--id", "n1", "--detach")
    server.process.send_signal(signal.SIGINT)
    server.eventually("Stopping")
    assert server.end() == 130
    again = up()
    assert "(1 run, 1 of them open)" in again.said
    assert json.loads(batuta("ps", "--json")[1])["status"] == "running"


def test_a_killed_server_starts_again_at_once(up: Callable[..., Up], batuta: Batuta) -> None:
    server = up()
    batuta("run", "asks", "--id", "a1", "--detach")
    server.end(signal.SIGKILL)
    began = time.monotonic()
    up()
    assert time.monotonic() - began < 5, "the lease of a dead server need not run out"
    batuta("signal", "a1", "approve", "true")
    assert batuta("run", "asks", "--id", "a1")[1] == "true\n"


def test_a_second_server_on_the_same_state(up: Callable[..., Up], shop: Path) -> None:
    first = up()
    done = subprocess.run(
        [sys.executable, "-m", "batuta", "up", str(shop), "--port", "0"],
        capture_output=True, text=True, timeout=WITHIN_S, check=False, cwd=shop,
    )  # fmt: skip
    assert done.returncode == 1
    pid = first.process.pid
    assert done.stderr.partition("\n")[2] == (
        f"error: a server runs on .batuta/journal.db already: {first.url} (process {pid})\n"
        f"  hint: stop it with `kill {pid}`, or give this one its own --state FOLDER\n"
    )


def test_a_port_that_is_taken(shop: Path, batuta: Batuta) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, err = batuta("up", ".", "--port", str(port))
    assert code == 1
    assert err.splitlines()[1].startswith(f"error: cannot listen on 127.0.0.1:{port}: Address")
    assert err.splitlines()[2] == (
        "  hint: another program has that port: choose another with `--port`"
    )


def test_changed_files_are_taken_over_and_broken_ones_not(
    up: Callable[..., Up], batuta: Batuta, shop: Path
) -> None:
    server = up()
    (shop / "app.py").write_text(APP.replace("Hello", "Howdy"))
    server.eventually("reloaded shop: 4 workflows, 2 steps, 1 rule in ")
    assert batuta("run", "greet", "ada")[1] == '"Howdy Ada"\n'
    (shop / "app.py").write_text(APP.replace('WORD = "Hello"', "WORD = Hello"))
    server.eventually("the definitions were not reloaded: what was loaded before goes on")
    assert "error[import]: NameError: name 'Hello' is not defined\n  --> app.py:4:8" in server.said
    assert batuta("run", "greet", "ada")[1] == '"Howdy Ada"\n'


def test_a_broken_file_does_not_keep_the_others_from_running(
    up: Callable[..., Up], batuta: Batuta, shop: Path
) -> None:
    (shop / "bad.py").write_text("import batuta\n1/0\n")
    server = up()
    assert "error[import]: ZeroDivisionError: division by zero" in server.said
    assert batuta("run", "greet", "ada")[1] == '"Hello Ada"\n'


def test_logs_for_programs(up: Callable[..., Up], batuta: Batuta) -> None:
    server = up("--log", "json")
    batuta("run", "greet", "ada", "--id", "g1")
    server.eventually('"run.completed"')
    line = next(line for line in server.said.splitlines() if "run.completed" in line)
    value = json.loads(line)
    assert (value["run"], value["workflow"], value["level"]) == ("g1", "greet", "info")


def test_no_follow_says_three_lines_only(up: Callable[..., Up], batuta: Batuta) -> None:
    server = up("--no-follow")
    batuta("run", "greet", "ada", "--id", "g1")
    server.end()
    assert len(server.said.splitlines()) == 4
    assert "g1" not in server.said


def test_a_token_is_asked_for_and_given(
    up: Callable[..., Up], batuta: Batuta, monkeypatch: pytest.MonkeyPatch
) -> None:
    up("--token", "open sesame")
    assert batuta("ps")[2] == (
        "error: a token is needed\n  hint: give --token TOKEN, or set BATUTA_TOKEN\n"
    )
    assert batuta("ps", "--token", "open sesame")[0] == 0
    monkeypatch.setenv("BATUTA_TOKEN", "open sesame")
    assert batuta("ps") == (0, "", "There are no runs yet\n")


def test_the_world_needs_a_token(shop: Path, batuta: Batuta) -> None:
    code, _, err = batuta("up", ".", "--host", "0.0.0.0")
    assert code == 2
    assert err == (
        "error: whoever reaches 0.0.0.0 could run everything here\n"
        "  hint: give --token with a long random text, or set BATUTA_TOKEN\n"
    )


def test_a_follower_goes_on_when_the_server_comes_back(up: Callable[..., Up], shop: Path) -> None:
    server = up()
    command = [sys.executable, "-m", "batuta", "run", "nap", "1.5", "--id", "n1"]
    with subprocess.Popen(command, cwd=shop, stdout=subprocess.PIPE, text=True) as follower:
        server.eventually("Keeping")
        deadline = time.monotonic() + WITHIN_S
        while main(["show", "n1", "--json"]) != 0:
            assert time.monotonic() < deadline
        server.end(signal.SIGKILL)
        up()
        out, _ = follower.communicate(timeout=WITHIN_S)
    assert (follower.returncode, out) == (0, '"rested"\n')
