"""The HTTP API over a system: what it answers, and what it refuses with which words."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.server.fake import FakeSystem, dead_letter, story, waiting

from batuta.real.output import log_path
from batuta.server.api_runs import output_of
from batuta.server.app import Access, app
from batuta.server.openapi import TABLE

BASE = "http://127.0.0.1:8000"
Body = Callable[[httpx.AsyncClient, FakeSystem], Awaitable[None]]


@asynccontextmanager
async def serving(access: Access | None = None, **options: Any) -> AsyncIterator[Any]:
    system = FakeSystem()
    transport = httpx.ASGITransport(app(system, access, **options))
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
        yield client, system
    system.journal.close()


def run(body: Body, access: Access | None = None, **options: Any) -> None:
    async def main() -> None:
        async with serving(access, **options) as (client, system):
            await body(client, system)

    asyncio.run(main())


ORDER = {"id": "1", "total": 5}


# -- runs --------------------------------------------------------------------------------------


def test_start_twice_gives_the_same_run() -> None:
    async def body(client: httpx.AsyncClient, system: FakeSystem) -> None:
        start = {"workflow": "checkout", "id": "a", "args": [ORDER], "deadline": "1 day"}
        first = await client.post("/api/runs", json=start)
        assert first.status_code == 201
        assert first.json() == {"id": "a", "created": True, "status": "running"}
        again = await client.post("/api/runs", json=start)
        assert (again.status_code, again.json()["created"]) == (200, False)
        shown = (await client.get("/api/runs/a")).json()
        assert shown["input"] == {"args": [ORDER], "kwargs": {}}
        assert shown["deadline"] > system.time

    run(body)


@pytest.mark.parametrize(
    ("start", "status", "words"),
    [
        ({"workflow": "nope"}, 404, "no workflow `nope`"),
        ({}, 400, "`workflow` is missing"),
        ({"workflow": 7}, 400, "`workflow` of the body is a number, not a text"),
        ({"workflow": "checkout", "wrong": 1}, 400, "unknown field `wrong`"),
        ([1], 400, "the body is a list, not an object"),
        ({"workflow": "checkout", "args": []}, 422, "lacks its argument `order`"),
        ({"workflow": "checkout", "args": [{"id": "1", "total": "x"}]}, 422, "order.total"),
        ({"workflow": "checkout", "args": [ORDER], "id": "x" * 10_000}, 400, "10,000 characters"),
        ({"workflow": "checkout", "args": [ORDER], "id": "a\nb"}, 400, "control characters"),
        ({"workflow": "checkout", "args": [ORDER], "deadline": "soon"}, 400, "soon"),
        ({"workflow": "checkout", "args": [ORDER], "deadline": -5}, 422, "has passed"),
        ({"workflow": "checkout", "args": [ORDER], "attributes": {"a": []}}, 422, "attribute `a`"),
    ],
)
def test_starts_that_are_refused(start: Any, status: int, words: str) -> None:
    async def body(client: httpx.AsyncClient, system: FakeSystem) -> None:
        answer = await client.post("/api/runs", json=start)
        assert answer.status_code == status, answer.text
        error = answer.json()["error"]
        assert words in error["message"]
        assert set(error) == {"message", "at", "hint"}
        assert system.submitted == []

    run(body)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"{", "not JSON"),
        (b'{"workflow": NaN}', "NaN is no JSON number"),
        (b'{"workflow": "\xff"}', "not UTF-8"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"args":' + b"[" * 400 + b"]" * 400 + b"}", "nested more than 200"),
    ],
)
def test_bodies_that_are_no_json(raw: bytes, words: str) -> None:
    async def body(client: httpx.AsyncClient, system: FakeSystem) -> None:
        answer = await client.post("/api/runs", content=raw)
        assert (answer.status_code, words in answer.json()["error"]["message"]) == (400, True), (
            answer.text
        )

    run(body)


def test_a_batch_answers_one_by_one() -> None:
    async def body(client: httpx.AsyncClient, system: FakeSystem) -> None:
        runs = [
            {"workflow": "checkout", "id": "a", "args": [ORDER]},
            {"workflow": "nope"},
            {"workflow": "checkout", "id": "a", "args": [ORDER]},
        ]
        results = (await client.post("/api/runs:batch", json={"runs": runs})).json()["results"]
        assert results[0]["created"] is True
        assert results[1]["status"] == 404
        assert results[2]["created"] is False
        many = await client.post("/api/runs:batch", json={"runs": [{}] * 1001})
        assert many.status_code == 400

    run(body)


def test_list_filters_and_pages() -> None:
    async def body(client: httpx.AsyncClient, system: FakeSystem) -> None:
        for number in range(5):
            story(system, f"order-{number}", ok=number % 2 == 0)
        waiting(system, "late")
        page = (await client.get("/api/runs", params={"limit": 2})).json()
        assert [row["id"] for row in page["runs"]] == ["late", "order-4"]
        rest = (await client.get("/api/runs", params={"cursor": page["next"]})).json()
        assert [row["id"] for row in rest["runs"]] == ["order-3", "order-2", "order-1", "order-0"]
        assert rest["next"] is None

        async def ids(**query: str) -> list[str]:
            answer = await client.get("/api/runs", params=query)
            return [row["id"] for row in answer.json()["runs"]]

        assert await ids(status="failed") == ["order-3", "order-1"]
        assert await ids(status="failed,sleeping") == ["late", "order-3", "order-1"]
        assert await ids(text="late") == ["late"]
        assert len(await ids(**{"attribute.customer": "ada"})) == 5
        assert await ids(workflow="other") == []
        for bad in ({"status": "sad"}, {"limit": "0"}, {"limit": "x"}, {"cursor": "?"}):
            assert (await client.get("/api/runs", params=bad)).status_code == 400

    run(body)


@pytest.mark.parametrize("id", ["order-1", "a/b", "a/history", "ü%2F ?#&", "x" * 900, "run:é@1"])
def test_ids_may_hold_anything(id: str) -> None:
    async def body(client: httpx.AsyncClient, system: FakeSystem) -> None:
        story(system, id)
        path = "/api/runs/" + quoted(id)
        shown = await client.get(path)
        assert shown.json()["id"] == id
        assert [node["name"] for node in shown.json()["steps"]] == ["charge", "parallel", "ship"]
        history = (await client.get(path + "/history", params={"limit": 3})).json()
        assert [event["type"] for event in history["events"]] == [
            "run.started", "step.asked", "step.failed",
        ]  # fmt: skip
        more = (await client.get(path + "/history", params={"after": history["next"]})).json()
        assert more["events"][-1]["type"] == "run.completed"
        answer = await client.post(path + "/signal", json={"name": "approve", "value": [1]})
        assert answer.status_code == 202
        assert system.submitted == [("run.signal", id, {"name": "approve", "value": [1]})]

    run(body)


def quoted(id: str) -> str:
    return "".join(
        sign if sign.isascii() and sign.isalnum() else "".join(f"%{b:02X}" for b in sign.encode())
        for sign in id
    )


@pytest.mark.parametrize(
    ("verb", "body", "sent"),
    [
        ("cancel", {"reason": "late"}, ("run.cancel", "order-1", {"reason": "late"})),
        ("cancel", {}, ("run.cancel", "order-1", {})),
        ("terminate", {}, ("run.terminate", "order-1", {})),
        ("undo", {}, ("run.undo", "order-1", {})),
        ("fork", {"key": "2"}, ("run.fork", "order-1", {"key": "2"})),
    ],
)
def test_verbs_are_submitted(verb: str, body: dict[str, Any], sent: Any) -> None:
    async def check(client: httpx.AsyncClient, system: FakeSystem) -> None:
        story(system)
        answer = await client.post(f"/api/runs/order-1/{verb}", json=body)
        assert answer.status_code == 202
        assert system.submitted == [sent]
        missing = await client.post(f"/api/runs/nobody/{verb}", json=body)
        assert missing.status_code == 404
        assert "no run `nobody`" in missing.json()["error"]["message"]
        assert len(system.submitted) == 1

    run(check)


def test_a_conflict_is_409_and_queries_answer() -> None:
    async def body(client: httpx.AsyncClient, system: FakeSystem) -> None:
        story(system)
        assert (await client.post("/api/runs/order-1/retry")).status_code == 409
        assert (await client.post("/api/runs/order-1/signal", json={})).status_code == 400
        assert (await client.post("/api/runs/order-1/fork", json={})).status_code == 400
        answer = await client.get("/api/runs/order-1/query/progress?args=[1]")
        assert answer.json() == {"result": {"run": "order-1", "args": [1]}}
        assert (await client.get("/api/runs/order-1/query/other")).status_code == 404
        assert (await client.get("/api/runs/order-1/query/progress?args={}")).status_code == 400
        assert (await client.get("/api/runs/nobody")).status_code == 404
        assert (await client.get("/api/runs/nobody/history")).status_code == 404
        assert (await client.get("/api/runs/" + "x" * 10_000)).status_code == 400

    run(body)


def test_what_steps_printed_is_read_from_its_end(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, system: FakeSystem) -> None:
        story(system, "a/b")
        assert (await client.get("/api/runs/a%2Fb/output")).json() == {"text": "", "cut": False}
        log_path(tmp_path, "a/b").write_text("one\ntwo\nthree\n")
        answer = (await client.get("/api/runs/a%2Fb/output")).json()
        assert answer == {"text": "one\ntwo\nthree\n", "cut": False}
        assert output_of(tmp_path, "a/b", limit=9) == ("three\n", True)
        assert output_of(None, "a/b") == ("", False)
        assert (await client.get("/api/runs/nobody/output")).status_code == 404
        assert (await client.get("/api/runs/..%2F..%2Fetc/output")).status_code == 404

    run(body, logs=tmp_path)


# -- events ------------------------------------------------------------------------------------


def test_events_are_read_with_filters() -> None:
    async def body(client: httpx.AsyncClient, system: FakeSystem) -> None:
        story(system)
        found = (await client.get("/api/events?type=step.*&limit=2")).json()
        assert [event["type"] for event in found["events"]] == ["step.asked", "step.failed"]
        rest = (await client.get(f"/api/events?type=run.*&after={found['next']}")).json()
        assert [event["type"] for event in rest["events"]] == ["run.completed"]
        newest = (await client.get("/api/events?newest=true&limit=1")).json()["events"]
        assert newest[0]["type"] == "run.completed"
        before = (await client.get(f"/api/events?before={newest[0]['seq']}")).json()["events"]
        assert before[-1]["type"] == "step.completed"
        one = (await client.get("/api/events/1")).json()
        assert one["sentence"].startswith("run `order-1` of `checkout` started")
        assert one["consequences"] == [2]
        for bad in ("0", "x", "9" * 30):
            assert (await client.get(f"/api/events/{bad}")).status_code == 404

    run(body)


def test_cloud_events_in_three_forms() -> None:
    async def body(client: httpx.AsyncClient, system: FakeSystem) -> None:
        event = {"specversion": "1.0", "id": "e1", "source": "shop", "type": "order.paid",
                 "subject": "1", "data": {"total": 5}, "traceparent": "x"}  # fmt: skip
        structured = {"content-type": "application/cloudevents+json; charset=utf-8"}
        answer = await client.post("/api/events", content=json.dumps(event), headers=structured)
        assert (answer.status_code, answer.json()["id"]) == (202, "e1")
        binary = {
            "ce-specversion": "1.0", "ce-id": "e2", "ce-source": "shop", "ce-type": "order.paid",
            "ce-subject": "%C3%BC", "content-type": "text/plain",
        }  # fmt: skip
        assert (await client.post("/api/events", content="hi", headers=binary)).status_code == 202
        raw = {**binary, "ce-id": "e3", "content-type": "image/png"}
        assert (await client.post("/api/events", content=b"\x89", headers=raw)).status_code == 202
        batch = {"content-type": "application/cloudevents-batch+json"}
        both = json.dumps([event, {**event, "id": "e4"}])
        answer = await client.post("/api/events", content=both, headers=batch)
        assert [each["id"] for each in answer.json()["results"]] == ["e1", "e4"]
        assert (await client.post("/api/events", json={"type": "plain"})).status_code == 202
        sent = [
            (subject, data.get("data"), data["source"]) for _, subject, data in system.submitted
        ]
        assert sent == [
            ("1", {"total": 5}, "shop"), ("ü", "hi", "shop"), ("ü", None, "shop"),
            ("1", {"total": 5}, "shop"), ("1", {"total": 5}, "shop"), ("", None, "http"),
        ]  # fmt: skip
        assert system.submitted[0][2]["traceparent"] == "x"
        assert system.submitted[2][2]["data_base64"] == "iQ=="

    run(body)


@pytest.mark.parametrize(
    ("event", "status", "words"),
    [
        ({"type": "run.started"}, 422, "Batuta's own"),
        ({"type": ""}, 400, "`type` is missing"),
        ({"type": "a", "Bad-Name": "x"}, 400, "no name of an attribute"),
        ({"type": "a", "extra": {}}, 400, "`extra` is not a text"),
        ({"type": "a", "subject": "x" * 10_000}, 400, "10,000 characters"),
        ({"type": "a" * 300}, 400, "longer than 256"),
        ({"type": "a", "specversion": "0.3"}, 400, "specversion `0.3`"),
        ([1], 400, "an event is a JSON object"),
    ],
)
def test_events_that_are_refused(event: Any, status: int, words: str) -> None:
    async def body(client: httpx.AsyncClient, system: FakeSystem) -> None:
        answer = await client.post("/api/events", json=event)
        assert answer.status_code == status
        assert words in answer.json()["error"]["message"]

    run(body)


def test_other_media_and_batches_are_refused() -> None:
    async def body(client: httpx.AsyncClient, system: FakeSystem) -> None:
        for media, content, status in (
            ("text/plain", "x", 422),
            ("application/cloudevents+json", "{}", 400),
            ("application/cloudevents-batch+json", "{}", 400),
            ("application/cloudevents-batch+json", json.dumps([{}] * 1001), 400),
        ):
            headers = {"content-type": media}
            answer = await client.post("/api/events", content=content, headers=headers)
            assert answer.status_code == status, media

    run(body)


def test_why_answers_with_the_chain() -> None:
    async def body(client: httpx.AsyncClient, system: FakeSystem) -> None:
        story(system, "a/b", ok=False)
        chain = (await client.get("/api/why/a%2Fb")).json()["chain"]
        assert chain[0]["sentence"].startswith("run `a/b` failed")
        assert chain[-1]["sentence"] == "workflow `checkout` is defined at shop.py:12"
        assert (await client.get("/api/why/a%2Fb%2F1.1")).json()["chain"][0]["type"] == (
            "step.failed"
        )
        assert (await client.get("/api/why/3")).json()["chain"][0]["seq"] == 3
        assert (await client.get("/api/why/nothing")).status_code == 404

    run(body)


# -- the rest ----------------------------------------------------------------------------------


def test_definitions_schedules_and_dead_letters() -> None:
    async def body(client: httpx.AsyncClient, system: FakeSystem) -> None:
        story(system)
        found = (await client.get("/api/workflows")).json()
        checkout, report = found["workflows"]
        assert checkout["signature"].startswith("checkout(order: Order")
        assert checkout["runs"] == {"completed": 1}
        assert (report["on"], report["schedule"]) == ("order.paid", "every 15m")
        assert found["problems"][0]["at"] == "shop.py:3:1"
        assert found["queues"][0]["name"] == "bank"
        [schedule] = (await client.get("/api/schedules")).json()["schedules"]
        assert (schedule["name"], schedule["status"]) == ("report", "new")
        id = dead_letter(system)
        [letter] = (await client.get("/api/dead")).json()["dead"]
        assert (letter["id"], letter["error"]) == (id, "no points")
        answer = await client.post(f"/api/dead/{id}/redrive")
        assert answer.status_code == 202
        assert system.submitted == [("dead.redrive", id, {})]
        assert (await client.post("/api/dead/none/redrive")).status_code == 404

    run(body)


def test_stats_health_and_metrics() -> None:
    async def body(client: httpx.AsyncClient, system: FakeSystem) -> None:
        story(system)
        system.write([], [])
        assert (await client.get("/api/stats")).json()["stats"]["steps"] == 12
        assert (await client.get("/healthz")).json()["status"] == "ok"
        answer = await client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        text = answer.text
        assert 'batuta_runs{workflow="checkout",status="completed"} 1\n' in text
        assert "# TYPE batuta_steps_total counter\nbatuta_steps_total 12\n" in text
        assert 'batuta_queue_waiting{queue="bank"} 3\n' in text
        bucket = r'_bucket{method="GET",route="/healthz",status="200",le="\+Inf"} 1\n'
        assert re.search("batuta_http_request_seconds" + bucket, text)

    run(body)


def test_what_there_is_not() -> None:
    async def body(client: httpx.AsyncClient, system: FakeSystem) -> None:
        missing = await client.get("/api/nothing")
        assert missing.status_code == 404
        assert missing.json()["error"]["hint"] == "/openapi.json lists what there is"
        assert (await client.delete("/api/runs")).status_code == 405

    run(body)


def test_a_bug_of_ours_is_a_500_and_the_server_goes_on() -> None:
    async def main() -> None:
        system = FakeSystem()
        transport = httpx.ASGITransport(app(system), raise_app_exceptions=False)
        system.stats = lambda: 1 // 0  # type: ignore[method-assign, assignment, return-value]
        async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
            answer = await client.get("/api/stats")
            assert answer.status_code == 500
            assert "bug" in answer.json()["error"]["message"]
            assert "ZeroDivision" not in answer.text
            assert (await client.get("/healthz")).status_code == 200
            system.journal.close()
            assert (await client.get("/healthz")).status_code == 503
            assert (await client.get("/api/runs")).status_code == 503

    asyncio.run(main())


# -- the description -----------------------------------------------------------------------------


def test_the_description_and_the_routes_are_the_same() -> None:
    system = FakeSystem()
    made = app(system)
    description = made.state.openapi
    described = {
        (method.upper(), path)
        for path, operations in description["paths"].items()
        for method in operations
    }
    routed = {
        (method, getattr(route, "path", "").replace(":path}", "}"))
        for route in made.routes
        for method in (getattr(route, "methods", None) or ())
        if method != "HEAD"
    }
    api = {
        (method, path)
        for method, path in routed
        if path.startswith(("/api/", "/healthz", "/metrics", "/openapi"))
    }
    assert described == api
    assert {(each.method, each.path) for each in TABLE} == described
    names = [o["operationId"] for ops in description["paths"].values() for o in ops.values()]
    assert len(names) == len(set(names))
    refs = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(description)))
    assert refs <= set(description["components"]["schemas"])
    system.journal.close()


def fits(value: Any, schema: dict[str, Any], known_as: dict[str, Any], path: str = "") -> list[str]:
    """The little of JSON Schema that our schemas use, checked."""
    if "$ref" in schema:
        return fits(value, known_as[schema["$ref"].rpartition("/")[2]], known_as, path)
    kinds: dict[str, Any] = {
        "object": dict, "array": list, "string": str, "integer": int, "number": (int, float),
        "null": type(None), "boolean": bool,
    }  # fmt: skip
    wanted = schema.get("type")
    if wanted is not None:
        names = [wanted] if isinstance(wanted, str) else wanted
        if not any(isinstance(value, kinds[name]) for name in names):
            return [f"{path}: {value!r} is not {wanted}"]
    problems = []
    if isinstance(value, dict):
        problems += [f"{path}.{n} is missing" for n in schema.get("required", []) if n not in value]
        known = schema.get("properties", {})
        if known:
            problems += [f"{path}.{name} is not described" for name in value if name not in known]
        for name, part in known.items():
            if name in value:
                problems += fits(value[name], part, known_as, f"{path}.{name}")
    if isinstance(value, list):
        for each in value:
            problems += fits(each, schema.get("items", {}), known_as, path + "[]")
    return problems


@pytest.mark.parametrize(
    "path",
    [
        "/api/runs", "/api/runs/order-1", "/api/runs/order-1/history", "/api/events",
        "/api/events/3", "/api/why/order-2", "/api/workflows", "/api/schedules", "/api/dead",
        "/api/stats", "/healthz", "/openapi.json", "/api/runs/nobody",
    ],
)  # fmt: skip
def test_answers_are_as_described(path: str) -> None:
    async def body(client: httpx.AsyncClient, system: FakeSystem) -> None:
        story(system)
        story(system, "order-2", ok=False)
        waiting(system)
        dead_letter(system)
        description = (await client.get("/openapi.json")).json()
        answer = await client.get(path)
        pattern = re.sub(r"order-\d|nobody", "{id}", path).replace(
            "/api/events/3", "/api/events/{seq}"
        )
        responses = description["paths"][pattern]["get"]["responses"]
        schema = responses[str(answer.status_code)]["content"]["application/json"]["schema"]
        assert fits(answer.json(), schema, description["components"]["schemas"]) == []

    run(body)
