"""Lambda functions run from their handler, in processes of their own."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from tests.real.cloud import CREDENTIALS, STATES, task
from tests.real.support import Harness, run, until

from batuta.kernel.errors import BatutaError
from batuta.real.integrations import Function, Integrations, read_integrations
from batuta.real.lambdas import failure_of_payload

ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
CODE = """
import os, sys, time

calls = 0

class OrderRefused(Exception):
    pass

def echo(event, context):
    global calls
    calls += 1
    print("heard", event)
    return {
        "event": event, "calls": calls, "pid": os.getpid(),
        "name": context.function_name, "arn": context.invoked_function_arn,
        "request": context.aws_request_id, "left": context.get_remaining_time_in_millis(),
        "version": context.function_version, "greeting": os.environ.get("GREETING"),
        "handler": os.environ["_HANDLER"], "region": os.environ["AWS_REGION"],
        "home": os.environ.get("SECRET_OF_SERVER"),
    }

def fail(event, context):
    raise OrderRefused("no " + event["what"])

def leave(event, context):
    sys.exit(3)

def die(event, context):
    os._exit(7)

def strange(event, context):
    return {1, 2}

def hang(event, context):
    open(os.path.join(os.environ["LAMBDA_TASK_ROOT"], "hangs"), "w").close()
    time.sleep(60)

def nothing(event, context):
    return None
"""


def function(folder: Path, handler: str, timeout: float = 10.0, **environment: str) -> Function:
    return Function(handler, folder, f"shop.{handler}", timeout, environment)


def here(folder: Path, *functions: Function) -> Integrations:
    (folder / "shop.py").write_text(CODE)
    return Integrations(folder, "us-east-1", lambdas={each.name: each for each in functions})


def call(it: Harness, name: str, event: Any, **options: Any) -> str:
    return it.perform("lambda", task(f"{ARN}{name}", event), name, **options)


def invoke(it: Harness, input: Mapping[str, Any], **options: Any) -> str:
    return it.perform("lambda", task(f"{STATES}lambda:invoke", input), **options)


def test_a_function_gets_its_event_and_context(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_SERVER", "hidden")

    async def story(it: Harness) -> None:
        told = await it.value(call(it, "echo", {"a": [1]}, id="run-1/a.1"))
        assert told["event"] == {"a": [1]}
        assert (told["name"], told["arn"], told["version"]) == ("echo", f"{ARN}echo", "$LATEST")
        assert 5_000 < told["left"] <= 10_000
        assert (told["greeting"], told["handler"]) == ("hello", "shop.echo")
        assert (told["region"], told["home"]) == ("us-east-1", None)
        again = await it.value(call(it, "echo", None))
        assert (again["pid"], again["calls"]) == (told["pid"], 2)
        assert again["request"] != told["request"]
        assert await it.value(call(it, "nothing", None)) is None

    first, second = function(tmp_path, "echo", GREETING="hello"), function(tmp_path, "nothing")
    run(story, integrations=here(tmp_path, first, second))


def test_an_invocation_gives_what_the_service_gives(tmp_path: Path) -> None:
    async def story(it: Harness) -> None:
        for name in ("echo", f"{ARN}echo", "000000000000:function:echo", f"{ARN}echo:live"):
            given = {"FunctionName": name, "Payload": {"x": 1}}
            told = await it.value(invoke(it, given))
            assert told["Payload"]["event"] == {"x": 1}
            assert told["Payload"]["arn"].startswith(f"{ARN}echo")
            assert told["StatusCode"] == 200
            assert told["ExecutedVersion"] == ("live" if name.endswith("live") else "$LATEST")
            headers = told["SdkHttpMetadata"]["HttpHeaders"]
            assert headers["Content-Type"] == "application/json"
            assert told["SdkResponseMetadata"]["RequestId"] == headers["x-amzn-RequestId"]
        told = await it.value(invoke(it, {"FunctionName": "echo"}))
        assert told["Payload"]["event"] == {}
        told = await it.value(invoke(it, {"FunctionName": "echo", "InvocationType": "Event"}))
        assert (told["StatusCode"], told["Payload"]) == (202, "")
        told = await it.value(invoke(it, {"FunctionName": "echo", "InvocationType": "DryRun"}))
        assert told["StatusCode"] == 204

    run(story, integrations=here(tmp_path, function(tmp_path, "echo")))


def test_an_exception_is_told_as_the_service_does(tmp_path: Path) -> None:
    async def story(it: Harness) -> None:
        failure = await it.failure(call(it, "fail", {"what": "money"}))
        assert failure.type == "OrderRefused"
        cause = json.loads(failure.message)
        raised = '    raise OrderRefused("no " + event["what"])'
        line = CODE.splitlines().index(raised) + 1
        place = f'  File "/var/task/shop.py", line {line}, in fail'
        assert cause["stackTrace"] == [f"{place}\n{raised}\n"]
        assert (cause["errorMessage"], cause["errorType"]) == ("no money", "OrderRefused")
        assert cause["requestId"]
        failure = await it.failure(invoke(it, {"FunctionName": "fail", "Payload": {}}))
        assert failure.type == "KeyError"

    run(story, integrations=here(tmp_path, function(tmp_path, "fail")))


@pytest.mark.parametrize(
    ("handler", "kind", "text"),
    [
        ("leave", "Runtime.ExitError", "Runtime exited with error: exit status 3"),
        ("die", "Runtime.ExitError", "Runtime exited with error: exit status 7"),
        ("strange", "Runtime.MarshalError", "Unable to marshal response: "),
        ("absent", "Runtime.HandlerNotFound", "Handler 'absent' missing on module 'shop'"),
    ],
)
def test_functions_that_break(tmp_path: Path, handler: str, kind: str, text: str) -> None:
    async def story(it: Harness) -> None:
        failure = await it.failure(call(it, handler, {}))
        assert failure.type == kind
        assert text in json.loads(failure.message)["errorMessage"]

    run(story, integrations=here(tmp_path, function(tmp_path, handler)))


def test_a_module_that_cannot_be_imported(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")

    async def story(it: Harness) -> None:
        failure = await it.failure(call(it, "f", {}))
        assert failure.type == "Runtime.ImportModuleError"
        assert "Unable to import module 'broken'" in failure.message

    made = Function("f", tmp_path, "broken.f")
    run(story, integrations=Integrations(tmp_path, lambdas={"f": made}))


def test_a_function_that_takes_too_long(tmp_path: Path) -> None:
    async def story(it: Harness) -> None:
        failure = await it.failure(call(it, "hang", {}))
        assert failure.type == "Sandbox.Timedout"
        assert "Task timed out after 0.30 seconds" in failure.message
        failure = await it.failure(call(it, "hang", {}, timeout_s=0.2))
        assert failure.type in ("batuta:TimedOut", "Sandbox.Timedout")

    run(story, integrations=here(tmp_path, function(tmp_path, "hang", 0.3)))


def test_a_cancelled_function_is_ended(tmp_path: Path) -> None:
    async def story(it: Harness) -> None:
        lambdas = it.world.services._lambdas
        for patient in (False, True):
            id = call(it, "hang", {})
            await until(lambda: bool(lambdas._all))
            if patient:
                await until((tmp_path / "hangs").exists)
            it.world.cancel(id)
            assert (await it.failure(id)).type == "batuta:Cancelled"
            assert not lambdas._all

    run(story, integrations=here(tmp_path, function(tmp_path, "hang", 60)))


def test_changed_code_is_run(tmp_path: Path) -> None:
    async def story(it: Harness) -> None:
        first = await it.value(call(it, "echo", 1))
        changed = CODE.replace('"calls": calls', '"calls": "changed"')
        (tmp_path / "shop.py").write_text(changed)
        later = time.time() + 5
        os.utime(tmp_path / "shop.py", (later, later))
        it.world.services._lambdas._kept["echo"].looked_at = 0.0
        second = await it.value(call(it, "echo", 1))
        assert (first["calls"], second["calls"]) == (1, "changed")

    run(story, integrations=here(tmp_path, function(tmp_path, "echo")))


def test_many_at_once_have_a_process_each(tmp_path: Path) -> None:
    async def story(it: Harness) -> None:
        ids = [call(it, "echo", n) for n in range(12)]
        told = [await it.value(id) for id in ids]
        assert [each["event"] for each in told] == list(range(12))

    run(story, integrations=here(tmp_path, function(tmp_path, "echo")), limits={"lambda": 3})


class Elsewhere(BaseHTTPRequestHandler):
    """The part of the service that calls functions."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        event = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        name = unquote(self.path).split("/")[3].rpartition(":")[2]
        status, headers, body = 200, {"X-Amz-Executed-Version": "$LATEST"}, event
        if name == "boom":
            headers["X-Amz-Function-Error"] = "Unhandled"
            body = b'{"errorType": "Boom", "errorMessage": "x"}'
        elif name.startswith("nothing"):
            status, body = 404, b'{"Message": "Function not found: it"}'
            headers["x-amzn-ErrorType"] = "ResourceNotFoundException"
        headers |= {"x-amzn-RequestId": "request-1", "Content-Type": "application/json"}
        self.send_response(status)
        for each in (*headers.items(), ("Content-Length", str(len(body)))):
            self.send_header(*each)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def test_a_function_that_is_not_here_is_called_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in CREDENTIALS.items():
        monkeypatch.setenv(name, text)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    async def story(it: Harness) -> None:
        assert await it.value(call(it, "there", {"a": 1})) == {"a": 1}
        told = await it.value(invoke(it, {"FunctionName": "there", "Payload": [1]}))
        assert (told["Payload"], told["StatusCode"]) == ([1], 200)
        assert told["ExecutedVersion"] == "$LATEST"
        assert told["SdkResponseMetadata"] == {"RequestId": "request-1"}
        assert told["SdkHttpMetadata"]["HttpHeaders"]["Content-Type"] == "application/json"
        failure = await it.failure(call(it, "boom", {}))
        assert failure.type == "Boom"
        for id in (call(it, "nothing", {}), invoke(it, {"FunctionName": "nothing"})):
            failure = await it.failure(id)
            assert failure.type == "Lambda.ResourceNotFoundException"
            assert failure.message == (
                "Function not found: it (Service: AWSLambda; Status Code: 404; Error Code: "
                "ResourceNotFoundException; Request ID: request-1; Proxy: null)"
            )

    address = f"http://127.0.0.1:{server.server_address[1]}"
    run(story, integrations=Integrations(tmp_path, "us-east-1", address))
    server.shutdown()
    server.server_close()


def test_a_function_elsewhere_that_failed() -> None:
    raised = '{"errorType": "Boom", "errorMessage": "x"}'
    assert failure_of_payload(raised).type == "Boom"
    assert failure_of_payload(raised).message == raised
    unknown = failure_of_payload("what?")
    assert unknown.type == "Lambda.Unknown"
    assert unknown.message.endswith("Returned payload: what?")


def test_functions_and_connections_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "batuta.toml").write_text(
        '[aws]\nregion = "eu-west-1"\nendpoint = "http://127.0.0.1:1"\n'
        '[lambda.charge]\nhandler = "pay.charge"\nfolder = "code"\ntimeout = 5\n'
        "[lambda.charge.environment]\nDEBUG = 1\n"
        '[connection.bank]\nkind = "basic"\nusername = "me"\npassword = "secret:BANK"\n'
    )
    template = Function("charge", tmp_path, "other.f")
    found = read_integrations(tmp_path, [template, Function("ship", tmp_path, "ship.f")])
    assert found.region == "eu-west-1"
    charge = found.lambdas["charge"]
    assert (charge.handler, charge.folder, charge.timeout) == ("pay.charge", tmp_path / "code", 5.0)
    assert charge.environment == {"DEBUG": "1"}
    assert found.lambdas["ship"].handler == "ship.f"
    assert found.connections["bank"].settings == {"username": "me", "password": "secret:BANK"}
    assert read_integrations(tmp_path / "nowhere") == Integrations(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[aws", "cannot be read"),
        ("aws = 1", "is not a table"),
        ("[aws]\nplace = 1", "unknown setting `place`"),
        ("[lambda.f]\nfolder = 'x'", "names no handler"),
        ("[connection.c]\nkind = 'magic'", "`kind` of `[connection.c]` is `magic`"),
    ],
)
def test_settings_that_are_wrong(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "batuta.toml").write_text(text)
    with pytest.raises(BatutaError) as error:
        read_integrations(tmp_path)
    assert message in error.value.message


def test_changed_settings_are_taken_over_where_they_are_right(tmp_path: Path) -> None:
    class Project:
        folder = tmp_path
        lambdas = (function(tmp_path, "echo"),)

    async def story(it: Harness) -> None:
        it.world.services.reload(Project())
        assert (await it.value(call(it, "echo", 1)))["event"] == 1
        (tmp_path / "batuta.toml").write_text("[aws")
        it.world.services.reload(Project())
        assert (await it.value(call(it, "echo", 2)))["event"] == 2

    here(tmp_path)
    run(story, integrations=Integrations(tmp_path))
