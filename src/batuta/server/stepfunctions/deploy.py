"""State machines of the project's files, kept in the same lists as those that the API made."""

from __future__ import annotations

import logging
from uuid import uuid4

from batuta.kernel.errors import BatutaError
from batuta.server.port import System
from batuta.workflow.asl.machine import StateMachine
from batuta.workflow.asl.registry import subject_of

log = logging.getLogger("batuta.server.stepfunctions")


async def deploy(system: System) -> dict[str, str]:
    """Create or update what the files define; what is the same already stays as it is.

    Returns what became of each: `created`, `updated` or `unchanged`.
    """
    done: dict[str, str] = {}
    flows: dict[str, object] = {**system.project.definitions.workflows}
    for name, flow in sorted(flows.items()):
        if not isinstance(flow, StateMachine):
            continue
        data = {
            "definition": flow.text, "type": flow.type, "source": flow.source,
            "role": flow.about.get("role"), "logging": flow.about.get("logging"),
            "tracing": flow.about.get("tracing"), "tags": flow.about.get("tags"),
            "revision": str(uuid4()),
        }  # fmt: skip
        try:
            reply = await system.submit("machine.deploy", subject_of(name), data)
        except BatutaError as refused:
            log.warning("state machine `%s` was not deployed: %s", name, refused.message)
            continue
        done[name] = reply.get("deployed", "posted")
    return done
