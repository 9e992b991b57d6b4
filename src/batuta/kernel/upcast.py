"""Events of an older form become events of the current one when they are read."""

from __future__ import annotations

from collections.abc import Callable

from batuta.kernel.event import Data

Upcaster = Callable[[Data], Data]

VERSIONS: dict[str, int] = {}
"""The version in which an event type is written now; a type that is not here has version 1."""

UPCASTERS: dict[tuple[str, int], Upcaster] = {}
"""(type, version) -> what turns its data into the data of the next version."""


def upcast(type: str, version: int, data: Data) -> Data:
    """The data in the form of the newest version there is an upcaster for."""
    step = UPCASTERS.get((type, version))
    while step is not None:
        data = step(data)
        version += 1
        step = UPCASTERS.get((type, version))
    return data
