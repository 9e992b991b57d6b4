"""The tour shows the code that is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from examples.shop import audit as audit_module

SHOP = Path(audit_module.__file__).parent
TOUR = SHOP.parents[1] / "docs" / "tour.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", TOUR.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[0])
def test_each_block_of_code_stands_in_the_workflow(block: str) -> None:
    assert block in (SHOP / "shop.py").read_text("utf-8")


def test_there_is_code_to_compare() -> None:
    assert len(BLOCKS) >= 5


def test_the_workflow_is_short_enough_to_be_read_first() -> None:
    assert len((SHOP / "shop.py").read_text("utf-8").splitlines()) < 120
