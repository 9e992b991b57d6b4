"""The real clock never goes back and follows the wall clock's jumps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from batuta.kernel.clock import RealClock

SECOND = 1_000_000_000


class Machine:
    """A machine's two clocks, for a test to turn."""

    def __init__(self) -> None:
        self.wall = 1_700_000_000 * SECOND
        self.steady = 5 * SECOND
        self.clock = RealClock(lambda: self.wall, lambda: self.steady)

    def passes(self, ns: int) -> int:
        self.wall += ns
        self.steady += ns
        return self.clock.now()


def test_it_goes_with_the_wall_clock() -> None:
    machine = Machine()
    for _ in range(100):
        assert machine.passes(SECOND // 3) == machine.wall
    assert machine.clock.jumps == 0


def test_a_jump_ahead_is_followed_at_once() -> None:
    machine = Machine()
    machine.wall += 3600 * SECOND
    assert machine.passes(SECOND) == machine.wall
    assert machine.clock.jumps == 1


def test_behind_a_wall_clock_set_back_it_goes_slowly_until_they_agree() -> None:
    machine = Machine()
    machine.wall -= 10 * SECOND
    before = machine.passes(SECOND)
    assert before == machine.wall + 10 * SECOND
    assert machine.passes(4 * SECOND) == before + 2 * SECOND
    for _ in range(20):
        machine.passes(SECOND)
    assert machine.clock.now() == machine.wall
    assert machine.clock.jumps == 1


@given(st.lists(st.tuples(st.integers(0, 5 * SECOND), st.integers(-(10**11), 10**11)), max_size=30))
def test_it_never_goes_back(turns: list[tuple[int, int]]) -> None:
    machine = Machine()
    last = machine.clock.now()
    for ns, jump in turns:
        machine.wall += jump
        present = machine.passes(ns)
        assert present >= last
        last = present


def test_the_real_one_runs() -> None:
    clock = RealClock()
    first = clock.now()
    assert 1_700_000_000 * SECOND < first <= clock.now()
