"""What runs wait for besides steps in the fast simulation: time, signals, events."""

from __future__ import annotations

from typing import Any

from batuta.kernel.errors import TimedOut
from batuta.simulate.models import SCALE, ArrivalModel, Models, luck
from batuta.simulate.performing import Answer
from batuta.simulate.process import Process
from batuta.simulate.timeline import LATE, Timeline
from batuta.workflow.ask import Emit, EventWait, Expiry, SignalWait, Sleep
from batuta.workflow.program import Joining


class Waiting:
    """Lets time pass, signals and events come.

    Parameters
    ----------
    timeline: the clock. models: when signals and events come. seed: what luck is keyed with.
    answer: takes what came.
    """

    def __init__(self, timeline: Timeline, models: Models, seed: int | str, answer: Answer) -> None:
        self.assumed: set[str] = set()
        self._timeline = timeline
        self._models = models
        self._seed = seed
        self._answer = answer
        self._waits: dict[str, dict[EventWait, Process]] = {}

    def sleep(self, process: Process, ask: Sleep) -> None:
        """A run lets time pass."""
        now = self._timeline.now
        self._timeline.push(now + ask.delay, self._pass, process, ask, ("sleep", now, None))

    def limit(self, process: Process, joining: Joining, within: int) -> None:
        """A time limit begins."""
        now = self._timeline.now
        expiry: Any = Expiry(within)
        joining.expiry = expiry
        expiry.cause = joining
        expiry.asked = process.path
        detail = ("time limit", now, None)
        self._timeline.push(now + within, self._pass, process, expiry, detail, LATE)

    def signal(self, process: Process, ask: SignalWait[Any]) -> None:
        """A run waits for a signal."""
        model = self._models.signal(ask.name)
        if model.source == "default":
            self.assumed.add(f"signal {ask.name}")
        self._await(process, ask, model, f"signal {ask.name}", ask.name)

    def event(self, process: Process, ask: EventWait) -> None:
        """A run waits for an event: one that another run emits, or that the model lets come."""
        model = self._models.events.get(ask.type) or self._models.events.get("*")
        self._waits.setdefault(ask.type, {})[ask] = process
        self._await(process, ask, model, f"event {ask.type}", ask.type)

    def _await(
        self, process: Process, ask: Any, model: ArrivalModel | None, what: str, name: str
    ) -> None:
        now, comes = self._timeline.now, None
        if model is not None:
            drawn = luck(self._seed, f"{process.run}/{ask.key}", name, 1)
            if (drawn[1] >> 11) * SCALE >= model.never:
                comes = now + model.after.sample((drawn[0] >> 11) * SCALE)
        within: int | None = ask.within
        if model is not None and comes is not None and (within is None or comes <= now + within):
            value = model.value
            if isinstance(ask, EventWait):
                value = ask.build(
                    {
                        "id": f"{process.run}/{ask.key}", "type": ask.type,
                        "source": "/simulation", "subject": ask.subject or "", "time": comes,
                        "data": model.value,
                    }
                )  # fmt: skip
            self._timeline.push(comes, self._pass, process, ask, (what, now, value))
        elif within is not None:
            self._timeline.push(now + within, self._expire, process, ask, (what, now, None))
        else:
            ask.due = 0  # only another run can bring it

    def emit(self, process: Process, ask: Emit) -> None:
        """A run writes an event: whoever waits for it goes on, at this same instant."""
        waits = self._waits.get(ask.type)
        if not waits:
            return
        now = self._timeline.now
        seen = {
            "id": f"{process.run}/{ask.key}", "type": ask.type, "source": f"/runs/{process.run}",
            "subject": ask.subject, "time": now, "data": ask.data,
        }  # fmt: skip
        for wait, waiting in list(waits.items()):
            if (wait.subject is None or wait.subject == ask.subject) and (
                wait.where is None or wait.where.test(seen)
            ):
                del waits[wait]
                detail = (f"event {ask.type}", now, wait.build(seen))
                self._timeline.push(now, self._pass, waiting, wait, detail)

    def drop(self, ask: Any) -> None:
        """Nobody waits for it any more."""
        if isinstance(ask, EventWait):
            self._waits.get(ask.type, {}).pop(ask, None)

    # -- what happens ----------------------------------------------------------------------

    def _pass(self, process: Process, ask: Any, detail: Any) -> None:
        """A timer fired, a signal or an event came."""
        name, since, value = detail
        process.path = (ask.asked, name, self._timeline.now - since, 0, 0)
        self.drop(ask)
        self._answer(process, ask, value, None)

    def _expire(self, process: Process, ask: Any, detail: Any) -> None:
        """Something did not come in time."""
        name, since, _ = detail
        process.path = (ask.asked, name, self._timeline.now - since, 0, 0)
        self.drop(ask)
        text = f"{ask.describe()} did not come in time"
        self._answer(process, ask, None, TimedOut(text, {"message": text}))
