"""The errors of values that do not fit: they cannot be stored, read back, or passed."""

from __future__ import annotations

from typing import Any

from batuta.kernel.errors import BatutaError


class Misfit(BatutaError):
    """A value that does not fit; the path of the culprit grows while the error rises."""

    def __init__(self, path: str, *, at: str | None = None, hint: str | None = None) -> None:
        super().__init__("", at=at, hint=hint)
        self.path = path
        self.message = self.describe()

    def describe(self) -> str:
        """The sentence for the present path."""
        raise NotImplementedError

    def under(self, parent: str) -> Misfit:
        """The same error seen from one level further out (`[3]`, `.callback`, `order`)."""
        self.path = parent + self.path
        self.message = self.describe()
        return self

    def within(self, name: str, at: str | None) -> Misfit:
        """The same error, of the parameter (or result) `name` of what is defined at `at`."""
        self.at = self.at or at
        return self.under(name)

    @property
    def place(self) -> str:
        """The path as a reader wants it."""
        path = self.path.lstrip(".") or "the value"
        return path if len(path) <= 200 else f"{path[:100]}…{path[-40:]}"


class Unstorable(Misfit):
    """A value that cannot be stored.

    Parameters
    ----------
    path: where it stands, like `order.items[3].callback`; empty for the value itself.
    value_type: the name of its type.
    hint: what to do.
    expected: what the annotation asks for, where it is a matter of the annotation.
    reason: why not, where the type alone does not say it.
    """

    def __init__(
        self,
        path: str = "",
        value_type: str = "object",
        hint: str | None = None,
        *,
        expected: str | None = None,
        reason: str | None = None,
    ) -> None:
        self.value_type = value_type
        self.expected = expected
        self.reason = reason
        super().__init__(path, hint=hint)

    def describe(self) -> str:
        """The sentence for the present path."""
        if self.reason:
            return f"`{self.place}` cannot be stored: {self.reason}"
        if self.expected:
            return f"`{self.place}` is of type {self.value_type}, declared is {self.expected}"
        return f"`{self.place}` cannot be stored: it is of type {self.value_type}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.__dict__, self.args)


class Unfitting(Misfit):
    """A stored or given JSON value that is not of the declared type.

    Parameters
    ----------
    path: where it stands, like `order.items[3].price`; empty for the value itself.
    expected: what is declared.
    got: what is there.
    """

    def __init__(
        self, path: str = "", expected: str = "", got: str = "", hint: str | None = None
    ) -> None:
        self.expected = expected
        self.got = got
        super().__init__(path, hint=hint)

    def describe(self) -> str:
        """The sentence for the present path."""
        return f"`{self.place}` should be {self.expected}, it is {self.got}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.__dict__, self.args)


class Uncallable(BatutaError, TypeError):
    """Arguments that do not match the parameters of a function."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.__dict__, self.args)


def _again(cls: type[BatutaError], fields: dict[str, Any], args: tuple[Any, ...]) -> BatutaError:
    """An error as it was, after pickling (a worker process hands errors back that way)."""
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(fields)
    return error


def shown(value: object, limit: int = 60) -> str:
    """A value of JSON in an error message: short, with its kind where it is a container."""
    if isinstance(value, dict):
        keys = ", ".join(map(str, list(value)[:4]))
        return f"an object with {keys}" if value else "an empty object"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
