"""Who may ask: hosts, origins, tokens, sizes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from tests.server.fake import FakeSystem
from tests.server.test_api import BASE, run

from batuta.server.guard import Access, hashed


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200), ("localhost", 200), ("[::1]:8000", 200), ("x.localhost:1", 200),
        ("evil.example", 421), ("127.0.0.1.evil.example", 421), ("", 421),
    ],
)  # fmt: skip
def test_other_hosts_are_refused_on_loopback(host: str, status: int) -> None:
    async def body(client: httpx.AsyncClient, system: FakeSystem) -> None:
        assert (await client.get("/healthz", headers={"host": host})).status_code == status

    run(body)


def test_hosts_may_be_allowed() -> None:
    async def body(client: httpx.AsyncClient, system: FakeSystem) -> None:
        for host, status in (("box.example:80", 200), ("other.example", 421)):
            assert (await client.get("/healthz", headers={"host": host})).status_code == status

    run(body, Access(loopback=False, hosts={"BOX.example"}))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 202),
        ({"origin": BASE, "sec-fetch-site": "same-origin"}, 202),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
    ],
)
def test_pages_of_other_sites_change_nothing(headers: dict[str, str], status: int) -> None:
    async def body(client: httpx.AsyncClient, system: FakeSystem) -> None:
        answer = await client.post("/api/events", json={"type": "a"}, headers=headers)
        assert answer.status_code == status
        assert len(system.submitted) == (status == 202)
        assert "access-control-allow-origin" not in answer.headers

    run(body)


def test_a_token_is_asked_for() -> None:
    async def body(client: httpx.AsyncClient, system: FakeSystem) -> None:
        assert (await client.get("/healthz")).status_code == 200
        refused = await client.get("/api/runs")
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Bearer")
        for value in ("Bearer wrong", "Basic s3cret", "Bearer", "s3cret"):
            answer = await client.get("/api/runs", headers={"authorization": value})
            assert answer.status_code == 401
        good = {"authorization": "Bearer s3cret"}
        assert (await client.get("/api/runs", headers=good)).status_code == 200
        assert (await client.get("/api/runs?token=s3cret")).status_code == 401
        assert (await client.post("/api/events", json={"type": "a"})).status_code == 401

    run(body, Access(token=hashed("s3cret")))


def test_the_token_in_the_address_becomes_a_cookie() -> None:
    async def body(client: httpx.AsyncClient, system: FakeSystem) -> None:
        answer = await client.get("/openapi.json?token=s3cret&a=1")
        assert (answer.status_code, answer.headers["location"]) == (303, "/openapi.json?a=1")
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert (await client.get("/openapi.json")).status_code == 200
        assert (await client.get("/openapi.json?token=wrong")).status_code == 200

    run(body, Access(token=hashed("s3cret")))


def test_bodies_over_the_limit_are_refused() -> None:
    async def body(client: httpx.AsyncClient, system: FakeSystem) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(100):
                yield b" " * 100

        for content in (b"x" * 2000, chunks()):
            answer = await client.post("/api/events", content=content)
            assert answer.status_code == 413
            assert "larger than 1,000 bytes" in answer.json()["error"]["message"]

    run(body, body_limit=1000)


def test_every_answer_has_a_content_policy() -> None:
    async def body(client: httpx.AsyncClient, system: FakeSystem) -> None:
        for path in ("/healthz", "/api/nothing", "/api/runs"):
            headers = (await client.get(path)).headers
            assert headers["content-security-policy"].startswith("default-src 'self'")
            assert "unsafe" not in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"

    run(body)
