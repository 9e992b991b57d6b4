"""The pages in a real browser: no complaint in its console, live, and whole without scripts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.browser.chromium import PROGRAM, Tab, browser
from tests.server.fake import FakeSystem, dead_letter, story, waiting
from tests.server.support import served

from batuta.kernel.event import Record

pytestmark = [
    pytest.mark.skipif(
        PROGRAM is None, reason="NO CHROMIUM: pages were not looked at (apt-get install chromium)"
    ),
    pytest.mark.client,
]


def look(body: Callable[[Tab, str, FakeSystem], Awaitable[None]]) -> None:
    async def main() -> None:
        system = FakeSystem()
        story(system, "order-1")
        story(system, "order-2", ok=False)
        waiting(system)
        dead_letter(system)
        async with served(system) as url, browser() as tab:
            await body(tab, url, system)
            assert tab.complaints == []
        system.journal.close()

    asyncio.run(main())


def test_pages_render_without_complaints_in_light_dark_and_narrow() -> None:
    async def body(tab: Tab, url: str, system: FakeSystem) -> None:
        backgrounds = set()
        for path in (
            "/", "/runs/order-1", "/runs/order-2", "/runs/order-3", "/events", "/events/2",
            "/workflows", "/schedules", "/dead", "/why/order-2",
        ):  # fmt: skip
            for scheme, width in (("light", 1280), ("dark", 400)):
                feature = {"name": "prefers-color-scheme", "value": scheme}
                await tab.call("Emulation.setEmulatedMedia", features=[feature])
                await tab.call(
                    "Emulation.setDeviceMetricsOverride", width=width, height=900,
                    deviceScaleFactor=1, mobile=False,
                )  # fmt: skip
                await tab.go(url + path)
                assert await tab.ask("document.querySelectorAll('h1').length") == 1
                colour = "getComputedStyle(document.body).backgroundColor"
                backgrounds.add((scheme, await tab.ask(colour)))
                wide = "document.documentElement.scrollWidth - innerWidth"
                assert await tab.ask(wide) <= 0, f"{path} scrolls sideways at {width}"
        assert len(backgrounds) == 2
        await tab.go(url + "/runs/order-1")
        assert await tab.ask("document.querySelectorAll('#run_graph a.box').length") == 4
        box = "document.querySelector('#run_graph rect').getBoundingClientRect().width"
        assert await tab.ask(box) > 50
        bar = "document.querySelector('td.bars rect').getBoundingClientRect().width"
        assert await tab.ask(bar) > 1

    look(body)


def test_live_updates_arrive_and_keep_what_is_open() -> None:
    async def body(tab: Tab, url: str, system: FakeSystem) -> None:
        await tab.go(url + "/runs/order-3")
        assert "signal" in await tab.ask("document.querySelector('.state').innerText")
        await tab.ask("document.querySelector('#run_steps details').open = true")
        await tab.ask("document.querySelector('#signal-value').focus()")
        asked = system.event("step.asked", "order-3", 1, "order-3/2.1", key="2", name="ship",
                             kind="function", attempt=1, args=[])  # fmt: skip
        await tab.call("Runtime.evaluate", expression="window.kept = 1")
        await system.add([system.event("wait.met", "order-3", 1, key="1", value=True), asked])
        await tab.until("document.querySelector('.state').innerText.includes('ship')")
        await tab.until("!!document.querySelector('#op-2')")
        await tab.until("document.querySelectorAll('#run_graph a.box').length === 2")
        assert await tab.ask("document.querySelectorAll('#run_graph rect').length") == 4
        assert await tab.ask("document.querySelector('#run_steps details').open") is True
        assert await tab.ask("document.activeElement.id") == "signal-value"
        assert await tab.ask("window.kept") == 1
        box = "document.querySelector('#run_graph a:last-of-type rect').getBoundingClientRect()"
        assert await tab.ask(f"{box}.width") > 50

    look(body)


def test_the_list_of_runs_and_the_events_are_live() -> None:
    async def body(tab: Tab, url: str, system: FakeSystem) -> None:
        await tab.go(url + "/")
        await new_run(system, "fresh")
        await tab.until("document.querySelector('#runs_list').innerText.includes('fresh')")
        await tab.go(url + "/events?type=run.*")
        rows = "document.querySelectorAll('#events_list tbody tr').length"
        before = await tab.ask(rows)
        await system.add([system.event("order.paid", "9", data={})])
        await new_run(system, "newer")
        await tab.until(f"{rows} === {before + 1}")
        first = "document.querySelector('#events_list tbody tr').innerText"
        assert "newer" in await tab.ask(first)

    look(body)


async def new_run(system: FakeSystem, id: str) -> None:
    started = system.event("run.started", id, workflow="checkout", definition="shop.py:12")
    record = Record("run", id, 0, "running", "checkout", started.time, data={})
    await system.add([started], [record])


def test_without_scripts_everything_is_there_and_forms_work() -> None:
    async def body(tab: Tab, url: str, system: FakeSystem) -> None:
        await tab.call("Emulation.setScriptExecutionDisabled", value=True)
        await tab.go(url + "/runs/order-3")
        await tab.call("Emulation.setScriptExecutionDisabled", value=False)
        text: str = await tab.ask("document.body.innerText")
        assert "waits for signal" in text
        assert await tab.ask("typeof window.htmx") == "undefined"
        tab._loaded.clear()
        await tab.ask("document.querySelector('form[action$=signal] button').click()")
        await asyncio.wait_for(tab._loaded.wait(), 10)
        assert await tab.ask("location.pathname") == "/runs/order-3"
        sent: Any = system.submitted
        assert sent == [("run.signal", "order-3", {"name": "approve", "value": True})]

    look(body)


def test_keyboard_reaches_everything_and_the_focus_is_seen() -> None:
    async def body(tab: Tab, url: str, system: FakeSystem) -> None:
        await tab.go(url + "/")
        seen = []
        for _ in range(12):
            for kind in ("keyDown", "keyUp"):
                await tab.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab",
                               windowsVirtualKeyCode=9)  # fmt: skip
            seen.append(
                await tab.ask("document.activeElement.innerText || document.activeElement.id")
            )
            style = "getComputedStyle(document.activeElement).outlineStyle"
            assert await tab.ask(style) != "none"
        assert seen[0] == "Skip to the content"
        assert "Events" in seen
        assert "Filter" in seen

    look(body)
