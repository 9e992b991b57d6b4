"""Pictures: nothing overlaps, lines meet their boxes, few crossings, the same each time."""

from __future__ import annotations

import itertools
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from batuta.common.picture import Box, Node, Picture, layout

IDS = [str(n) for n in range(9)]
NODES = st.lists(
    st.builds(Node, st.sampled_from(IDS), st.integers(1, 90), st.integers(1, 50)),
    unique_by=lambda node: node.id,
)
EDGES = st.lists(st.tuples(st.sampled_from(IDS), st.sampled_from(IDS)), max_size=18)


def overlap(a: Box, b: Box) -> bool:
    slack = 0.05
    return (
        a.x + a.width > b.x + slack
        and b.x + b.width > a.x + slack
        and a.y + a.height > b.y + slack
        and b.y + b.height > a.y + slack
    )


def on_border(point: tuple[float, float], box: Box) -> bool:
    x, y = point
    inside = box.x - 0.02 <= x <= box.x + box.width + 0.02
    inside = inside and box.y - 0.02 <= y <= box.y + box.height + 0.02
    edges = (x - box.x, x - box.x - box.width, y - box.y, y - box.y - box.height)
    return inside and min(map(abs, edges)) < 0.02


def crossings(picture: Picture) -> int:
    """Of straight lines between two layers only."""
    pairs = itertools.combinations([line.points for line in picture.lines], 2)
    return sum((a[0][1] - b[0][1]) * (a[-1][1] - b[-1][1]) < 0 for a, b in pairs)


@settings(max_examples=150)
@given(NODES, EDGES, st.sampled_from(["right", "down"]))
def test_sound(nodes: list[Node], edges: list[tuple[str, str]], direction: str) -> None:
    picture = layout(nodes, edges, direction=direction)
    boxes = {box.id: box for box in picture.boxes}
    assert [(b.id, b.width, b.height) for b in picture.boxes] == [
        (n.id, n.width, n.height) for n in nodes
    ]
    assert not any(overlap(a, b) for a, b in itertools.combinations(picture.boxes, 2))
    drawn = {e for e in edges if e[0] in boxes and e[1] in boxes}
    assert {(line.start, line.end) for line in picture.lines} == drawn
    for line in picture.lines:
        assert on_border(line.points[0], boxes[line.start])
        assert on_border(line.points[-1], boxes[line.end])
        if line.start != line.end:
            along = [point[direction == "down"] for point in line.points]
            assert along == sorted(along, reverse=line.backward)
        assert all(0 <= x <= picture.width and 0 <= y <= picture.height for x, y in line.points)
    assert all(box.x >= 0 and box.y >= 0 for box in picture.boxes)
    assert picture == layout(nodes, edges, direction=direction)


def test_a_chain_is_a_straight_line() -> None:
    nodes = [Node(name, 20, height) for name, height in zip("abcd", (10, 30, 10, 20), strict=True)]
    picture = layout(nodes, [("a", "b"), ("b", "c"), ("c", "d")])
    assert {box.y + box.height / 2 for box in picture.boxes} == {15.0}
    assert [box.x for box in picture.boxes] == [0, 68, 136, 204]
    assert (picture.width, picture.height) == (224, 30)


def test_crossings_are_undone() -> None:
    nodes = [Node(name, 20, 10) for name in "abcxyz"]
    picture = layout(nodes, [("a", "z"), ("b", "y"), ("c", "x")])
    assert crossings(picture) == 0


def test_a_long_line_goes_round_the_boxes_between() -> None:
    nodes = [Node(name, 20, 10) for name in "abc"]
    picture = layout(nodes, [("a", "b"), ("b", "c"), ("a", "c")])
    box = picture.boxes[1]
    line = next(line for line in picture.lines if line.start == "a" and line.end == "c")
    beside = [point for point in line.points if box.x <= point[0] <= box.x + box.width]
    assert len(beside) == 2
    assert all(not box.y <= y <= box.y + box.height for _, y in beside)


def test_a_cycle_is_drawn_backward() -> None:
    nodes = [Node(name, 20, 10) for name in "ab"]
    picture = layout(nodes, [("a", "b"), ("b", "a"), ("b", "b")])
    assert [line.backward for line in picture.lines] == [False, True, True]


def test_nothing_is_nothing() -> None:
    assert layout([], []) == Picture((), (), 0.0, 0.0)


def test_two_hundred_nodes_take_no_time() -> None:
    nodes = [Node(str(n), 80, 30) for n in range(200)]
    edges = [(str(n // 2), str(n)) for n in range(1, 200)]
    edges += [(str(n), str((n * 7 + 13) % 200)) for n in range(0, 200, 3)]
    start = time.process_time()
    layout(nodes, edges)
    assert time.process_time() - start < 0.3  # 0.03 s on a quiet machine; a budget of 0.1 s
