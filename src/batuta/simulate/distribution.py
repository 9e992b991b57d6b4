"""How long things take: distributions written in words, sampled from a number in [0, 1)."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from statistics import NormalDist
from typing import Any

from batuta.common.duration import BadDuration, nanoseconds, show
from batuta.kernel.errors import BatutaError

_STANDARD = NormalDist()
_TINY = 2.0**-54
HINT = (
    'write a duration ("2s"), or uniform(1s, 3s), exponential(5m), normal(10s, 2s), '
    "lognormal(8m, 0.5) (median and spread), triangular(1s, 2s, 9s) (least, likeliest, most)"
)

Sampler = Callable[[float], int]
"""From a number in [0, 1) to nanoseconds; never decreasing, so that equal luck stays equal luck."""


class BadModel(BatutaError, ValueError):
    """A model that makes no sense."""


class Distribution:
    """A distribution of durations.

    Parameters
    ----------
    text: how it was written.
    sample: a number in [0, 1) -> nanoseconds, by inverse transform.
    mean: nanoseconds.
    """

    __slots__ = ("mean", "sample", "text")

    def __init__(self, text: str, sample: Sampler, mean: float) -> None:
        self.text = text
        self.sample = sample
        self.mean = mean

    def __repr__(self) -> str:
        return f"<{self.text}>"


def constant(value: int) -> Distribution:
    """Always the same, ns."""
    return Distribution(show(value), lambda u: value, value)


def uniform(low: int, high: int) -> Distribution:
    """Anything between, ns."""
    span = high - low
    text = f"uniform({show(low)}, {show(high)})"
    return Distribution(text, lambda u: low + int(span * u), (low + high) / 2)


def exponential(mean: int) -> Distribution:
    """Without memory, by its mean, ns."""
    log1p = math.log1p
    return Distribution(f"exponential({show(mean)})", lambda u: int(-mean * log1p(-u)), mean)


def normal(mean: int, spread: int) -> Distribution:
    """The bell, by mean and standard deviation, ns; what falls below 0 is 0."""
    inverse = _STANDARD.inv_cdf

    def sample(u: float) -> int:
        return max(0, int(mean + spread * inverse(u or _TINY)))

    return Distribution(f"normal({show(mean)}, {show(spread)})", sample, mean)


def lognormal(median: int, sigma: float) -> Distribution:
    """A long tail to the right, by its median (ns) and the spread of its logarithm."""
    inverse, exp = _STANDARD.inv_cdf, math.exp

    def sample(u: float) -> int:
        return int(median * exp(sigma * inverse(u or _TINY)))

    mean = median * math.exp(sigma * sigma / 2)
    return Distribution(f"lognormal({show(median)}, {sigma:g})", sample, mean)


def triangular(low: int, mode: int, high: int) -> Distribution:
    """An estimate of three points, ns."""
    span = high - low
    knee = (mode - low) / span if span else 0.0
    up, down = math.sqrt(span * (mode - low)), math.sqrt(span * (high - mode))

    def sample(u: float) -> int:
        if u < knee:
            return low + int(up * math.sqrt(u))
        return high - int(down * math.sqrt(1 - u))

    text = f"triangular({show(low)}, {show(mode)}, {show(high)})"
    return Distribution(text, sample, (low + mode + high) / 3)


def empirical(values: Sequence[int]) -> Distribution:
    """One of those that were observed, ns."""
    ordered = sorted(values)
    if not ordered:
        raise BadModel("an empirical distribution needs at least one observation")
    count = len(ordered)
    text = f"empirical({count} observations)"
    return Distribution(text, lambda u: ordered[int(u * count)], sum(ordered) / count)


def mixture(parts: Sequence[tuple[float, Distribution]]) -> Distribution:
    """One of several distributions, by weight."""
    total = sum(weight for weight, _ in parts)
    if total <= 0:
        raise BadModel("the weights of a mixture have to add up to more than 0")
    bounds = [at / total for at in accumulate(weight for weight, _ in parts)]

    def sample(u: float) -> int:
        at = min(bisect_right(bounds, u), len(parts) - 1)
        low = bounds[at - 1] if at else 0.0
        # What is left of the luck after choosing the part decides within it.
        return parts[at][1].sample(min((u - low) / (bounds[at] - low), 1 - _TINY * 2))

    text = "mixture(" + ", ".join(f"{weight:g}: {one.text}" for weight, one in parts) + ")"
    return Distribution(text, sample, sum(w * one.mean for w, one in parts) / total)


_CALL = re.compile(r"\s*([a-z]+)\s*\((.*)\)\s*", re.DOTALL)


def distribution(value: Any) -> Distribution:
    """A distribution as users write it: a duration, a call in words, a list of observations,
    or a mapping `{"lognormal": ["8m", 0.5]}`.

    Raises
    ------
    BadModel: it is none.
    """
    if isinstance(value, Distribution):
        return value
    if isinstance(value, Mapping):
        if len(value) != 1:
            raise BadModel(f"{dict(value)!r} is no distribution", hint=HINT)
        (name, given), *_ = value.items()
        return _made(str(name), given if isinstance(given, list | tuple) else [given], str(value))
    if isinstance(value, list | tuple):
        return empirical([_duration(one) for one in value])
    if isinstance(value, str) and (call := _CALL.fullmatch(value)):
        parts = [part.strip() for part in call[2].split(",")] if call[2].strip() else []
        return _made(call[1], parts, value)
    return constant(_duration(value))


def _made(name: str, parts: Sequence[Any], text: str) -> Distribution:
    if name == "empirical":
        return empirical([_duration(part) for part in parts])
    entry = _KINDS.get(name)
    if entry is None:
        raise BadModel(f"there is no distribution `{name}`", hint=HINT)
    count, make = entry
    if len(parts) != count:
        raise BadModel(f"{name} takes {count} numbers, {text!r} has {len(parts)}", hint=HINT)
    return make(*parts)


def _checked_uniform(low: Any, high: Any) -> Distribution:
    least, most = _duration(low), _duration(high)
    if most < least:
        raise BadModel(f"uniform({low}, {high}): the second is smaller than the first", hint=HINT)
    return uniform(least, most)


def _checked_triangular(low: Any, mode: Any, high: Any) -> Distribution:
    least, likeliest, most = _duration(low), _duration(mode), _duration(high)
    if not least <= likeliest <= most:
        raise BadModel(f"triangular({low}, {mode}, {high}) is not in order", hint=HINT)
    return triangular(least, likeliest, most)


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise BadModel(f"{value!r} is no number", hint=HINT) from None
    if not (math.isfinite(number) and number >= 0):
        raise BadModel(f"{value!r} cannot be a spread", hint=HINT)
    return number


def _duration(value: Any) -> int:
    try:
        found = nanoseconds(value)
    except BadDuration as error:
        raise BadModel(error.message, hint=HINT) from None
    if found < 0:
        raise BadModel(f"{value!r} is negative: nothing takes less than no time", hint=HINT)
    return found


_KINDS: dict[str, tuple[int, Callable[..., Distribution]]] = {
    "constant": (1, lambda value: constant(_duration(value))),
    "uniform": (2, _checked_uniform),
    "exponential": (1, lambda mean: exponential(_duration(mean))),
    "normal": (2, lambda mean, spread: normal(_duration(mean), _duration(spread))),
    "lognormal": (2, lambda median, sigma: lognormal(_duration(median), _number(sigma))),
    "triangular": (3, _checked_triangular),
}
