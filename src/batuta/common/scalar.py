"""Single values that JSON does not know, and their text in JSON: dates, decimals, bytes …"""

from __future__ import annotations

import base64
import datetime as dt
import math
import pathlib
import re
import uuid
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from batuta.common import duration


@dataclass(frozen=True, slots=True)
class Scalar:
    """How one type is written.

    Parameters
    ----------
    name: its tag where no annotation says the type (`decimal`).
    expected: what an error message says is wanted.
    write: value -> text. read: text -> value; raises ValueError for other text.
    number: what a plain number means, where a person may well write one.
    """

    name: str
    expected: str
    write: Callable[[Any], str]
    read: Callable[[str], Any]
    number: Callable[[float], Any] | None = None


def write_datetime(value: dt.datetime) -> str:
    """ISO 8601, with the zone's name behind it as in RFC 9557 where it has one."""
    text = value.isoformat()
    if isinstance(value.tzinfo, zoneinfo.ZoneInfo) and value.tzinfo.key:
        return f"{text}[{value.tzinfo.key}]"
    return text


def read_datetime(text: str) -> dt.datetime:
    """The inverse of `write_datetime`; takes everything that ISO 8601 calls a date and time."""
    stamp, bracket, zone = text.partition("[")
    value = dt.datetime.fromisoformat(stamp)
    if not bracket:
        return value
    if not zone.endswith("]") or value.tzinfo is None:
        raise ValueError(text)
    try:
        info = zoneinfo.ZoneInfo(zone[:-1])
    except (zoneinfo.ZoneInfoNotFoundError, OSError):
        return value
    offset = value.utcoffset()
    for fold in (0, 1):
        local = value.replace(tzinfo=info, fold=fold)
        if local.utcoffset() == offset:
            return local
    return value.astimezone(info)  # the zone's rules changed since: the instant counts


def write_timedelta(value: dt.timedelta) -> str:
    """ISO 8601, exact to the microsecond, as seconds: `PT93784.5S`."""
    micros = (value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds
    whole, part = divmod(abs(micros), 1_000_000)
    fraction = f".{part:06d}".rstrip("0") if part else ""
    return f"{'-' if micros < 0 else ''}PT{whole}{fraction}S"


_SECONDS = re.compile(r"(-?)PT(\d+)(?:\.(\d{1,6}))?S", re.ASCII)


def read_timedelta(text: str) -> dt.timedelta:
    """The inverse of `write_timedelta`; takes every other text for a duration too."""
    match = _SECONDS.fullmatch(text)
    if match is None:
        return dt.timedelta(microseconds=duration.nanoseconds(text) / 1000)
    sign, whole, fraction = match.groups()
    micros = int(whole) * 1_000_000 + int((fraction or "0").ljust(6, "0"))
    return dt.timedelta(microseconds=-micros if sign else micros)


def read_seconds(number: float) -> dt.timedelta:
    """A plain number is seconds."""
    return dt.timedelta(microseconds=duration.nanoseconds(number) / 1000)


def write_bytes(value: bytes) -> str:
    """Base64."""
    return base64.b64encode(value).decode("ascii")


def read_bytes(text: str) -> bytes:
    """Base64, strictly."""
    return base64.b64decode(text, validate=True)


def read_decimal(text: str) -> Decimal:
    """A decimal number; `ArithmeticError` of the library becomes a ValueError."""
    try:
        return Decimal(text)
    except ArithmeticError:
        raise ValueError(text) from None


def write_float(value: float) -> str:
    """The numbers that JSON has no words for."""
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"


def _path(kind: type[pathlib.PurePath], name: str) -> tuple[type, Scalar]:
    return kind, Scalar(name, "a path", str, kind)


SCALARS: dict[type, Scalar] = {
    dt.datetime: Scalar(
        "datetime",
        "a date and time like 2026-01-31T12:00:00+00:00",
        write_datetime,
        read_datetime,
    ),
    dt.date: Scalar("date", "a date like 2026-01-31", dt.date.isoformat, dt.date.fromisoformat),
    dt.time: Scalar("time", "a time like 12:00:00", dt.time.isoformat, dt.time.fromisoformat),
    dt.timedelta: Scalar(
        "timedelta", 'a duration like "90s" or PT90S', write_timedelta, read_timedelta, read_seconds
    ),
    Decimal: Scalar(
        "decimal",
        'a decimal number like "1.20"',
        str,
        read_decimal,
        lambda number: Decimal(str(number)),
    ),
    uuid.UUID: Scalar("uuid", "a UUID", str, uuid.UUID),
    bytes: Scalar("bytes", "base64 text", write_bytes, read_bytes),
    bytearray: Scalar(
        "bytearray", "base64 text", write_bytes, lambda text: bytearray(read_bytes(text))
    ),
    zoneinfo.ZoneInfo: Scalar("zone", "the name of a time zone", str, zoneinfo.ZoneInfo),
    **dict(
        (
            _path(pathlib.Path, "path"),
            _path(pathlib.PosixPath, "path"),
            _path(pathlib.WindowsPath, "path"),
            _path(pathlib.PurePath, "purepath"),
            _path(pathlib.PurePosixPath, "posixpath"),
            _path(pathlib.PureWindowsPath, "windowspath"),
        )
    ),
}
SCALARS[pathlib.PosixPath] = SCALARS[pathlib.WindowsPath] = SCALARS[pathlib.Path]

NAMED: dict[str, Scalar] = {scalar.name: scalar for scalar in SCALARS.values()}
