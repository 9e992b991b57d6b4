"""HTTP tasks and their connections, against a real server on this machine."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from tests.real.cloud import CREDENTIALS, STATES, task
from tests.real.support import Harness, run

from batuta.real.integrations import Connection, Integrations

release = threading.Event()
tokens: list[dict[str, str]] = []
ARN = "arn:aws:events:us-east-1:000000000000:connection/"


class Api(BaseHTTPRequestHandler):
    """Answers as its path says."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length).decode()
        parts = urlsplit(self.path)
        status, kind = 200, "application/json"
        told: Any = {
            "method": self.command, "path": parts.path, "query": parse_qsl(parts.query),
            "headers": {name.lower(): text for name, text in self.headers.items()}, "body": body,
        }  # fmt: skip
        if parts.path == "/token":
            tokens.append(dict(parse_qsl(body)))
            told = {"access_token": f"token-number-{len(tokens)}", "expires_in": 3600}
        elif parts.path.startswith("/status/"):
            status, told = int(parts.path[8:]), {"why": "because", "key": self.headers.get("X-Key")}
        elif parts.path == "/hang":
            release.wait(10)
        elif parts.path == "/text":
            kind, told = "text/plain", None
        content = b"plain" if told is None else json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Twice", "1")
        self.send_header("X-Twice", "2")
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = answer  # noqa: N815 - the base class looks for these names

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # callers that hang up
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    release.set()
    server.shutdown()
    thread.join()
    server.server_close()


def ask(it: Harness, url: str, connection: str = "plain", **more: Any) -> str:
    options = {name: more.pop(name) for name in ("timeout_s",) if name in more}
    given = {
        "Method": "GET", "ApiEndpoint": url,
        "Authentication": {"ConnectionArn": f"{ARN}{connection}/0a1b"}, **more,
    }  # fmt: skip
    return it.perform("invoke", task(f"{STATES}http:invoke", given), **options)


def world(folder: Path, *connections: Connection, **secrets: str) -> dict[str, Any]:
    known = {each.name: each for each in (Connection("plain"), *connections)}
    return {"integrations": Integrations(folder, connections=known), "secrets": secrets}


def test_a_call_and_its_answer(address: str, tmp_path: Path) -> None:
    async def story(it: Harness) -> None:
        told = await it.value(
            ask(
                it,
                f"{address}/echo?a=1",
                Method="POST",
                Headers={"X-Own": "yes", "X-N": 1},
                QueryParameters={"b": ["x", "y z"], "c": True},
                RequestBody={"n": 1},
            )
        )
        assert (told["StatusCode"], told["StatusText"]) == (200, "OK")
        assert told["Headers"]["content-type"] == ["application/json"]
        assert told["Headers"]["x-twice"] == ["1", "2"]
        heard = told["ResponseBody"]
        assert (heard["method"], heard["body"]) == ("POST", '{"n":1}')
        assert heard["query"] == [["a", "1"], ["b", "x"], ["b", "y z"], ["c", "true"]]
        assert (heard["headers"]["x-own"], heard["headers"]["x-n"]) == ("yes", "1")
        assert heard["headers"]["content-type"] == "application/json"
        told = await it.value(ask(it, f"{address}/text"))
        assert told["ResponseBody"] == "plain"

    run(story, **world(tmp_path))


@pytest.mark.parametrize(
    ("arrays", "body"),
    [
        (None, "a%5B0%5D=1&a%5B1%5D=2&b%5Bc%5D=x"), ("BRACKETS", "a%5B%5D=1&a%5B%5D=2&b%5Bc%5D=x"),
        ("COMMAS", "a=1%2C2&b%5Bc%5D=x"), ("REPEAT", "a=1&a=2&b%5Bc%5D=x"),
    ],
)  # fmt: skip
def test_a_form(address: str, tmp_path: Path, arrays: str | None, body: str) -> None:
    async def story(it: Harness) -> None:
        transform: dict[str, Any] = {"RequestBodyEncoding": "URL_ENCODED"}
        if arrays is not None:
            transform["RequestEncodingOptions"] = {"ArrayFormat": arrays}
        told = await it.value(
            ask(
                it,
                f"{address}/echo",
                Method="POST",
                Transform=transform,
                RequestBody={"a": [1, 2], "b": {"c": "x"}},
            )
        )
        heard = told["ResponseBody"]
        assert heard["body"] == body
        assert heard["headers"]["content-type"] == "application/x-www-form-urlencoded"

    run(story, **world(tmp_path))


def test_connections_say_who_calls(address: str, tmp_path: Path) -> None:
    key = Connection(
        "key", "api-key", {"name": "X-Key", "value": "secret:KEY"}, {"X-More": "1"}, {"q": "2"},
        {"extra": "3"},
    )  # fmt: skip
    basic = Connection("basic", "basic", {"username": "me", "password": "secret:PASSWORD"})

    async def story(it: Harness) -> None:
        told = await it.value(
            ask(it, f"{address}/echo", "key", Method="POST", RequestBody={"a": 1})
        )
        heard = told["ResponseBody"]
        assert heard["headers"]["x-key"] == "***", "hidden, where the answer repeats it"
        assert heard["headers"]["x-more"] == "1"
        assert heard["query"] == [["q", "2"]]
        assert json.loads(heard["body"]) == {"a": 1, "extra": "3"}
        encoded = base64.b64encode(b"me:pass-word").decode()
        told = await it.value(ask(it, f"{address}/echo", "basic"))
        shown = told["ResponseBody"]["headers"]["authorization"]
        assert shown.startswith("Basic ")
        assert encoded not in shown
        failure = await it.failure(ask(it, f"{address}/status/403", "key"))
        assert failure.type == "States.Http.StatusCode.403"
        assert json.loads(failure.message) == {"why": "because", "key": "***"}

    run(story, **world(tmp_path, key, basic, KEY="the-key-itself", PASSWORD="pass-word"))


def test_an_access_token_is_fetched_once(address: str, tmp_path: Path) -> None:
    oauth = Connection(
        "oauth", "oauth",
        {
            "client_id": "me", "client_secret": "secret:CLIENT", "scope": "all",
            "token_url": f"{address}/token",
        },
    )  # fmt: skip
    broken = Connection("broken", "oauth", {**oauth.settings, "token_url": f"{address}/status/500"})

    async def story(it: Harness) -> None:
        tokens.clear()
        for _ in range(3):
            await it.value(ask(it, f"{address}/echo", "oauth"))
        assert tokens == [
            {
                "grant_type": "client_credentials", "client_id": "me",
                "client_secret": "the-client-secret", "scope": "all",
            }
        ]  # fmt: skip
        failure = await it.failure(ask(it, f"{address}/echo", "broken"))
        assert failure.type == "Events.ConnectionResource.AuthorizationFailed"
        assert "HTTP 500" in failure.message

    run(story, **world(tmp_path, oauth, broken, CLIENT="the-client-secret"))


def test_calls_that_get_no_answer(address: str, tmp_path: Path) -> None:
    async def story(it: Harness) -> None:
        failure = await it.failure(ask(it, "http://127.0.0.1:9/x"))
        assert failure.type == "States.Http.Socket"
        failure = await it.failure(ask(it, f"{address}/hang", timeout_s=0.2))
        assert failure.type in ("States.Http.Socket", "batuta:TimedOut")
        failure = await it.failure(ask(it, f"{address}/status/302"))
        assert failure.type == "States.Http.StatusCode.302"

    run(story, **world(tmp_path))


def test_tasks_that_are_wrong(address: str, tmp_path: Path) -> None:
    needy = Connection("needy", "api-key", {"value": "secret:ABSENT"})

    async def story(it: Harness) -> None:
        for id, text in [
            (ask(it, f"{address}/x", "nobody"), "there is no connection `nobody`"),
            (
                ask(it, f"{address}/x", Authentication={}),
                "`Authentication.ConnectionArn` is missing",
            ),
            (ask(it, "nowhere"), "`ApiEndpoint` must be the URL"),
            (ask(it, f"{address}/x", Method="BREW"), "`Method` must be one of"),
            (ask(it, f"{address}/x", Headers=[1]), "`Headers` must be an object"),
            (ask(it, f"{address}/x", "needy"), "secret `ABSENT` is not known here"),
            (it.perform("invoke", task(f"{STATES}http:invoke", [])), "must be an object"),
        ]:
            failure = await it.failure(id)
            assert failure.type == "States.Runtime"
            assert text in failure.message

    run(story, **world(tmp_path, needy))


def test_an_api_gateway(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in CREDENTIALS.items():
        monkeypatch.setenv(name, text)

    async def story(it: Harness) -> None:
        given = {
            "ApiEndpoint": address, "Method": "POST", "Stage": "prod", "Path": "/orders/1",
            "QueryParameters": {"a": ["1"]}, "RequestBody": {"n": 1}, "AuthType": "IAM_ROLE",
        }  # fmt: skip
        told = await it.value(it.perform("aws", task(f"{STATES}apigateway:invoke", given)))
        heard = told["ResponseBody"]
        assert (heard["path"], heard["query"], heard["body"]) == (
            "/prod/orders/1", [["a", "1"]], '{"n":1}',
        )  # fmt: skip
        assert heard["headers"]["authorization"].startswith("AWS4-HMAC-SHA256 Credential=testing/")
        missing = {"ApiEndpoint": address, "Method": "GET", "Path": "/status/404"}
        failure = await it.failure(it.perform("aws", task(f"{STATES}apigateway:invoke", missing)))
        assert failure.type == "ApiGateway.404"
        assert json.loads(failure.message)["why"] == "because"

    run(story, **world(tmp_path))
