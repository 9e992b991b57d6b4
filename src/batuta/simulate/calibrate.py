"""Models out of the journal's own history: what steps took and how they failed, resampled.

Only the time from an attempt's beginning to its end is taken; waiting in queues is never
modelled, it comes about by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from batuta.kernel.event import Event
from batuta.kernel.journal import Journal
from batuta.simulate.distribution import empirical
from batuta.simulate.models import FAILED, Models, StepModel

PAGE = 2000
ENOUGH = 30
KEPT_MAX = 10_000
"""How many observations of each step are kept; the newest ones."""

TYPES = ("step.asked", "step.completed", "step.failed", "step.performed")


@dataclass(slots=True)
class History:
    """What was observed of one step.

    Parameters
    ----------
    succeeded, failed: how long such attempts took, ns. failures: type -> how many.
    """

    succeeded: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    failures: dict[str, int] = field(default_factory=dict)

    def model(self) -> StepModel:
        """One of what was observed, as often as it was."""
        count = len(self.succeeded) + len(self.failed)
        took = empirical(self.succeeded or self.failed)
        return StepModel(
            took,
            len(self.failed) / count,
            tuple((type, float(times)) for type, times in sorted(self.failures.items()))
            or ((FAILED, 1.0),),
            empirical(self.failed) if self.failed else None,
            source=f"history: {count} attempts",
        )


class Histories:
    """Gathers observations from events, by step."""

    def __init__(self) -> None:
        self.steps: dict[str, History] = {}
        self._names: dict[str, str] = {}

    def take(self, events: Iterable[Event]) -> None:
        """Take in events, in order."""
        for event in events:
            command = event.command or ""
            if event.type == "step.asked":
                self._names[command] = event.data["name"]
                continue
            if event.type not in TYPES:
                continue
            name = event.data.get("name") or self._names.pop(command, None)
            started = event.data.get("started")
            if name is not None and started is not None:
                self._note(name, event, max(0, event.time - started))

    def _note(self, name: str, event: Event, took: int) -> None:
        history = self.steps.setdefault(name, History())
        if event.type == "step.failed":
            type = event.data["error"]["type"]
            history.failures[type] = history.failures.get(type, 0) + 1
            history.failed.append(took)
        else:
            history.succeeded.append(took)
        for kept in (history.succeeded, history.failed):
            if len(kept) > 2 * KEPT_MAX:
                del kept[:-KEPT_MAX]

    def models(self) -> Models:
        """A model for each step that was observed."""
        return Models({name: history.model() for name, history in self.steps.items()})

    def notes(self) -> list[str]:
        """What to keep in mind about these models."""
        few = sorted(
            f"{name} ({count})"
            for name, one in self.steps.items()
            if (count := len(one.succeeded) + len(one.failed)) < ENOUGH
        )
        return [f"fewer than {ENOUGH} attempts are recorded of {', '.join(few)}"] if few else []


def histories(journal: Journal, after: int = 0) -> Histories:
    """What the journal knows about steps since an event."""
    found = Histories()
    while True:
        page = journal.read(after, PAGE, types=TYPES)
        found.take(page)
        if len(page) < PAGE:
            return found
        after = page[-1].seq


def merged(history: Models, given: Models) -> Models:
    """Models from history, with those that were given in their place."""
    return Models(
        {**history.steps, **given.steps},
        {**history.signals, **given.signals},
        {**history.events, **given.events},
    )
