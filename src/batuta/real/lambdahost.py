"""The program in which a Lambda function runs: `python -m batuta.real.lambdahost FD`.

It speaks to the server as `batuta.real.worker` does. A process serves one function; its module
is imported once and stays, as it does in the service.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batuta.real.worker import PATH_VARIABLE, Channel, Frame, flush

TASK_ROOT = "/var/task"
"""Where the service keeps a function's code; paths in its stack traces begin so."""


@dataclass
class Identity:
    """Who called, where a mobile application did; nobody here."""

    cognito_identity_id: None = None
    cognito_identity_pool_id: None = None


@dataclass
class Context:
    """What a function is told about its call."""

    function_name: str
    invoked_function_arn: str
    aws_request_id: str
    deadline: float
    function_version: str = "$LATEST"
    memory_limit_in_mb: str = "128"
    log_group_name: str = ""
    log_stream_name: str = "batuta"
    identity: Identity = field(default_factory=Identity)
    client_context: Any = None

    def get_remaining_time_in_millis(self) -> int:
        """How long it may still take, in ms."""
        return max(0, int((self.deadline - time.monotonic()) * 1000))

    def log(self, message: object) -> None:
        """Print it."""
        print(message)  # noqa: T201 - what it is for


class Unusable(Exception):
    """The handler cannot be called.

    Parameters
    ----------
    kind, message: as the service names and says it.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


def find_handler(text: str) -> Any:
    """The function that `module.function` means. Raises `Unusable`."""
    name, _, function = text.rpartition(".")
    name = name.replace("/", ".")
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        kind = "Runtime.ImportModuleError"
        raise Unusable(kind, f"Unable to import module '{name}': {error}") from error
    except SyntaxError as error:
        kind = "Runtime.UserCodeSyntaxError"
        raise Unusable(kind, f"Syntax error in module '{name}': {error}") from error
    found = getattr(module, function, None)
    if not callable(found):
        kind = "Runtime.HandlerNotFound"
        raise Unusable(kind, f"Handler '{function}' missing on module '{name}'")
    return found


def perform(job: Frame, channel: Channel) -> Frame:
    """Call the function once; the answer to the server: `{"value"}` or `{"error"}`."""
    request = job["request"]
    try:
        handler = find_handler(job["handler"])
    except Unusable as error:
        return {"error": _told(error.kind, error.message, request, [])}
    except BaseException as error:  # whatever the function's module does when it is imported
        return {"error": _raised(error, job)}
    channel.send({"began": True})  # its time runs from here: the import may have taken long
    name = job["name"]
    context = Context(
        name, job["arn"], request, time.monotonic() + job["timeout_s"],
        function_version=job.get("version", "$LATEST"), log_group_name=f"/aws/lambda/{name}",
    )  # fmt: skip
    try:
        value = handler(job["event"], context)
    except SystemExit as error:
        text = f"RequestId: {request} Error: Runtime exited with error: exit status {error.code}"
        return {"error": {"errorType": "Runtime.ExitError", "errorMessage": text}}
    except BaseException as error:  # a function may raise anything; all of it is data to us
        return {"error": _raised(error, job)}
    try:
        return {"value": json.loads(json.dumps(value))}
    except (TypeError, ValueError) as error:
        text = f"Unable to marshal response: {error}"
        return {"error": _told("Runtime.MarshalError", text, request, [])}


def _raised(error: BaseException, job: Frame) -> Frame:
    """An exception as the service tells it; all of it goes to the output too."""
    traceback.print_exception(error)
    frames = traceback.extract_tb(error.__traceback__)
    own = str(Path(__file__).resolve())
    lines = [
        f'  File "{_path(frame.filename, job["folder"])}", line {frame.lineno}, in {frame.name}\n'
        + (f"    {frame.line}\n" if frame.line else "")
        for frame in frames
        if os.path.realpath(frame.filename) != own and "importlib" not in frame.filename
    ]
    return _told(type(error).__name__, str(error), job["request"], lines)


def _path(file: str, folder: str) -> str:
    real = os.path.realpath(file)
    return TASK_ROOT + real.removeprefix(folder) if real.startswith(folder + os.sep) else file


def _told(kind: str, message: str, request: str, stack: list[str]) -> Frame:
    return {
        "errorMessage": message, "errorType": kind, "requestId": request, "stackTrace": stack,
    }  # fmt: skip


def main() -> None:
    """Perform calls until the server is gone."""
    given = os.environ.pop(PATH_VARIABLE, "")
    os.environ["PYTHONPATH"] = given
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    channel = Channel(socket.socket(fileno=descriptor))
    threading.Thread(target=channel.read, daemon=True, name="batuta-server").start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
    channel.send({"ready": True})
    while True:
        answer = perform(channel.jobs.get(), channel)
        flush()
        channel.send(answer)


if __name__ == "__main__":
    main()
