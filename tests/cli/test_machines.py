"""State machines on the command line: loaded, checked, run, shown, redriven."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Write

from batuta.cli.main import main
from batuta.cli.project import changed, load

HELLO = {"StartAt": "Hi", "States": {"Hi": {
    "Type": "Map", "End": True, "ItemProcessor": {
        "StartAt": "Add", "States": {"Add": {"Type": "Pass", "End": True}},
    },
}}}  # fmt: skip
FAILING = {"StartAt": "No", "States": {"No": {"Type": "Fail", "Error": "Bad", "Cause": "why"}}}
ARN = "arn:aws:states:us-east-1:000000000000:execution:"


def asl(value: dict[str, Any]) -> str:
    """A definition's text."""
    return json.dumps(value, indent=1)


def test_files_of_the_folder_and_below_are_loaded(write: Write) -> None:
    folder = write(
        {
            "hello.asl.json": asl(HELLO), "flows/deep/low.asl.yaml": asl(HELLO),
            ".hidden/no.asl.json": "{", "tests/no.asl.json": "{", "env/pyvenv.cfg": "",
            "env/no.asl.json": "{", "template.yaml": "not: ours",
        }
    )  # fmt: skip
    project = load(folder)
    assert project.problems == []
    assert sorted(project.workflows) == ["hello", "low"]


def test_a_broken_machine_leaves_the_others(write: Write) -> None:
    folder = write({"hello.asl.json": asl(HELLO), "bad.asl.json": asl({"StartAt": "X"})})
    project = load(folder)
    assert [*project.workflows] == ["hello"]
    assert project.broken
    assert {each.source.file for each in project.problems if each.source} == {"bad.asl.json"}


def test_two_of_one_name_are_a_problem(write: Write) -> None:
    folder = write(
        {"hello.asl.json": asl(HELLO), "b/hello.asl.yaml": asl(HELLO)},
        app="from batuta import workflow\n\n@workflow\nasync def hello() -> None: pass\n",
    )
    assert [each.rule for each in load(folder).problems] == ["twice"] * 2


def test_a_change_is_seen(write: Write) -> None:
    folder = write({"hello.asl.json": asl(HELLO)})
    project = load(folder)
    assert not changed(project)
    write({"more.asl.json": asl(HELLO)})
    assert changed(project)
    project = load(folder)
    write({"more.asl.json": asl(FAILING)})
    assert changed(project)


def test_what_a_template_names_is_not_loaded_twice(write: Write) -> None:
    template = {"Resources": {
        "Flow": {"Type": "AWS::Serverless::StateMachine", "Properties": {
            "DefinitionUri": "flows/x.asl.json", "DefinitionSubstitutions": {"N": "Hi"},
        }},
        "Out": {"Type": "AWS::Serverless::StateMachine", "Properties": {
            "DefinitionUri": "../outside.asl.json",
        }},
        "Code": {"Type": "AWS::Serverless::Function", "Properties": {
            "Runtime": "python3.11", "Handler": "app.go", "CodeUri": "src",
        }},
    }}  # fmt: skip
    files = {
        "template.json": asl(template), "src/app.py": "", "../outside.asl.json": asl(HELLO),
        "flows/x.asl.json": asl(HELLO).replace('"Hi"', '"${N}"'),
    }  # fmt: skip
    folder = write(files)
    project = load(folder)
    assert [*project.workflows] == ["Flow"]
    assert [each.message for each in project.problems] == [
        "`../outside.asl.json` is not in the template's folder"
    ]
    [code] = project.lambdas
    assert (code.name, code.folder) == ("Code", folder / "src")
    assert folder / "flows/x.asl.json" in project.files


@pytest.mark.parametrize("name", ["good.asl.json", "bad.asl.json"])
def test_check_of_one_file(write: Write, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write({"good.asl.json": asl(HELLO), "bad.asl.json": asl({"StartAt": "X"})})
    code = main(["check", str(folder / name)])
    assert code == (name == "bad.asl.json")
    assert ("--> bad.asl.json:" in capsys.readouterr().err) == bool(code)


def test_run_show_and_redrive(
    write: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write({"hello.asl.json": asl(HELLO), "failing.asl.json": asl(FAILING)})
    monkeypatch.chdir(folder)
    assert main(["run", "hello", "[1, 2]", "--id", "hello:one"]) == 0
    assert json.loads(capsys.readouterr().out) == [1, 2]
    assert main(["show", f"{ARN}hello:one", "--json"]) == 0
    [state] = json.loads(capsys.readouterr().out)["states"]
    assert (state["name"], state["status"], state["output"]) == ("Hi", "completed", [1, 2])
    assert [(each["index"], each["input"]) for each in state["states"]] == [(0, 1), (1, 2)]
    assert main(["show", f"{ARN}hello:one"]) == 0
    assert "Add [1] Pass" in capsys.readouterr().out
    assert main(["why", f"{ARN}hello:one"]) == 0
    assert main(["logs", f"{ARN}hello:one"]) == 0
    assert main(["run", "failing", "--id", "failing:one"]) == 1
    capsys.readouterr()
    assert main(["redrive", f"{ARN}failing:one"]) == 1
    assert "failing:one" in capsys.readouterr().err
    assert main(["show", "failing:one", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["retries"] == 1


def test_what_a_cancelled_execution_left_open_is_cancelled(
    write: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 900, "End": True}}}
    monkeypatch.chdir(write({"waiting.asl.json": asl(waiting)}))
    assert main(["run", "waiting", "--id", "waiting:one", "--detach"]) == 0
    assert main(["cancel", f"{ARN}waiting:one"]) == 0
    capsys.readouterr()
    assert main(["show", "waiting:one", "--json"]) == 0
    [state] = json.loads(capsys.readouterr().out)["states"]
    assert (state["name"], state["status"]) == ("W", "cancelled")


def test_the_example_is_clean() -> None:
    root = Path(__file__).resolve().parents[2]
    assert main(["check", os.fspath(root / "examples/shop")]) == 0
