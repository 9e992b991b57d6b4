"""The pages: what they show, what their forms do, and how long they may take."""

from __future__ import annotations

import asyncio
import gzip
import re
import time
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from tests.server.fake import START, FakeSystem, S, dead_letter, story, waiting
from tests.server.support import served, streaming
from tests.server.test_api import run

from batuta.kernel.event import Event, Record
from batuta.server import pages, scenes
from batuta.server.guard import Access, hashed

STATIC = Path(pages.__file__).parent / "static"
LISTS = ("/", "/events", "/workflows", "/schedules", "/dead")


class Outline(HTMLParser):
    """Links, ids, headings, inline code and unlabelled fields of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.labels: set[str] = set()
        self.fields: list[str] = []
        self.headings: list[str] = []
        self.inline: list[str] = []
        self.unscoped = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag in ("h1", "h2", "h3", "h4"):
            self.headings.append(tag)
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag == "label":
            self.labels.add(found["for"])
        if tag in ("input", "select", "textarea") and found.get("type") != "hidden":
            self.fields.append(found.get("id", "?"))
        if tag == "th" and "scope" not in found:
            self.unscoped += 1
        if "style" in found or any(name.startswith("on") for name in found):
            self.inline.append(tag)
        if tag == "style" or (tag == "script" and "src" not in found):
            self.inline.append(tag)


def whole(system: FakeSystem) -> None:
    story(system, "order-1")
    story(system, "order-2", ok=False)
    waiting(system)
    dead_letter(system)


def test_pages_are_sound_and_every_link_leads_somewhere() -> None:
    async def body(client: httpx.AsyncClient, system: FakeSystem) -> None:
        whole(system)
        todo, seen = [*LISTS, "/why/order-2", "/runs/order-3"], set[str]()
        while todo:
            path = todo.pop()
            if path in seen or len(seen) > 150:
                continue
            seen.add(path)
            answer = await client.get(path)
            assert answer.status_code == 200, path
            if not answer.headers["content-type"].startswith("text/html"):
                continue
            outline = Outline(answer.text)
            assert outline.inline == [], path
            assert outline.headings.count("h1") == 1, path
            assert len(outline.ids) == len(set(outline.ids)), path
            assert set(outline.fields) <= outline.labels, path
            assert outline.unscoped == 0, path
            anchors = {link[1:] for link in outline.links if link.startswith("#")}
            assert anchors <= set(outline.ids), path
            assert "/why/" not in outline.links, path
            todo += [link for link in outline.links if link.startswith("/")]
        assert len(seen) > 50

    run(body)


def test_lists_that_are_empty_tell_what_to_do() -> None:
    async def body(client: httpx.AsyncClient, system: FakeSystem) -> None:
        system.project.definitions.workflows.clear()
        system.project.definitions.schedules.clear()
        for path, words in zip(
            (*LISTS, "/?status=failed", "/events?type=x"),
            ("batuta run", "batuta send", "@workflow", "@every", "No dead letters",
             "No run matches", "No event matches"),
            strict=True,
        ):  # fmt: skip
            assert words in (await client.get(path)).text, path

    run(body)


def test_the_address_is_the_state_of_the_list() -> None:
    async def body(client: httpx.AsyncClient, system: FakeSystem) -> None:
        whole(system)
        text = (await client.get("/?status=failed&text=order&attribute=customer%3Dada")).text
        assert "order-2" in text
        assert "order-1" not in text
        assert 'value="customer=ada"' in text
        assert 'hx-sse:connect="/live/runs?status=failed&amp;text=order' in text
        assert (await client.get("/?attribute=n%3D%22")).status_code == 200
        assert (await client.get("/?cursor=%7E")).status_code == 400

    run(body)


def test_a_list_is_paged() -> None:
    async def body(client: httpx.AsyncClient, system: FakeSystem) -> None:
        records = [
            Record("run", f"r{n:03}", 0, "completed", "checkout", START + n, START + n)
            for n in range(120)
        ]
        system.write([], records)
        path, seen = "/", []
        while path:
            text = (await client.get(path)).text
            seen += re.findall(r'<a href="/runs/(r\d+)"', text)
            found = re.search(r'rel="next" href="([^"]+)"', text)
            path = found[1].replace("&amp;", "&") if found else ""
        assert seen == [f"r{n:03}" for n in reversed(range(120))]

    run(body)


def test_a_run_shows_its_reason_its_error_and_what_can_be_done() -> None:
    async def body(client: httpx.AsyncClient, system: FakeSystem) -> None:
        whole(system)
        failed = (await client.get("/runs/order-2")).text
        assert "card &lt;b&gt;declined&lt;/b&gt;" in failed
        assert "<b>declined" not in failed
        assert "Traceback" in failed
        assert "Retry from where it failed" in failed
        assert "hx-sse:connect" not in failed
        assert "is defined at shop.py:12" in re.sub("</?code>", "", failed)
        waits = (await client.get("/runs/order-3")).text
        assert 'value="approve"' in waits
        assert "hx-sse:connect" in waits
        assert (await client.get("/runs/nobody")).status_code == 404

    run(body)


@pytest.mark.parametrize(
    ("verb", "form", "sent"),
    [
        ("cancel", {}, {"reason": "cancel on the page"}),
        ("terminate", {"reason": "why not"}, {"reason": "why not"}),
        ("signal", {"name": "ok", "value": '{"a": [1]}'}, {"name": "ok", "value": {"a": [1]}}),
        ("signal", {"name": "ok", "value": "yes please"}, {"name": "ok", "value": "yes please"}),
        ("signal", {"name": "ok"}, {"name": "ok", "value": True}),
        ("undo", {}, {}),
    ],
)  # fmt: skip
def test_forms_ask_for_something_and_come_back(
    verb: str, form: dict[str, str], sent: dict[str, object]
) -> None:
    async def body(client: httpx.AsyncClient, system: FakeSystem) -> None:
        story(system, "a/b c")
        answer = await client.post(f"/runs/a%2Fb%20c/{verb}", data=form)
        assert (answer.status_code, answer.headers["location"]) == (303, "/runs/a%2Fb%20c")
        assert system.submitted == [(f"run.{verb}", "a/b c", sent)]

    run(body)


def test_forms_that_are_refused_answer_with_a_page() -> None:
    async def body(client: httpx.AsyncClient, system: FakeSystem) -> None:
        whole(system)
        for path, status, words in (
            ("/runs/order-1/retry", 409, "cannot be retried"),
            ("/runs/order-1/signal", 400, "has no name"),
            ("/runs/order-1/explode", 400, "nothing that a run can be asked"),
            ("/dead/none/redrive", 404, "no delivery"),
        ):
            answer = await client.post(path)
            assert answer.status_code == status, path
            assert words in re.sub("</?code>", "", answer.text)
        foreign = await client.post("/runs/order-1/cancel", headers={"origin": "http://evil"})
        assert foreign.status_code == 403
        assert (await client.post("/dead/reward:e-1/redrive")).status_code == 303
        assert system.submitted[-1] == ("dead.redrive", "reward:e-1", {})

    run(body)


def test_find_leads_to_what_an_id_names() -> None:
    async def body(client: httpx.AsyncClient, system: FakeSystem) -> None:
        whole(system)
        for id, place in (
            ("order-1", "/runs/order-1"), ("#3", "/events/3"), ("", "/"),
            ("order-1/1.1", "/why/order-1%2F1.1"), ("or", "/?text=or"),
            ("reward:e-1", "/why/reward%3Ae-1"), ("x" * 900, "/?text=" + "x" * 200),
        ):  # fmt: skip
            answer = await client.get("/find", params={"id": id})
            assert (answer.status_code, answer.headers["location"]) == (303, place)

    run(body)


def test_a_page_needs_the_token_too() -> None:
    async def body(client: httpx.AsyncClient, system: FakeSystem) -> None:
        assert (await client.get("/")).status_code == 401
        assert (await client.get("/static/batuta.css")).status_code == 200
        assert (await client.get("/static/../api/runs")).status_code in (401, 404)
        entered = await client.get("/?token=s3cret&status=failed")
        assert entered.headers["location"] == "/?status=failed"
        assert (await client.get("/")).status_code == 200

    run(body, Access(token=hashed("s3cret")))


def test_assets_are_small_and_carry_their_licence() -> None:
    served = [file for file in STATIC.iterdir() if file.suffix in (".js", ".css", ".svg")]
    size = sum(len(gzip.compress(file.read_bytes())) for file in served)
    assert {file.name for file in served} >= {"htmx.min.js", "hx-sse.min.js", "batuta.css"}
    assert size < 100 * 1024
    assert "Zero-Clause BSD" in (STATIC / "htmx.LICENSE.txt").read_text()


# -- large -------------------------------------------------------------------------------------


def long_run(system: FakeSystem, steps: int) -> None:
    events = [system.event("run.started", "long", workflow="checkout", definition="shop.py:12")]
    for number in range(1, steps + 1):
        command = f"long/{number}.1"
        for type, more in (
            ("step.asked", {"name": "charge", "kind": "function", "args": [{"id": number}]}),
            ("step.completed", {"result": {"ok": True}, "started": system.time}),
        ):
            data = {"key": str(number), "attempt": 1, **more}
            events.append(Event(type, "long", data, events[-1], system.time + number, command))
    record = Record("run", "long", 0, "running", "checkout", events[0].time)
    system.write(events, [record])


def test_a_run_of_10000_steps_renders_in_300_ms_and_can_be_walked() -> None:
    system = FakeSystem()
    long_run(system, 10_000)

    def page(before: int | None = None) -> tuple[scenes.Scene, float]:
        began = time.thread_time()
        scene = scenes.run_scene(system.journal, "long", now=START, before=before)
        for part in pages.PARTS["run"]:
            assert pages.render(f"parts/{part}.html", scene)
        return scene, time.thread_time() - began

    page()
    scene, took = min((page() for _ in range(3)), key=lambda each: each[1])
    assert took < 0.3
    keys = [row.node.key for row in scene["rows"]]
    assert keys[-1] == "10000"
    assert 100 <= len(keys) <= 250
    earlier, _ = page(scene["older"])
    assert earlier["rows"][-1].node.key in (keys[0], str(int(keys[0]) - 1))
    assert earlier["run"].workflow == "checkout"
    assert not earlier["newest"]
    system.journal.close()


def test_the_list_of_100000_runs_takes_under_100_ms(tmp_path: Path) -> None:
    system = FakeSystem(str(tmp_path / "journal.db"))
    statuses = ("completed", "failed", "running", "sleeping")
    for part in range(10):
        records = [
            Record("run", f"order-{n:06}", 0, statuses[n % 4], f"flow-{n % 5}", START + n * S,
                   data={"definition": "shop.py:12"})
            for n in range(part * 10_000, part * 10_000 + 10_000)
        ]  # fmt: skip
        system.write([], records)

    def timed(**filters: object) -> float:
        asked = {"statuses": [], "workflow": "", "text": "", "attributes": {}, "cursor": ""}
        best = 10.0
        for _ in range(3):
            began = time.thread_time()
            scene = scenes.runs_scene(system.journal, **(asked | filters))  # type: ignore[arg-type]
            kept = {"filters": dict.fromkeys(("status", "workflow", "text", "attribute"), ""),
                    "chosen": [], "filtered": False, "cursor": ""}  # fmt: skip
            assert "order-0" in pages.render("parts/runs_list.html", scene | kept)
            best = min(best, time.thread_time() - began)
        return best

    assert timed() < 0.1
    assert timed(statuses=["failed"]) < 0.1
    assert timed(workflow="flow-3") < 0.1
    assert timed(cursor=f"{START + 50_000 * S}~order-050000") < 0.1
    system.journal.close()


def test_a_page_that_is_slow_is_rendered_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[float] = []

    async def main() -> None:
        system = FakeSystem()
        story(system)
        slow = pages.render

        def render(template: str, scene: scenes.Scene) -> str:
            if template == "parts/runs_list.html":
                rendered.append(time.monotonic())
                time.sleep(0.02)
            return slow(template, scene)

        monkeypatch.setattr(pages, "render", render)
        async with served(system) as url, streaming(f"{url}/live/runs") as lines:
            async for line in lines:
                if line.startswith("id: "):
                    break
            for number in range(3):
                story(system, f"more-{number}")
                await system.add()
                async for line in lines:
                    if line.startswith("id: "):
                        break
        system.journal.close()

    asyncio.run(main())
    assert all(b - a > 0.19 for a, b in pairwise(rendered))
    assert len(rendered) >= 3
