"""`batuta simulate` of state machines: durations, shares, ends and transitions by their models."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batuta.cli.main import main

F = "arn:aws:lambda:us-east-1:000000000000:function:"
FLOW = {"StartAt": "Pay", "States": {
    "Pay": {"Type": "Task", "Resource": F + "charge", "Next": "Pause",
            "Retry": [{"ErrorEquals": ["Busy"], "IntervalSeconds": 1, "MaxAttempts": 10,
                       "BackoffRate": 1}]},
    "Pause": {"Type": "Wait", "Seconds": 86_400, "Next": "Ship"},
    "Ship": {"Type": "Task", "Resource": "arn:batuta:step:ship", "End": True},
}}  # fmt: skip
MODELS = """\
steps:
  Pay: {duration: 2s, fail: 25%, failure: Busy}
  ship: {duration: 1h, value: {parcel: 1}}
"""
APP = """\
from batuta import step


@step
def ship(order: dict) -> dict:
    return {"parcel": order["id"]}
"""

Batuta = Callable[..., tuple[int, str, str]]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "order.asl.json").write_text(json.dumps(FLOW, indent=2), "utf-8")
    (tmp_path / "models.yaml").write_text(MODELS, "utf-8")
    (tmp_path / "app.py").write_text(APP, "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def batuta(capsys: pytest.CaptureFixture[str]) -> Batuta:
    def run(*arguments: str) -> tuple[int, str, str]:
        code = main([*arguments])
        found = capsys.readouterr()
        return code, found.out, found.err

    return run


def report(batuta: Batuta, *arguments: str) -> Any:
    code, out, err = batuta("simulate", *arguments, "--models", "models.yaml", "--json")
    assert code == 0, err
    return json.loads(out)


def test_a_file_is_simulated_without_its_project(shop: Path, batuta: Batuta) -> None:
    found = report(batuta, "order.asl.json", '{"id": 7}', "-n", "2000")
    assert found["statuses"] == {"SUCCEEDED": 2000}
    states = {each["name"]: each for each in found["states"]}
    assert states["Pause"]["mean"] == 86_400 * 10**9
    assert states["Ship"]["mean"] == 3600 * 10**9
    # A quarter of the attempts fails, so that there are 4/3 of them: 3 states and 1/3 retries.
    assert found["transitions"] == pytest.approx(3 + 1 / 3, rel=0.03)
    # 4/3 attempts of 2 s each, and a second behind each third of a failure.
    assert states["Pay"]["mean"] == pytest.approx(3e9, rel=0.03)
    assert states["Pay"]["failed"] == pytest.approx(2000 / 3, rel=0.1)


def test_the_same_seed_gives_the_same_and_another_one_another(shop: Path, batuta: Batuta) -> None:
    first = report(batuta, "order.asl.json", "-n", "50", "--seed", "1")
    assert report(batuta, "order.asl.json", "-n", "50", "--seed", "1") == first
    assert report(batuta, "order.asl.json", "-n", "50", "--seed", "2") != first


def test_a_machine_of_the_project_goes_by_its_name(shop: Path, batuta: Batuta) -> None:
    by_name = report(batuta, "order", '{"id": 7}', "-n", "20")
    assert by_name == report(batuta, "order.asl.json", '{"id": 7}', "-n", "20")


def test_it_is_told_in_words(shop: Path, batuta: Batuta) -> None:
    given = ("order.asl.json", "-n", "10", "--models", "models.yaml", "--price", "0.025")
    code, out, _ = batuta("simulate", *given)
    assert code == 0
    assert "SUCCEEDED 10" in out
    assert "duration  mean 1 d 1 h" in out
    assert "96%" in out
    assert "at 0.025 a thousand" in out


def test_what_was_performed_says_how_long_and_what_came_of_it(shop: Path, batuta: Batuta) -> None:
    flow = {"StartAt": "Ship", "States": {
        "Ship": {"Type": "Task", "Resource": "arn:batuta:step:ship", "Next": "Which"},
        "Which": {"Type": "Choice", "Default": "Other", "Choices": [
            {"Variable": "$.parcel", "NumericEquals": 7, "Next": "Seven"}]},
        "Seven": {"Type": "Succeed"}, "Other": {"Type": "Fail", "Error": "Other"},
    }}  # fmt: skip
    (shop / "parcels.asl.json").write_text(json.dumps(flow), "utf-8")
    assert batuta("run", "parcels", '{"order": {"id": 7}}')[0] == 0
    code, out, err = batuta("simulate", "parcels", "-n", "20", "--history", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["statuses"] == {"SUCCEEDED": 20}
    assert {each["name"] for each in found["states"]} == {"Ship", "Which", "Seven"}


def test_items_that_no_model_names_are_an_error(shop: Path, batuta: Batuta) -> None:
    each = {"Type": "Map", "End": True, "ItemReader": {
        "Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": {"InputType": "JSON"},
        "Parameters": {"Bucket": "b", "Key": "k"}},
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            "StartAt": "P", "States": {"P": {"Type": "Pass", "End": True}},
        }}  # fmt: skip
    flow = {"StartAt": "Each", "States": {"Each": each}}
    (shop / "each.asl.json").write_text(json.dumps(flow), "utf-8")
    code, _, err = batuta("simulate", "each.asl.json", "-n", "1")
    assert code == 1
    assert "nothing says which items the Map `Each` reads" in err
    (shop / "models.yaml").write_text("steps: {Each: {value: [1, 2, 3]}}", "utf-8")
    assert report(batuta, "each.asl.json", "-n", "1")["transitions"] == 4


def test_a_file_with_mistakes_is_shown_with_its_lines(shop: Path, batuta: Batuta) -> None:
    (shop / "bad.asl.json").write_text('{"StartAt": "A", "States": {"A": {"Type": "Pass"}}}')
    code, _, err = batuta("simulate", "bad.asl.json")
    assert code == 1
    assert "bad.asl.json:1" in err
