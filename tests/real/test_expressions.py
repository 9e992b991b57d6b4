"""Expressions that may grow: in a process of their own, ended where they take too much."""

from __future__ import annotations

import resource
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from batuta.real.expressions import APART, Apart, install
from batuta.workflow.asl.env import Env
from batuta.workflow.asl.errors import StateFailed
from batuta.workflow.asl.jsonata import GUARD, Expression, evaluated

NOW = 1_700_000_000_000_000_000


def env(**variables: Any) -> Env:
    bits = iter(range(1, 1000))
    return Env({}, dict, variables, lambda: next(bits) << 50, NOW)


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> Apart:
    """The process that a server uses, in use."""
    monkeypatch.setattr(GUARD, "evaluate", APART.evaluate)
    return APART


TAME = [
    "[1..3].($ * 2)", "$map([1,2], function($x){$x + 1})", "$join(['a','b'], '-')",
    "$merge([{'a': 1}, {'b': 2}])", "$string({'a': [1, 2.5, null]})", "[1..2].$random()",
    "[1..2].$uuid()", "$string($millis())", "$filter([1..4], function($x){$x > 9})",
    "$append([], null)", "function($x){$x}", "$map([1], function($x){$error('mine')})",
    "$replace('abcabc', /b(c)/, '$1')", "[1..2].{'n': $, 'v': $v}", "$spread({'a': 1})",
]  # fmt: skip


@pytest.mark.parametrize("text", TAME)
def test_it_comes_to_the_same_apart(text: str, apart: Apart) -> None:
    here, there = env(v="x"), env(v="x")
    bindings = {"v": "x"}
    found = apart.evaluate(text, bindings, NOW, there.draw)
    assert found[:2] == evaluated(text, bindings, NOW, here.draw)
    assert found[2] > 0
    assert here.draw() == there.draw()  # as much of chance was used


EXPLOSIVE = {
    "for ever": ("($f := function($x){$f($x)}; $f(1))", "timeout"),
    "into itself": ("(function($f){$f($f)})(function($f){$f($f)})", "timeout"),
    "ever deeper": ("($f := function($x){$f($x) + 1}; $f(1))", "Stack overflow"),
    "a long range": ("[1..10000000]", "maximum sequence length"),
    "ranges of ranges": ("[1..1000].([1..1000].([1..1000]))", "maximum sequence length"),
    "doubling": (
        "($f := function($s, $n){$n = 0 ? $s : $f($s & $s, $n - 1)}; $f('x', 60))", "",
    ),
    "one thing a billion times": (
        "($a := [1..1000]; $b := [1..1000].[[$a]]; $c := [1..1000].[[$b]]; $c)", "It took",
    ),
    "a replacement": (
        "$replace($pad('', 100000, 'a'), 'a', $pad('', 100000, 'b'))", "It took",
    ),
    "a join": ("$join([1..100000].('x'), $pad('', 1000000, 'b'))", "It took"),
    "a large answer": ("[1..17].$pad('', 1000000, 'x')", "more than 16,777,216 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPLOSIVE)
def test_what_explodes_is_stopped_and_nothing_is_left_of_it(name: str, apart: Apart) -> None:
    text, said = EXPLOSIVE[name]
    apart.evaluate("[1..2]", {}, NOW, int)  # so that its start is not measured
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    with pytest.raises(StateFailed) as caught:
        Expression("Output", text)(None, env())
    assert time.monotonic() - began < 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10
    kind = "DataLimitExceeded" if name == "a large answer" else "QueryEvaluationError"
    assert caught.value.error == f"States.{kind}"
    assert said in (caught.value.cause or "")
    assert Expression("Output", "[1..3]")(None, env()) == [1, 2, 3]  # the next one is served


def test_threads_take_turns(apart: Apart) -> None:
    wrong: list[Any] = []

    def work(number: int) -> None:
        for _ in range(50):
            found = apart.evaluate("[1..3].($ + $n)", {"n": number}, NOW, int)
            if found[:2] != ("value", [number + 1, number + 2, number + 3]):
                wrong.append(found)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_what_decides_does_not_wait_for_those_who_read(monkeypatch: pytest.MonkeyPatch) -> None:
    install()
    assert GUARD.evaluate is not None
    evaluate = GUARD.evaluate
    evaluate("[1..2]", {}, NOW, int, 10**9)
    with ThreadPoolExecutor(1) as reader:
        reader.submit(evaluate, "[1..2]", {}, NOW, int, 10**9).result()  # both have started
        reading = reader.submit(evaluate, EXPLOSIVE["for ever"][0], {}, NOW, int, 10**9)
        began = time.monotonic()
        assert evaluate("[1..2]", {}, NOW, int, 10**9)[:2] == ("value", [1, 2])
        assert time.monotonic() - began < 0.3
        assert not reading.done()
        assert reading.result()[0] == "error"
