"""When and how often something that failed is tried again."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from batuta.common.duration import MAX_NANOSECONDS, SECOND, Duration, seconds
from batuta.common.failure import name_of
from batuta.kernel.errors import BatutaError


class BadRetry(BatutaError, ValueError):
    """A retry rule that makes no sense."""


@dataclass(frozen=True, slots=True)
class Retry:
    """A rule for trying again.

    Parameters
    ----------
    attempts: how often it is tried in all, the first time included; None: without end.
    initial_s: how long to wait after the first failure, seconds.
    backoff: how much longer after each further one.
    maximum_s: the longest wait, seconds.
    jitter: which part of each wait is random: 0.1 waits between 90 % and 100 % of it.
    on: names of exceptions that are tried again; empty: all.
    never: names of exceptions that are not, even where `on` names them.

    A name is `module:QualifiedName`, or the class's bare name, and means the classes derived
    from it as well.
    """

    attempts: int | None = 3
    initial_s: float = 1.0
    backoff: float = 2.0
    maximum_s: float = 3600.0
    jitter: float = 0.1
    on: tuple[str, ...] = ()
    never: tuple[str, ...] = ()

    def allows(self, failure: str, bases: Iterable[str], attempt: int) -> bool:
        """Whether another attempt shall follow.

        Parameters
        ----------
        failure: the exception's class as `module:QualifiedName`.
        bases: the names of its base classes, as recorded when it failed.
        attempt: the number of the one that failed, from 1.
        """
        if self.attempts is not None and attempt >= self.attempts:
            return False
        if not self.on and not self.never:
            return True
        names = {failure, *bases}
        names |= {name.rpartition(":")[2] for name in names}
        if not names.isdisjoint(self.never):
            return False
        return not self.on or not names.isdisjoint(self.on)

    def delay(self, attempt: int, u: float) -> int:
        """How long to wait after a failed attempt, ns.

        Parameters
        ----------
        attempt: the number of the one that failed, from 1.
        u: a random number in [0, 1), drawn for this attempt by its key.
        """
        wait = self.initial_s
        if wait > 0 and self.backoff > 1 and attempt > 1:
            # Compared as logarithms: the power itself overflows after a thousand attempts.
            growth = (attempt - 1) * math.log(self.backoff)
            room = math.log(self.maximum_s / wait)
            wait = self.maximum_s if growth >= room else wait * self.backoff ** (attempt - 1)
        wait = min(wait, self.maximum_s) * (1 - self.jitter * u)
        return round(wait * SECOND)


NO_RETRY = Retry(attempts=1)


def retry(
    attempts: int | None = 3,
    *,
    initial: Duration = "1s",
    backoff: float = 2.0,
    maximum: Duration = "1h",
    jitter: float = 0.1,
    on: Iterable[type[BaseException] | str] = (),
    never: Iterable[type[BaseException] | str] = (),
) -> Retry:
    """A rule for trying again; see `Retry`.

    Parameters
    ----------
    attempts: how often it is tried in all, the first time included; None: without end.
    initial: how long to wait after the first failure.
    backoff: how much longer after each further one, at least 1.
    maximum: the longest wait.
    jitter: which part of each wait is random, from 0 to 1.
    on: exceptions that are tried again, as classes or names; by default all.
    never: exceptions that are not.
    """
    initial_s, maximum_s = seconds(initial), seconds(maximum)
    if isinstance(on, type | str):
        on = (on,)
    if isinstance(never, type | str):
        never = (never,)
    _check(attempts, initial_s, backoff, maximum_s, jitter)
    named, refused = tuple(map(_named, on)), tuple(map(_named, never))
    return Retry(attempts, initial_s, float(backoff), maximum_s, float(jitter), named, refused)


def _check(
    attempts: int | None, initial_s: float, backoff: float, maximum_s: float, jitter: float
) -> None:
    if attempts is not None and (isinstance(attempts, bool) or attempts < 1):
        hint = "1 tries it once and not again; None tries without end"
        raise BadRetry(f"a retry rule cannot have {attempts} attempts", hint=hint)
    if initial_s < 0 or maximum_s < 0:
        raise BadRetry("the wait before a retry cannot be negative", hint='write initial="1s"')
    if maximum_s < initial_s:
        text = f"the longest wait ({maximum_s:g} s) is shorter than the first ({initial_s:g} s)"
        raise BadRetry(text, hint="raise maximum= or lower initial=")
    if not 1 <= backoff < MAX_NANOSECONDS:
        hint = "2.0 doubles the wait each time, 1.0 keeps it"
        raise BadRetry(f"a backoff of {backoff} makes no sense", hint=hint)
    if not 0 <= jitter <= 1:
        hint = "0.1 takes up to 10 % off each wait, 1.0 up to all of it"
        raise BadRetry(f"a jitter of {jitter} makes no sense", hint=hint)


def _named(exception: type[BaseException] | str) -> str:
    if isinstance(exception, str) and exception:
        return exception
    if isinstance(exception, type) and issubclass(exception, BaseException):
        # Every Exception derives from BaseException, which is not recorded as a base.
        return "builtins:Exception" if exception is BaseException else name_of(exception)
    hint = "write on=(ConnectionError,) or the name of the class"
    raise BadRetry(f"{exception!r} is no class of exceptions", hint=hint)
