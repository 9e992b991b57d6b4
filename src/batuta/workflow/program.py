"""Drives the coroutine of a durable function by hand, from recorded outcome to outcome."""

from __future__ import annotations

from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from batuta.common.keyed import bits
from batuta.kernel.errors import Cancelled, TimedOut, TooManyOperations
from batuta.kernel.event import Event
from batuta.workflow.ask import (
    Ask,
    Call,
    Expiry,
    Gather,
    Join,
    Patch,
    Race,
    SignalWait,
    active,
)
from batuta.workflow.failure import revive, revive_child
from batuta.workflow.saga import Saga, compensate

PENDING = (object(), None)
"""What `_take` answers where the branch has to wait."""

AT_ONCE = ("emit", "attributes", "patch")
"""Kinds of asking that are answered at once and only have to be recorded."""


class ContinueAsNew(BaseException):
    """Ends this run and goes on as a new one; raised by `continue_as_new`."""

    def __init__(self, args: list[Any], kwargs: dict[str, Any]) -> None:
        super().__init__("continue as new")
        self.stored = {"args": args, "kwargs": kwargs}


class Branch:
    """One coroutine of a run: the workflow's own, or one inside `gather`, `race`, `timeout`."""

    __slots__ = ("at", "coro", "count", "postponed", "sagas", "scope", "shielded", "slot")

    def __init__(
        self, coro: Coroutine[Any, Any, Any], scope: str, slot: Slot | None, sagas: list[Saga]
    ) -> None:
        self.coro = coro
        self.scope = scope
        self.slot = slot
        self.sagas = sagas
        self.count = 0
        self.shielded = 0
        self.postponed: BaseException | None = None
        self.at: Ask[Any] | Joining | None = None


class Slot:
    """The place of one awaitable in a join."""

    __slots__ = ("branch", "done", "index", "inner", "joining", "key", "value")

    def __init__(self, joining: Joining, index: int, key: str) -> None:
        self.joining = joining
        self.index = index
        self.key = key
        self.branch: Branch | None = None
        self.inner: Joining | None = None
        self.done = False
        self.value: Any = None


class Joining:
    """A `gather`, `race` or `timeout` that is under way.

    `decided`: its outcome is known and what is left is being cancelled; `closed`: it was
    handed on to its owner.
    """

    __slots__ = (
        "ask", "closed", "decided", "error", "expiry", "owner", "slots", "starting", "undone",
        "value",
    )  # fmt: skip

    def __init__(self, ask: Join, owner: Branch | Slot) -> None:
        self.ask = ask
        self.owner = owner
        self.slots: list[Slot] = []
        self.undone = len(ask.parts)
        self.starting = True
        self.decided = False
        self.closed = False
        self.value: Any = None
        self.error: BaseException | None = None
        self.expiry: Expiry | None = None


class Program:
    """A run of a durable function: what it waits for, and how it goes on.

    `wanted` are the askings that no event records yet; `dropped` the recorded ones that
    nobody waits for any more. The machine turns both into events. The program itself
    knows no clock, no journal and no world.

    Parameters
    ----------
    coro: the workflow function's coroutine, not started.
    run: the run's id; random numbers are keyed by it.
    workflow: the definition.
    operations_max: how many things it may ask for.
    """

    stores = True
    revive = staticmethod(revive)
    revive_child = staticmethod(revive_child)

    def __init__(
        self, coro: Coroutine[Any, Any, Any], run: str, workflow: Any, operations_max: int
    ) -> None:
        self.run = run
        self.workflow = workflow
        self.operations_max = operations_max
        self.now = 0
        self.cause: Event | None = None
        self.wanted: dict[str, Ask[Any]] = {}
        self.dropped: dict[str, Ask[Any]] = {}
        self.open: dict[str, Ask[Any]] = {}
        self.waiters: dict[str, Branch | Slot | Joining] = {}
        self.signals: dict[str, deque[Any]] = {}
        self.queries: dict[str, Any] = {}
        self.patches: set[str] = set()
        self.replaying = False
        self.undos: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []
        self.operations = 0
        self.refused = 0
        self.draws = 0
        self.ended = False
        self.continued: dict[str, Any] | None = None
        self.result: Any = None
        self.error: BaseException | None = None
        self.main = Branch(coro, "", None, [])
        self._branches: dict[Branch, None] = {}

    # -- from outside ----------------------------------------------------------------------

    def begin(self) -> None:
        """Run up to the first thing that has to be waited for."""
        self._drive(self.main, None, None)

    def resolve(self, key: str, value: Any, error: BaseException | None = None) -> None:
        """Hand the outcome of an asking to whatever waits for it."""
        ask = self.open.pop(key, None)
        waiter = self.waiters.pop(key, None)
        if waiter is None:
            return
        if type(waiter) is Branch:
            if error is None and type(ask) is Call and waiter.sagas and ask.step.undo is not None:
                waiter.sagas[-1].register(ask.step.undo, value)
            self._drive(waiter, value, error)
        elif type(waiter) is Slot:
            if error is None and type(ask) is Call and ask.step.undo is not None:
                branch = _branch_of(waiter)
                if branch.sagas:
                    branch.sagas[-1].register(ask.step.undo, value)
            self._settle(waiter, value, error)
        elif type(waiter) is Joining:
            self._expire(waiter)

    def signal(self, name: str, value: Any) -> None:
        """A signal came in: hand it to the first wait for that name, or keep it."""
        for key, ask in self.open.items():
            if type(ask) is SignalWait and ask.name == name:
                self.resolve(key, *_decoded(ask, value))
                return
        for key, ask in self.wanted.items():
            if type(ask) is SignalWait and ask.name == name:
                del self.wanted[key]
                self.resolve(key, *_decoded(ask, value))
                return
        self.signals.setdefault(name, deque()).append(value)

    def cancel(self, reason: str) -> None:
        """Raise `Cancelled` where the workflow waits; its cleanup may still ask for things."""
        if not self.ended:
            self._cancel(self.main, Cancelled(reason))

    def undo(self) -> None:
        """After a completed run: ask for the compensations that its sagas noted down."""
        self.ended, self.result = False, None
        undos, self.undos = self.undos, []
        self.main = Branch(compensate(undos), "u", None, [])
        self.main.shielded = 1
        self._drive(self.main, None, None)

    def close(self) -> None:
        """Let go of all coroutines, without letting them do anything more."""
        before = active.program, active.branch
        for branch in [self.main, *self._branches]:
            active.program, active.branch = self, branch
            with suppress(RuntimeError):  # an `await` in a `finally`: it is not going to happen
                branch.coro.close()
        active.program, active.branch = before

    def draw(self) -> int:
        """64 random bits: the same ones whenever this place in this run is reached."""
        self.draws += 1
        return bits(0, self.run, self.draws)

    # -- driving ---------------------------------------------------------------------------

    def _drive(self, branch: Branch, value: Any, error: BaseException | None) -> None:
        before = active.program, active.branch
        active.program, active.branch = self, branch
        coro = branch.coro
        ended: tuple[Any, BaseException | None]
        try:
            while True:
                branch.at = None
                try:
                    ask = coro.send(value) if error is None else coro.throw(error)
                except StopIteration as stop:
                    ended = stop.value, None
                    break
                except BaseException as raised:
                    ended = None, raised
                    break
                value, error = self._take(branch, branch, ask)
                if value is PENDING:
                    return
                if error is not None:
                    self.refused += 1
                    if self.refused > self.operations_max:
                        # It catches every refusal and asks again: it would never stop.
                        with suppress(RuntimeError):
                            coro.close()
                        ended = None, error
                        break
        finally:
            active.program, active.branch = before
        self._end(branch, *ended)

    def _take(self, owner: Branch | Slot, branch: Branch, ask: Any) -> tuple[Any, Any]:
        """Register what a branch awaits; its answer, where that is known at once."""
        if (
            type(ask) is Call
            and owner is branch
            and not (ask.key or branch.postponed is not None)
            and self.operations <= self.operations_max
        ):
            # By far the most frequent: what follows below, written out for it.
            branch.count += 1
            ask.key = key = f"{branch.scope}{branch.count}"
            ask.cause = self.cause
            self.operations += 1
            self.wanted[key] = ask
            self.waiters[key] = owner
            branch.at = ask
            return PENDING, None
        if not isinstance(ask, Ask):
            return None, TypeError(_foreign(ask))
        if branch.postponed is not None and not branch.shielded:
            error, branch.postponed = branch.postponed, None
            return None, error
        if ask.key:
            return None, RuntimeError(f"{ask.describe()} was awaited twice; call it once for each")
        if owner is branch:
            branch.count += 1
            ask.key = f"{branch.scope}{branch.count}"
        else:
            assert isinstance(owner, Slot)
            ask.key = owner.key
        if isinstance(ask, Join):
            return self._join(owner, branch, ask)
        if self.operations > self.operations_max and not branch.shielded:
            return None, TooManyOperations(
                f"run `{self.run}` has asked for {self.operations_max} things, which is the most "
                "that one run may; go on with continue_as_new()",
                {"message": "too many operations; go on with continue_as_new()"},
            )
        self._want(ask)
        if ask.kind in AT_ONCE:
            return (f"{self.run}/{ask.key}" if ask.kind == "emit" else None), None
        if type(ask) is SignalWait and self.signals.get(ask.name):
            del self.wanted[ask.key]
            return _decoded(ask, self.signals[ask.name].popleft())
        self.waiters[ask.key] = owner
        if owner is branch:
            branch.at = ask
        return PENDING, None

    def _want(self, ask: Ask[Any]) -> None:
        ask.cause = self.cause
        self.operations += 1
        self.wanted[ask.key] = ask

    def patched(self, name: str) -> bool:
        """Whether new code runs here; recorded where it is decided for the first time."""
        if name in self.patches:
            return True
        if self.replaying:
            return False
        self.patches.add(name)
        branch: Branch = active.branch
        ask = Patch(name)
        ask.key = f"{branch.scope}patch:{name}"
        self._want(ask)
        return True

    def _end(self, branch: Branch, value: Any, error: BaseException | None) -> None:
        branch.at = None
        if branch.slot is not None:
            self._branches.pop(branch, None)
            self._settle(branch.slot, value, error)
            return
        self.ended = True
        if isinstance(error, ContinueAsNew):
            self.continued = error.stored
        else:
            self.result, self.error = value, error

    # -- joins -----------------------------------------------------------------------------

    def _join(self, owner: Branch | Slot, branch: Branch, ask: Join) -> tuple[Any, Any]:
        joining = Joining(ask, owner)
        if isinstance(owner, Slot):
            owner.inner = joining
        else:
            owner.at = joining
        if ask.within is not None:
            self._limit(joining, ask.within)
        joining.slots = [Slot(joining, at, f"{ask.key}.{at}") for at in range(len(ask.parts))]
        for slot, part in zip(joining.slots, ask.parts, strict=True):
            if joining.decided:
                # A part before it ended the join at once: the rest is never started.
                _discard(part)
                slot.done = True
                joining.undone -= 1
            else:
                self._start(slot, branch, part)
        joining.starting = False
        if joining.undone:
            return PENDING, None
        self._close(joining)
        if owner is branch:
            branch.at = None
        return _verdict(joining)

    def _limit(self, joining: Joining, within: int) -> None:
        expiry = joining.expiry = Expiry(within)
        expiry.key = f"{joining.ask.key}.t"
        self._want(expiry)
        self.waiters[expiry.key] = joining

    def _start(self, slot: Slot, branch: Branch, part: Any) -> None:
        if isinstance(part, Ask):
            value, error = self._take(slot, branch, part)
            if value is not PENDING:
                self._settle(slot, value, error)
            return
        coro = part if isinstance(part, Coroutine) else _wrapped(part)
        slot.branch = Branch(coro, f"{slot.key}.", slot, list(branch.sagas))
        self._branches[slot.branch] = None
        self._drive(slot.branch, None, None)

    def _settle(self, slot: Slot, value: Any, error: BaseException | None) -> None:
        joining = slot.joining
        slot.done, slot.value = True, value
        joining.undone -= 1
        if not joining.decided:
            if error is not None or type(joining.ask) is not Gather:
                joining.error = error
                joining.value = (slot.index, value) if type(joining.ask) is Race else value
                self._decide(joining)
        elif error is not None and not isinstance(error, Cancelled):
            # Something went wrong while a cancelled part cleaned up: that must not be lost.
            joining.error = error
        if not (joining.undone or joining.starting or joining.closed):
            self._close(joining)
            self._pass_on(joining)

    def _decide(self, joining: Joining) -> None:
        """The join's outcome is known: stop what is still under way."""
        joining.decided = True
        for slot in joining.slots:
            if not slot.done:
                self._cancel_slot(slot, Cancelled("another part ended first"))

    def _expire(self, joining: Joining) -> None:
        if joining.decided or not joining.undone:
            return
        joining.expiry = None
        joining.error = TimedOut("the time limit passed", {"message": "the time limit passed"})
        self._decide(joining)

    def _close(self, joining: Joining) -> None:
        joining.closed = True
        expiry, joining.expiry = joining.expiry, None
        if expiry is not None:
            self._drop(expiry.key)

    def _pass_on(self, joining: Joining) -> None:
        value, error = _verdict(joining)
        if isinstance(joining.owner, Branch):
            self._drive(joining.owner, value, error)
        else:
            self._settle(joining.owner, value, error)

    # -- cancelling ------------------------------------------------------------------------

    def _cancel(self, branch: Branch, error: BaseException) -> None:
        at = branch.at
        if branch.shielded:
            # What is being undone has to be undone; it is told afterwards.
            branch.postponed = error
            return
        if at is None:
            return
        if isinstance(at, Joining):
            self._cancel_joining(at, error)
        else:
            self._drop(at.key)
            self._drive(branch, None, error)

    def _cancel_joining(self, joining: Joining, error: BaseException) -> None:
        if joining.error is None:
            joining.error = error
        if not joining.decided:
            self._decide(joining)

    def _cancel_slot(self, slot: Slot, error: BaseException) -> None:
        if slot.branch is not None:
            self._cancel(slot.branch, error)
            return
        waiting = self.open.get(slot.key) or self.wanted.get(slot.key)
        if waiting is not None:
            self._drop(slot.key)
            self._settle(slot, None, error)
        elif slot.inner is not None:
            self._cancel_joining(slot.inner, error)

    def _drop(self, key: str) -> None:
        self.waiters.pop(key, None)
        if self.wanted.pop(key, None) is None:
            ask = self.open.pop(key, None)
            if ask is not None:
                self.dropped[key] = ask


def _branch_of(slot: Slot) -> Branch:
    owner = slot.joining.owner
    while isinstance(owner, Slot):
        owner = owner.joining.owner
    return owner


def _verdict(joining: Joining) -> tuple[Any, BaseException | None]:
    if joining.error is not None:
        return None, joining.error
    if type(joining.ask) is Gather:
        return tuple(slot.value for slot in joining.slots), None
    return joining.value, None


def _decoded(ask: Ask[Any], value: Any) -> tuple[Any, BaseException | None]:
    try:
        return ask.decode(value), None
    except Exception as misfit:  # of the wrong shape: the workflow's to handle
        return None, misfit


def _discard(part: Any) -> None:
    if isinstance(part, Coroutine):
        part.close()


async def _wrapped(part: Any) -> Any:
    return await part


INSTEAD = {
    "_asyncio.Future": "`asyncio` tasks and futures do not survive a restart; await a step's call",
    "asyncio.futures.Future": "await a step's call instead of a future",
    "builtins.NoneType": "use `batuta.sleep` instead of `asyncio.sleep`",
}


def _foreign(found: Any) -> str:
    kind = f"{type(found).__module__}.{type(found).__qualname__}"
    instead = INSTEAD.get(kind, "put it into a step and await the step's call")
    return (
        f"a workflow awaited something that is not Batuta's ({kind}): {instead}. "
        "It can await steps, workflows, sleep, event, signal, gather, race, timeout and saga"
    )
