"""Values between Python and JSON where no annotation says their type: kept by a tag."""

from __future__ import annotations

import dataclasses
import enum
import math
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from batuta.common.misfit import Misfit, Unfitting, Unstorable, shown
from batuta.common.scalar import NAMED, SCALARS, write_float

MAX_DEPTH = 200
TAG = "$type"


class Depth(threading.local):
    """What one thread knows while it converts values.

    Attributes
    ----------
    at: how deep the value being worked on is nested already.
    strict: whether unknown fields are refused.
    making: the codecs that are being made, for annotations that contain themselves.
    """

    at = 0
    strict = False

    def __init__(self) -> None:
        self.making: dict[Any, Any] = {}


depth = Depth()

ClassCodec = tuple[Callable[[Any], Any], Callable[[Any], Any]]


class Classes:
    """Where the untyped world finds the codec of a class; `typed` fills it in."""

    codec: Callable[[type], ClassCodec]


classes = Classes()


def type_name(value: object) -> str:
    """The name of a value's type as a user knows it (`function`, `shop:Order`)."""
    cls = type(value)
    return cls.__qualname__ if cls.__module__ == "builtins" else class_name(cls)


def class_name(cls: type) -> str:
    """`module:Qualname`."""
    return f"{cls.__module__}:{cls.__qualname__}"


def find_class(name: str) -> type | None:
    """The class of that name if its module is loaded; nothing is ever imported for data."""
    module, _, qualname = name.partition(":")
    at: Any = sys.modules.get(module)
    for part in qualname.split("."):
        at = getattr(at, part, None)
    return at if isinstance(at, type) else None


def is_record_class(cls: type) -> bool:
    """Whether instances of the class are stored by their fields (or, an enum, by value)."""
    return (
        dataclasses.is_dataclass(cls)
        or issubclass(cls, enum.Enum)
        or (issubclass(cls, tuple) and hasattr(cls, "_fields"))
        or is_model(cls)
        or hasattr(cls, "__attrs_attrs__")
    )


def is_model(cls: type) -> bool:
    """Whether it is a pydantic model; pydantic is never imported to find out."""
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and issubclass(cls, pydantic.BaseModel)


def encode_any(value: Any) -> Any:
    """JSON for a value of any type, tagged where JSON alone would lose the type."""
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if kind is float and math.isfinite(value):
        return value
    return _encode(value, depth.at)


def _encode(value: Any, at: int) -> Any:
    if at > MAX_DEPTH:
        raise too_deep()
    encode = ENCODERS.get(type(value))
    return encode(value, at + 1) if encode else _encode_instance(value, at + 1)


def too_deep() -> Unstorable:
    """The error of a value that is nested too deeply."""
    return Unstorable(
        reason=f"it is nested deeper than {MAX_DEPTH} levels",
        hint="does it contain itself? Store ids instead of references",
    )


def _same(value: Any, at: int) -> Any:
    return value


def _encode_float(value: float, at: int) -> Any:
    return value if math.isfinite(value) else {TAG: "float", "v": write_float(value)}


def _encode_list(value: Any, at: int) -> list[Any]:
    out: list[Any] = []
    try:
        out.extend(_encode(item, at) for item in value)
    except Misfit as error:
        raise error.under(f"[{len(out)}]") from None
    return out


def _encode_dict(value: dict[Any, Any], at: int) -> dict[str, Any]:
    if TAG in value or any(type(key) is not str for key in value):
        return {TAG: "dict", "v": _encode_pairs(value, at)}
    out = {}
    key = ""
    try:
        for key, item in value.items():
            out[key] = _encode(item, at)
    except Misfit as error:
        raise error.under(key_path(key)) from None
    return out


def key_path(key: object) -> str:
    """A dict's key as a part of a path."""
    return f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{key!r}]"


def _encode_pairs(value: Mapping[Any, Any], at: int) -> list[list[Any]]:
    out = []
    key = None
    try:
        for key, item in value.items():
            out.append([_encode(key, at), _encode(item, at)])
    except Misfit as error:
        raise error.under(key_path(key)) from None
    return out


def sorted_items(items: list[Any]) -> list[Any]:
    """Encoded members of a set in an order that does not depend on the hash seed."""
    try:
        return sorted(items)
    except TypeError:
        return sorted(items, key=repr)


def _tagged(name: str) -> Callable[[Any, int], Any]:
    def encode(value: Any, at: int) -> Any:
        return {TAG: name, "v": _encode_list(value, at)}

    return encode


def _tagged_set(name: str) -> Callable[[Any, int], Any]:
    def encode(value: Any, at: int) -> Any:
        return {TAG: name, "v": sorted_items(_encode_list(value, at))}

    return encode


def _tagged_scalar(cls: type) -> Callable[[Any, int], Any]:
    scalar = SCALARS[cls]

    def encode(value: Any, at: int) -> Any:
        return {TAG: scalar.name, "v": scalar.write(value)}

    return encode


ENCODERS: dict[type, Callable[[Any, int], Any]] = {
    str: _same,
    int: _same,
    bool: _same,
    type(None): _same,
    float: _encode_float,
    list: _encode_list,
    dict: _encode_dict,
    tuple: _tagged("tuple"),
    set: _tagged_set("set"),
    frozenset: _tagged_set("frozenset"),
    **{cls: _tagged_scalar(cls) for cls in SCALARS},
}


def _encode_instance(value: Any, at: int) -> Any:
    """An instance of a class of the user's, or of a class derived from a known one."""
    cls = type(value)
    if not is_record_class(cls):
        for base in cls.__mro__[1:]:
            if base in ENCODERS and issubclass(base, (list, dict)):
                return ENCODERS[base](value, at)  # OrderedDict, defaultdict: as plain ones
        raise Unstorable("", type_name(value), hint_for(value))
    if find_class(class_name(cls)) is not cls:
        raise Unstorable(
            "",
            type_name(value),
            f"move the class {cls.__qualname__} to the top of its module, or annotate "
            "the parameter or field with it",
        )
    before, depth.at = depth.at, at
    try:
        return {TAG: class_name(cls), "v": classes.codec(cls)[0](value)}
    finally:
        depth.at = before


def hint_for(value: object) -> str:
    """What to do about a value that cannot be stored."""
    if callable(value):
        return "pass the name of what shall be called, and look it up in the step"
    if hasattr(value, "read") or hasattr(value, "fileno"):
        return "pass the path and open it in the step"
    if hasattr(value, "send") or hasattr(value, "__next__"):
        return "pass a list of the items"
    return "use a dataclass, a pydantic model, or plain lists, dicts, numbers and strings"


def decode_any(value: Any) -> Any:
    """The inverse of `encode_any`."""
    kind = type(value)
    if kind is str or kind is int or kind is bool or kind is float or value is None:
        return value
    return _decode(value, depth.at)


def _decode(value: Any, at: int) -> Any:
    if at > MAX_DEPTH:
        raise Unfitting("", f"nested no deeper than {MAX_DEPTH} levels", "deeper")
    if type(value) is list:
        return _decode_list(value, at + 1)
    if type(value) is not dict:
        return value
    if TAG in value:
        return _decode_tagged(value, at + 1)
    out = {}
    key = ""
    try:
        for key, item in value.items():
            out[key] = _decode(item, at + 1)
    except Misfit as error:
        raise error.under(key_path(key)) from None
    return out


def _decode_list(value: Any, at: int) -> list[Any]:
    if type(value) is not list:
        raise Unfitting("", "a list", shown(value))
    out: list[Any] = []
    try:
        out.extend(_decode(item, at) for item in value)
    except Misfit as error:
        raise error.under(f"[{len(out)}]") from None
    return out


def _decode_pairs(value: Any, at: int) -> dict[Any, Any]:
    try:
        return dict(_decode_list([_plain_pair(v) for v in value], at))
    except TypeError:
        raise Unfitting("", "a list of pairs of a key and a value", shown(value)) from None


def _plain_pair(value: Any) -> list[Any]:
    if type(value) is not list or len(value) != 2:
        raise TypeError
    return value


def _decode_members(cls: Callable[[list[Any]], Any]) -> Callable[[Any, int], Any]:
    def decode(value: Any, at: int) -> Any:
        items = _decode_list(value, at)
        try:
            return cls(items)
        except TypeError:
            raise Unfitting("", "a set of hashable values", shown(value)) from None

    return decode


def decode_text(value: Any, expected: str, read: Callable[[str], Any]) -> Any:
    """A scalar from its text."""
    if type(value) is str:
        try:
            return read(value)
        except (ValueError, TypeError, OverflowError, LookupError, OSError):
            pass
    raise Unfitting("", expected, shown(value))


def decode_float_text(value: Any) -> float:
    """`nan`, `inf` or `-inf`."""
    if value not in ("nan", "inf", "-inf"):
        raise Unfitting("", "nan, inf or -inf", shown(value))
    return float(value)


DECODERS: dict[str, Callable[[Any, int], Any]] = {
    "dict": _decode_pairs,
    "tuple": _decode_members(tuple),
    "set": _decode_members(set),
    "frozenset": _decode_members(frozenset),
    "float": lambda value, at: decode_float_text(value),
}


def _decode_tagged(value: dict[str, Any], at: int) -> Any:
    name = value[TAG]
    if type(name) is not str or set(value) != {TAG, "v"}:
        raise Unfitting("", f'an object with just "{TAG}" and "v"', shown(value))
    inner = value["v"]
    if name in DECODERS:
        return DECODERS[name](inner, at)
    if name in NAMED:
        scalar = NAMED[name]
        return decode_text(inner, scalar.expected, scalar.read)
    cls = find_class(name)
    if cls is None or not is_record_class(cls):
        raise Unfitting(
            "",
            "of a class that is loaded",
            f"of the class {name}",
            "was the class renamed or moved? Keep its old name as an alias, or annotate it",
        )
    before, depth.at = depth.at, at
    try:
        return classes.codec(cls)[1](inner)
    finally:
        depth.at = before
