"""Distributions in words, models out of files, and values of any type."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batuta.common.duration import SECOND
from batuta.simulate.distribution import BadModel, distribution, mixture
from batuta.simulate.models import MISSING, luck, models_of
from batuta.simulate.placeholder import placeholder
from batuta.workflow.builtin import HttpResult

WRITTEN: list[tuple[Any, float]] = [
    ("2s", 2.0),
    ("uniform(1s, 3s)", 2.0),
    ("exponential(5m)", 300.0),
    ("normal(10s, 2s)", 10.0),
    ("lognormal(8m, 0.5)", 8 * 60 * 1.1331),
    ("triangular(1s, 2s, 9s)", 4.0),
    (["1s", "2s", "6s"], 3.0),
    ({"lognormal": ["8m", 0.5]}, 8 * 60 * 1.1331),
    ({"exponential": "5m"}, 300.0),
    ("empirical(1s, 3s)", 2.0),
]


@pytest.mark.parametrize(("text", "mean_s"), WRITTEN)
def test_samples_have_the_mean_that_is_written(text: Any, mean_s: float) -> None:
    one = distribution(text)
    count = 20_000
    samples = [one.sample((at + 0.5) / count) for at in range(count)]
    assert sum(samples) / count / SECOND == pytest.approx(mean_s, rel=0.01)
    assert one.mean / SECOND == pytest.approx(mean_s, rel=0.001)
    # Equal luck stays equal luck: more of it never takes less time.
    assert samples == sorted(samples)


@given(st.floats(0, 1, exclude_max=True), st.sampled_from([text for text, _ in WRITTEN]))
def test_every_sample_is_a_duration(chance: float, text: Any) -> None:
    sample = distribution(text).sample(chance)
    assert isinstance(sample, int)
    assert sample >= 0


def test_a_mixture_gives_each_part_its_share() -> None:
    one = mixture([(3, distribution("1s")), (1, distribution("uniform(10s, 20s)"))])
    samples = [one.sample((at + 0.5) / 1000) for at in range(1000)]
    assert sum(sample == SECOND for sample in samples) == 750
    assert one.mean == pytest.approx((3 * 1 + 15) / 4 * SECOND)


@pytest.mark.parametrize(
    "text",
    [
        "soon", "gauss(1s, 2s)", "uniform(3s, 1s)", "uniform(1s)", "lognormal(1s, x)",
        "exponential(-1s)", "triangular(3s, 2s, 1s)", [], {}, {"a": 1, "b": 2}, None,
    ],
)  # fmt: skip
def test_what_is_no_distribution_is_refused(text: Any) -> None:
    with pytest.raises(BadModel):
        distribution(text)


def test_models_of_a_file() -> None:
    models = models_of(
        {
            "steps": {
                "charge": {
                    "duration": "lognormal(2s, 0.5)", "fail": "5%", "value": {"id": 1},
                    "failures": {"ConnectionError": 3, "shop:Declined": 1},
                },
                "*": "1s",
            },
            "signals": {"approve": {"after": "1h", "never": 0.1, "value": True}},
        }
    )  # fmt: skip
    charge = models.step("charge")
    assert charge.fail == 0.05
    assert charge.value == {"id": 1}
    assert dict(charge.failures) == {"builtins:ConnectionError": 3.0, "shop:Declined": 1.0}
    drawn = [charge.draw(luck(1, f"run-{at}/1", "charge", 1))[1] for at in range(20_000)]
    failed = [one for one in drawn if one is not None]
    assert len(failed) / len(drawn) == pytest.approx(0.05, rel=0.1)
    assert failed.count("shop:Declined") / len(failed) == pytest.approx(0.25, rel=0.15)
    assert models.step("anything").duration.mean == SECOND
    assert models.step("anything").value is MISSING
    assert models.signal("approve").never == 0.1


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"steps": {"pay": {"durations": "1s"}}}, "models: steps.pay: nothing is called"),
        ({"steps": {"pay": {"fail": 2}}}, "models: steps.pay: 2 is no probability"),
        ({"steps": {"pay": "soon"}}, "models: steps.pay: 'soon' is no duration"),
        ({"step": {}}, "models: nothing is called `step`"),
        ({"steps": []}, None),
        ([], "models: this is no table"),
        ({"steps": ["pay"]}, "models: `steps` is no table"),
    ],
)
def test_a_wrong_file_says_where(data: Any, said: str | None) -> None:
    if said is None:
        assert models_of(data).steps == {}
        return
    with pytest.raises(BadModel) as refused:
        models_of(data)
    assert str(refused.value).startswith(said)
    assert refused.value.hint


class Colour(Enum):
    """An enumeration."""

    RED = 1
    BLUE = 2


@dataclass
class Parcel:
    """A dataclass with another value in it."""

    id: str
    colour: Colour
    sent: datetime
    parts: list[int]
    note: str | None
    weight: float = 2.5


def test_placeholders_fit_their_types() -> None:
    parcel = placeholder(Parcel)
    assert isinstance(parcel, Parcel)
    assert (parcel.id, parcel.colour, parcel.parts, parcel.note) == ("", Colour.RED, [], None)
    assert parcel.sent.tzinfo is not None
    assert parcel.weight == 2.5
    assert placeholder(tuple[int, str]) == (0, "")
    assert placeholder(dict[str, int]) == {}
    assert placeholder(Literal["a", "b"]) == "a"
    assert placeholder(int | str) == 0
    assert placeholder(HttpResult).status == 200
    assert placeholder(list[int]) is not placeholder(list[int])


def test_luck_is_keyed_by_all_its_names() -> None:
    drawn = {luck(1, "a/1", "x", 1), luck(2, "a/1", "x", 1), luck(1, "a/2", "x", 1),
             luck(1, "a/1", "y", 1), luck(1, "a/1", "x", 2)}  # fmt: skip
    assert len(drawn) == 5
    assert luck(1, "a/1", "x", 1) in drawn
