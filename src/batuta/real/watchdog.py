"""Notices a coroutine function that holds the event loop, says which, and stops it in time."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from batuta.kernel.world import Failure
from batuta.real.call import perform_async
from batuta.real.context import StepStopped
from batuta.real.job import Job

log = logging.getLogger("batuta.real")

LOOK_EVERY_S = 0.5
WARN_S = 1.0
HELD_LIMIT_S = 60.0
SIGNAL = signal.SIGURG  # ignored unless somebody asked for it, so that a late one harms nobody
_OWN = str(Path(__file__).resolve().parent.parent) + "/"


class Watchdog:
    """A thread that watches the loop's thread while steps run there.

    A step that computes, or calls something that blocks, in an `async def` keeps every
    run of this process from going on, its own deadline included. Its thread cannot be
    left behind; but Python runs signal handlers between two lines of that very thread, so
    one can raise in the step, once its time is up.

    Parameters
    ----------
    held_limit_s: how long a step without a time limit may hold the loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, held_limit_s: float) -> None:
        self._loop = loop
        self._limit_s = held_limit_s
        self._thread_id = threading.get_ident()
        self._over = threading.Event()
        self._answered = threading.Event()
        self._accused: Job | None = None
        self._before: Any = None
        self._can_stop = threading.current_thread() is threading.main_thread()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to watch; called when the first step begins, later calls do nothing."""
        if self._thread is None:
            if self._can_stop:
                self._before = signal.signal(SIGNAL, self._struck)
            self._thread = threading.Thread(target=self._watch, daemon=True, name="batuta-watchdog")
            self._thread.start()

    def close(self) -> None:
        """Watch no more."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            if self._can_stop:
                signal.signal(SIGNAL, self._before)

    def _watch(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            self._answered.clear()
            try:
                self._loop.call_soon_threadsafe(self._answered.set)
            except RuntimeError:  # the loop was closed
                return
            held_s = 0.0
            warned = False
            while not self._answered.wait(LOOK_EVERY_S) and not self._over.is_set():
                held_s += LOOK_EVERY_S
                # The only way to see what another thread is doing, private name or not.
                frames = sys._current_frames()  # noqa: SLF001
                job, place = _held_by(frames.get(self._thread_id))
                if job is None:
                    continue
                if held_s >= WARN_S and not warned:
                    warned = True
                    log.warning(
                        "step %s has held the event loop for %g s at %s: nothing else goes on. "
                        "Make it a plain `def`, or give it process=True",
                        job.command.name,
                        held_s,
                        place,
                    )
                limit_s = job.command.timeout_s or self._limit_s
                if held_s >= limit_s and self._can_stop:
                    self._accused = job
                    signal.pthread_kill(self._thread_id, SIGNAL)

    def _struck(self, number: int, frame: FrameType | None) -> None:
        """In the loop's thread: stop the accused, if it is still the one that holds it."""
        job, place = _held_by(frame)
        if job is None or job is not self._accused:
            return
        if job.stopped is None:
            job.stopped = Failure(
                "batuta:TimedOut",
                f"`{job.command.name}` held the event loop for too long, at {place}. "
                "Make it a plain `def`, or give it process=True",
            )
        raise StepStopped(job.stopped.message)


def _held_by(frame: FrameType | None) -> tuple[Job | None, str]:
    """The step in whose own code a thread is, and where that is."""
    place, inner = "", None
    while frame is not None:
        if frame.f_code is perform_async.__code__:
            # Only in the step's code: our own, before and after it, must not be interrupted.
            if inner is None or inner.f_code.co_filename.startswith(_OWN):
                return None, ""
            job: Job = frame.f_locals["job"]
            return job, place
        if not place and not frame.f_code.co_filename.startswith(_OWN):
            place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        inner, frame = frame, frame.f_back
    return None, ""
