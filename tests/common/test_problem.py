"""Problems shown like a good compiler's, sorted and once each."""

from __future__ import annotations

import functools
from pathlib import Path

from tests.common import samples

from batuta.common.problem import Problem, render, sort
from batuta.common.source import UNKNOWN, Source, source_of

TEXT = "kind: Deployment\nspec:\n\timage: shop:v2\n"


def test_the_line_and_a_caret() -> None:
    problem = Problem(
        "service `web` needs image `shop:v2`, which no pipeline builds",
        Source("k8s/web.yaml", 3, 9),
        "`batuta run build-shop` builds it,\nor use `shop:v1`",
        rule="image",
    )
    assert render([problem], lambda file: TEXT) == (
        "error[image]: service `web` needs image `shop:v2`, which no pipeline builds\n"
        "  --> k8s/web.yaml:3:9\n"
        "  |\n"
        "3 |     image: shop:v2\n"
        "  |            ^\n"
        "  hint: `batuta run build-shop` builds it,\n"
        "        or use `shop:v1`"
    )


def test_what_cannot_be_shown_is_left_out() -> None:
    assert (
        render([Problem("no", Source("a.py", 99))], lambda file: "x\n")
        == "error: no\n  --> a.py:99"
    )
    assert render([Problem("no", Source("a.py"))]) == "error: no\n  --> a.py"
    assert render([Problem("no", severity="note")]) == "note: no"
    assert render([]) == ""


def test_sorted_and_once() -> None:
    a = Problem("a", Source("a.py", 2))
    b = Problem("b", Source("a.py", 10))
    c = Problem("c", Source("b.py", 1), severity="warning")
    d = Problem("d", Source("b.py", 1))
    e = Problem("e")
    assert sort([c, b, a, d, a, e]) == [e, a, b, d, c]
    assert render([a, a]).count("error: a") == 1


def test_reads_the_file_itself(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text("one\ntwo\n", encoding="utf-8")
    assert "2 | two" in render([Problem("no", Source(str(file), 2))])


def test_where_things_are_defined(root: Path) -> None:
    lines = Path(samples.__file__).read_text(encoding="utf-8").splitlines()
    line = next(i for i, text in enumerate(lines, 1) if text.startswith("async def charge("))
    expected = Source("tests/common/samples.py", line)
    assert source_of(samples.charge, root) == expected
    assert source_of(functools.partial(samples.charge), root) == expected
    assert source_of(samples.Order, root).line == 2 + lines.index("@dataclass(kw_only=True)") - 1
    assert source_of(samples.charge, "/nowhere").file == Path(samples.__file__).as_posix()


def test_decorators_do_not_move_the_line(root: Path) -> None:
    @functools.cache
    @functools.lru_cache
    def decorated() -> None: ...

    def plain() -> None: ...

    assert source_of(plain, root).line - source_of(decorated, root).line == 2


def test_what_is_in_no_file() -> None:
    assert source_of(len) == UNKNOWN
    assert source_of(3) == UNKNOWN
    assert str(Source("a.py", 1, 2)) == "a.py:1:2"


def test_of_a_long_line_the_part_around_the_column_is_shown() -> None:
    line = "a" * 5000 + "HERE" + "b" * 5000
    text = render([Problem("wrong", Source("f.json", 1, 5001))], lambda file: line)
    shown, caret = text.splitlines()[-2:]
    assert len(shown) < 200
    assert shown.startswith("1 | …a")
    assert shown.endswith("b…")
    assert shown[caret.index("^") :].startswith("HERE")
