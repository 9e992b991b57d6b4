"""Keeps a step from ending the server that performs it."""

from __future__ import annotations

import os
from threading import Lock
from typing import NoReturn

from batuta.real.context import running


class StepExit(SystemExit):
    """Raised in place of `os._exit` inside a step."""


class ExitGuard:
    """Stands in for `os._exit`: inside a step it raises, anywhere else it exits.

    One step that calls `os._exit`, or a library that does on its behalf, would take all
    the other runs of this process with it, and would do so again on each retry. A forked
    child is another process and must be able to leave: there, it exits for real.
    """

    def __init__(self) -> None:
        self._users = 0
        self._lock = Lock()
        self._pid = 0
        self._exit = os._exit

    def install(self) -> None:
        """From now on, or still, steps cannot exit."""
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._pid = os.getpid()
                self._exit = os._exit
                os._exit = self._guarded

    def remove(self) -> None:
        """The last one to leave puts things back."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                os._exit = self._exit

    def _guarded(self, status: int) -> NoReturn:
        if running.get() is not None and os.getpid() == self._pid:
            raise StepExit(status)
        self._exit(status)


guard = ExitGuard()
