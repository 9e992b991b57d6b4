"""Writes what the loop decided, one batch after the other, and says when it is durable."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from time import perf_counter

from batuta.kernel.errors import Fenced, JournalError, JournalLost
from batuta.kernel.journal import Journal
from batuta.kernel.loop import Loop, Turn

log = logging.getLogger("batuta")

INLINE_EVENTS_MAX = 100
INLINE_SYNC_S_MAX = 0.003
RETRY_S = 0.5
HOLD_S = 0.005
"""For how long a batch is held open for the outcomes of repeatable steps that just began."""


class Committer:
    """One commit at a time; what the loop decides meanwhile goes into the next.

    Parameters
    ----------
    loop: whose turns are written.
    writer: the thread on which larger batches are synced.
    durable: called with a turn whose batch is durable.
    refused: called with a turn that is not (yet) durable, and why; nobody may be told that
        it is.
    lost: called when what the loop believes may be wrong: it has to be folded again.
    """

    def __init__(
        self,
        loop: Loop,
        writer: Executor,
        durable: Callable[[Turn], None],
        refused: Callable[[Turn, JournalError], None],
        lost: Callable[[JournalError], None],
    ) -> None:
        self._loop = loop
        self._journal: Journal = loop.journal
        self._writer = writer
        self._durable = durable
        self._refused = refused
        self._lost = lost
        self._aio = asyncio.get_running_loop()
        self._sync_s = 0.0
        self._held_until = 0.0
        self._over = False
        self.closing = False
        self.busy = False
        self.trouble: JournalError | None = None
        self.commits = 0
        self.commit_s = 0.0
        self.events = 0

    def commit(self) -> None:
        """Write the loop's open turn, unless a commit is under way: then afterwards."""
        if self.busy or self._over or self.trouble is not None or self._hold():
            return
        turn = self._loop.begin_commit()
        if turn is None:
            return
        if turn.batch:
            self._write(turn)
        else:
            self._durable(turn)

    def _hold(self) -> bool:
        """Whether to wait a moment: a repeatable step that ends before its asking is written
        needs no commit of its own, nor does the next."""
        if self.closing or not self._loop.may_wait():
            self._held_until = 0.0
            return False
        now = perf_counter()
        if not self._held_until:
            self._held_until = now + HOLD_S
            self._aio.call_later(HOLD_S, self.commit)
        elif now >= self._held_until:
            self._held_until = 0.0
            return False
        return True

    def _write(self, turn: Turn) -> None:
        """Small batches on a fast disk are synced right here, which saves two thread switches;
        larger ones on the writer's thread, while this one goes on with what comes in."""
        here = (
            self._journal.partitions == 1
            and len(turn.batch.events) <= INLINE_EVENTS_MAX
            and self._sync_s < INLINE_SYNC_S_MAX
        )
        began = perf_counter()
        try:
            self._journal.stage(turn.batch)
            if here:
                staged = perf_counter()
                self._journal.sync()
                self._note(perf_counter() - staged)
        except JournalError as error:
            self._synced(turn, error, began)
            return
        if here:
            self._synced(turn, None, began)
        else:
            self.busy = True
            self._writer.submit(self._sync, turn, began)

    def _sync(self, turn: Turn, began: float) -> None:
        error: BaseException | None = None
        staged = perf_counter()
        try:
            self._journal.sync()
        except BaseException as raised:  # whatever it is, the loop's thread has to know
            error = raised
        self._note(perf_counter() - staged)
        self._aio.call_soon_threadsafe(self._synced, turn, error, began)

    def _note(self, spent_s: float) -> None:
        self._sync_s += 0.1 * (spent_s - self._sync_s)

    def _synced(self, turn: Turn, error: BaseException | None, began: float) -> None:
        self.busy = False
        if error is None:
            self.commits += 1
            self.commit_s += perf_counter() - began
            self.events += len(turn.batch.events)
            if self.trouble is not None:
                self.trouble = None
                log.warning("the journal can be written again")
            self._durable(turn)
            self.commit()
        elif isinstance(error, Fenced | JournalLost):
            self._over = True
            self._refused(turn, error)
            self._lost(error)
        elif isinstance(error, JournalError):
            self._retry_later(turn, error)
        else:
            raise error

    def _retry_later(self, turn: Turn, error: JournalError) -> None:
        """No room, or no right to write: keep the batch, say so, and try again."""
        if self.trouble is None:
            log.error("cannot write to the journal: %s", error)
        self.trouble = error
        self._refused(turn, error)
        turn.replies.clear()
        if not self.closing:
            self._aio.call_later(RETRY_S, self._write_again, turn)

    def _write_again(self, turn: Turn) -> None:
        if self.closing:
            return
        self._write(turn)

    async def written(self, limit_s: float) -> None:
        """Wait until everything that is decided by now is durable, at most so long."""
        until, goal = self._aio.time() + limit_s, self.commits + 2
        await asyncio.sleep(2 * HOLD_S)
        while self.busy and self.commits < goal and self._aio.time() < until:
            await asyncio.sleep(HOLD_S)

    def give_up(self) -> None:
        """Write nothing any more: what the loop decided cannot be trusted."""
        self._over = True

    async def drain(self) -> None:
        """Write what is open, and wait until no commit is under way."""
        self.closing = True
        self.commit()
        while self.busy:
            await asyncio.sleep(0.001)
