"""`batuta simulate` of state machines: durations, shares, ends and transitions by their models."""

from __future__ import annotations

import json
import re
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


CHOICE = {"StartAt": "Ask", "States": {
    "Ask": {"Type": "Task", "Resource": F + "ask", "Next": "Which",
            "Catch": [{"ErrorEquals": ["Lost"], "Next": "Gone"}]},
    "Which": {"Type": "Choice", "Default": "No", "Choices": [
        {"Variable": "$.yes", "BooleanEquals": True, "Next": "Yes"}]},
    "Yes": {"Type": "Wait", "Seconds": 60, "Next": "Done"}, "Done": {"Type": "Succeed"},
    "No": {"Type": "Fail", "Error": "Refused", "Cause": "no"},
    "Gone": {"Type": "Fail", "Error": "Lost"},
}}  # fmt: skip


def test_results_decide_which_way_it_goes(shop: Path, batuta: Batuta) -> None:
    (shop / "choice.asl.json").write_text(json.dumps(CHOICE), "utf-8")
    (shop / "models.yaml").write_text(
        "steps: {ask: {duration: 1s, fail: 20%, failure: Lost, "
        "values: [{'yes': true}, {'yes': true}, {'yes': true}, {'yes': false}]}}"
    )
    found = report(batuta, "choice.asl.json", "-n", "2000")
    shares = {status: count / 2000 for status, count in found["statuses"].items()}
    assert shares == pytest.approx({"SUCCEEDED": 0.6, "FAILED": 0.4}, abs=0.03)
    errors = {name: count / 2000 for name, count in found["errors"].items()}
    assert errors == pytest.approx({"Refused: no": 0.2, "Lost": 0.2}, abs=0.03)
    yes = next(each for each in found["states"] if each["name"] == "Yes")
    assert yes["visits"] == found["statuses"]["SUCCEEDED"]
    assert yes["share"] == pytest.approx(36 / 37, abs=0.01)
    code, out, _ = batuta("simulate", "choice.asl.json", "--models", "models.yaml")
    assert code == 0
    assert re.match(r"SUCCEEDED \d+ \(\d+\.\d%\)  FAILED \d+ \(\d+\.\d%\)\n", out)
    assert re.search(r"  \d+ \(\d+\.\d%\) Refused: no\n", out)
    assert re.search(r"duration  mean .* median .* p90 .* p99 .* max 1 min 1 s\n", out)
    assert re.search(r"Ask +Task .* 1s, fails 20\.0% \(file\)\n", out)


def test_a_task_without_a_model_is_named_with_the_model_that_was_meant(
    shop: Path, batuta: Batuta
) -> None:
    (shop / "models.yaml").write_text("steps: {Pya: 2s, ship: 1h}")
    code, out, err = batuta("simulate", "order.asl.json", "-n", "5", "--models", "models.yaml")
    assert code == 0
    assert "warning: no model for `Pay`: taken to last a second and to give {}" in err
    assert "hint: there is a model of `Pya`: is it meant for `Pay`?" in err
    assert "1s (default)" in out
    assert report(batuta, "order.asl.json", "-n", "5")["assumed"] == ["Pay"]


def test_history_tells_durations_failures_and_ways_of_each_state(
    shop: Path, batuta: Batuta
) -> None:
    (shop / "app.py").write_text(ASKING, "utf-8")
    flow = json.loads(json.dumps(CHOICE).replace(F + "ask", "arn:batuta:step:ask"))
    flow["States"]["Ask"]["Parameters"] = {"number.$": "$"}
    flow["States"]["Yes"] = {"Type": "Pass", "Next": "Done"}
    (shop / "choice.asl.json").write_text(json.dumps(flow), "utf-8")
    for number in range(8):
        batuta("run", "choice", str(number), "--id", f"choice:{number}")
    code, out, err = batuta("simulate", "choice", "1", "-n", "2000", "--history", "--json")
    assert code == 0, err
    found = json.loads(out)
    ask = next(each for each in found["states"] if each["name"] == "Ask")
    assert ask["model"].endswith("fails 25.0% (history: 8 attempts)")
    errors = {name: count / 2000 for name, count in found["errors"].items()}
    assert errors == pytest.approx({"Lost": 0.25, "Refused: no": 0.25}, abs=0.03)


ASKING = """\
from batuta import step


class Lost(Exception):
    pass


@step
def ask(number: int) -> dict:
    if number < 2:
        raise Lost
    return {"yes": number > 3}
"""


def test_express_is_paid_by_its_duration(shop: Path, batuta: Batuta) -> None:
    quick = {"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": F + "f", "End": True}}}
    (shop / "template.yaml").write_text(
        "Resources:\n  M:\n    Type: AWS::StepFunctions::StateMachine\n    Properties:\n"
        "      StateMachineName: quick\n      StateMachineType: EXPRESS\n"
        "      RoleArn: arn:aws:iam::000000000000:role/r\n"
        f"      DefinitionString: '{json.dumps(quick)}'\n"
    )
    (shop / "models.yaml").write_text("steps: {A: 1.01s}")
    found = report(batuta, "quick", "-n", "3")
    assert (found["type"], found["billed"], found["cost_of_1000"]) == (
        "EXPRESS",
        1_100_000_000,
        None,
    )
    code, out, _ = batuta("simulate", "quick", "-n", "3", "--models", "models.yaml")
    assert code == 0
    # 1.1 s at 64 MB, a million times: 1.1e6 / 16 GB-seconds.
    assert "billed       1.10 s each, 19.10 GB-hours at 64 MB for a million executions" in out


def test_states_of_child_executions_have_their_share(shop: Path, batuta: Batuta) -> None:
    inner = {"StartAt": "I", "States": {"I": {"Type": "Task", "Resource": F + "f", "End": True}},
             "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}}  # fmt: skip
    each = {"Type": "Map", "End": True, "MaxConcurrency": 1, "ItemProcessor": inner}
    flow = {"StartAt": "Each", "States": {"Each": each}}
    (shop / "each.asl.json").write_text(json.dumps(flow), "utf-8")
    (shop / "models.yaml").write_text("steps: {f: 2s}")
    found = report(batuta, "each.asl.json", "[1, 2, 3]", "-n", "2")
    states = {each["name"]: (each["visits"], each["mean"]) for each in found["states"]}
    assert states == {"Each": (2, 6 * 10**9), "I": (6, 6 * 10**9)}
    assert found["transitions"] == 4


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("value: {yes: 1}", "has a member `True`, whose name is no text"),
        ("values: [[{at: 2026-01-01}]]", "has the value 2026-01-01, which is no JSON"),
    ],
)
def test_results_that_a_machine_cannot_have_are_refused(
    shop: Path, batuta: Batuta, model: str, said: str
) -> None:
    (shop / "models.yaml").write_text(f"steps: {{Pay: {{{model}}}}}")
    code, _, err = batuta("simulate", "order.asl.json", "--models", "models.yaml")
    assert code == 1
    assert f"a result of `Pay` {said}" in err
    assert "hint: put it into quotes" in err


def test_child_executions_tell_how_their_states_went(
    shop: Path, batuta: Batuta, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = {"Type": "Task", "Resource": "arn:batuta:step:ship"}
    inner = {"StartAt": "I", "States": {"I": {**task, "Parameters": {"order.$": "$"}, "End": True}},
             "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}}  # fmt: skip
    each = {"Type": "Map", "ItemProcessor": inner, "Next": "Last"}
    last = {**task, "Parameters": {"order.$": "$[0]"}, "End": True}
    (shop / "app.py").write_text(APP.replace('"parcel"', '"id"'))
    flow = {"StartAt": "Each", "States": {"Each": each, "Last": last}}
    (shop / "each.asl.json").write_text(json.dumps(flow), "utf-8")
    code, out, err = batuta("run", "each", json.dumps([{"id": 1}, {"id": 2}]))
    assert (code, json.loads(out)) == (0, {"id": 1}), err
    code, out, err = batuta("simulate", "each", '[{"id": 7}]', "-n", "2", "--history", "--json")
    assert code == 0, err
    models = {state["name"]: state["model"] for state in json.loads(out)["states"]}
    assert models["I"].endswith("(history: 2 attempts)")
    assert models["Last"].endswith("(history: 1 attempt)")
    monkeypatch.setattr("batuta.cli.models.EXECUTIONS_MAX", 1)
    code, out, err = batuta("simulate", "each", '[{"id": 7}]', "-n", "2", "--history", "--json")
    models = {state["name"]: state["model"] for state in json.loads(out)["states"]}
    # The children are newer: they do not take the places of the executions themselves.
    assert models["I"].endswith("(history: 1 attempt)")
    assert models["Last"].endswith("(history: 1 attempt)")
    assert json.loads(out)["assumed"] == []


def test_items_and_results_of_a_map_are_told_apart_in_the_history(
    shop: Path, batuta: Batuta
) -> None:
    reader = {"Resource": "arn:aws:states:::s3:getObject", "Parameters": {"Path": "items.json"},
              "ReaderConfig": {"InputType": "JSON"}}  # fmt: skip
    writer = {"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Path": "written"}}
    inner = {"StartAt": "I", "States": {"I": {"Type": "Pass", "End": True}},
             "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}}  # fmt: skip
    each = {"Type": "Map", "ItemProcessor": inner, "ItemReader": reader, "ResultWriter": writer,
            "End": True}  # fmt: skip
    flow = {"StartAt": "Each", "States": {"Each": each}}
    (shop / "each.asl.json").write_text(json.dumps(flow), "utf-8")
    (shop / "items.json").write_text("[1, 2, 3]", "utf-8")
    code, _, err = batuta("run", "each", "{}")
    assert code == 0, err
    code, out, err = batuta("simulate", "each", "-n", "2", "--history", "--json")
    assert code == 0, err
    assert json.loads(out)["transitions"] == 4


def test_a_loop_without_an_end_is_an_error(shop: Path, batuta: Batuta) -> None:
    rule = {"Variable": "$.done", "IsPresent": True, "Next": "Done"}
    flow = {"StartAt": "Poll", "States": {
        "Poll": {"Type": "Task", "Resource": F + "poll", "Next": "Check"},
        "Check": {"Type": "Choice", "Choices": [rule], "Default": "Poll"},
        "Done": {"Type": "Succeed"},
    }}  # fmt: skip
    (shop / "poll.asl.json").write_text(json.dumps(flow), "utf-8")
    code, _, err = batuta("simulate", "poll.asl.json", "-n", "1")
    assert code == 1
    assert "`poll` has passed 100,000 states and is in `Poll`: it loops" in err
    (shop / "models.yaml").write_text("steps: {Poll: {values: [{}, {done: 1}]}}")
    found = report(batuta, "poll.asl.json", "-n", "500")
    # Two polls on average, each with its check, and the end.
    assert found["transitions"] == pytest.approx(5, rel=0.1)


def test_a_machine_takes_one_input(shop: Path, batuta: Batuta) -> None:
    for given in (("1", "2"), ("1", "x=2")):
        code, _, err = batuta("simulate", "order.asl.json", *given)
        assert code == 2
        assert "a state machine has one input" in err
    (shop / "input.json").write_text('{"id": 7}')
    assert batuta("simulate", "order.asl.json", "@input.json", "-n", "1")[0] == 0
