"""HTTP calls against a real server on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from tests.real.steps import Gauge
from tests.real.support import Harness, run

from batuta.real import http as effect

gauge = Gauge()
release = threading.Event()


class Answers(BaseHTTPRequestHandler):
    """Answers as its path says."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        with gauge:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            name, _, argument = self.path.strip("/").partition("/")
            status, answer = 200, b""
            if name == "echo":
                told = {
                    "method": self.command,
                    "headers": dict(self.headers),
                    "body": body.decode(),
                }
                answer = json.dumps(told).encode()
            elif name == "status":
                status, answer = int(argument), b"because"
            elif name == "bytes":
                answer = bytes(range(200, 256))
            elif name == "large":
                answer = b"x" * int(argument)
            elif name == "hang":
                release.wait(10)
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET  # noqa: N815 - the base class looks for this name

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # callers that hang up
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    release.set()
    server.shutdown()
    thread.join()
    server.server_close()


def call(it: Harness, url: str, **data: Any) -> str:
    options = {name: data.pop(name) for name in ("timeout_s",) if name in data}
    return it.perform("http", {"url": url, **data}, "http", **options)


def test_a_call_and_its_answer(address: str) -> None:
    async def story(it: Harness) -> None:
        id = call(it, f"{address}/echo", method="POST", json={"a": 1}, headers={"X-Own": "yes"})
        value = await it.value(id)
        assert value["status"] == 200
        assert value["url"] == f"{address}/echo"
        told = json.loads(value["body"])
        assert told["method"] == "POST"
        assert json.loads(told["body"]) == {"a": 1}
        assert told["headers"]["Idempotency-Key"] == id.rpartition(".")[0]
        assert told["headers"]["X-Own"] == "yes"
        assert value["headers"]["content-length"] == str(len(value["body"]))

        headers = {"idempotency-key": "mine"}
        value = await it.value(call(it, f"{address}/echo", body="text", headers=headers))
        told = json.loads(value["body"])
        assert told["body"] == "text"
        keys = [v for k, v in told["headers"].items() if k.lower() == "idempotency-key"]
        assert keys == ["mine"]

    run(story)


@pytest.mark.parametrize(
    ("status", "retryable"), [(404, False), (422, False), (429, True), (503, True)]
)
def test_a_bad_status_is_a_failure(address: str, status: int, retryable: bool) -> None:
    async def story(it: Harness) -> None:
        id = call(it, f"{address}/status/{status}")
        failure = await it.failure(id)
        assert failure.type == "batuta:HttpFailed"
        assert (
            failure.message == f"GET {address}/status/{status} was answered with {status}: because"
        )
        assert failure.retryable is retryable
        assert it.outcomes[id].detail["status"] == status
        value = await it.value(call(it, f"{address}/status/{status}", check=False))
        assert (value["status"], value["body"]) == (status, "because")

    run(story)


def test_bytes_come_as_base64(address: str) -> None:
    async def story(it: Harness) -> None:
        value = await it.value(call(it, f"{address}/bytes"))
        assert value["base64"] is True
        assert value["body"].startswith("yMnK")

    run(story)


def test_a_body_that_is_too_large(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effect, "BODY_LIMIT", 100_000)

    async def story(it: Harness) -> None:
        assert len((await it.value(call(it, f"{address}/large/100000")))["body"]) == 100_000
        failure = await it.failure(call(it, f"{address}/large/100001"))
        assert failure.type == "batuta:ValueTooLarge"
        assert not failure.retryable

    run(story)


def test_connection_errors_and_time_limits(address: str) -> None:
    async def story(it: Harness) -> None:
        id = call(it, "http://127.0.0.1:9/")
        failure = await it.failure(id)
        assert failure.type == "httpx:ConnectError"
        assert failure.retryable
        assert "httpx:TransportError" in it.outcomes[id].detail["bases"]
        assert (
            await it.failure(call(it, f"{address}/hang", timeout=0.1))
        ).type == "httpx:ReadTimeout"
        assert (
            await it.failure(call(it, f"{address}/hang", timeout_s=0.1))
        ).type == "batuta:TimedOut"
        id = call(it, f"{address}/hang")
        it.world.cancel(id)
        assert (await it.failure(id)).type == "batuta:Cancelled"
        failure = await it.failure(call(it, "nonsense://x"))
        assert failure.type == "httpx:UnsupportedProtocol"

    run(story)


def test_no_more_at_once_than_allowed(address: str) -> None:
    async def story(it: Harness) -> None:
        gauge.most = 0
        for id in [call(it, f"{address}/echo") for _ in range(30)]:
            await it.value(id)
        assert 1 <= gauge.most <= 3

    run(story, limits={"http": 3})
