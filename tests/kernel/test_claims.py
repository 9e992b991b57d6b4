"""Places of a queue over several servers: never more than there are, and none is lost."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from batuta.kernel.claims import HOLD, PARTS, Claims, parts
from batuta.kernel.dispatch import Lane, Queue
from batuta.kernel.sqlite import SqliteJournal

TTL = 6_000_000_000
TICK = 50_000_000


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.time = 1_000

    def now(self) -> int:
        """ns."""
        return self.time


class Side:
    """One server with a lane for the queue."""

    def __init__(self, journal: SqliteJournal, name: str, clock: Clock, queue: Queue) -> None:
        self.journal, self.name, self.clock = journal, name, clock
        self.claims = Claims(journal, name, clock, TTL)
        self.lane = Lane(queue, 0)
        self.lanes = {queue.name: self.lane}

    def turn(self) -> None:
        """Look, claim, give back."""
        plan = self.claims.plan(self.lanes, 2, self.clock.now())
        got = self.claims.carry_out(plan, {"q": self.lane.queue})
        self.claims.take(got, self.clock.now())
        held = self.journal.renew(self.name, self.clock.now(), TTL)
        self.claims.confirm(held, orphans=True)
        self.claims.apply(self.lanes, self.clock.now() + TTL)


def sides(queue: Queue) -> tuple[Clock, list[Side]]:
    """Two servers on one journal."""
    clock = Clock()
    journal = SqliteJournal(":memory:", partitions=4)
    return clock, [Side(journal, name, clock, queue) for name in ("one", "two")]


@given(st.integers(1, 500))
def test_the_parts_of_a_queue_are_all_its_places(concurrency: int) -> None:
    sizes = parts(Queue("q", concurrency))
    assert sum(sizes.values()) == concurrency
    assert len(sizes) == min(concurrency, PARTS)
    assert max(sizes.values()) - min(sizes.values()) <= 1


def test_one_place_goes_round_between_two_who_want_it() -> None:
    clock, both = sides(Queue("q", 1))
    had: set[str] = set()
    for side in both:
        side.lane.waiting = [(0, n, None) for n in range(5)]
    for _ in range(4 * HOLD // TICK):
        clock.time += TICK
        for side in both:
            side.turn()
        allowed = [side.name for side in both if side.lane.allowed]
        assert len(allowed) <= 1
        had.update(allowed)
    assert had == {"one", "two"}


def test_what_a_dead_server_held_is_free_again() -> None:
    clock, (one, two) = sides(Queue("q", 3))
    one.lane.waiting = two.lane.waiting = [(0, n, None) for n in range(3)]
    one.turn()
    assert one.lane.allowed == 3
    clock.time += TICK
    two.turn()
    assert two.lane.allowed == 0
    one.journal.release("one")
    clock.time += TICK
    two.turn()
    assert two.lane.allowed == 3
    one.turn()
    assert one.lane.allowed == 0


def want(side: Side) -> None:
    """One more waits."""
    side.lane.waiting.append((0, 0, None))


def begin(side: Side) -> None:
    """One that waits begins, where it may."""
    lane, now = side.lane, side.clock.now()
    if lane.waiting and lane.may_begin(now):
        lane.waiting.pop()
        lane.begin(now)


def end(side: Side) -> None:
    """One that is in flight ends."""
    side.lane.running = max(0, side.lane.running - 1)


def tick(side: Side) -> None:
    """Time passes."""
    side.clock.time += 300_000_000


ACTS: dict[str, Callable[[Side], None]] = {
    "want": want, "begin": begin, "end": end, "turn": Side.turn, "tick": tick,
}  # fmt: skip
MOVES = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from(sorted(ACTS))),
    max_size=80,
)


@settings(max_examples=60)
@given(st.integers(1, 5), MOVES)
def test_the_limit_holds_whatever_happens(limit: int, moves: list[tuple[int, str]]) -> None:
    _, both = sides(Queue("q", limit))
    for which, move in moves:
        ACTS[move](both[which])
        assert sum(side.lane.running for side in both) <= limit
        assert sum(side.lane.allowed or 0 for side in both) <= limit
