"""Classes for the codec's tests; at the top of a module, as a user's own would be."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, NotRequired, TypedDict, TypeVar

from pydantic import BaseModel, Field

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mood(enum.StrEnum):
    GOOD = "good"
    BAD = "bad"


class Odd(enum.Enum):
    NOTHING = None
    PAIR = (1, 2)


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


@dataclass(frozen=True, slots=True)
class Item:
    sku: str
    price: Decimal
    count: int = 1


@dataclass(kw_only=True)
class Order:
    id: str
    items: list[Item]
    at: dt.datetime | None = None
    colour: Colour = Colour.RED
    note: Any = None
    parent: Order | None = None
    total: int = field(init=False, default=0)


@dataclass
class Animal:
    name: str


@dataclass
class Dog(Animal):
    tricks: tuple[str, ...] = ()


@dataclass
class Box(Generic[T]):
    content: T
    others: list[T]


@dataclass
class Positive:
    value: int

    def __post_init__(self) -> None:
        if self.value <= 0:
            raise ValueError("has to be positive")


class Point(NamedTuple):
    x: int
    y: float = 0.0


class Options(TypedDict):
    name: str
    level: NotRequired[Level]


class Payment(BaseModel):
    amount: Decimal = Field(alias="theAmount")
    at: dt.date
    tags: set[str] = set()


async def charge(order: Order, amount: int, *extra: float, note: str = "", **more: Level) -> Item:
    """A step as a user would write it."""
    raise NotImplementedError


def simple(a: int, b: str, c: float = 1.0) -> bool:
    return bool(a and b and c)


def only_names(*, mode: Literal["fast", "slow"], where: Path | None = None) -> uuid.UUID:
    raise NotImplementedError


def unresolved(order: Missing) -> None:  # type: ignore[name-defined]  # noqa: F821
    """Names a class that is not there."""
