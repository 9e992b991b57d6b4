"""Secrets made unreadable in output, whole or in pieces, plain or in a common encoding."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

SHORTEST = 4
STARS = b"***"


class Mask:
    """Knows the values of secrets and what they look like in base64, URLs, JSON and hex.

    Parameters
    ----------
    secrets: the values; those of fewer than four characters are left alone, since masking
        them would make ordinary text unreadable and protect nothing.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        found: set[bytes] = set()
        for value in secrets:
            for part in {value, *value.splitlines()}:
                if len(part) >= SHORTEST:
                    found |= _forms(part)
        self.needles = sorted(found, key=lambda needle: (-len(needle), needle))
        self._first = frozenset(needle[0] for needle in self.needles)
        self._longest = max(map(len, self.needles), default=0)
        self._pattern = re.compile(b"|".join(map(re.escape, self.needles)))

    def __bool__(self) -> bool:
        return bool(self.needles)

    def hide(self, data: bytes) -> bytes:
        """The data with every secret replaced."""
        return self._pattern.sub(STARS, data) if self.needles else data

    def hide_text(self, text: str) -> str:
        """The text with every secret replaced."""
        if not self.needles:
            return text
        return self.hide(text.encode("utf-8", "backslashreplace")).decode()

    def safe_until(self, data: bytes) -> int:
        """Up to where the data can be hidden now, whatever comes after it."""
        start = max(0, len(data) - self._longest + 1)
        cut = len(data)
        for place in range(start, len(data)):
            if data[place] in self._first:
                rest = data[place:]
                if any(len(n) > len(rest) and n.startswith(rest) for n in self.needles):
                    cut = place
                    break
        if cut == len(data):
            return cut
        # A secret that is complete, but reaches over the cut, has to stay in one piece. The
        # search begins where `hide` will begin: the two must find the same ones.
        for match in self._pattern.finditer(data):
            if match.start() < cut < match.end():
                return match.start()
        return cut

    def hide_edges(self, head: bytes, tail: bytes) -> tuple[bytes, bytes]:
        """Two pieces between which something was dropped: also what a secret left at the cut."""
        cut = self.safe_until(head)
        hidden = self.hide(head[:cut]) + (STARS if cut < len(head) else b"")
        for length in range(min(self._longest - 1, len(tail)), 0, -1):
            start = tail[:length]
            if any(len(n) > length and n.endswith(start) for n in self.needles):
                return hidden, STARS + self.hide(tail[length:])
        return hidden, self.hide(tail)


class MaskedStream:
    """Hides secrets in data that comes in pieces; holds back what may be the start of one."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What can be shown now."""
        if not self._mask:
            return data
        data = self._held + data
        cut = self._mask.safe_until(data)
        self._held = data[cut:]
        return self._mask.hide(data[:cut])

    def end(self) -> bytes:
        """What was held back."""
        held, self._held = self._held, b""
        return self._mask.hide(held)


def _forms(value: str) -> set[bytes]:
    raw = value.encode("utf-8", "surrogateescape")
    forms = {raw, quote(raw, safe="").encode(), quote(raw).encode(), quote_plus(raw).encode()}
    forms.add(json.dumps(value)[1:-1].encode())
    forms |= {raw.hex().encode(), raw.hex().upper().encode()}
    forms |= {form for shift in range(3) for form in _base64_forms(raw, shift)}
    return {form for form in forms if len(form) >= SHORTEST}


def _base64_forms(raw: bytes, shift: int) -> Iterable[bytes]:
    """What is certain of a value that begins `shift` bytes after a group of three."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(b"\0" * shift + raw)
        if shift == 0:
            yield text
            yield text.rstrip(b"=")
        sure = text.rstrip(b"=")
        if (shift + len(raw)) % 3:
            sure = sure[:-1]  # its last character depends on what comes next
        sure = sure[(0, 2, 3)[shift] :]
        if len(sure) >= SHORTEST:
            yield sure
