"""Keyed randomness: a number from a seed and the name of what it is for, never from a stream.

Two variants of a system that ask for the same name meet the same luck, in whatever order
they ask.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

Part = str | int | float | bool | bytes | None

_SCALE = 2.0**-53
_from_bytes = int.from_bytes


def bits(seed: Part, *parts: Part) -> int:
    """64 random bits for this seed and name.

    Parameters
    ----------
    seed, parts: what it is for. The encoding is unambiguous: `("a", "bc")`, `("ab", "c")`,
        `("1",)` and `(1,)` are four different names.
    """
    key = _text(seed) + "".join(map(_text, parts))
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def u(seed: Part, *parts: Part) -> float:
    """A number in [0, 1), uniform over the names; see `bits`."""
    return (bits(seed, *parts) >> 11) * _SCALE


def _text(part: Part) -> str:
    """A part such that no two lists of parts give the same joined text."""
    if isinstance(part, str):
        return f"s{len(part)}:{part}"
    if part is None or isinstance(part, bool):
        return f"{str(part)[0]};"
    if isinstance(part, int):
        return f"i{int(part)};"
    if isinstance(part, float):
        return f"f{part!r};"
    if isinstance(part, bytes):
        return f"b{part.hex()};"
    raise TypeError(f"randomness cannot be keyed by a value of type {type(part).__name__}")


class Keyed:
    """Everything that one seed decides."""

    __slots__ = ("seed",)

    def __init__(self, seed: Part) -> None:
        self.seed = seed

    def stream(self, entity: Part) -> Stream:
        """What it decides about one entity, with the beginning of the key computed once."""
        return Stream(self.seed, entity)

    def u(self, *parts: Part) -> float:
        """A number in [0, 1); the same as `u(seed, *parts)`."""
        return u(self.seed, *parts)


class Stream:
    """What a seed decides about one entity; gives the same numbers as `u` with all parts."""

    __slots__ = ("_start",)

    def __init__(self, seed: Part, entity: Part) -> None:
        start = (_text(seed) + _text(entity)).encode("utf-8", "surrogatepass")
        self._start = blake2b(start, digest_size=8)

    def bits(self, activity: str, attempt: int, purpose: str) -> int:
        """64 random bits."""
        state = self._start.copy()
        state.update(b"%bi%d;%b" % (_name(activity), attempt, _name(purpose)))
        return _from_bytes(state.digest(), "little")

    def u(self, activity: str, attempt: int, purpose: str) -> float:
        """A number in [0, 1)."""
        state = self._start.copy()
        state.update(b"%bi%d;%b" % (_name(activity), attempt, _name(purpose)))
        return (_from_bytes(state.digest(), "little") >> 11) * _SCALE


@lru_cache(maxsize=4096)
def _name(text: str) -> bytes:
    """The encoding of a name of which there are few: of an activity or a purpose."""
    return _text(text).encode("utf-8", "surrogatepass")
