"""A workflow's own coroutine in the fast simulation: driven as in production, recorded nowhere."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from batuta.kernel.errors import Cancelled
from batuta.workflow.ask import Ask, Call, Emit
from batuta.workflow.program import (
    AT_ONCE,
    PENDING,
    Branch,
    Joining,
    Program,
    Slot,
    _branch_of,
    _foreign,
)

if TYPE_CHECKING:
    from batuta.simulate.fast import Fast

Path = tuple["Path | None", str, int, int, int]
"""What led to where a run stands, last first: (before that, of what, ns running, waiting in a
queue, being tried again)."""


class _Nothing(dict[Any, Any]):
    """A table that keeps nothing."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Let it go."""


class _None(list[Any]):
    """A list that keeps nothing."""

    def extend(self, values: Any) -> None:
        """Let them go."""


class Process(Program):
    """One run. What every run has in `Program` stands here in the class: a waiting one is small.

    An ask that is under way carries what `Program` keeps in tables: `cause` is whoever waits
    for it, `asked` the path that led to it, `due` the number of its entry in the heap (None
    once it is dropped).
    """

    stores = False
    queries = _Nothing()
    signals = _Nothing()
    undos = _None()
    waiters = _Nothing()
    _branches = _Nothing()
    replaying = False
    refused = 0
    draws = 0
    operations = 0
    ended: bool = False
    continued: dict[str, Any] | None = None
    result: Any = None
    error: BaseException | None = None
    parent: tuple[Process, Ask[Any]] | None = None
    path: Path | None = None
    overdue = False
    closed = False

    def __init__(
        self, coro: Coroutine[Any, Any, Any], run: str, workflow: Any, fast: Fast, began: int
    ) -> None:
        # Program's own tables are not made: see above.
        self.run = run
        self.luck = f"{fast.seed}\0{run}/"
        self.workflow = workflow
        self.fast = fast
        self.began = began
        self.main = Branch(coro, "", None, [])

    @property
    def now(self) -> int:  # type: ignore[override]
        """The present time, ns."""
        return self.fast.now

    @property
    def operations_max(self) -> int:  # type: ignore[override]
        """As many as in production."""
        return self.fast.operations_max

    def patched(self, name: str) -> bool:
        """New code runs."""
        return True

    # -- asking and answering --------------------------------------------------------------

    def _take(self, owner: Branch | Slot, branch: Branch, ask: Any) -> tuple[Any, Any]:
        kind = type(ask)
        if kind is not Call and (not isinstance(ask, Ask) or ask.kind in SPECIAL):
            return self._take_special(owner, branch, ask)
        if ask.key:
            return None, RuntimeError(f"{ask.describe()} was awaited twice; call it once for each")
        if branch.postponed is not None and not branch.shielded:
            error, branch.postponed = branch.postponed, None
            return None, error
        if owner is branch:
            branch.count += 1
            ask.key = f"{branch.scope}{branch.count}"
            branch.at = ask
        else:
            ask.key = owner.key  # type: ignore[union-attr]
            owner.value = ask  # type: ignore[union-attr]
        ask.cause = owner
        ask.asked = self.path
        self.fast.begin(self, ask)
        return PENDING, None

    def go_on(self, branch: Branch, ask: Any) -> None:
        """A branch asked for something."""
        value, error = self._take(branch, branch, ask)
        if value is not PENDING:
            self._drive(branch, value, error)

    def finish(self, branch: Branch, value: Any, error: BaseException | None) -> None:
        """A branch has ended."""
        self._end(branch, value, error)

    def _take_special(self, owner: Branch | Slot, branch: Branch, ask: Any) -> tuple[Any, Any]:
        if not isinstance(ask, Ask):
            return None, TypeError(_foreign(ask))
        if owner is branch:
            branch.count += 1
            ask.key = f"{branch.scope}{branch.count}"
        else:
            ask.key = owner.key  # type: ignore[union-attr]
        if ask.kind in AT_ONCE:
            if isinstance(ask, Emit):
                self.fast.waiting.emit(self, ask)
                return f"{self.run}/{ask.key}", None
            return None, None
        return self._join(owner, branch, ask)  # type: ignore[arg-type]

    def _want(self, ask: Ask[Any]) -> None:
        """Marks are recorded nowhere."""

    def _limit(self, joining: Joining, within: int) -> None:
        self.fast.waiting.limit(self, joining, within)

    def answer(self, ask: Ask[Any], value: Any, error: BaseException | None) -> None:
        """Hand what came to whoever waits for it."""
        ask.due = None
        owner: Any = ask.cause
        if type(owner) is Joining:
            self._expire(owner)
            return
        branch = owner if type(owner) is Branch else _branch_of(owner)
        if error is None and branch.sagas and type(ask) is Call and ask.step.undo is not None:
            branch.sagas[-1].register(ask.step.undo, value)
        if owner is branch:
            self._drive(branch, value, error)
        else:
            self._settle(owner, value, error)

    # -- cancelling ------------------------------------------------------------------------

    def _close(self, joining: Joining) -> None:
        joining.closed = True
        expiry, joining.expiry = joining.expiry, None
        if expiry is not None:
            self.fast.drop(self, expiry)

    def _cancel(self, branch: Branch, error: BaseException) -> None:
        at = branch.at
        if branch.shielded:
            branch.postponed = error
        elif isinstance(at, Joining):
            self._cancel_joining(at, error)
        elif at is not None:
            self.fast.drop(self, at)
            self._drive(branch, None, error)

    def _cancel_slot(self, slot: Slot, error: BaseException) -> None:
        if slot.branch is not None:
            self._cancel(slot.branch, error)
        elif slot.inner is not None:
            self._cancel_joining(slot.inner, error)
        elif isinstance(slot.value, Ask):
            self.fast.drop(self, slot.value)
            self._settle(slot, None, error)

    def stop(self, reason: str) -> None:
        """Cancel it: `Cancelled` is raised where it waits."""
        self._cancel(self.main, Cancelled(reason))


SPECIAL = (*AT_ONCE, "gather", "race", "timeout")
