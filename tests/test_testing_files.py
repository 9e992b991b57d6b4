"""`batuta.testing`: machines and mocks in files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.test_testing import LAMBDA, RETRY, flow, task

from batuta.kernel.errors import BatutaError
from batuta.testing import Machine, Unmocked, machine

pytest_plugins = ["pytester"]


def test_lines_are_found_in_any_layout(tmp_path: Path) -> None:
    (tmp_path / "a.asl.yaml").write_text(
        "StartAt: A\nStates:\n  A: {Type: Pass, Next: B}\n  B:\n    Type: Task\n"
        f"    Resource: {LAMBDA}f\n    End: true\n"
    )
    with pytest.raises(Unmocked) as caught:
        machine(tmp_path / "a.asl.yaml").run()
    assert str(caught.value.at).endswith("a.asl.yaml:4")
    (tmp_path / "b.asl.json").write_text(json.dumps(flow(A=task())))
    with pytest.raises(Unmocked) as caught:
        machine(tmp_path / "b.asl.json").run()
    assert str(caught.value.at).endswith("b.asl.json:1")


TEMPLATE = """\
Resources:
  Checkout:
    Type: AWS::Serverless::StateMachine
    Properties:
      Name: checkout
      DefinitionUri: order.asl.json
      DefinitionSubstitutions: {Function: 'arn:aws:lambda:us-east-1:000000000000:function:pay'}
  Other:
    Type: AWS::StepFunctions::StateMachine
    Properties:
      StateMachineName: other
      StateMachineType: EXPRESS
      RoleArn: arn:aws:iam::000000000000:role/r
      DefinitionString: '{"StartAt": "S", "States": {"S": {"Type": "Succeed"}}}'
"""


def test_a_machine_of_a_template_is_tested(tmp_path: Path) -> None:
    file = tmp_path / "template.yaml"
    file.write_text(TEMPLATE)
    (tmp_path / "order.asl.json").write_text(json.dumps(flow(A=task(resource="${Function}"))))
    assert machine(file, name="checkout").task("lambda:pay", 7).run().output == 7
    assert machine(file, name="other").run({"x": 1}).output == {"x": 1}
    with pytest.raises(BatutaError, match="which of its machines") as caught:
        machine(file)
    assert "`checkout`, `other`" in (caught.value.hint or "")


def test_a_file_that_is_not_there_says_where_it_was_looked_for() -> None:
    with pytest.raises(BatutaError, match="cannot be read: No such file") as caught:
        machine("flows/nowhere.asl.json")
    assert "working directory" in (caught.value.hint or "")
    with pytest.raises(BatutaError, match="`express` is no type"):
        machine(flow(A={"Type": "Succeed"}), type="express")


# -- mock configuration files --------------------------------------------------------------------

MOCKS: dict[str, Any] = {
    "StateMachines": {"order": {"TestCases": {
        "Busy": {"A": "BusyTwice"}, "Gone": {"A": "Missing"}, "Typo": {"a": "BusyTwice"},
    }}},
    "MockedResponses": {"BusyTwice": {
        "0-1": {"Throw": {"Error": "Busy", "Cause": "try again"}}, "2": {"Return": {"ok": True}},
    }},
}  # fmt: skip


@pytest.fixture
def mocks(tmp_path: Path) -> Path:
    file = tmp_path / "MockConfigFile.json"
    file.write_text(json.dumps(MOCKS), "utf-8")
    return file


def ordering(**more: Any) -> Machine:
    return machine(flow(A=task(Retry=RETRY, **more)), name="order")


def test_a_mock_configuration_file_of_step_functions_local_is_read(mocks: Path) -> None:
    run = ordering().mocks(mocks, "Busy").run()
    assert (run.output, run.retries("A")) == ({"ok": True}, 2)


def test_responses_are_numbered_by_call_and_one_too_many_fails(mocks: Path) -> None:
    rule = {"Variable": "$.ok", "BooleanEquals": False, "Next": "End"}
    again = {"Type": "Choice", "Choices": [rule], "Default": "A"}
    flows = flow(A=task("B", Retry=RETRY), B=again, End={"Type": "Succeed"})
    tested = machine(flows, name="order")
    with pytest.raises(Unmocked, match="call 4 of the task `A` has no answer") as caught:
        tested.mocks(mocks, "Busy").run()
    assert "answers 3" in (caught.value.hint or "")


def test_visits_of_a_state_take_the_responses_in_turn(tmp_path: Path) -> None:
    file = tmp_path / "MockConfigFile.json"
    polled = {"0": {"Return": {"status": "running"}}, "1": {"Return": {"status": "completed"}}}
    cases = {"TestCases": {"Slow": {"Poll": "Polled"}}}
    content = {"StateMachines": {"poll": cases}, "MockedResponses": {"Polled": polled}}
    file.write_text(json.dumps(content), "utf-8")
    rule = {"Variable": "$.status", "StringEquals": "completed", "Next": "Done"}
    check = {"Type": "Choice", "Choices": [rule], "Default": "Poll"}
    polling = flow("Poll", Poll=task("Check"), Check=check, Done={"Type": "Succeed"})
    run = machine(polling, name="poll").mocks(file, "Slow").run()
    assert run.path == ["Poll", "Check", "Poll", "Check", "Done"]


@pytest.mark.parametrize(
    ("case", "name", "message", "hint"),
    [
        ("Bsuy", "order", "no test case `Bsuy`", "did you mean `Busy`?"),
        ("Calm", "order", "no test case `Calm`", "it has `Busy`, `Gone`, `Typo`"),
        ("Gone", "order", "no mocked response `Missing`", "it has `BusyTwice`"),
        ("Typo", "order", "has no state `a`", "it has `A`"),
        ("Busy", "oder", "no state machine `oder`", "did you mean `order`?"),
    ],
)
def test_what_a_mock_configuration_file_lacks_is_named(
    mocks: Path, case: str, name: str, message: str, hint: str
) -> None:
    with pytest.raises(BatutaError, match=message) as caught:
        machine(flow(A=task()), name=name).mocks(mocks, case)
    assert caught.value.hint == hint
    assert caught.value.at == str(mocks)


@pytest.mark.parametrize(
    ("response", "message"),
    [
        ({"first": {"Return": 1}}, "`first` of the mocked response `BusyTwice` numbers no calls"),
        ({"2-1": {"Return": 1}}, "`2-1` of the mocked response"),
        ({"0": {"Return": 1}, "2": {"Return": 1}}, "does not say what call 1 gets"),
        ({}, "does not say what call 0 gets"),
        ({"0": {"Return": 1, "Throw": {}}}, "needs either `Return` or `Throw`"),
        ({"0": 7}, "MockedResponses.BusyTwice.0` is no object"),
    ],
)
def test_mistakes_in_a_mock_configuration_file_are_told(
    mocks: Path, response: Any, message: str
) -> None:
    mocks.write_text(json.dumps({**MOCKS, "MockedResponses": {"BusyTwice": response}}))
    with pytest.raises(BatutaError, match=message):
        ordering().mocks(mocks, "Busy")


def test_a_mock_configuration_file_that_is_no_json_is_shown_its_place(mocks: Path) -> None:
    mocks.write_text('{\n "StateMachines": }')
    with pytest.raises(BatutaError, match="is no JSON") as caught:
        ordering().mocks(mocks, "Busy")
    assert caught.value.at == f"{mocks}:2:19"


PAGE = (Path(__file__).resolve().parent.parent / "docs" / "testing.md").read_text("utf-8")
BLOCKS = dict(re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))


def test_the_example_of_the_documentation_runs(pytester: pytest.Pytester) -> None:
    pytester.mkdir("flows").joinpath("checkout.asl.json").write_text(BLOCKS["json"], "utf-8")
    pytester.makepyfile(BLOCKS["python"])
    pytester.runpytest("-p", "no:cacheprovider").assert_outcomes(passed=4)


def test_the_error_in_the_documentation_is_what_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "checkout.asl.json").write_text(BLOCKS["json"], "utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Unmocked) as caught:
        machine("flows/checkout.asl.json").run()
    assert str(caught.value).replace("\n", "\n    ") in PAGE
