"""Large values stand apart from the rows: compressed, named by their content, stored once."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any, cast

from batuta.kernel.errors import JournalCorrupt

LARGE = 16 * 1024
"""A top-level value whose JSON is longer than this many characters moves to a payload."""


def _make_encoder() -> Callable[[Any], str]:
    """Compact JSON; the C encoder is made once, which halves the time of small objects."""
    plain = json.JSONEncoder(separators=(",", ":"), check_circular=False)
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return plain.encode
    try:
        fast = make(
            None,
            plain.default,
            json.encoder.encode_basestring_ascii,
            None,
            ":",
            ",",
            False,
            False,
            True,
        )
        if "".join(fast({"a": [1.5, None, "é"]}, 0)) != '{"a":[1.5,null,"\\u00e9"]}':
            return plain.encode
    except Exception:  # another Python may have another encoder: the plain one does
        return plain.encode
    join = "".join
    return lambda value: join(fast(value, 0))


encode: Callable[[Any], str] = _make_encoder()
"""A JSON-able value as compact ASCII JSON."""

_scan: Callable[[str, int], tuple[Any, int]] = json.scanner.make_scanner(json.JSONDecoder())  # type: ignore[attr-defined]


def decode(text: str) -> Any:
    """What `encode` wrote."""
    try:
        return _scan(text, 0)[0]
    except (StopIteration, ValueError, TypeError) as error:
        raise JournalCorrupt(
            f"a stored value is not JSON: {text[:40]!r}", hint="restore the newest backup"
        ) from error


def split(data: Mapping[str, Any], text: str, into: dict[str, bytes]) -> tuple[str, str | None]:
    """Move what is large out of `data`.

    Parameters
    ----------
    data: the value. text: its JSON.
    into: digest -> compressed bytes of the payloads; they are added here.

    Returns
    -------
    The JSON of what stays, and the JSON of `{key: digest}` or None where nothing moved.
    """
    moved: dict[str, str] = {}
    stay: dict[str, Any] = {}
    for key, value in data.items():
        part = encode(value)
        if len(part) <= LARGE:
            stay[key] = value
            continue
        raw = part.encode()
        digest = hashlib.sha256(raw).hexdigest()
        if digest not in into:
            into[digest] = zlib.compress(raw, 3)
        moved[key] = digest
    if not moved:
        return text, None
    return encode(stay), encode(moved)


def unpack(digest: str, stored: bytes | None) -> Any:
    """The value of a payload, checked against its name."""
    if stored is None:
        raise JournalCorrupt(f"payload {digest[:12]} is missing", hint="restore the newest backup")
    try:
        raw = zlib.decompress(stored)
    except (zlib.error, TypeError) as error:
        raise JournalCorrupt(
            f"payload {digest[:12]} is damaged: {error}", hint="restore the newest backup"
        ) from error
    if hashlib.sha256(raw).hexdigest() != digest:
        raise JournalCorrupt(
            f"payload {digest[:12]} is not what was written", hint="restore the newest backup"
        )
    return decode(raw.decode())


def join(text: str, moved: str | None, fetch: Callable[[str], Any]) -> dict[str, Any]:
    """The value as it was before `split`; `fetch` gives the value of a digest."""
    data = cast("dict[str, Any]", decode(text))
    if moved is not None:
        for key, digest in decode(moved).items():
            data[key] = fetch(digest)
    return data
