"""Pieces for directed graphs without cycles: order, layers, naming a cycle, the critical path."""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

from batuta.kernel.errors import BatutaError

N = TypeVar("N", bound=Hashable)


class Cyclic(BatutaError, ValueError):
    """A graph that must not have a cycle has one; `cycle` names its nodes in order."""

    def __init__(self, cycle: Sequence[object]) -> None:
        self.cycle = list(cycle)
        names = " → ".join(map(str, [*self.cycle, self.cycle[0]]))
        super().__init__(f"a cycle: {names}", hint="take one of these dependencies out")


def following(nodes: Iterable[N], edges: Iterable[tuple[N, N]]) -> dict[N, list[N]]:
    """Each node with those that come directly after it, once each, in the given order.

    Parameters
    ----------
    nodes: all of them; those that only an edge names are added behind.
    edges: (before, after).
    """
    after: dict[N, dict[N, None]] = {node: {} for node in nodes}
    for start, end in edges:
        after.setdefault(start, {})[end] = None
        after.setdefault(end, {})
    return {node: list(ends) for node, ends in after.items()}


def topological(nodes: Iterable[N], edges: Iterable[tuple[N, N]]) -> list[N]:
    """The nodes in an order that every edge agrees with; among several the one closest to
    the given order. Raises `Cyclic`."""
    after = following(nodes, edges)
    place = {node: index for index, node in enumerate(after)}
    by_place = list(after)
    missing = dict.fromkeys(after, 0)
    for ends in after.values():
        for end in ends:
            missing[end] += 1
    ready = [place[node] for node, count in missing.items() if not count]
    heapq.heapify(ready)
    found = []
    while ready:
        node = by_place[heapq.heappop(ready)]
        found.append(node)
        for end in after[node]:
            missing[end] -= 1
            if not missing[end]:
                heapq.heappush(ready, place[end])
    if len(found) < len(after):
        raise Cyclic(find_cycle(after, ((a, b) for a, ends in after.items() for b in ends)) or [])
    return found


def layers(nodes: Iterable[N], edges: Iterable[tuple[N, N]]) -> list[list[N]]:
    """The nodes by the length of the longest path that leads to them. Raises `Cyclic`."""
    nodes, edges = list(nodes), list(edges)
    after = following(nodes, edges)
    level = dict.fromkeys(after, 0)
    for node in topological(nodes, edges):
        for end in after[node]:
            level[end] = max(level[end], level[node] + 1)
    found: list[list[N]] = [[] for _ in range(max(level.values(), default=-1) + 1)]
    for node in after:
        found[level[node]].append(node)
    return found


def find_cycle(nodes: Iterable[N], edges: Iterable[tuple[N, N]]) -> list[N] | None:
    """The nodes of one cycle in order, beginning with the first given one; None: there is none."""
    after = following(nodes, edges)
    state: dict[N, int] = {}  # 1: on the present path, 2: done
    for root in after:
        if root in state:
            continue
        path = [root]
        rest = [iter(after[root])]
        state[root] = 1
        while path:
            end = next(rest[-1], None)
            if end is None:
                state[path.pop()] = 2
                rest.pop()
            elif state.get(end) == 1:
                return _rotated(path[path.index(end) :], list(after))
            elif end not in state:
                state[end] = 1
                path.append(end)
                rest.append(iter(after[end]))
    return None


def _rotated(cycle: list[N], order: list[N]) -> list[N]:
    members = set(cycle)
    at = cycle.index(next(node for node in order if node in members))
    return cycle[at:] + cycle[:at]


def critical_path(
    weights: Mapping[N, float], edges: Iterable[tuple[N, N]]
) -> tuple[list[N], float]:
    """The path that takes the longest, and how long.

    Parameters
    ----------
    weights: how long each node takes; no node is negative.
    edges: (before, after). Raises `Cyclic`.
    """
    edges = list(edges)
    after = following(weights, edges)
    total: dict[N, float] = {}
    came: dict[N, N | None] = dict.fromkeys(after)
    best = dict.fromkeys(after, 0.0)
    for node in topological(after, edges):
        total[node] = best[node] + weights.get(node, 0)
        for end in after[node]:
            if came[end] is None or total[node] > best[end]:
                best[end], came[end] = total[node], node
    if not total:
        return [], 0.0
    at: N | None = max(total, key=lambda node: total[node])
    length = total[at] if at is not None else 0.0
    path = []
    while at is not None:
        path.append(at)
        at = came[at]
    return path[::-1], length
