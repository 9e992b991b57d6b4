"""Workflows in virtual time: the report, the models, and that a seed decides everything."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from batuta.cli.main import main

APP = """\
from batuta import event, gather, retry, signal, sleep, step, workflow


@step(retry=retry(3, initial="1s", backoff=1.0, jitter=0.0, on=(ConnectionError,)))
def charge(amount: int) -> str:
    raise AssertionError("a simulation performs nothing")


@step
def pack(amount: int) -> str:
    raise AssertionError("a simulation performs nothing")


@workflow
async def order(amount: int) -> str:
    await charge(amount)
    await gather(pack(1), pack(2))
    await sleep("1 day")
    return "done"


@workflow
async def asks() -> bool:
    return await signal("approve", bool)


@workflow
async def waits() -> str:
    return (await event("parcel.delivered", subject="p1")).data
"""
MODELS = """\
steps:
  charge: {duration: 2s, fail: 25%, failure: ConnectionError}
  pack: "uniform(10s, 20s)"
signals:
  approve: {after: 2 h, value: true}
events:
  parcel.delivered: {after: 3 days, value: here}
"""

Batuta = Callable[..., tuple[int, str, str]]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "app.py").write_text(APP)
    (folder / "models.yaml").write_text(MODELS)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def batuta(shop: Path, capsys: pytest.CaptureFixture[str]) -> Batuta:
    def typed(*argv: str) -> tuple[int, str, str]:
        code = main(argv)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return typed


def test_days_in_a_moment(batuta: Batuta) -> None:
    began = time.monotonic()
    code, out, err = batuta("simulate", "order", "5", "-n", "250", "--models", "models.yaml")
    assert code == 0
    assert time.monotonic() - began < 10
    assert re.fullmatch(r"Simulated 250 runs of order, seed 0 in .*\n", err)
    lines = out.splitlines()
    assert re.fullmatch(r"completed 2\d\d  failed \d+", lines[0])
    assert re.fullmatch(r"  \d+ × ConnectionError: charge failed \(simulated\)", lines[1])
    assert lines[3].startswith("duration  mean ")
    rows = [
        re.split(r"  +", line) for line in lines if line.startswith(("charge", "pack", "timer"))
    ]
    assert [(row[0], row[-1]) for row in rows] == [
        ("timer sleep", "████████████████████"),
        ("pack", "uniform(10s, 20s) (file)"),
        ("charge", "2s (file)"),
    ]


def test_the_seed_decides_everything(batuta: Batuta) -> None:
    typed = ("simulate", "order", "5", "-n", "130", "--models", "models.yaml")
    first = batuta(*typed)[1]
    assert batuta(*typed)[1] == first
    assert batuta(*typed, "--seed", "1")[1] != first


def test_the_report_for_programs(batuta: Batuta) -> None:
    report = json.loads(
        batuta("simulate", "order", "5", "-n", "400", "--models", "models.yaml", "--json")[1]
    )
    assert (report["workflow"], report["runs"], report["seed"]) == ("order", 400, 0)
    assert sum(report["statuses"].values()) == 400
    # Three attempts at one in four each: one run in sixty-four fails.
    assert 0 < report["statuses"]["failed"] < 20
    day = 86_400 * 10**9
    assert day + 15e9 < report["duration"]["median"] < day + 25e9
    operations = {each["name"]: each for each in report["operations"]}
    assert 1.25 < operations["charge"]["attempts"] / 400 < 1.45
    assert operations["pack"]["count"] == 2 * report["statuses"]["completed"]
    assert operations["pack"]["model"] == "uniform(10s, 20s) (file)"
    assert operations["sleep"]["kind"] == "timer"


def test_what_is_waited_for_comes(batuta: Batuta) -> None:
    for name, hours in (("asks", 2), ("waits", 72)):
        report = json.loads(
            batuta("simulate", name, "-n", "3", "--models", "models.yaml", "--json")[1]
        )
        assert report["statuses"] == {"completed": 3}
        assert report["duration"]["median"] == pytest.approx(hours * 3600e9, rel=0.001)


def test_what_never_comes(batuta: Batuta, shop: Path) -> None:
    (shop / "never.json").write_text('{"signals": {"approve": {"never": 1}}}')
    code, out, err = batuta("simulate", "asks", "-n", "2", "--models", "never.json")
    assert (code, out) == (0, "sleeping 2\n")
    assert err.startswith("No run ended: something that they wait for never comes\n")


def test_the_history_is_a_model(batuta: Batuta) -> None:
    batuta("run", "asks", "--id", "a1", "--detach")
    batuta("signal", "a1", "approve", "true")
    assert batuta("run", "asks", "--id", "a1")[1] == "true\n"
    assert batuta("run", "order", "5", "--id", "o1")[0] == 1
    report = json.loads(batuta("simulate", "asks", "-n", "2", "--history", "--json")[1])
    assert report["statuses"] == {"completed": 2}
    assert report["operations"][0]["model"].endswith("(history: 1 times)")
    report = json.loads(batuta("simulate", "order", "5", "-n", "2", "--history", "--json")[1])
    assert report["errors"] == {"AssertionError: charge failed (simulated)": 2}
    assert report["operations"][0]["model"].endswith("(history: 1 attempt)")


@pytest.mark.parametrize(
    ("typed", "code", "message"),
    [
        (["orde"], 1, "error: there is no workflow `orde`\n  hint: did you mean `order`?\n"),
        (["order"], 1, "error: the input does not fit workflow `order`: "),
        (["order", "x"], 1, "error: the input does not fit workflow `order`: "),
        (["order", "5", "-n", "0"], 2, "error: -n has to be 1 or more\n"),
        (["order", "5", "--models", "none.yaml"], 1, "error: `none.yaml` cannot be read: "),
        (["order", "5", "--models", "bad.yaml"], 1, "error: `bad.yaml` is not YAML\n"),
        (["order", "5", "--models", "bad.json"], 1, "error: `bad.json` is not JSON: "),
        (["order", "5", "--models", "odd.yaml"], 1, "error: odd.yaml: steps.charge: "),
        (["order", "5", "--history"], 1, "error: there is no journal in `.batuta`\n"),
    ],
)
def test_what_cannot_be_simulated(
    typed: list[str], code: int, message: str, batuta: Batuta, shop: Path
) -> None:
    (shop / "bad.yaml").write_text("a: [")
    (shop / "bad.json").write_text("{")
    (shop / "odd.yaml").write_text("steps: {charge: soon}")
    got, out, err = batuta("simulate", *typed)
    assert (got, out) == (code, "")
    assert err.startswith(message)
