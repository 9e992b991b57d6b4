"""What linters of Amazon States Language say of definitions, valid and broken."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.conformance.asl.cases import CASES, cases_of, known, parametrized

from batuta.workflow.asl.check import findings
from batuta.workflow.asl.source import parse

KNOWN = "known_failures_lint.txt"


def problems(case: dict[str, Any]) -> list[str]:
    """The mistakes in a case's definition, each with its pointer."""
    source = parse(json.dumps(case["definition"]), is_yaml=False)
    found = findings(source.value)
    for each in found:
        assert source.at(each.location if each.location != "/" else "")[0] >= 1
    return [f"{each.location}: {each.message}" for each in found if each.severity == "ERROR"]


@pytest.mark.parametrize("case", parametrized("lint", KNOWN))
def test_a_definition_is_judged_as_linters_judge_it(case: dict[str, Any]) -> None:
    expected, found = case["expected"], problems(case)
    assert (not found) is expected["valid"], found
    for text in expected.get("includes", ()):
        assert any(text.strip('"') in each for each in found), (text, found)


@pytest.mark.skipif(not CASES.is_dir(), reason=f"NO CASES: {CASES} is missing")
def test_the_rate() -> None:
    assert len(known(KNOWN)) <= 0.03 * len(cases_of("lint"))
