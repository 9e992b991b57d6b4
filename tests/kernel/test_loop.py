"""The loop: what it folds, what it writes together, and what it hands on when."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from batuta.kernel.errors import BatutaError, Conflict, Fenced
from batuta.kernel.event import Event, Message, Record
from batuta.kernel.loop import Loop, Turn
from batuta.kernel.machine import Decision
from batuta.kernel.sqlite import SqliteJournal
from batuta.kernel.world import Command, Outcome


class Clock:
    """A world that only tells the time."""

    time = 100

    def now(self) -> int:
        return self.time

    def new_id(self) -> str:
        return "id"

    def perform(self, command: Command) -> None: ...

    def cancel(self, command: str) -> None: ...


class Counter:
    """Adds up: `add` makes it ask for a command, whose outcome it counts."""

    kind = "count"
    active = ("open",)
    handles = ("added", "counted", "*")
    receives = ("add", "tell", "load")
    wants_history = ("tell",)

    def __init__(self) -> None:
        self.owned: Collection[int] = ()
        self.sums: dict[str, int] = {}
        self.wanted: list[Event] = []
        self.loaded: list[str] = []
        self.others: list[str] = []
        self.repeatable = False

    def own(self, partitions: Collection[int], now: int) -> None:
        self.owned = partitions
        if not partitions:
            self.sums.clear()

    def recover(self, record: Record) -> bool:
        return True

    def knows(self, subject: str) -> bool:
        return subject in self.sums

    def record_of(self, subject: str) -> Record | None:
        return None

    def load(self, record: Record, history: list[Event]) -> None:
        self.loaded.append(record.id)
        for event in history:
            self.apply(event)
        self.wanted.clear()

    def receive(
        self, message: Message, record: Record | None, history: list[Event], into: Decision
    ) -> dict[str, Any]:
        if message.data.get("n", 0) < 0:
            raise Conflict("no less than nothing")
        if message.type == "tell":
            return {"events": len(history)}
        n = message.data["n"]
        into.events.append(Event("added", message.subject, {"n": n}, None, message.time, f"c{n}"))
        return {"sum": self.sums.get(message.subject, 0) + n}

    def finish(self, outcome: Outcome, now: int, into: Decision) -> None:
        into.events.append(Event("counted", "s", {"n": outcome.value}, None, now))

    def apply(self, event: Event) -> None:
        if event.type == "added":
            self.sums[event.subject] = self.sums.get(event.subject, 0) + event.data["n"]
            self.wanted.append(event)
        elif event.type != "counted":
            self.others.append(event.type)

    def decide(self, now: int, into: Decision) -> None:
        wanted, self.wanted = self.wanted, []
        for event in wanted:
            into.commands.append(
                Command(event.command or "", "f", "f", {}, event, repeatable=self.repeatable)
            )
            into.records.append(Record("count", event.subject, 0, "open", "c", now))

    def next_wake(self) -> int | None:
        return None


def made(journal: SqliteJournal | None = None) -> tuple[Loop, Counter]:
    journal = journal or SqliteJournal(":memory:")
    machine = Counter()
    loop = Loop(journal, (machine,), Clock())
    epoch = journal.acquire(0, "me", 0, 10**18)
    assert epoch is not None
    loop.own({0: epoch})
    return loop, machine


def add(n: int, subject: str = "s", type: str = "add") -> Message:
    return Message(f"m{n}{type}", 0, type, subject, {"n": n}, None, 1)


def commit(loop: Loop) -> tuple[Turn, list[str]]:
    turn = loop.begin_commit()
    assert turn is not None
    loop.journal.commit(turn.batch)
    return turn, [command.id for command in loop.committed(turn)]


def test_commands_begin_when_their_asking_is_durable() -> None:
    loop, _ = made()
    turn = loop.turn((), [add(1), add(2)])
    assert loop.take_early() == []
    assert [event.type for event in turn.batch.events] == ["added", "added"]
    turn, begun = commit(loop)
    assert begun == ["c1", "c2"]
    assert turn.replies["m2add"] == {"sum": 3}
    assert loop.begin_commit() is None


def test_repeatable_ones_need_not_wait() -> None:
    loop, machine = made()
    machine.repeatable = True
    loop.turn((), [add(1)])
    assert [command.id for command in loop.take_early()] == ["c1"]


def test_several_turns_go_into_one_commit() -> None:
    loop, _ = made()
    loop.turn((), [add(1)])
    loop.turn((), [add(2)])
    loop.turn([Outcome("c1", 5)], ())
    _, begun = commit(loop)
    assert begun == ["c2"]  # c1 has its outcome already
    assert [e.type for e in loop.journal.read()] == ["added", "added", "counted"]


def test_an_outcome_that_nobody_waits_for_is_dropped() -> None:
    loop, _ = made()
    loop.turn([Outcome("never", 1)], ())
    assert loop.begin_commit() is None


def test_what_is_refused_is_told_and_the_rest_is_done() -> None:
    loop, _ = made()
    loop.turn((), [add(-1), add(3), add(4, type="dance")])
    turn, _ = commit(loop)
    assert isinstance(turn.replies["m-1add"], Conflict)
    assert isinstance(turn.replies["m4dance"], BatutaError)
    assert turn.replies["m3add"] == {"sum": 3}


def test_history_holds_what_is_not_committed_yet() -> None:
    loop, _ = made()
    loop.turn((), [add(1)])
    turn = loop.begin_commit()
    assert turn is not None
    loop.turn((), [add(2)])
    loop.turn((), [add(0, type="tell")])
    loop.journal.commit(turn.batch)
    loop.committed(turn)
    loop.turn((), [add(0, type="tell")])
    turn, _ = commit(loop)
    assert turn.replies["m0tell"] == {"events": 2}


def test_users_events_go_to_who_handles_every_type() -> None:
    loop, machine = made()
    machine.wanted = []
    into = Event("user.made", "x", {}, None, 1)
    original = machine.decide

    def once(now: int, decision: Decision) -> None:
        machine.decide = original  # type: ignore[method-assign]
        decision.events.append(into)

    machine.decide = once  # type: ignore[method-assign, assignment]
    loop.turn((), ())
    assert machine.others == ["user.made"]


def test_recovery_folds_what_is_active() -> None:
    journal = SqliteJournal(":memory:")
    loop, _ = made(journal)
    loop.turn((), [add(1), add(2, "t")])
    commit(loop)
    _, machine = made(journal)
    assert machine.sums == {"s": 1, "t": 2}
    assert sorted(machine.loaded) == ["s", "t"]


def test_a_partition_that_was_lost_and_won_again_is_folded_again() -> None:
    journal = SqliteJournal(":memory:")
    loop, machine = made(journal)
    loop.turn((), [add(1)])
    commit(loop)
    machine.sums["s"] = 99  # what somebody else did in between is not known here
    loop.own({0: loop.epochs[0] + 1})
    assert machine.sums == {"s": 1}


def test_what_was_decided_for_a_lost_partition_is_refused() -> None:
    journal = SqliteJournal(":memory:")
    loop, _ = made(journal)
    loop.turn((), [add(1)])
    loop.own({})
    journal.release("me")
    assert journal.acquire(0, "another", 1, 10**18) is not None
    turn = loop.begin_commit()
    assert turn is not None
    with pytest.raises(Fenced):
        journal.commit(turn.batch)


def test_messages_for_partitions_of_others_stay_where_they_are() -> None:
    loop, machine = made()
    turn = loop.turn((), [Message("m", 7, "add", "s", {"n": 1}, None, 1)])
    assert [message.partition for message in turn.batch.messages] == [7]
    assert not turn.batch.events
    assert machine.sums == {}


def test_time_never_runs_backwards() -> None:
    loop, _ = made()
    loop.turn((), [add(1)])
    loop.world.time = 5  # type: ignore[attr-defined]
    loop.turn((), [add(2)])
    turn, _ = commit(loop)
    assert [event.time for event in turn.batch.events] == [100, 100]


def test_a_machine_that_asks_for_ever_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batuta.kernel.loop.ROUNDS_MAX", 50)
    loop, machine = made()

    def again(now: int, into: Decision) -> None:
        into.events.append(Event("counted", "s", {}, None, now))

    machine.decide = again  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="for ever"):
        loop.turn((), ())
