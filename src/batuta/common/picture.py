"""Where the boxes and lines of a drawn graph go: the same picture for page, SVG and terminal.

Layers by longest path, bends where a line crosses a layer, few crossings by barycentres, and
straight lines by least squares (the scheme of Sugiyama, Tagawa and Toda, 1981).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from batuta.common.graph import following, layers

SWEEPS = 8
STRAIGHTENINGS = 6


@dataclass(frozen=True, slots=True)
class Node:
    """What shall be drawn: an id and how large its box is, in any unit."""

    id: str
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Box:
    """Where a node stands: its upper left corner and its size."""

    id: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Line:
    """Where an edge runs, from the border of one box to that of the other.

    `backward`: it runs against the direction of the picture, because it closes a cycle.
    """

    start: str
    end: str
    points: tuple[tuple[float, float], ...]
    backward: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """A graph with a place for everything; the upper left corner is (0, 0)."""

    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    width: float
    height: float


@dataclass(slots=True)
class Spot:
    """A node or a bend while it is being placed: `along` the layers and `across` within one."""

    node: Node | None
    length: float
    breadth: float
    layer: int
    along: float = 0.0
    across: float = 0.0  # of its middle


Key = str | tuple[int, int]  # a node's id, or (edge, layer) of a bend


@dataclass(slots=True)
class Draft:
    """The graph with bends, whose edges all lead from one layer to the next."""

    spots: dict[Key, Spot]
    rows: list[list[Key]]
    chains: list[list[Key]]  # for each edge its nodes and bends, in the picture's direction
    before: dict[Key, list[Key]]
    after: dict[Key, list[Key]]


def layout(
    nodes: Sequence[Node],
    edges: Iterable[tuple[str, str]],
    *,
    direction: str = "right",
    gap: float = 24,
    layer_gap: float = 48,
) -> Picture:
    """Where everything goes; the same input gives the same picture.

    Parameters
    ----------
    nodes: in the order that shall be kept where nothing speaks against it.
    edges: (start, end), ids of nodes; others are left out. An edge that closes a cycle is
        drawn backward; one from a node to itself as a loop at its side.
    direction: `right` or `down`.
    gap: least distance of two boxes of one layer. layer_gap: distance of two layers.
    """
    down = direction == "down"
    known = {node.id for node in nodes}
    wanted = [e for e in dict.fromkeys(edges) if e[0] in known and e[1] in known]
    backward = _backward([node.id for node in nodes], wanted)
    draft = _draft(nodes, wanted, backward, down)
    _order(draft)
    _place(draft, gap, layer_gap)
    return _picture(draft, nodes, wanted, backward, down, gap)


def _backward(ids: list[str], edges: list[tuple[str, str]]) -> set[tuple[str, str]]:
    """The edges that a walk in the given order finds to close a cycle; loops are none of them."""
    after = following(ids, (edge for edge in edges if edge[0] != edge[1]))
    state: dict[str, int] = {}
    found = set()
    for root in ids:
        if root in state:
            continue
        state[root] = 1
        path = [(root, iter(after[root]))]
        while path:
            at, rest = path[-1]
            end = next(rest, None)
            if end is None:
                state[at] = 2
                path.pop()
            elif state.get(end) == 1:
                found.add((at, end))
            elif end not in state:
                state[end] = 1
                path.append((end, iter(after[end])))
    return found


def _draft(
    nodes: Sequence[Node],
    edges: list[tuple[str, str]],
    backward: set[tuple[str, str]],
    down: bool,
) -> Draft:
    forward = [(b, a) if (a, b) in backward else (a, b) for a, b in edges if a != b]
    by_id = {node.id: node for node in nodes}
    rows: list[list[Key]] = []
    spots: dict[Key, Spot] = {}
    for number, ids in enumerate(layers(by_id, forward)):
        rows.append(list(ids))
        for id in ids:
            node = by_id[id]
            size = (node.height, node.width) if down else (node.width, node.height)
            spots[id] = Spot(node, *size, layer=number)
    draft = Draft(spots, rows, [], {key: [] for key in spots}, {key: [] for key in spots})
    for index, (start, end) in enumerate(forward):
        chain: list[Key] = [start]
        for layer in range(spots[start].layer + 1, spots[end].layer):
            bend = (index, layer)
            spots[bend] = Spot(None, 0, 0, layer)
            rows[layer].append(bend)
            draft.before[bend], draft.after[bend] = [], []
            chain.append(bend)
        chain.append(end)
        draft.chains.append(chain)
        for one, other in pairwise(chain):
            draft.after[one].append(other)
            draft.before[other].append(one)
    return draft


# -- fewer crossings -----------------------------------------------------------------------


def _order(draft: Draft) -> None:
    """Sorts each layer by the mean place of its neighbours, down and up, and keeps the best."""
    best = [list(row) for row in draft.rows]
    least = _crossings(draft)
    for sweep in range(SWEEPS):
        if not least:
            break
        downward = sweep % 2 == 0
        rows = draft.rows[1:] if downward else draft.rows[-2::-1]
        neighbours = draft.before if downward else draft.after
        place = {key: i for row in draft.rows for i, key in enumerate(row)}
        for row in rows:
            wish = {}
            for index, key in enumerate(row):
                near = neighbours[key]
                wish[key] = sum(place[one] for one in near) / len(near) if near else index
            row.sort(key=lambda key, wish=wish: wish[key])  # type: ignore[misc]
            place.update((key, index) for index, key in enumerate(row))
        count = _crossings(draft)
        if count < least:
            least, best = count, [list(row) for row in draft.rows]
    draft.rows[:] = best


def _crossings(draft: Draft) -> int:
    """How many pairs of lines cross, by counting inversions with a Fenwick tree."""
    total = 0
    for row, below in pairwise(draft.rows):
        place = {key: index for index, key in enumerate(below)}
        ends = [spot for key in row for spot in sorted(place[one] for one in draft.after[key])]
        tree = [0] * (len(below) + 1)
        for seen, end in enumerate(ends):
            at, not_right = end + 1, 0
            while at:
                not_right += tree[at]
                at &= at - 1
            total += seen - not_right
            at = end + 1
            while at <= len(below):
                tree[at] += 1
                at += at & -at
    return total


# -- coordinates ---------------------------------------------------------------------------


def _place(draft: Draft, gap: float, layer_gap: float) -> None:
    along = 0.0
    for row in draft.rows:
        longest = max(draft.spots[key].length for key in row)
        at = 0.0
        for key in row:
            spot = draft.spots[key]
            spot.along = along + (longest - spot.length) / 2
            spot.across = at + spot.breadth / 2
            at += spot.breadth + gap
        along += longest + layer_gap
    # First each layer follows the one before it, and the one after it; then both, which keeps
    # straight what is straight already.
    for turn in range(STRAIGHTENINGS):
        forward, last = turn % 2 == 0, turn >= STRAIGHTENINGS - 2
        for row in draft.rows if forward else draft.rows[::-1]:
            near = {
                key: (draft.before[key] if forward or last else [])
                + (draft.after[key] if not forward or last else [])
                for key in row
            }
            _straighten(draft, row, near, gap)
    low = min((s.across - s.breadth / 2 for s in draft.spots.values()), default=0.0)
    for spot in draft.spots.values():
        spot.across -= low


def _straighten(
    draft: Draft, row: list[Key], neighbours: Mapping[Key, list[Key]], gap: float
) -> None:
    """Moves a layer's spots to the mean of their neighbours as far as there is room: the
    least squares solution, by pooling adjacent violators."""
    offset = 0.0
    offsets = []
    blocks: list[tuple[float, int]] = []  # (mean, how many)
    previous: Spot | None = None
    for key in row:
        spot = draft.spots[key]
        if previous is not None:
            near = gap if spot.node or previous.node else gap / 2
            offset += (previous.breadth + spot.breadth) / 2 + near
        offsets.append(offset)
        around = neighbours[key]
        wish = sum(draft.spots[one].across for one in around) / len(around) if around else None
        mean, count = (spot.across if wish is None else wish) - offset, 1
        while blocks and blocks[-1][0] > mean:
            other, many = blocks.pop()
            mean = (mean * count + other * many) / (count + many)
            count += many
        blocks.append((mean, count))
        previous = spot
    placed = [mean for mean, count in blocks for _ in range(count)]
    for key, mean, shift in zip(row, placed, offsets, strict=True):
        draft.spots[key].across = mean + shift


# -- the result ----------------------------------------------------------------------------


def _picture(
    draft: Draft,
    nodes: Sequence[Node],
    edges: list[tuple[str, str]],
    backward: set[tuple[str, str]],
    down: bool,
    gap: float,
) -> Picture:
    boxes = []
    for node in nodes:
        spot = draft.spots[node.id]
        x, y = _point(spot.along, spot.across - spot.breadth / 2, down)
        boxes.append(Box(node.id, x, y, node.width, node.height))
    by_id: Mapping[str, Box] = {box.id: box for box in boxes}
    chains = iter(draft.chains)
    lines = []
    for edge in edges:
        if edge[0] == edge[1]:
            lines.append(Line(*edge, _loop(by_id[edge[0]], gap), backward=True))
            continue
        points = _points([draft.spots[key] for key in next(chains)], draft, down)
        against = edge in backward
        lines.append(Line(*edge, points[::-1] if against else points, against))
    right = [box.x + box.width for box in boxes] + [x for line in lines for x, _ in line.points]
    low = [box.y + box.height for box in boxes] + [y for line in lines for _, y in line.points]
    return Picture(tuple(boxes), tuple(lines), max(right, default=0.0), max(low, default=0.0))


def _point(along: float, across: float, down: bool) -> tuple[float, float]:
    along, across = round(along, 2), round(across, 2)
    return (across, along) if down else (along, across)


def _points(chain: list[Spot], draft: Draft, down: bool) -> tuple[tuple[float, float], ...]:
    """From the end of the first box over the bends, straight through their layers, to the
    beginning of the last box."""
    first, *bends, last = chain
    found = [_point(first.along + first.length, first.across, down)]
    for bend in bends:
        row = [draft.spots[key] for key in draft.rows[bend.layer]]
        start = min(spot.along for spot in row)
        end = max(spot.along + spot.length for spot in row)
        found += [_point(start, bend.across, down), _point(end, bend.across, down)]
    found.append(_point(last.along, last.across, down))
    return tuple(dict.fromkeys(found))


def _loop(box: Box, gap: float) -> tuple[tuple[float, float], ...]:
    reach = round(gap / 3, 2)
    right, low = box.x + box.width, box.y + box.height
    middle = round(box.y + box.height / 2, 2)
    corner = round(right - box.width / 4, 2)
    return (
        (right, middle),
        (right + reach, middle),
        (right + reach, low + reach),
        (corner, low + reach),
        (corner, low),
    )
