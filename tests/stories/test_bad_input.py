"""Whatever people and programs get wrong: a clear error each, and the server goes on."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import time
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
from tests.crash.servers import Server
from tests.stories.conftest import Serve

pytestmark = [pytest.mark.crash, pytest.mark.xdist_group("bad-input")]

FINE = """
    from batuta import step, workflow

    @step
    def double(n: int) -> int:
        return 2 * n

    @workflow
    async def fine(n: int) -> int:
        return await double(n)
"""


def goes_on(server: Server) -> None:
    """A normal run still completes."""
    found = server.result("fine", 21)
    assert (found["status"], found["result"]) == ("completed", 42), found


def failure(run: dict[str, Any]) -> str:
    """What a failed run says."""
    assert run["status"] == "failed", run
    return str(run["reason"]) + str(run.get("error"))


def refused(server: Server, *asked: Any, status: int, text: str, **headers: str) -> None:
    """A request is answered by an error that says what is wrong."""
    path, body = asked
    found, answer = server.ask("POST", path, body, 10.0, **headers)
    assert found == status, (found, answer)
    assert text in str(answer), answer


def told(server: Server, text: str, limit_s: float = 10) -> None:
    """Wait until the server says something."""
    until = time.monotonic() + limit_s
    while text not in server.tail():
        assert time.monotonic() < until, server.tail()
        time.sleep(0.05)


# -- definitions -------------------------------------------------------------------------------


def test_broken_python_at_the_start_and_when_it_changes(serve: Serve, folder: Path) -> None:
    server = serve(app=FINE, broken="from batuta import step\ndef half(:\n").start()
    told(server, "broken.py:2")
    goes_on(server)
    (folder / "broken.py").write_text("from batuta import step\nimport no_such_module_at_all\n")
    told(server, "no_such_module_at_all")
    goes_on(server)
    (folder / "app.py").write_text(
        "from batuta import workflow\n@workflow\nasync def fine(n: int -> int:\n    return 3\n"
    )
    told(server, "what was loaded before goes on")
    goes_on(server)


def test_two_workflows_of_one_name(serve: Serve) -> None:
    other = """
        from batuta import workflow

        @workflow
        async def fine(n: int) -> int:
            return 0
    """
    server = serve(app=FINE, other=other).start()
    told(server, "two workflows are called `fine`")
    assert "give one of them a name of its own" in server.tail()
    assert server.result("fine", 1)["status"] == "completed"


# -- input and results -------------------------------------------------------------------------


LARGE = """
    from batuta import step, workflow, retry

    @step(retry=retry(1))
    def huge() -> str:
        return "x" * 50_000_000

    @workflow
    async def large() -> int:
        return len(await huge())

    @workflow
    async def huge_result() -> str:
        return "x" * 50_000_000

    @step(repeatable=True)
    async def one(n: int) -> int:
        return n

    @workflow
    async def long(n: int) -> int:
        for i in range(n):
            await one(i)
        return n
"""


def test_input_results_and_runs_that_are_too_much(serve: Serve) -> None:
    server = serve(app=FINE, large=LARGE).start()
    refused(server, "/api/runs", {"workflow": "fine", "args": ["many"]}, status=422, text="int")
    refused(server, "/api/runs", {"workflow": "fine", "args": [1, 2]}, status=422, text="argument")
    refused(server, "/api/runs", {"workflow": "none"}, status=404, text="defined are: fine")
    long = {"workflow": "fine", "args": [1], "id": "x" * 10_000}
    refused(server, "/api/runs", long, status=400, text="10,000 characters")
    assert "50,0" in failure(server.result("large"))
    found = server.result("huge_result")
    assert "50,0" in failure(found)
    said = failure(server.result("long", 20_000, limit_s=60))
    assert "10000 things" in said
    assert "continue_as_new" in said
    goes_on(server)


def test_requests_that_are_none(serve: Serve) -> None:
    server = serve(app=FINE).start()
    refused(server, "/api/runs", b'{"workflow": ', status=400, text="JSON")
    refused(server, "/api/runs", b"[1, 2]", status=400, text="object")
    refused(server, "/api/runs", b"[" * 100_000, status=400, text="nested too deeply")
    refused(server, "/api/runs", {"workflow": 7}, status=400, text="not a text")
    for host in ("evil.example", "127.0.0.1.evil.example", "[::2]:80", "a" * 5000):
        body = {"workflow": "fine", "args": [1]}
        refused(server, "/api/runs", body, status=421, text="this server is not", Host=host)
    body = {"workflow": "fine", "args": [1]}
    foreign = "http://evil.example"
    refused(server, "/api/runs", body, status=403, text="another site", Origin=foreign)
    status, answer = server.ask("GET", "/api/runs/" + "x" * 10_000)
    assert status in (400, 404)
    assert "error" in answer
    huge = raw(
        server, b"POST /api/runs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n"
    )
    assert b"413" in huge.split(b"\r\n")[0]
    assert b"larger than" in huge
    assert b"400" in raw(server, b"\x00\xff\xfe nonsense\r\n\r\n").split(b"\r\n")[0]
    goes_on(server)


def raw(server: Server, sent: bytes) -> bytes:
    """What is answered to these bytes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(sent)
        answer = b""
        while b"\r\n\r\n" not in answer or len(answer) < 60:
            part = connection.recv(65536)
            if not part:
                break
            answer += part
        time.sleep(0.05)
        connection.setblocking(False)
        with suppress(BlockingIOError):
            answer += connection.recv(65536)
        return answer


# -- steps -------------------------------------------------------------------------------------


STEPS = """
    import ctypes, os, sys, time
    from batuta import retry, sh, step, workflow

    @step(timeout="1s", retry=retry(1))
    def never() -> None:
        while True:
            time.sleep(0.01)

    @step(timeout="1s", retry=retry(1), process=True)
    def never_in_process() -> None:
        time.sleep(1000)

    @step
    def prints() -> int:
        line = "x" * 1023 + "\\n"
        for _ in range(300 * 1024):
            sys.stdout.write(line)
        return 1

    @step(process=True, retry=retry(1))
    def exits() -> None:
        os._exit(3)

    @step(retry=retry(1))
    def crashes() -> None:
        ctypes.string_at(0)

    @workflow
    async def hangs() -> None:
        await never()

    @workflow
    async def hangs_apart() -> None:
        await never_in_process()

    @workflow
    async def chatty() -> int:
        return await prints()

    @workflow
    async def shouts() -> int:
        done = await sh("head -c 300000000 /dev/zero | tr '\\\\0' x")
        return len(done.stdout)

    @workflow
    async def gone() -> None:
        await exits()

    @workflow
    async def segfault() -> None:
        await crashes()
"""


def test_steps_that_hang_shout_or_end_their_process(serve: Serve, tmp_path: Path) -> None:
    server = serve(app=FINE, steps=STEPS).start()
    assert "did not end within 1 s" in failure(server.result("hangs", limit_s=15))
    assert "did not end within 1 s" in failure(server.result("hangs_apart", limit_s=15))
    assert "WorkerDied" in failure(server.result("gone", limit_s=15))
    goes_on(server)
    assert server.result("chatty", limit_s=60)["status"] == "completed"
    shouted = server.result("shouts", limit_s=60)
    assert shouted["status"] in ("completed", "failed"), shouted
    kept = sum(file.stat().st_size for file in (tmp_path / "state").rglob("*") if file.is_file())
    assert kept < 100_000_000, f"{kept:,} bytes were kept of what steps printed"
    goes_on(server)


def test_a_step_that_kills_its_server_is_put_into_a_process_of_its_own(serve: Serve) -> None:
    server = serve(app=FINE, steps=STEPS).start()
    with suppress(OSError, HTTPException):  # it may be dead before it answers
        server.ask("POST", "/api/runs", {"workflow": "segfault", "id": "s"})
    crashes = 0
    while crashes < 4:
        until = time.monotonic() + 15
        while server.ended is None and time.monotonic() < until:
            with suppress(OSError, HTTPException):
                if server.run("s")["status"] not in ("running", "sleeping"):
                    break
            time.sleep(0.05)
        if server.ended is None:
            break
        crashes += 1
        server.kill()
        server.spawn()
    assert 1 <= crashes <= 3
    assert "WorkerDied" in failure(server.ending("s"))
    goes_on(server)


# -- databases ---------------------------------------------------------------------------------


def refuses_to_start(server: Server, *texts: str) -> None:
    """The server ends with an error and says why."""
    server.log.unlink(missing_ok=True)
    server.spawn()
    assert server.wait(20) not in (0, None)
    for text in (*texts, "hint:"):
        assert text in server.tail(), server.tail()
    assert "Traceback" not in server.tail()


def test_databases_that_cannot_be_used(serve: Serve) -> None:
    server = serve(app=FINE).start()
    goes_on(server)
    assert server.stop() == 0
    file = server.state / "journal.db"
    whole = file.read_bytes()
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA user_version = 999")
    database.close()
    refuses_to_start(server, "later version")
    file.write_bytes(whole[:100] + os.urandom(len(whole) - 100))
    refuses_to_start(server, "journal.db")
    file.write_bytes(b"this is no database at all" * 1000)
    refuses_to_start(server, "journal.db")
    file.write_bytes(whole)
    server.start()
    goes_on(server)


def test_a_database_that_may_only_be_read(serve: Serve) -> None:
    server = serve(app=FINE).start()
    goes_on(server)
    assert server.stop() == 0
    if os.geteuid() == 0:  # who may write everything, unless that is taken away
        tool = shutil.which("setpriv")
        if tool is None:
            pytest.skip("root may write everything, and there is no setpriv")
        server.prefix = [tool, "--bounding-set=-dac_override,-fowner"]
    file = server.state / "journal.db"
    file.chmod(0o444)
    server.state.chmod(0o555)
    try:
        refuses_to_start(server, "journal.db")
    finally:
        server.state.chmod(0o755)
        file.chmod(0o644)
    server.start()
    goes_on(server)
