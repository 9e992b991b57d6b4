"""Commits of a simulated server: gathered, slow, refused, or cut off by a crash."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batuta.common.duration import SECOND
from batuta.kernel.errors import Fenced
from batuta.kernel.loop import Turn
from batuta.simulate.agenda import COMPLETION
from batuta.simulate.fault import Crash

if TYPE_CHECKING:
    from batuta.simulate.server import Server

HOLD_NS = SECOND // 2


class Commits:
    """One commit at a time; what the loop decides meanwhile goes into the next.

    Parameters
    ----------
    server: whose turns are written. busy: a commit is under way. over: another loop has
    taken the place of the one whose turns these were.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._held_until = 0
        self.busy = False
        self.over = False

    def commit(self) -> None:
        """Write what is decided, unless a commit is under way: then it is gathered."""
        while not (self.busy or self.over):
            if self._holds():
                return
            turn = self._server.loop.begin_commit()
            if turn is None:
                return
            if not turn.batch:
                self._release(turn)
                continue
            self._server.commits += 1
            faults = self._server.simulation.faults
            moment = faults.at_commit(self._server.owner, self._server.commits)
            slow = faults.slow(self._server.owner, self._server.commits)
            if moment == "before":
                raise Crash
            if slow is not None:
                self._write_slowly(turn, *slow)
                return
            if not self._write(turn):
                return
            if moment == "after":
                raise Crash
            self._release(turn)

    def _holds(self) -> bool:
        """Whether the commit waits a moment for the outcomes of repeatable steps."""
        if not self._server.loop.may_wait():
            self._held_until = 0
            return False
        now = self._server.simulation.agenda.now
        if not self._held_until:
            self._held_until = now + HOLD_NS
            self._server.after(HOLD_NS, COMPLETION, self._held)
        return now < self._held_until

    def _held(self) -> None:
        try:
            self.commit()
        except Crash:
            self._server.crash()

    def _write_slowly(self, turn: Turn, taken: int, early: bool) -> None:
        self.busy = True
        if early and not self._write(turn):
            return
        self._server.after(taken, COMPLETION, self._synced, turn, early)

    def _synced(self, turn: Turn, written: bool) -> None:
        self.busy = False
        try:
            if written or self._write(turn):
                self._release(turn)
                self.commit()
        except Crash:
            self._server.crash()
            return
        self._server.arm()

    def _write(self, turn: Turn) -> bool:
        """Make a turn durable; False where another server owns a partition by now."""
        simulation = self._server.simulation
        try:
            simulation.journal.commit(turn.batch)
        except Fenced:
            simulation.observer.fenced(self._server)
            self._server.reset()
            return False
        simulation.observer.committed(self._server, turn.batch)
        simulation.spread(self._server, turn.batch)
        pause = simulation.faults.pause(self._server.owner, self._server.commits)
        if pause is not None:
            self._server.life.until = simulation.agenda.now + pause
        jump = simulation.faults.jump(self._server.owner, self._server.commits)
        if jump is not None:
            self._server.skew += jump
        return True

    def _release(self, turn: Turn) -> None:
        """The turn is durable: begin, cancel, answer."""
        if self._server.life.until > self._server.simulation.agenda.now:
            # Suspended between the commit and what follows from it.
            self.busy = True
            self._server.after(0, COMPLETION, self._resumed, turn)
            return
        self._server.release(turn)

    def _resumed(self, turn: Turn) -> None:
        self.busy = False
        try:
            self._release(turn)
            self.commit()
        except Crash:
            self._server.crash()
            return
        self._server.arm()
