"""The Lambda functions that the recorded cases call, as functions of a project's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TASK_FOLDER = "/var/task"
SOURCES = {
    "id_function": "def handler(event, context):\n    return event\n",
    "raise_exception": (
        "def handler(event, context):\n"
        '    raise Exception("Some exception was raised.")\n'
    ),
    "raise_custom_exception": (
        '"""Fails in its own way."""\n\n\nclass CustomException(Exception):\n    pass\n\n\n'
        "def handler(event, context):\n    raise CustomException()\n"
    ),
    "return_bytes_str": 'def handler(event, context):\n    return b"HelloWorld!".decode()\n',
    "large_output_string": 'def handler(event, context):\n    return "\\u00e9" * 140_000\n',
    "wait_60_seconds": "import time\n\n\ndef handler(event, context):\n    time.sleep(60)\n",
    "return_decorated_input": 'def handler(event, context):\n    return f"input-event-{event}"\n',
}  # fmt: skip
ALSO_KNOWN_AS = {
    "lambda_func_00000000": "return_bytes_str",
    "lambda_func_00000001": "raise_exception",
    "lambda_00000001": "id_function",
}
"""The names in cases that do not say what the function does."""


def write_project(folder: Path, address: str | None = None, *more: str) -> None:
    """A project's folder with the functions, and with moto as its cloud.

    Parameters
    ----------
    address: moto's; None: there is no cloud. more: tables for its `batuta.toml`.
    """
    aws = ['[aws]\nregion = "us-east-1"', f'endpoint = "{address}"'] if address else []
    said = ["\n".join(aws), *more, _write_functions(folder)]
    (folder / "batuta.toml").write_text("\n\n".join(said), "utf-8")


def _write_functions(folder: Path) -> str:
    said = []
    for name, source in {**SOURCES, **ALSO_KNOWN_AS}.items():
        place = folder / "functions" / name
        place.mkdir(parents=True)
        (place / "handler.py").write_text(SOURCES.get(source, source), "utf-8")
        about = {"handler": "handler.handler", "folder": f"functions/{name}"}
        lines = [f"{key} = {json.dumps(value)}" for key, value in about.items()]
        said.append("\n".join([f"[lambda.{name}]", *lines, "timeout = 70"]))
    return "\n\n".join(said) + "\n"


def call_ours(case: dict[str, Any], text: str) -> str:
    """A text of a case, with our functions in the place of the recorded ones."""
    for arn, about in case.get("lambdas", {}).items():
        ours = Path(about["handler"]).stem.removeprefix("lambdafunctions__")
        recorded = arn.rpartition(":")[2]
        text = text.replace(recorded, ours)
    return text


def as_recorded(value: Any, folder: Path) -> Any:
    """An answer in which the functions' files are where Lambda has them."""
    text = json.dumps(value, default=str)
    for name in {**SOURCES, **ALSO_KNOWN_AS}:
        text = text.replace(str(folder / "functions" / name), TASK_FOLDER)
    return json.loads(text)
