"""Mock configuration files of Step Functions Local (`MockConfigFile.json`)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from batuta.kernel.errors import BatutaError
from batuta.testing.answer import Answer, Turns

NUMBERS = re.compile(r"(\d+)(?:-(\d+))?")
CALLS_MAX = 10_000


def turns_of(file: str | Path, machine: str, case: str) -> dict[str, Turns]:
    """What the tasks of a machine answer in a test case: state -> its answers.

    Parameters
    ----------
    machine: its name, below `StateMachines`. case: below its `TestCases`.

    Raises `BatutaError` for a file, a machine, a case or a response that is not there or wrong.
    """
    content = _read(file)
    responses = _object(content.get("MockedResponses", {}), "MockedResponses", file)
    machines = _object(content.get("StateMachines", {}), "StateMachines", file)
    found = _named("state machine", machine, machines, file)
    where = f"StateMachines.{machine}.TestCases"
    cases = _object(_object(found, machine, file).get("TestCases", {}), where, file)
    states = _object(_named("test case", case, cases, file), f"{where}.{case}", file)
    made = {}
    for state, name in states.items():
        response = _named("mocked response", str(name), responses, file)
        made[state] = Turns(_answers(response, str(name), file), again=False, source=str(file))
    return made


def _read(file: str | Path) -> dict[str, Any]:
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        raise BatutaError(f"`{file}` cannot be read: {why}") from error
    try:
        return _object(json.loads(text), "the whole", file)
    except json.JSONDecodeError as wrong:
        at = f"{file}:{wrong.lineno}:{wrong.colno}"
        raise BatutaError(f"`{file}` is no JSON: {wrong.msg}", at=at) from wrong


def _named(what: str, name: str, known: Mapping[str, Any], file: str | Path) -> Any:
    if name in known:
        return known[name]
    near = get_close_matches(name, known, 1)
    told = f"it has {_list(known)}" if known else "it has none"
    hint = f"did you mean `{near[0]}`?" if near else told
    if what == "state machine" and not near:
        hint = f'{told}; a machine\'s name can be given: `machine(FILE, name="…")`'
    raise BatutaError(f"there is no {what} `{name}`", at=str(file), hint=hint)


def _answers(response: Any, name: str, file: str | Path) -> tuple[Answer, ...]:
    """A mocked response by call: `{"0": …, "1-2": …}`."""
    found: dict[int, Answer] = {}
    for numbers, each in _object(response, f"MockedResponses.{name}", file).items():
        matched = NUMBERS.fullmatch(numbers)
        first, last = (int(matched[1]), int(matched[2] or matched[1])) if matched else (1, 0)
        if not first <= last < CALLS_MAX:
            raise BatutaError(
                f"`{numbers}` of the mocked response `{name}` numbers no calls", at=str(file),
                hint='the first call is "0"; a range is written "1-3"',
            )  # fmt: skip
        answer = _answer(each, f"MockedResponses.{name}.{numbers}", file)
        found |= dict.fromkeys(range(first, last + 1), answer)
    missing = next((number for number in range(len(found)) if number not in found), None)
    if missing is not None or not found:
        raise BatutaError(
            f"the mocked response `{name}` does not say what call {missing or 0} gets",
            at=str(file), hint="the calls are numbered from 0, without gaps",
        )  # fmt: skip
    return tuple(found[number] for number in range(len(found)))


def _answer(response: Any, where: str, file: str | Path) -> Answer:
    given = _object(response, where, file)
    if len(given.keys() & {"Return", "Throw"}) != 1:
        raise BatutaError(
            f"`{where}` needs either `Return` or `Throw`", at=str(file),
            hint='write {"Return": …} or {"Throw": {"Error": "…", "Cause": "…"}}',
        )  # fmt: skip
    if "Return" in given:
        return Answer(given["Return"])
    thrown = _object(given["Throw"], f"{where}.Throw", file)
    return Answer(error=str(thrown.get("Error", "")), cause=str(thrown.get("Cause", "")))


def _object(value: Any, where: str, file: str | Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BatutaError(f"`{where}` is no object", at=str(file))
    return value


def _list(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
