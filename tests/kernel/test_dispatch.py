"""Which commands begin: limits, order, and nothing lost or begun twice."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batuta import BatutaError, queue
from batuta.kernel.dispatch import Dispatcher, Queue
from batuta.kernel.event import Event
from batuta.kernel.world import Command

S = 1_000_000_000


def command(id: str, queue: str | None = None, at: int = 0, priority: int = 0) -> Command:
    cause = Event("step.asked", "r", {}, None, at)
    return Command(id, "function", "f", {}, cause, queue=queue, priority=priority)


def ids(commands: list[Command]) -> list[str]:
    return [one.id for one in commands]


def test_without_a_limit_all_begin() -> None:
    dispatcher = Dispatcher(concurrency=None)
    assert len(dispatcher.offer([command(str(n)) for n in range(5000)], 0)) == 5000
    assert dispatcher.waiting == 0
    assert dispatcher.next_wake() is None


def test_concurrency_then_age() -> None:
    dispatcher = Dispatcher([Queue("q", 2)])
    offered = [command(n, "q", at) for n, at in (("a", 5), ("b", 6), ("d", 9), ("c", 8))]
    assert ids(dispatcher.offer(offered, 10)) == ["a", "b"]
    dispatcher.done("a")
    assert ids(dispatcher.ready(10)) == ["c"]
    assert dispatcher.lengths()["q"] == (2, 1)


def test_priority_is_a_head_start_and_starves_nobody() -> None:
    dispatcher = Dispatcher([Queue("q", 1)])
    dispatcher.offer([command("first", "q")], 0)
    dispatcher.offer([command("old", "q", 0), command("new", "q", 15 * S, priority=1)], 0)
    dispatcher.offer([command("soon", "q", 5 * S, priority=1)], 0)
    order: list[str] = []
    for _ in range(3):
        dispatcher.done("first" if not order else order[-1])
        order += ids(dispatcher.ready(20 * S))
    assert order == ["soon", "old", "new"]


def test_a_rate() -> None:
    dispatcher = Dispatcher([Queue("q", None, 2, 10 * S)])
    assert ids(dispatcher.offer([command(str(n), "q") for n in range(5)], 0)) == ["0", "1"]
    assert dispatcher.next_wake() == 10 * S
    assert dispatcher.ready(10 * S - 1) == []
    assert len(dispatcher.ready(10 * S)) == 2
    assert len(dispatcher.ready(20 * S)) == 1
    assert dispatcher.next_wake() is None


def test_what_is_dropped_does_not_begin_and_makes_room() -> None:
    dispatcher = Dispatcher([Queue("q", 1)])
    dispatcher.offer([command("a", "q"), command("b", "q"), command("c", "q")], 0)
    dispatcher.drop("b")
    assert dispatcher.waiting == 1
    dispatcher.drop("a")
    assert dispatcher.ready(0) == []  # the world was not told yet
    dispatcher.done("a")
    assert ids(dispatcher.ready(0)) == ["c"]
    dispatcher.drop("c")
    dispatcher.done("c")
    assert ids(dispatcher.offer([command("d", "q")], 0)) == ["d"]


def test_what_is_dropped_and_offered_again_begins_once() -> None:
    dispatcher = Dispatcher([Queue("q", 1)])
    dispatcher.offer([command("a", "q"), command("b", "q")], 0)
    dispatcher.drop("b")
    dispatcher.offer([command("b", "q")], 0)
    dispatcher.done("a")
    assert ids(dispatcher.ready(0)) == ["b"]
    dispatcher.done("b")
    assert dispatcher.ready(0) == []


def test_new_limits_are_taken_over() -> None:
    dispatcher = Dispatcher([Queue("q", 1)])
    dispatcher.offer([command(str(n), "q") for n in range(4)], 0)
    dispatcher.configure([Queue("q", 3), Queue("new", 1)])
    assert len(dispatcher.ready(0)) == 2


@pytest.mark.parametrize("rate", ["often", "5/fortnight", "x/s", "1.5/s"])
def test_a_rate_that_is_none(rate: str) -> None:
    with pytest.raises(BatutaError, match="is none"):
        queue("q", rate=rate)


@settings(max_examples=150)
@given(
    st.integers(1, 3),
    st.integers(1, 4),
    st.lists(st.tuples(st.sampled_from("odrt"), st.integers(0, 12)), max_size=60),
)
def test_limits_hold_and_nothing_is_lost(
    concurrency: int, rate: int, moves: list[tuple[str, int]]
) -> None:
    dispatcher = Dispatcher([Queue("q", concurrency, rate, S)])
    now, count = 0, 0
    running: list[str] = []
    dropped: set[str] = set()
    begun: list[str] = []
    times: deque[int] = deque()

    def begin(commands: list[Command]) -> None:
        for one in commands:
            running.append(one.id)
            begun.append(one.id)
            times.append(now)

    for move, n in moves:
        if move == "o":
            count += 1
            begin(dispatcher.offer([command(str(count), "q", now)], now))
        elif move == "d" and running:
            dispatcher.done(running.pop(n % len(running)))
        elif move == "r" and count:
            one = str(n % count + 1)
            if one not in begun:
                dropped.add(one)
            elif one in running:
                running.remove(one)
            dispatcher.drop(one)
            dispatcher.done(one)
        else:
            now += n * S // 10
        begin(dispatcher.ready(now))
        assert len(running) <= concurrency
        assert sum(1 for time in times if time > now - S) <= rate
    while dispatcher.waiting:
        for one in running:
            dispatcher.done(one)
        running.clear()
        now += S
        begin(dispatcher.ready(now))
    assert len(begun) == len(set(begun))
    assert set(begun) | dropped == {str(n + 1) for n in range(count)}
    assert not set(begun) & dropped
