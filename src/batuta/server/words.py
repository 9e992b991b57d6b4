"""Times, durations and values as people read them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from markupsafe import Markup, escape

SECOND = 1_000_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
STEPS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def absolute(time: int | None) -> str:
    """`2026-05-01 09:30:00 UTC`."""
    moment = _moment(time)
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def iso(time: int | None) -> str:
    """The form that machines read, with microseconds."""
    moment = _moment(time)
    return "" if moment is None else moment.isoformat().replace("+00:00", "Z")


def _moment(time: int | None) -> datetime | None:
    if time is None:
        return None
    try:
        return EPOCH + timedelta(microseconds=time // 1000)
    except OverflowError:
        return None


def relative(time: int | None, now: int) -> str:
    """`2 min ago`, `in 3 d`, `now`."""
    if time is None:
        return ""
    away = time - now
    if abs(away) < SECOND:
        return "now"
    text = length(abs(away), parts=1)
    return f"in {text}" if away > 0 else f"{text} ago"


def length(duration: int | None, parts: int = 2) -> str:
    """A duration (ns) in at most so many units: `850 µs`, `1.24 s`, `3 min 5 s`, `2 d 4 h`."""
    if duration is None:
        return ""
    if duration < 1_000_000:
        return f"{duration / 1_000:.0f} µs"
    if duration < SECOND:
        return f"{duration / 1_000_000:.0f} ms"
    if duration < 10 * SECOND and parts > 1:
        return f"{duration / SECOND:.2f} s"
    rest, found = duration // SECOND, []
    for size, unit in STEPS:
        if rest >= size:
            found.append(f"{rest // size} {unit}")
            rest %= size
    return " ".join(found[:parts])


def pretty(value: Any, limit: int = 20_000) -> str:
    """A value as indented JSON, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False, indent=2, default=str)
    if len(text) <= limit:
        return text
    return f"{text[:limit]}\n… ({len(text):,} characters; the API has all of them)"


def said(text: str) -> Markup:
    """A sentence with what stands between backticks as code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    pieces = [Markup("<code>{}</code>").format(p) if n % 2 else escape(p)
              for n, p in enumerate(parts)]  # fmt: skip
    return Markup("").join(pieces)


def brief(value: Any, limit: int = 100) -> str:
    """A value on one line."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text[: limit * 4].split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
