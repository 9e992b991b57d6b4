"""Replays a recorded sequence of API calls, and compares the answers with the recorded ones."""

from __future__ import annotations

import json
import re
import time
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

WAIT_S = 12.0
READS = ("describe_", "list_", "get_execution_history")
RECORDED, OURS = "111111111111", "000000000000"
"""Accounts."""

ANYTHING = ("datetime", "timestamp", "date")
LATER_MEMBERS = ("encryptionConfiguration",)
"""Members that the service has had since after some of the cases were recorded."""


class Replay:
    """One case on its way.

    Parameters
    ----------
    client: boto3's, for the server under test. case: as its file has it.
    """

    def __init__(self, client: Any, case: dict[str, Any]) -> None:
        self.client = client
        self.case = case
        self.known: dict[str, str] = {}
        self.unnamed: dict[str, str] = {}
        self.bound: dict[str, str] = {}
        self.wildcards = sorted([*case["wildcards"], "log_group_name"], key=len, reverse=True)

    def run(self) -> list[str]:
        """What does not agree, one line for each call."""
        self._tell_roles_apart()
        problems: list[str] = []
        for number, call in enumerate(self.case["calls"]):
            problem = self._call(call)
            if problem:
                problems.append(f"call {number} {call['op']}: {problem}")
        return problems

    def _tell_roles_apart(self) -> None:
        """The recorded calls all name one role; the answers tell which of several it was."""
        shown = ""
        for call in reversed(self.case["calls"]):
            shown = (call.get("expected") or {}).get("roleArn", shown)
            if "roleArn" in call["args"] and "_t" in shown:
                call["args"]["roleArn"] = f"arn:aws:iam::{OURS}:role/{shown}"

    def _call(self, call: dict[str, Any]) -> str | None:
        if call["service"] != "stepfunctions":
            return None
        args = self._filled(call["args"])
        expected = call.get("expected")
        until = time.monotonic() + (WAIT_S if call["op"].startswith(READS) and expected else 0)
        while True:
            answer, raised = self._ask(call["op"], args)
            if bool(call.get("raises")) != raised:
                problem: str | None = f"{'raised' if raised else 'answered'} {answer}"
            else:
                problem = None if expected is None else self.compare(expected, answer)
            if problem is None or time.monotonic() > until:
                break
            time.sleep(0.02)
        if not raised:
            self._learn(call.get("fake_return") or {}, answer)
        return problem

    def _ask(self, op: str, args: dict[str, Any]) -> tuple[Any, bool]:
        try:
            answer = getattr(self.client, op)(**args)
        except ClientError as error:
            told = error.response["Error"]
            text = told.get("Message", "")
            return {"Error": {"Code": told["Code"], "Message": text}, "message": text}, True
        except BotoCoreError as error:
            return {"Error": {"Code": type(error).__name__, "Message": str(error)}}, True
        answer.pop("ResponseMetadata", None)
        return answer, False

    # -- arguments -------------------------------------------------------------------------

    def _learn(self, fake: dict[str, Any], answer: dict[str, Any]) -> None:
        for name, value in answer.items():
            if isinstance(value, str):
                if isinstance(fake.get(name), str):
                    self.known[fake[name]] = value
                else:
                    self.unnamed.setdefault(name, value)
                    if name == "nextToken":
                        self.unnamed[name] = value

    def _filled(self, value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: self._filled(part, key) for key, part in value.items()}
        if isinstance(value, list):
            return [self._filled(part) for part in value]
        if value is None and name == "nextToken":
            return self.unnamed.get(name)
        if not isinstance(value, str):
            return value
        if value in self.known:
            return self.known[value]
        if value.startswith("<missing:"):
            return self.unnamed.get(value[9:-1], value)
        for fake in sorted(self.known, key=len, reverse=True):
            if fake.startswith("arn:") and fake in value:
                value = value.replace(fake, self.known[fake])
        return value

    # -- answers ---------------------------------------------------------------------------

    def compare(self, expected: Any, actual: Any, at: str = "$") -> str | None:
        """The first difference, or None."""
        if self._ignored(at):
            return None
        if isinstance(expected, dict):
            return self._compare_objects(expected, _parsed(actual), at)
        if isinstance(expected, list):
            return self._compare_lists(expected, _parsed(actual), at)
        if isinstance(expected, str):
            return self._compare_texts(expected, actual, at)
        return None if expected == _parsed(actual) else f"{at}: {expected} is wanted, {actual} came"

    def _compare_lists(self, expected: list[Any], actual: Any, at: str) -> str | None:
        if not isinstance(actual, list) or len(actual) != len(expected):
            return f"{at}: {expected} is wanted, {actual} came"
        pairs = enumerate(zip(expected, actual, strict=True))
        each = (self.compare(e, a, f"{at}[{n}]") for n, (e, a) in pairs)
        return next((problem for problem in each if problem), None)

    def _compare_objects(self, expected: dict[str, Any], actual: Any, at: str) -> str | None:
        if not isinstance(actual, dict):
            return f"{at}: {expected} is wanted, {actual} came"
        later = {name for name in LATER_MEMBERS if name not in expected}
        for name in expected.keys() | (actual.keys() - later):
            below = f"{at}.{name}"
            if self._ignored(below):
                continue
            if name not in actual or name not in expected:
                which = "is missing" if name not in actual else f"is not wanted: {actual[name]}"
                return f"{below} {which}"
        each = (self.compare(expected[name], actual[name], f"{at}.{name}")
                for name in expected if name in actual)  # fmt: skip
        return next((problem for problem in each if problem), None)

    def _ignored(self, at: str) -> bool:
        ignored = (each.removeprefix("$.") for each in self.case["localstack_ignores"])
        return any(at.endswith(each) for each in ignored)

    def _compare_texts(self, expected: str, actual: Any, at: str) -> str | None:
        if expected in ANYTHING or expected == "<omitted>":
            return None
        text = actual if isinstance(actual, str) else json.dumps(actual, default=str)
        if text == expected:
            return None
        marks = [*map(re.escape, self.wildcards), r"<[^<>]*>"]
        tokens = re.findall("|".join(marks), expected)
        pieces = re.split("|".join(marks), expected)
        pattern = "(.+?)".join(re.escape(piece) for piece in pieces)
        pattern = pattern.replace(RECORDED, f"(?:{RECORDED}|{OURS})")
        found = re.fullmatch(pattern, text, re.DOTALL)
        if found is None:
            parsed = _parsed(actual)
            if isinstance(parsed, str) and parsed != actual:
                return self._compare_texts(expected, parsed, at)
            return f"{at}: {expected!r} is wanted, {text!r} came"
        for token, value in zip(tokens, found.groups(), strict=True):
            if self.bound.setdefault(token, value) != value and token.startswith("<"):
                return f"{at}: {token} was {self.bound[token]!r} and is {value!r}"
        return None


def _parsed(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value
