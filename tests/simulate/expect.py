"""What a plan may come to, by an interpreter that knows nothing of the machines."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

from tests.simulate.flows import MODELS, STEPS, Plan

from batuta.common.duration import SECOND
from batuta.simulate.models import luck

MOST = 200

Ending = tuple[bool, Any, int]
"""(whether it succeeds, with what, how many operations its branch had asked for by then)."""


class TooMany(Exception):
    """More endings than are worth listing."""


@dataclass(slots=True)
class Place:
    """Where an operation stands: the run, the scope of its branch, the operations before it."""

    run: str
    scope: str = ""
    count: int = 0

    @property
    def key(self) -> str:
        """The key of the next operation."""
        return f"{self.scope}{self.count + 1}"

    def at(self, count: int) -> Place:
        """Further on in the same branch."""
        return Place(self.run, self.scope, count)


class Expected:
    """The possible endings of plans under a seed; which one it is depends on times only."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def run(self, plan: Plan, run: str) -> list[Ending]:
        """The endings of a run."""
        if plan[0] != "seq" or plan[-1][0] != "continue":
            return self.endings(plan, Place(run))
        endings = self.endings(plan[:-1], Place(run))
        failed = [ending for ending in endings if not ending[0]]
        if len(failed) == len(endings):
            return failed
        return [*failed, *self.run(plan[-1][1], following(run))]

    def endings(self, plan: Plan, place: Place) -> list[Ending]:
        """The endings of one operation."""
        kind, *rest = plan
        found: list[Ending] = getattr(self, "_" + kind)(place, *rest)
        unique = [one for at, one in enumerate(found) if one not in found[:at]]
        if len(unique) > MOST:
            raise TooMany
        return unique

    def attempts(self, name: str, run: str, key: str) -> bool:
        """Whether a step succeeds in the end."""
        step, model = STEPS[name], MODELS.steps[name]
        for attempt in range(1, (step.retry.attempts or 1000) + 1):
            taken, failure = model.draw(luck(self.seed, f"{run}/{key}", name, attempt))
            late = step.timeout_s is not None and taken > step.timeout_s * SECOND
            if failure is None and not late:
                return True
        return False

    # -- the operations --------------------------------------------------------------------

    def _step(self, place: Place, name: str, argument: str) -> list[Ending]:
        done = self.attempts(name, place.run, place.key)
        value = None if name == "release" else f"{name}:{argument}"
        return [(done, value if done else None, place.count + 1)]

    def _seq(self, place: Place, *parts: Plan) -> list[Ending]:
        states: list[tuple[bool, Any, int]] = [(True, [], place.count)]
        for part in parts:
            following: list[Ending] = []
            for done, values, count in states:
                if not done:
                    following.append((done, values, count))
                    continue
                for ended, value, after in self.endings(part, place.at(count)):
                    following.append((ended, [*values, value] if ended else None, after))
            states = following
            if len(states) > MOST:
                raise TooMany
        return states

    def _try(self, place: Place, part: Plan) -> list[Ending]:
        return [
            (True, value if done else "failed", count)
            for done, value, count in self.endings(part, place)
        ]

    def _parts(self, place: Place, parts: tuple[Plan, ...]) -> list[list[Ending]]:
        return [
            self.endings(part, Place(place.run, f"{place.key}.{at}."))
            for at, part in enumerate(parts)
        ]

    def _gather(self, place: Place, *parts: Plan) -> list[Ending]:
        after = place.count + 1
        endings: list[Ending] = []
        for number, combined in enumerate(product(*self._parts(place, parts))):
            if number > MOST:
                raise TooMany
            if all(done for done, _, _ in combined):
                endings.append((True, [value for _, value, _ in combined], after))
            else:
                endings.append((False, None, after))
        return endings

    def _together(self, place: Place, *names: str) -> list[Ending]:
        done = all(
            self.attempts(name, place.run, f"{place.key}.{at}") for at, name in enumerate(names)
        )
        values = [f"{name}:{at}" for at, name in enumerate(names)]
        return [(done, values if done else None, place.count + 1)]

    def _race(self, place: Place, *parts: Plan) -> list[Ending]:
        after = place.count + 1
        return [
            (done, [at, value] if done else None, after)
            for at, endings in enumerate(self._parts(place, parts))
            for done, value, _ in endings
        ]

    def _timeout(self, place: Place, part: Plan, within: float) -> list[Ending]:
        after = place.count + 1
        (endings,) = self._parts(place, (part,))
        return [*((done, value, after) for done, value, _ in endings), (False, None, after)]

    def _sleep(self, place: Place, seconds: float) -> list[Ending]:
        return [(True, None, place.count + 1)]

    def _saga(self, place: Place, *parts: Plan) -> list[Ending]:
        inside = Place(place.run, f"{place.key}.0.")
        return [(done, value, place.count + 1) for done, value, _ in self._seq(inside, *parts)]

    def _signal(self, place: Place, name: str, within: float | None) -> list[Ending]:
        after = place.count + 1
        came: Ending = (True, f"value of {name}", after)
        return [came] if within is None else [came, (False, None, after)]

    def _event(self, place: Place, type: str, subject: str, within: float) -> list[Ending]:
        return [(True, seen, place.count + 1) for seen in ("seen", "unseen")]

    def _emit(self, place: Place, type: str, subject: str) -> list[Ending]:
        return [(True, f"{place.run}/{place.key}", place.count + 1)]

    def _child(self, place: Place, plan: Plan) -> list[Ending]:
        after = place.count + 1
        endings = self.run(plan, f"{place.run}/{place.key}")
        return [(done, value if done else None, after) for done, value, _ in endings]


def following(run: str) -> str:
    """The id of the run that a run continues as."""
    base, _, count = run.rpartition("~")
    return f"{base}~{int(count) + 1}" if base and count.isdigit() else f"{run}~2"
