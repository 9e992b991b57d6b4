"""State machines and expressions without measure: a clear error, and the server does not notice."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from tests.crash.servers import Server
from tests.stories.conftest import Serve
from tests.stories.test_bad_input import FINE, goes_on, told

pytestmark = [pytest.mark.crash, pytest.mark.xdist_group("bad-input")]

ROLE = "arn:aws:iam::000000000000:role/r"
GAP_S = 1.5
"""The longest that another client may have to wait for an answer."""
GROWTH = 200 << 20


def client(server: Server) -> Any:
    return boto3.client(
        "stepfunctions", endpoint_url=f"http://127.0.0.1:{server.port}", region_name="us-east-1",
        aws_access_key_id="x", aws_secret_access_key="y",
        config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
    )  # fmt: skip


def memory(pid: int) -> int:
    """The bytes that a process has in memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) << 10


@contextmanager
def watched(server: Server) -> Iterator[None]:
    """Another client, who must not have to wait; and the server must not grow."""
    before, gaps, done = memory(server.pid), [0.0], threading.Event()

    def look() -> None:
        while not done.wait(0.01):
            began = time.monotonic()
            server.ask("GET", "/api/runs?limit=1", timeout=30)
            gaps.append(time.monotonic() - began)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    assert max(gaps) < GAP_S, f"another client waited {max(gaps):.1f} s"
    assert memory(server.pid) - before < GROWTH


def nested(depth: int) -> str:
    """Parallel in Parallel."""
    inner = '{"StartAt":"A","States":{"A":{"Type":"Pass","End":true}}}'
    for at in range(depth):
        state = f'{{"Type":"Parallel","End":true,"Branches":[{inner}]}}'
        inner = f'{{"StartAt":"P{at}","States":{{"P{at}":{state}}}}}'
    return inner


def passing(**more: Any) -> str:
    state = {"Type": "Pass", "End": True, **more}
    return json.dumps({"StartAt": "A", "States": {"A": state}})


DEFINITIONS = {
    "5 MB": passing(Result="x" * 5_000_000),
    "5 MB of states": '{"StartAt":"S0","States":{' + ",".join(
        f'"S{at}":{{"Type":"Pass","Next":"S{at + 1}"}}' for at in range(150_000)) + "}}",
    "500 Parallels": nested(500),
    "500 lists": passing(Result=0).replace("0", "[" * 500 + "]" * 500),
    "brackets without end": "[" * 1_000_000,
    "parentheses in a filter": passing(InputPath="$[?(" + "(" * 500 + "@.a" + ")" * 500 + ")]"),
    "filters in filters": passing(InputPath="$" + "[?(@" * 500 + ".a" + ")]" * 500),
    "parentheses in JSONata": passing(
        QueryLanguage="JSONata", Output="{% " + "(" * 5000 + "1" + ")" * 5000 + " %}"),
    "functions in functions": passing(Parameters={
        "x.$": "States.Format('{}', " * 500 + "'a'" + ")" * 500}),
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("measureless") / "project"
    folder.mkdir()
    (folder / "app.py").write_text(
        "from batuta import step, workflow\n\n\n@step\ndef double(n: int) -> int:\n"
        "    return 2 * n\n\n\n@workflow\nasync def fine(n: int) -> int:\n"
        "    return await double(n)\n"
    )
    made = Server(folder, folder.parent / "state")
    try:
        yield made.start()
    finally:
        made.kill()


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_definition_without_measure_is_refused(server: Server, name: str) -> None:
    text = DEFINITIONS[name]
    with watched(server):
        began = time.monotonic()
        with pytest.raises(ClientError) as caught:
            client(server).create_state_machine(name="big", definition=text, roleArn=ROLE)
        took = time.monotonic() - began
    assert caught.value.response["Error"]["Code"] in ("InvalidDefinition", "ValidationException")
    assert len(str(caught.value)) < 40_000
    assert took < GAP_S
    goes_on(server)


def test_a_file_without_measure_is_a_problem_of_its_own(serve: Serve, folder: Path) -> None:
    server = serve(app=FINE)
    (folder / "big.asl.json").write_text(DEFINITIONS["5 MB"])
    (folder / "deep.asl.json").write_text(DEFINITIONS["500 Parallels"])
    server.start()
    told(server, "deep.asl.json:1")
    told(server, "big.asl.json")
    goes_on(server)


EXPRESSIONS = {
    "for ever": "($f := function($x){$f($x)}; $f(1))",
    "into itself": "(function($f){$f($f)})(function($f){$f($f)})",
    "ever deeper": "($f := function($x){$f($x) + 1}; $f(1))",
    "a long range": "[1..10000000]",
    "doubling": "($f := function($s, $n){$n = 0 ? $s : $f($s & $s, $n - 1)}; $f('x', 60))",
    "a billion things": "($a := [1..1000]; $b := [1..1000].[[$a]]; [1..1000].[[$b]])",
    "a replacement": "$replace($pad('', 100000, 'a'), 'a', $pad('', 100000, 'b'))",
    "padding": "$pad('x', 1000000000)",
    "what is the same in much": "$distinct([1..100000])",
    "a change of much": "[1..100000].{'a': $} ~> |$|{'b': 2}|",
    "doubling without a function": "($a := [1, 1]; " + "$a := [[$a], [$a]]; " * 25 + "$a)",
    "steps of steps": "$map([1..100000], function($x){$map([1..1000], function($y){$x * $y})})",
    "a reduction that grows": "$reduce([1..100000], function($a, $b){$append($a, [$a])}, [1])",
    "a join of much": "$join([1..100000].('x'), $pad('', 1000000, 'b'))",
}


def execute(server: Server, name: str, definition: str, input: Any = None) -> dict[str, Any]:
    """An execution's end, while another client asks for something else all the time."""
    states = client(server)
    made = states.create_state_machine(name=name, definition=definition, roleArn=ROLE)
    with watched(server):
        begun = states.start_execution(
            stateMachineArn=made["stateMachineArn"], input=json.dumps(input or {})
        )
        until = time.monotonic() + 10
        while True:
            found: dict[str, Any] = states.describe_execution(executionArn=begun["executionArn"])
            if found["status"] != "RUNNING" or time.monotonic() > until:
                break
            time.sleep(0.05)
    assert found["status"] == "FAILED", found
    assert len(found["cause"]) < 33_000
    goes_on(server)
    return found


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_without_measure_fails_its_execution_alone(server: Server, name: str) -> None:
    text = passing(QueryLanguage="JSONata", Output="{% " + EXPRESSIONS[name] + " %}")
    found = execute(server, f"e{list(EXPRESSIONS).index(name)}", text)
    assert found["error"] == "States.QueryEvaluationError"
    assert "specified for the field 'Output' threw an error" in found["cause"]


def result_of(server: Server, name: str, definition: str) -> Any:
    """What a state machine's execution gives while another client looks on."""
    states = client(server)
    arn = states.create_state_machine(name=name, definition=definition, roleArn=ROLE)
    with watched(server):
        begun = states.start_execution(stateMachineArn=arn["stateMachineArn"], input="{}")
        ended = server.ending(f"{name}:" + begun["executionArn"].rpartition(":")[2])
    assert ended["status"] == "completed", ended
    return ended["result"]


def test_a_regular_expression_takes_no_time(server: Server) -> None:
    text = "$match('" + "a" * 60 + "!', /^(a+)+$/) ? 1 : 2"
    made = passing(QueryLanguage="JSONata", Output="{% " + text + " %}")
    assert result_of(server, "regular", made) == 2


def test_very_many_items_may_wait_at_once(server: Server) -> None:
    wait = {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 1, "End": True}}}
    each = {"Type": "Map", "Items": "{% [1..20000] %}", "ItemProcessor": wait, "End": True,
            "Output": "{% $count($states.result) %}"}  # fmt: skip
    made = json.dumps({"StartAt": "E", "QueryLanguage": "JSONata", "States": {"E": each}})
    assert result_of(server, "wide", made) == 20_000


def each_of(count: int, expression: str, *, caught: bool) -> str:
    """A Map whose every item evaluates an expression."""
    inner: dict[str, Any] = {"Type": "Pass", "Output": "{% " + expression + " %}", "End": True}
    if caught:
        branch = {"StartAt": "P", "States": {"P": inner}}
        inner = {"Type": "Parallel", "Branches": [branch], "End": True,
                 "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Lost"}]}  # fmt: skip
    flow = {"StartAt": "A", "States": {"A": inner, "Lost": {"Type": "Pass", "End": True}}}
    if not caught:
        del flow["States"]["Lost"]  # type: ignore[attr-defined]
    state = {"Type": "Map", "Items": list(range(count)), "ItemProcessor": flow, "Next": "Fail"}
    states = {"Each": state, "Fail": {"Type": "Fail", "Error": "AllOver", "Cause": "at the end"}}
    return json.dumps({"StartAt": "Each", "QueryLanguage": "JSONata", "States": states})


SLOW = "$sum($map([1..100000], function($x){$x * $x + $length($string($x))}))"


def test_a_map_of_a_thousand_slow_expressions_does_not_starve_the_server(server: Server) -> None:
    found = execute(server, "slow", each_of(1000, SLOW, caught=False))
    assert "have taken 0.7 s since it last waited for anything" in found["cause"]
    for_ever = "($f := function($x){$f($x)}; $f(1))"
    found = execute(server, "catches", each_of(1000, for_ever, caught=True))
    assert found["error"] == "AllOver"


def doubling(**state: Any) -> str:
    """Sixty states, each of which makes two out of one."""
    states: dict[str, Any] = {
        f"S{at}": {"Type": "Pass", "Next": f"S{at + 1}", **state} for at in range(60)
    }
    return json.dumps({"StartAt": "S0", "States": {**states, "S60": {"Type": "Succeed"}}})


LOOP = json.dumps({"StartAt": "A", "States": {
    "A": {"Type": "Pass", "Next": "B"}, "C": {"Type": "Succeed"},
    "B": {"Type": "Choice", "Default": "A", "Choices": [
        {"Variable": "$.never", "IsPresent": True, "Next": "C"}]}}})  # fmt: skip
WIDE = {"a": [{"b": {"c": [at]}} for at in range(20_000)], "text": "x" * 100_000}
MACHINES = {
    "two of each": (doubling(Parameters={"a.$": "$", "b.$": "$"}), "DataLimitExceeded", "16,777"),
    "itself in itself": (doubling(ResultPath="$.x"), "DataLimitExceeded", ""),
    "two in JSONata": (
        doubling(QueryLanguage="JSONata", Output=["{% $states.input %}", "{% $states.input %}"]),
        "DataLimitExceeded", "16,777",
    ),
    "two in one expression": (
        doubling(QueryLanguage="JSONata", Output="{% [[$states.input], [$states.input]] %}"),
        "", "Output",
    ),
    "all below all": (passing(InputPath="$..*..*..*..*"), "Runtime", "1,000,000 values"),
    "a long range": (
        passing(Parameters={"x.$": "States.ArrayRange(1, 100000000, 1)"}), "IntrinsicFailure",
        "1000 items",
    ),
    "Base64 of much": (
        passing(Parameters={"x.$": "States.Base64Encode($.text)"}), "IntrinsicFailure", "10000",
    ),
    "a text of much": (
        passing(Parameters={"x.$": "States.Format('" + "{}" * 900 + "'" + ", $.a" * 900 + ")"}),
        "IntrinsicFailure", "1,000,000",
    ),
    "a member that is missing": (passing(Parameters={"x.$": "$.gone"}), "Runtime", "$.gone"),
    "a loop": (LOOP, "Runtime", "loops"),
}  # fmt: skip


@pytest.mark.parametrize("name", MACHINES)
def test_a_machine_without_measure_fails_alone(server: Server, name: str) -> None:
    definition, error, said = MACHINES[name]
    found = execute(server, f"m{list(MACHINES).index(name)}", definition, WIDE)
    assert error in found["error"]
    assert said in found["cause"]
