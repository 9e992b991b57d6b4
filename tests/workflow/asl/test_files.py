"""State machines in files of their own and in templates: names, values, problems with places."""

from __future__ import annotations

import json
from typing import Any

import pytest

from batuta.workflow.asl.cloudformation import Template, read_template
from batuta.workflow.asl.files import machine_in, name_of
from batuta.workflow.asl.source import Unreadable
from batuta.workflow.asl.stack import Stack, stack_in

GOOD = {"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}
HEAD = """\
Parameters:
  Stage: {Type: String, Default: dev}
Conditions:
  IsProd: !Equals [!Ref Stage, prod]
Mappings:
  Sizes: {dev: {n: 1}, prod: {n: 9}}
Resources:
  Fn: {Type: AWS::Serverless::Function, Properties: {Runtime: python3.11, Handler: a.b}}
  Named: {Type: AWS::Lambda::Function, Properties: {FunctionName: !Sub "f-${Stage}"}}
  Queue: {Type: AWS::SQS::Queue}
  Topic: {Type: AWS::SNS::Topic}
  Table: {Type: AWS::DynamoDB::Table}
"""


def worked_out(text: str) -> Any:
    """A value of a template, with its functions worked out."""
    source = read_template(f"{HEAD}X: {text}\n", is_yaml=True)
    return Template(source.value).value(source.value["X"])


def stack(text: str, **files: str) -> Stack:
    """What a template defines that may name these files."""

    def read(uri: str) -> tuple[str, str]:
        if uri not in files:
            raise Unreadable(f"`{uri}` is not there")
        return uri, files[uri]

    return stack_in(text, "template.yaml", read)


def places(found: Stack) -> list[tuple[str, int, str]]:
    """File, line and severity of each problem."""
    return [
        (each.source.file, each.source.line, each.severity)
        for each in found.problems
        if each.source is not None
    ]


def test_the_name_is_what_stands_before_the_ending() -> None:
    assert name_of("order.asl.json") == "order"
    assert name_of("order.v2.asl.yml") == "order.v2"
    assert name_of("order.json") is None
    assert name_of(".asl.json") is None


def test_yaml_and_json_give_the_same_machine() -> None:
    json_made, _ = machine_in("m", json.dumps(GOOD), "m.asl.json")
    yaml_made, _ = machine_in("m", "StartAt: A\nStates: {A: {Type: Succeed}}", "m.asl.yaml")
    assert json_made is not None
    assert yaml_made is not None
    assert json.loads(json_made.text) == json.loads(yaml_made.text)


def test_a_mistake_has_line_and_column_and_keeps_the_machine_out() -> None:
    text = '{"StartAt": "A",\n "States": {\n  "A": {"Type": "Pass", "Next": "Gone"}}}'
    made, [problem, *_] = machine_in("m", text, "m.asl.json")
    assert made is None
    assert problem.rule == "MISSING_TRANSITION_TARGET"
    assert problem.source is not None
    assert problem.source.line == 3


def test_a_step_that_the_project_does_not_have_is_a_problem() -> None:
    task = {"Type": "Task", "Resource": "arn:batuta:step:shp", "End": True}
    text = json.dumps({"StartAt": "A", "States": {"A": task}})
    made, [problem] = machine_in("m", text, "m.asl.json", steps={"ship": None})
    assert made is None
    assert (problem.message, problem.hint) == ("there is no step `shp`", "did you mean `ship`?")
    made, _ = machine_in("m", text, "m.asl.json")
    assert made is not None


def test_what_is_no_json_has_a_place() -> None:
    made, [problem] = machine_in("m", '{\n "StartAt": }', "m.asl.json")
    assert made is None
    assert problem.source is not None
    assert problem.source.line == 2


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("!Ref Stage", "dev"),
        ("!Ref AWS::Region", "us-east-1"),
        ("!Ref Table", "Table"),
        ("!Ref Topic", "arn:aws:sns:us-east-1:000000000000:Topic"),
        ("!Ref Queue", "https://sqs.us-east-1.amazonaws.com/000000000000/Queue"),
        ("!GetAtt Queue.Arn", "arn:aws:sqs:us-east-1:000000000000:Queue"),
        ("!GetAtt Queue.QueueName", "Queue"),
        ("!GetAtt Fn.Arn", "arn:aws:lambda:us-east-1:000000000000:function:Fn"),
        ("{'Fn::GetAtt': [Named, Arn]}", "arn:aws:lambda:us-east-1:000000000000:function:f-dev"),
        ("!Sub '${Fn.Arn}:${!x}:${AWS::AccountId}'",
         "arn:aws:lambda:us-east-1:000000000000:function:Fn:${x}:000000000000"),
        ("!Sub ['${A}-${Stage}', {A: !Ref Table}]", "Table-dev"),
        ("!Join ['-', [a, !Ref Stage, 1]]", "a-dev-1"),
        ("!Select [1, !Split [',', 'a,b']]", "b"),
        ("!If [IsProd, big, small]", "small"),
        ("!FindInMap [Sizes, !Ref Stage, n]", 1),
        ("{a: !Ref AWS::NoValue, b: 2016-08-18}", {"b": "2016-08-18"}),
    ],
)  # fmt: skip
def test_functions_of_templates(text: str, value: Any) -> None:
    assert worked_out(text) == value


def test_a_name_that_goes_in_circles_is_a_problem() -> None:
    properties = {"QueueName": {"Fn::GetAtt": ["Q", "Arn"]}}
    template = Template({"Resources": {"Q": {"Type": "AWS::SQS::Queue", "Properties": properties}}})
    with pytest.raises(Unreadable):
        template.value({"Ref": "Q"})


def test_no_object_is_made_by_a_tag() -> None:
    with pytest.raises(Unreadable):
        read_template("A: !!python/object/apply:os.getcwd []", is_yaml=True)


def test_machines_of_a_template() -> None:
    found = stack(
        HEAD
        + """\
  Away:
    Type: AWS::Serverless::StateMachine
    Condition: IsProd
    Properties: {DefinitionUri: s3://bucket/key}
  InFile:
    Type: AWS::Serverless::StateMachine
    Properties:
      Type: EXPRESS
      DefinitionUri: flow
      DefinitionSubstitutions: {Arn: !GetAtt Fn.Arn}
  Inline:
    Type: AWS::Serverless::StateMachine
    Properties:
      Name: !Sub "inline-${Stage}"
      Definition:
        StartAt: A
        States: {A: {Type: Pass, Result: "${V}", End: true}}
      DefinitionSubstitutions: {V: 'say "hi"'}
  Text:
    Type: AWS::StepFunctions::StateMachine
    Properties:
      RoleArn: role
      DefinitionString: !Sub |
        {"StartAt": "A", "States": {
          "A": {"Type": "Task", "Resource": "${Fn.Arn}", "End": true}}}
""",
        flow=json.dumps(
            {"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "${Arn}", "End": True}}}
        ),
    )
    assert found.problems == []
    assert {each.name: each.type for each in found.machines} == {
        "InFile": "EXPRESS", "inline-dev": "STANDARD", "Text": "STANDARD",
    }  # fmt: skip
    definitions = {each.name: json.loads(each.text) for each in found.machines}
    function = "arn:aws:lambda:us-east-1:000000000000:function:Fn"
    assert definitions["InFile"]["States"]["A"]["Resource"] == function
    assert definitions["Text"]["States"]["A"]["Resource"] == function
    assert definitions["inline-dev"]["States"]["A"]["Result"] == 'say "hi"'
    assert found.files == {"flow"}
    assert [(each.name, each.folder, each.handler) for each in found.functions] == [
        ("Fn", ".", "a.b")
    ]


def test_problems_of_a_template_have_its_lines() -> None:
    found = stack(
        """\
Parameters:
  Unset: {Type: String}
Resources:
  Inline:
    Type: AWS::Serverless::StateMachine
    Properties:
      Definition:
        StartAt: A
        States:
          A: {Type: Pass, Next: Gone}
  Text:
    Type: AWS::StepFunctions::StateMachine
    Properties:
      RoleArn: !Ref Unset
      DefinitionString: |
        {"StartAt": "A", "States": {
          "A": {"Type": "Pass", "Next": "Gone"}}}
  Missing:
    Type: AWS::Serverless::StateMachine
    Properties: {DefinitionUri: nowhere}
"""
    )
    assert found.machines == []
    errors = [(file, line) for file, line, severity in places(found) if severity == "error"]
    assert {line for _, line in errors} >= {10, 17, 18}
    assert [line for _, line, severity in places(found) if severity == "warning"] == [2]


def test_a_function_sees_what_all_see_and_its_own() -> None:
    found = stack(
        """\
Globals: {Function: {Runtime: python3.12, Timeout: 9, Environment: {Variables: {A: 1, B: x}}}}
Resources:
  One:
    Type: AWS::Serverless::Function
    Properties: {CodeUri: src/, Handler: app.go, Environment: {Variables: {B: true}}}
  Other: {Type: AWS::Serverless::Function, Properties: {Runtime: nodejs20.x, Handler: a.b}}
"""
    )
    [one] = found.functions
    assert (one.name, one.folder, one.handler, one.timeout) == ("One", "src/", "app.go", 9.0)
    assert one.environment == {"A": "1", "B": "true"}
