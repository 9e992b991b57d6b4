"""Asking the server that owns a state machine's or an activity's partition, through its inbox."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from batuta.kernel.errors import BatutaError
from batuta.kernel.event import Message
from batuta.kernel.journal import Journal
from batuta.kernel.machine import Decision
from batuta.workflow.asl.activities import Activities
from batuta.workflow.asl.registry import StateMachines

ANSWER_S = 30.0
LOOK_S = 0.02


async def ask_owner(journal: Journal, message: Message) -> dict[str, Any]:
    """Leave a message with the owner of its partition and wait until it was dealt with.

    An inbox has no answers. So the message is answered here from what the journal says, once to
    refuse at once what cannot be, and once more when the owner has taken it, for the reply.

    Raises `BatutaError` where it is refused, or nobody takes it.
    """
    reply, changes = await asyncio.to_thread(_answer, journal, message)
    if not changes:
        return reply
    await asyncio.to_thread(journal.post, message)
    until = time.monotonic() + ANSWER_S
    while await asyncio.to_thread(_waits, journal, message):
        if time.monotonic() > until:
            raise BatutaError(
                "the server that owns this does not answer",
                hint="it is done when that server, or another in its place, is back",
            )
        await asyncio.sleep(LOOK_S)
    return (await asyncio.to_thread(_answer, journal, message))[0]


def _answer(journal: Journal, message: Message) -> tuple[dict[str, Any], bool]:
    machine: StateMachines | Activities
    machine = StateMachines() if message.type.startswith("machine.") else Activities()
    into = Decision()
    record = journal.record(machine.kind, message.subject)
    reply = machine.receive(message, record, [], into)
    return reply, bool(into.events)


def _waits(journal: Journal, message: Message) -> bool:
    return any(each.id == message.id for each in journal.messages([message.partition]))
