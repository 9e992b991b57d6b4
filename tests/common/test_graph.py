"""Graphs: order, layers, cycles by name, the critical path."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batuta.common.graph import Cyclic, critical_path, find_cycle, layers, topological

NUMBERS = st.integers(0, 7)
DAGS = st.lists(st.tuples(NUMBERS, NUMBERS).filter(lambda e: e[0] < e[1]), max_size=16)
GRAPHS = st.lists(st.tuples(NUMBERS, NUMBERS), max_size=16)
NODES = list(range(7, -1, -1))


@given(DAGS)
def test_order_and_layers_agree_with_every_edge(edges: list[tuple[int, int]]) -> None:
    order = topological(NODES, edges)
    assert sorted(order) == sorted(NODES)
    assert all(order.index(a) < order.index(b) for a, b in edges)
    level = {node: i for i, row in enumerate(layers(NODES, edges)) for node in row}
    assert all(level[a] < level[b] for a, b in edges)
    assert all(
        not n or any(level[a] == n - 1 for a, b in edges if b == x) for x, n in level.items()
    )


@given(GRAPHS)
def test_a_cycle_is_found_where_there_is_one(edges: list[tuple[int, int]]) -> None:
    cycle = find_cycle(NODES, edges)
    if cycle is None:
        assert len(topological(NODES, edges)) == len(NODES)
    else:
        assert all(pair in edges for pair in itertools.pairwise([*cycle, cycle[0]]))
        assert len(set(cycle)) == len(cycle)
        with pytest.raises(Cyclic):
            topological(NODES, edges)


def test_the_given_order_is_kept() -> None:
    assert topological("cab", []) == ["c", "a", "b"]
    assert topological("cab", [("b", "c")]) == ["a", "b", "c"]
    assert layers("ab", [("a", "x")]) == [["a", "b"], ["x"]]
    assert layers([], []) == []


def test_a_cycle_is_named() -> None:
    with pytest.raises(Cyclic) as caught:
        layers("abcd", [("b", "d"), ("d", "c"), ("c", "b"), ("a", "b")])
    assert str(caught.value).startswith("a cycle: b → d → c → b\n")
    assert caught.value.cycle == ["b", "d", "c"]
    assert find_cycle("a", [("a", "a")]) == ["a"]


@given(DAGS, st.lists(st.integers(0, 9), min_size=8, max_size=8))
def test_the_critical_path_is_the_longest(edges: list[tuple[int, int]], times: list[int]) -> None:
    weights = dict(zip(NODES, times, strict=True))
    path, length = critical_path(weights, edges)
    assert length == sum(weights[node] for node in path)
    assert all(pair in edges for pair in itertools.pairwise(path))
    brute: dict[int, int] = {}
    for node in sorted(NODES):
        brute[node] = weights[node] + max((brute[a] for a, b in edges if b == node), default=0)
    assert length == max(brute.values())


def test_no_nodes_no_path() -> None:
    assert critical_path({}, []) == ([], 0.0)


def test_long_chains_do_not_recurse() -> None:
    edges = [(n, n + 1) for n in range(20_000)]
    assert len(layers(range(20_001), edges)) == 20_001
    assert find_cycle(range(20_001), edges) is None
