"""What can be typed, what is answered, and how fast."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time

import pytest

from batuta.cli.arguments import GROUPS, VERBS_LIST
from batuta.cli.main import NEIGHBOURS, VERBS, main, parse, parser
from batuta.cli.usage import UsageError


def answer(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = main(argv)
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_help_lists_every_verb_under_a_heading(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = answer(capsys, "--help")
    assert (code, err) == (0, "")
    assert out.startswith("usage: batuta VERB …\n")
    for verb in VERBS_LIST:
        assert f"  {verb.name:<11}{verb.summary}\n" in out
    assert all(f"\n{title}:\n" in out for title in GROUPS.values())


def test_without_arguments_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(capsys)[0] == 0


def test_every_verb_has_a_line_and_a_function() -> None:
    assert sorted(VERBS) == sorted(verb.name for verb in VERBS_LIST)
    for place in VERBS.values():
        module, _, function = place.partition(":")
        assert callable(getattr(importlib.import_module(module), function)), place


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_explains_itself_and_takes_json(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = answer(capsys, verb, "--help")
    assert code == 0
    assert f"usage: batuta {verb}" in out
    assert "--json" in out


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("sohw", "did you mean `batuta show`?"),
        ("star", "did you mean `batuta run`?"),
        ("kill", "did you mean `batuta terminate`?"),
        ("qqqq", "`batuta --help` lists the verbs"),
    ],
)
def test_an_unknown_verb_is_answered_with_the_nearest(
    typed: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = answer(capsys, typed)
    assert (code, out) == (2, "")
    assert err == f"error: there is no verb `{typed}`\n  hint: {hint}\n"


def test_neighbours_lead_to_verbs() -> None:
    assert {verb for verb in NEIGHBOURS.values() if verb != "--help"} <= set(VERBS)


def test_a_missing_argument_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = answer(capsys, "show")
    assert (code, out) == (2, "")
    assert err == (
        "error: the following arguments are required: ID\n"
        "  hint: `batuta show --help` shows what it takes\n"
    )


def test_an_option_alone_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = answer(capsys, "--verbose")
    assert code == 2
    assert err.startswith("error: unrecognized arguments: --verbose\n")


def test_options_are_not_abbreviated() -> None:
    with pytest.raises(UsageError):
        parse(["ps", "--stat", "failed"])


def test_what_is_typed_is_understood() -> None:
    args = parse(["ps", "order-", "--status", "failed", "--status", "parked", "--attr", "a=1"])
    assert (args.text, args.status, args.attr, args.limit) == (
        "order-", ["failed", "parked"], ["a=1"], 50,
    )  # fmt: skip
    assert parse(["run", "greet", "-3", "--id", "x"]).args == ["-3"]
    assert parse(["fork", "order-1", "3", "--id", "order-1b"]).new_id == "order-1b"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = answer(capsys, "--version")
    assert (code, out.split()[0]) == (0, "batuta")
    assert answer(capsys, "version")[1] == out


def test_the_parser_imports_nothing_heavy() -> None:
    parser()
    text = (
        "import sys; from batuta.cli.main import parser; parser(); "
        "print([m for m in ('asyncio', 'sqlite3', 'starlette', 'httpx', 'http.client', 'uvicorn')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"


def test_help_costs_less_than_a_tenth_of_a_second() -> None:
    def best(*argv: str) -> float:
        times = []
        for _ in range(7):
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, *argv], stdout=subprocess.DEVNULL, check=True, timeout=60
            )
            times.append(time.perf_counter() - start)
        return min(times)

    assert best("-m", "batuta", "--help") - best("-c", "pass") < 0.1


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m batuta --help | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env=os.environ, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["usage: batuta VERB …", "0"]
    assert done.stderr == ""
