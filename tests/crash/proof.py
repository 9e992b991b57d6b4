"""What has to be true of a journal and an effects file, however often servers were killed."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.crash.servers import Performance, performances

from batuta.kernel.event import Event
from batuta.kernel.journal import Journal
from batuta.kernel.loop import partition_of
from batuta.workflow.model import Definitions
from batuta.workflow.runs import Runs

PROJECT = Path(__file__).parent / "project"
OUTCOMES = ("step.completed", "step.failed", "step.cancelled")
FROM_OUTSIDE = (
    "run.started", "signal.received", "ping", "run.cancel_asked", "machine.created",
)  # fmt: skip
Request = tuple[str, dict[str, Any]]


def everything(journal: Journal) -> list[Event]:
    """All events, in order."""
    events: list[Event] = []
    while page := journal.read(events[-1].seq if events else 0, 5000):
        events += page
    return events


def check(journal: Journal, effects: Path, acknowledged: Iterable[Request]) -> dict[str, int]:
    """Raise `AssertionError` where something was lost or done again; what was counted."""
    events = everything(journal)
    assert [event.seq for event in events] == list(range(1, len(events) + 1)), "gaps"
    _check_causes(events)
    histories: dict[str, list[Event]] = {}
    for event in events:
        histories.setdefault(event.subject, []).append(event)
    done = list(performances(effects))
    repeated = check_performances(events, done)
    runs = _check_acknowledged(journal, histories, acknowledged)
    _check_replays(journal, histories)
    return {
        "events": len(events), "runs": runs, "performed": len(done), "repeated": repeated,
    }  # fmt: skip


def _check_causes(events: list[Event]) -> None:
    for event in events:
        if event.cause_seq is None:
            assert event.type in FROM_OUTSIDE, f"#{event.seq} {event.type} has no cause"
        else:
            assert 0 < event.cause_seq < event.seq, f"#{event.seq} {event.type}: a later cause"


def check_performances(events: Iterable[Event], done: Iterable[Performance]) -> int:
    """No command was begun again once its outcome was decided, and every outcome has a
    performance behind it; how many were performed more than once."""
    by_command: dict[str, list[Performance]] = {}
    for performance in done:
        by_command.setdefault(f"{performance.command}.{performance.attempt}", []).append(
            performance
        )
    outcomes: dict[str, Event] = {}
    for event in events:
        if event.type in OUTCOMES:
            assert event.command is not None
            before = outcomes.setdefault(event.command, event)
            assert before is event, f"{event.command} has two outcomes: {before.seq}, {event.seq}"
    for command, outcome in outcomes.items():
        assert outcome.type == "step.cancelled" or command in by_command, f"{command}: by nobody"
        for performance in by_command.get(command, ()):
            late = (performance.began - outcome.time) / 1e6
            assert late <= 0, f"{command} was begun {late:.1f} ms after its outcome: {performance}"
    return sum(len(found) > 1 for found in by_command.values())


def _check_acknowledged(
    journal: Journal, histories: dict[str, list[Event]], acknowledged: Iterable[Request]
) -> int:
    app = application()
    count = 0
    for path, body in acknowledged:
        if path == "/api/runs":
            count += 1
            record = journal.record("run", body["id"])
            assert record is not None, f"run {body['id']} was acknowledged and is lost"
            last = histories[body["id"]][-1]
            assert record.status == "completed", f"{body['id']} is {record.status}: {last.data}"
            wanted = app.expected(body["workflow"], body["args"][0])
            ended = [event for event in histories[body["id"]] if event.type == "run.completed"]
            assert [event.data["result"] for event in ended] == [wanted], body
        elif path.endswith("/signal"):
            run = path.split("/")[3]
            values = [
                event.data["value"] for event in histories[run] if event.type == "signal.received"
            ]
            assert body["value"] in values, f"the signal to {run} was acknowledged and is lost"
    return count


def _check_replays(journal: Journal, histories: dict[str, list[Event]]) -> None:
    """A machine that knows nothing comes to the same end from the events alone."""
    workflows = list(vars(application()).values())
    machine = Runs(
        Definitions.of(*workflows), lambda id: partition_of(id, journal.partitions), keep_ended=True
    )
    machine.own(range(journal.partitions), 0)
    for id, history in histories.items():
        if history[0].type != "run.started":
            continue
        run = machine.restore(history)
        assert run is not None, id
        assert run.stuck is None, f"{id} does not replay: {run.stuck}"
        record = journal.record("run", id)
        assert record is not None
        assert run.status == record.status, f"{id}: {run.status}, recorded {record.status}"
        if run.status == "completed":
            assert run.program is not None
            stored = history[-1].data["result"]
            assert run.program.workflow.codec.encode_result(run.program.result) == stored, id


def application() -> Any:
    """The project's module, in this process."""
    os.environ.setdefault("CRASH_EFFECTS", os.devnull)
    os.environ.setdefault("CRASH_SERVER", "test")
    spec = importlib.util.spec_from_file_location("app", PROJECT / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
