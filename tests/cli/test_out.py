"""Tables, trees, times and colours, as the text that is shown."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batuta.cli.live import Live, bar, fit
from batuta.cli.out import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    Cell,
    Column,
    Node,
    Out,
    ago,
    brief,
    clean,
    cut,
    iso,
    json_line,
    span,
    table,
    text_width,
    tree,
)
from batuta.kernel.errors import BatutaError


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


COLUMNS = (Column("status"), Column("run"), Column("workflow", shrink=True), Column("took", True))
ROWS: list[list[str | Cell]] = [
    ["completed", "order-1", "checkout", "1.2 s"],
    [Cell("failed", "red"), "order-1000", "a workflow with a long name", "12 ms"],
]


def test_table() -> None:
    assert table(COLUMNS, ROWS) == [
        "STATUS     RUN         WORKFLOW                      TOOK",
        "completed  order-1     checkout                     1.2 s",
        "failed     order-1000  a workflow with a long name  12 ms",
    ]


def test_a_narrow_terminal_cuts_what_may_be_cut_and_no_id() -> None:
    assert table(COLUMNS, ROWS, 42) == [
        "STATUS     RUN         WORKFLOW       TOOK",
        "completed  order-1     checkout      1.2 s",
        "failed     order-1000  a workflow …  12 ms",
    ]
    assert all("order-1000" in row for row in table(COLUMNS, ROWS, 10)[2:])


def test_colours_take_no_room() -> None:
    painted = table(COLUMNS, ROWS, None, lambda text, colour: f"<{text}>" if colour else text)
    assert painted[2] == "<failed>     order-1000  a workflow with a long name  12 ms"


def test_wide_signs_take_two_columns() -> None:
    assert text_width("日本") == 4
    assert text_width("é") == 1
    assert table((Column("a"), Column("b")), [["日本", "x"], ["abcd", "y"]]) == [
        "A     B",
        "日本  x",
        "abcd  y",
    ]


@given(st.text(), st.integers(1, 40))
def test_what_is_cut_fits(text: str, width: int) -> None:
    assert text_width(cut(text, width)) <= max(width, 1)
    assert cut(text, None) == text


@given(
    st.lists(st.tuples(st.text(max_size=60), st.text(max_size=60)), max_size=5), st.integers(20, 80)
)
def test_a_table_of_what_may_be_cut_fits_the_terminal(
    rows: list[tuple[str, str]], width: int
) -> None:
    lines = table((Column("a", shrink=True), Column("b", shrink=True)), rows, width)
    assert all(text_width(line) <= width for line in lines)


def test_nothing_that_is_shown_drives_the_terminal() -> None:
    assert clean("a\x1b[31mb\nc") == "a\\x1b[31mb\\nc"
    assert table((Column("a"),), [["\x1b]0;x\x07"]]) == ["A", "\\x1b]0;x\\x07"]
    assert brief({"a": "x\ny"}, None) == '{"a":"x\\ny"}'


def test_tree() -> None:
    leaf = Node("2 charge", ("in {}", "out 3"))
    root = Node("order-1", ("why",), (Node("1 validate"), Node("2", (), (leaf,)), Node("3 ship")))
    assert tree(root) == [
        "order-1",
        "│  why",
        "├─ 1 validate",
        "├─ 2",
        "│  └─ 2 charge",
        "│        in {}",
        "│        out 3",
        "└─ 3 ship",
    ]


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 µs"),
        (820_000, "820 µs"),
        (999_499, "999 µs"),
        (999_500, "1 ms"),
        (12_400_000, "12 ms"),
        (1_254_000_000, "1.25 s"),
        (42 * SECOND, "42.0 s"),
        (243 * SECOND, "4 min 3 s"),
        (2 * HOUR, "2 h"),
        (2 * DAY + 4 * HOUR + 3 * MINUTE, "2 d 4 h"),
        (-5 * SECOND, "-5.00 s"),
    ],
)
def test_durations(ns: int, text: str) -> None:
    assert span(ns) == text


@pytest.mark.parametrize(
    ("distance", "text"),
    [
        (0, "just now"),
        (90 * SECOND, "1 min ago"),
        (3 * HOUR, "3 h ago"),
        (2 * DAY, "2 d ago"),
        (-10 * SECOND, "in 10 s"),
        (-3 * DAY, "in 3 d"),
    ],
)
def test_distances(distance: int, text: str) -> None:
    assert ago(10**18, 10**18 + distance) == text


def test_times_for_programs_are_utc() -> None:
    assert iso(1_763_692_809_120_000_000) == "2025-11-21T02:40:09.120000Z"


def test_json_keeps_the_order_of_fields() -> None:
    assert json_line({"b": 1, "a": "ü"}) == '{"b":1,"a":"ü"}'


def test_errors_say_what_where_and_what_next() -> None:
    err = io.StringIO()
    Out(io.StringIO(), err, env={}).error(BatutaError("it broke", at="a.py:3", hint="mend it"))
    assert err.getvalue() == "error: it broke\n  --> a.py:3\n  hint: mend it\n"


@pytest.mark.parametrize(
    ("env", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_colours_only_where_they_are_wanted(env: dict[str, str], coloured: bool) -> None:
    out = Out(Terminal(), Terminal(), env=env)
    assert out.paint("x", "red") == ("\x1b[31mx\x1b[0m" if coloured else "x")
    plain = Out(io.StringIO(), io.StringIO(), env=env)
    assert plain.paint("x", "red") == plain.tint("x", "red") == "x"


def test_a_terminal_without_unicode_gets_signs_that_it_has() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Out(stream, stream, env={}).line("└─ ✓ a…ü")
    assert raw.getvalue() == b"`- + a...\\xfc\n"


def test_live_lines_are_drawn_over_and_taken_away() -> None:
    screen = Terminal()
    with Live(Out(io.StringIO(), screen, env={"NO_COLOR": "1"})) as live:
        live.show(["one", "two"])
        live.above("done")
        live.above("done too", ["two"])
        live.show(["three"])
    assert screen.getvalue() == (
        "one\ntwo\n\x1b[2F\x1b[Jdone\none\ntwo\n\x1b[2F\x1b[Jdone too\ntwo\n"
        "\x1b[1F\x1b[Jthree\n\x1b[1F\x1b[J"
    )


def test_without_a_terminal_nothing_is_drawn() -> None:
    screen = io.StringIO()
    with Live(Out(io.StringIO(), screen, env={})) as live:
        assert not live.due
        live.show(["one"])
        live.above("done")
    assert screen.getvalue() == "done\n"


def test_bar() -> None:
    assert bar(0, 10, 4) == "░░░░"
    assert bar(5, 10, 4) == "██░░"
    assert bar(10, 10, 4) == "████"
    assert bar(0, 0, 4) == "░░░░"
    assert len(bar(1, 3, 10)) == 10


def test_a_coloured_line_that_fits_keeps_its_colours() -> None:
    assert fit("\x1b[31mabc\x1b[0m", 3) == "\x1b[31mabc\x1b[0m"
    assert fit("\x1b[31mabcd\x1b[0m", 3) == "ab…"
