"""What a simulated world believes about steps, signals and events: how long, and how it ends."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import accumulate
from struct import Struct
from typing import Any

from batuta.common.failure import bases_by_name, bases_of
from batuta.kernel.errors import BatutaError
from batuta.simulate.distribution import BadModel, Distribution, constant, distribution

SECOND = 1_000_000_000
SCALE = 2.0**-53
three: Callable[[bytes], Luck] = Struct("<QQQ").unpack


class SimulatedFailure(BatutaError):
    """A step that failed because its model says so."""


MISSING: Any = object()
"""A step whose model names no value: a placeholder of its result's type is made."""

TIMED_OUT = "batuta:TimedOut"
FAILED = "batuta:SimulatedFailure"


Luck = tuple[int, int, int]
"""64 random bits each for how long an attempt takes, whether it fails, and with what."""


def luck(seed: int | str, entity: str, activity: str, attempt: int) -> Luck:
    """The luck of one attempt, by its name: the same in every world and in any order.

    Parameters
    ----------
    entity: `RUN/KEY` of the asking. activity: the step's name. attempt: from 1.
    """
    key = f"{seed}\0{entity}\0{activity}\0{attempt}"
    return three(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=24).digest())


@dataclass(frozen=True, slots=True)
class StepModel:
    """How attempts of a step go.

    Parameters
    ----------
    duration: how long an attempt takes.
    fail: the probability that an attempt fails.
    failures: (type, weight) of the failures, as `module:Name`; `ConnectionError` is enough for
        Python's own.
    fails_after: how long a failing attempt takes, where that differs.
    value: what it gives; a function is called with the step's arguments.
    values: what it gives, one of these, each as likely as the others; goes before `value`.
    run: perform the real function for its value (its time is still the model's).
    source: where it comes from, for reports (`file`, `history: 120 attempts`, `default`).
    """

    duration: Distribution = field(default_factory=lambda: constant(SECOND))
    fail: float = 0.0
    failures: tuple[tuple[str, float], ...] = ((FAILED, 1.0),)
    fails_after: Distribution | None = None
    value: Any = MISSING
    run: bool = False
    source: str = "default"
    values: tuple[Any, ...] = ()

    def draw(self, luck: Luck) -> tuple[int, str | None]:
        """One attempt: (nanoseconds, the failure's type or None)."""
        chance = (luck[0] >> 11) * SCALE
        if self.fail and (luck[1] >> 11) * SCALE < self.fail:
            return (self.fails_after or self.duration).sample(chance), self._failure(luck[2])
        return self.duration.sample(chance), None

    def pick(self, luck: Luck) -> Any:
        """What an attempt that succeeds gives: `value`, or one of the `values`."""
        values = self.values
        return values[int((luck[2] >> 11) * SCALE * len(values))] if values else self.value

    def _failure(self, bits: int) -> str:
        failures = self.failures
        if len(failures) == 1:
            return failures[0][0]
        bounds = list(accumulate(weight for _, weight in failures))
        at = bisect_right(bounds, (bits >> 11) * SCALE * bounds[-1])
        return failures[min(at, len(failures) - 1)][0]


@dataclass(frozen=True, slots=True)
class ArrivalModel:
    """When something comes that a run waits for, counted from when it begins to wait.

    Parameters
    ----------
    after: how long it takes.
    never: the probability that it does not come at all.
    value: the signal's value, or the event's data.
    """

    after: Distribution = field(default_factory=lambda: constant(SECOND))
    never: float = 0.0
    value: Any = None
    source: str = "default"


@dataclass(slots=True)
class Models:
    """All models of a simulation, by name; `*` stands for everything without one of its own.

    Parameters
    ----------
    steps: by a step's name. signals, events: by name and event type.
    """

    steps: dict[str, StepModel] = field(default_factory=dict)
    signals: dict[str, ArrivalModel] = field(default_factory=dict)
    events: dict[str, ArrivalModel] = field(default_factory=dict)

    def step(self, name: str) -> StepModel:
        """A step's model."""
        return self.steps.get(name) or self.steps.get("*") or _DEFAULT_STEP

    def signal(self, name: str) -> ArrivalModel:
        """When a signal comes."""
        return self.signals.get(name) or self.signals.get("*") or _DEFAULT_ARRIVAL

    def event(self, type: str) -> ArrivalModel:
        """When an event comes."""
        return self.events.get(type) or self.events.get("*") or _DEFAULT_ARRIVAL


_DEFAULT_STEP = StepModel()
_DEFAULT_ARRIVAL = ArrivalModel()

_BASES: dict[str, list[str]] = {}


def bases(failure: str) -> list[str]:
    """The names of a failure's base classes, for retry rules, where its class is known."""
    known = _BASES.get(failure)
    if known is None:
        module, _, name = failure.partition(":")
        kind = _BUILTIN.get(name) if module == "builtins" else None
        known = bases_of(kind) if kind is not None else bases_by_name(failure)
        _BASES[failure] = known
    return known


_BUILTIN = {
    kind.__name__: kind
    for kind in (
        ArithmeticError, AssertionError, ConnectionError, ConnectionRefusedError,
        ConnectionResetError, EOFError, Exception, KeyError, LookupError, MemoryError, OSError,
        PermissionError, RuntimeError, TimeoutError, TypeError, ValueError,
    )
}  # fmt: skip


def failure_type(name: str) -> str:
    """A failure's type in its stored form."""
    if ":" in name:
        return name
    return f"builtins:{name}" if name in _BUILTIN else f"batuta:{name}"


# -- out of a file --------------------------------------------------------------------------------

STEP_WORDS = (
    "duration", "fail", "failure", "failures", "fails_after", "value", "values", "run",
)  # fmt: skip
ARRIVAL_WORDS = ("after", "never", "value")
TOP_WORDS = ("steps", "signals", "events", "arrivals", "queues")


def models_of(data: Any, file: str = "models") -> Models:
    """Models out of a parsed YAML or JSON file.

    Raises
    ------
    BadModel: naming the entry that is wrong.
    """
    top = _mapping(data, file, TOP_WORDS)
    return Models(
        _section(top, "steps", file, _step_model),
        _section(top, "signals", file, _arrival_model),
        _section(top, "events", file, _arrival_model),
    )


def _section(
    top: Mapping[str, Any], name: str, file: str, make: Callable[[Any, str], Any]
) -> dict[str, Any]:
    entries = top.get(name) or {}
    if not isinstance(entries, Mapping):
        raise BadModel(f"{file}: `{name}` is no table of names", hint=f"write `{name}: NAME: …`")
    found = {}
    for key, value in entries.items():
        place = f"{file}: {name}.{key}"
        try:
            found[str(key)] = make(value, place)
        except BadModel as error:
            text = error.message if error.message.startswith(file) else f"{place}: {error.message}"
            raise BadModel(text, hint=error.hint) from None
    return found


def _step_model(value: Any, place: str) -> StepModel:
    if not isinstance(value, Mapping):
        return StepModel(distribution(value), source="file")
    data = _mapping(value, place, STEP_WORDS)
    failures: tuple[tuple[str, float], ...] = ((FAILED, 1.0),)
    if "failure" in data:
        failures = ((failure_type(str(data["failure"])), 1.0),)
    elif "failures" in data:
        weights = _mapping(data["failures"], f"{place}.failures", None)
        failures = tuple((failure_type(name), _share(one, 1e9)) for name, one in weights.items())
        if not failures:
            raise BadModel("`failures` is empty", hint="write `failures: {ConnectionError: 1}`")
    values = data.get("values", [])
    if not isinstance(values, list) or ("values" in data and not values):
        raise BadModel("`values` is no list of results", hint="write `values: [yes, yes, no]`")
    return StepModel(
        distribution(data.get("duration", "1s")),
        _share(data.get("fail", 0.0), 1.0),
        failures,
        distribution(data["fails_after"]) if "fails_after" in data else None,
        data.get("value", MISSING),
        bool(data.get("run", False)),
        "file",
        tuple(values),
    )


def _arrival_model(value: Any, place: str) -> ArrivalModel:
    if not isinstance(value, Mapping):
        return ArrivalModel(distribution(value), source="file")
    data = _mapping(value, place, ARRIVAL_WORDS)
    after = distribution(data.get("after", "1s"))
    return ArrivalModel(after, _share(data.get("never", 0.0), 1.0), data.get("value"), "file")


def _mapping(value: Any, place: str, words: tuple[str, ...] | None) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise BadModel(f"{place}: this is no table", hint="a model is written as `name: value`")
    for word in value:
        if words is not None and word not in words:
            raise BadModel(
                f"{place}: nothing is called `{word}`", hint=f"known: {', '.join(words)}"
            )
    return value


def _share(value: Any, most: float) -> float:
    if isinstance(value, str) and value.strip().endswith("%"):
        value = _float(value.strip()[:-1]) / 100
    number = _float(value)
    if not 0 <= number <= most:
        raise BadModel(f"{value!r} is no probability", hint="write 0.05, or 5%")
    return number


def _float(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise BadModel(f"{value!r} is no number", hint="write 0.05, or 5%") from None
