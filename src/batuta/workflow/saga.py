"""Compensation: what was done inside the block is undone, last first, if the block fails."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec

from batuta.kernel.errors import UndoFailed
from batuta.workflow.ask import Call, active

if TYPE_CHECKING:
    from batuta.workflow.model import Step

P = ParamSpec("P")


class Undo:
    """What `async with saga() as undo` gives: `undo(step, *args)` notes down a compensation."""

    def __init__(self, saga: Saga) -> None:
        self._saga = saga

    def __call__(self, step: Step[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None:
        self._saga.register(step, *args, **kwargs)


class Saga:
    """A block whose steps are compensated when it fails. Made by `saga`."""

    def __init__(self) -> None:
        self._undos: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []
        self._branch: Any = None
        self._program: Any = None

    def register(self, step: Any, *args: Any, **kwargs: Any) -> None:
        """Note down that `step(*args)` undoes what was done (or is about to be)."""
        self._undos.append((step, args, kwargs))

    async def __aenter__(self) -> Undo:
        if active.program is None:
            raise RuntimeError("saga() can be used only in a workflow")
        self._program, self._branch = active.program, active.branch
        self._branch.sagas.append(self)
        return Undo(self)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._branch.sagas.remove(self)
        if error is None:
            self._program.undos.extend(self._undos)
            return
        if isinstance(error, GeneratorExit):
            # The coroutine is being dropped from memory, not ended: nothing may be asked.
            return
        self._branch.shielded += 1
        try:
            await compensate(self._undos)
        except UndoFailed as failed:
            raise failed from error
        finally:
            self._branch.shielded -= 1


async def compensate(undos: list[tuple[Any, tuple[Any, ...], dict[str, Any]]]) -> None:
    """Undo, last first. Raises `UndoFailed` when all were tried and some failed."""
    total = len(undos)
    failures: list[str] = []
    while undos:
        step, args, kwargs = undos.pop()
        call: Call[Any] = step(*args, **kwargs)
        call.undoes = True
        try:
            await call
        except Exception as failed:  # the other compensations still have to be tried
            text = str(failed).partition("\n")[0]
            failures.append(f"{step.name}: {type(failed).__name__}: {text}")
    if failures:
        message = f"{len(failures)} of {total} compensations failed: " + "; ".join(failures)
        raise UndoFailed(message, {"message": message})


def saga() -> Saga:
    """A block whose effects are taken back if it fails or is cancelled.

    `async with saga() as undo:` — steps declared with `undo=` are noted down by themselves
    when they succeed, others by `undo(step, *args)`. Register before the call where a
    failure leaves open whether the call had its effect. Compensations run last first, each
    with its own step's retries; one that fails for good does not keep the others from being
    tried, and ends the run with `UndoFailed`.
    """
    return Saga()
