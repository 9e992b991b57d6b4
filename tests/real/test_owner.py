"""Asking the owner of another partition: refused at once, or done when it says so."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from batuta.kernel.event import Message
from batuta.kernel.journal import Journal
from batuta.kernel.loop import Loop
from batuta.kernel.sqlite import SqliteJournal
from batuta.real import owner
from batuta.real.owner import ask_owner
from batuta.workflow.asl.registry import ServiceError, StateMachines

CREATE = {"arn": "arn:pay", "definition": "{}", "type": "STANDARD", "role": "r", "publish": True}


class World:
    """A clock."""

    def now(self) -> int:
        return 7


def message(what: str, /, **data: Any) -> Message:
    return Message(f"m-{what}", 0, what, "machine:pay", {"arn": "arn:pay", **data}, None, 1)


async def own(journal: Journal) -> None:
    """Another server's turns."""
    world: Any = World()
    loop = Loop(journal, (StateMachines(),), world)
    epoch = journal.acquire(0, "other", 0, 2**62)
    assert epoch is not None
    loop.own({0: epoch})
    while True:
        loop.turn([], journal.messages([0]))
        turn = loop.begin_commit()
        if turn is not None:
            journal.commit(turn.batch)
            loop.committed(turn)
        await asyncio.sleep(0.005)


def test_what_is_asked_is_done_by_the_owner() -> None:
    async def story() -> None:
        journal = SqliteJournal(":memory:")
        other = asyncio.create_task(own(journal))
        made = await ask_owner(journal, message("machine.create", **CREATE))
        assert made == {"created": 7, "version": 1}
        assert await ask_owner(journal, message("machine.create", **CREATE)) == made, "again"
        with pytest.raises(ServiceError, match="Already Exists"):
            await ask_owner(journal, message("machine.create", **{**CREATE, "definition": "{1}"}))
        updated = await ask_owner(
            journal, message("machine.update", definition="{2}", revision="b", publish=True)
        )
        assert updated == {"updated": 7, "revision": "b", "version": 2}
        other.cancel()
        journal.close()

    asyncio.run(story())


def test_an_owner_that_is_away_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner, "ANSWER_S", 0.05)

    async def story() -> None:
        journal = SqliteJournal(":memory:")
        with pytest.raises(Exception, match="does not answer"):
            await ask_owner(journal, message("machine.create", **CREATE))
        journal.close()

    asyncio.run(story())
