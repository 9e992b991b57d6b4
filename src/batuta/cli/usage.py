"""How a command ends, and the error of what was typed."""

from __future__ import annotations

from batuta.kernel.errors import BatutaError

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


class UsageError(BatutaError):
    """What was typed cannot be understood."""
