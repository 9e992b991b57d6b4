"""Keyed randomness: unambiguous, uniform, and the same by both ways."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from batuta.common.keyed import Keyed, Part, bits, u

PARTS = st.lists(
    st.one_of(st.text(max_size=4), st.integers(), st.booleans(), st.none(), st.binary(max_size=4)),
    max_size=4,
)


def kinds(parts: list[object]) -> list[tuple[type, object]]:
    return [(type(part), part) for part in parts]


@given(PARTS, PARTS)
def test_two_names_are_two_numbers(a: list[str], b: list[str]) -> None:
    assert (bits(7, *a) == bits(7, *b)) == (kinds([*a]) == kinds([*b]))


def test_the_encoding_is_unambiguous() -> None:
    names: list[tuple[Part, ...]] = [
        ("a", "bc"),
        ("ab", "c"),
        ("abc",),
        ("1",),
        (1,),
        (True,),
        (b"1",),
        (1.0,),
        (None,),
        (),
    ]
    assert len({bits(0, *name) for name in names}) == len(names)


@given(st.integers(), st.text(), st.text(), st.integers(0, 99), st.text())
def test_a_stream_is_the_short_way(seed: int, who: str, what: str, attempt: int, why: str) -> None:
    stream = Keyed(seed).stream(who)
    assert stream.bits(what, attempt, why) == bits(seed, who, what, attempt, why)
    assert Keyed(seed).u(who, what, attempt, why) == u(seed, who, what, attempt, why)


def test_u_of_a_stream() -> None:
    assert Keyed(3).stream("run-1").u("charge", 2, "duration") == u(
        3, "run-1", "charge", 2, "duration"
    )


def test_numbers_are_stable_between_versions() -> None:
    assert bits(0, "run", "1", 1, "retry") == 10861760029650089273


def test_uniform() -> None:
    n = 20_000
    stream = Keyed(1).stream("entity")
    buckets = [0] * 20
    total = 0.0
    for index in range(n):
        drawn = stream.u("activity", index, "duration")
        assert 0 <= drawn < 1
        buckets[int(drawn * 20)] += 1
        total += drawn
    chi_square = sum((count - n / 20) ** 2 / (n / 20) for count in buckets)
    assert chi_square < 43.8  # 99.9 % quantile of 19 degrees of freedom
    assert abs(total / n - 0.5) < 0.01


def test_neighbouring_names_do_not_correlate() -> None:
    pairs = [(u(i, "a"), u(i + 1, "a")) for i in range(5000)]
    mean = sum(a * b for a, b in pairs) / len(pairs)
    assert abs(mean - 0.25) < 0.02
