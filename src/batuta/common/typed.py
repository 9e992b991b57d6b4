"""Values between Python and JSON as annotations type them: one codec for each annotation."""

from __future__ import annotations

import collections
import collections.abc as abc
import enum
import typing
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, get_args

from batuta.common.misfit import Misfit, Unfitting, Unstorable, shown
from batuta.common.scalar import SCALARS, Scalar
from batuta.common.untyped import (
    TAG,
    class_name,
    decode_any,
    decode_float_text,
    decode_text,
    encode_any,
    key_path,
    sorted_items,
    type_name,
)

Convert = Callable[[Any], Any]

KINDS = {
    type(None): "null",
    bool: "bool",
    int: "int",
    float: "float",
    str: "str",
    list: "list",
    dict: "dict",
}
INFINITY = float("inf")


@dataclass(frozen=True, slots=True)
class Codec:
    """How values of one annotation become JSON and come back.

    Parameters
    ----------
    name: the annotation as a reader knows it (`list[Order]`).
    encode: value -> JSON value that shares nothing mutable with it; raises `Unstorable`.
    decode: JSON value -> value; raises `Unfitting`.
    kinds: which JSON types it usually makes, of `KINDS`; empty: it cannot be foreseen.
    holds: whether a Python value is of this annotation, judged by its outermost type.
    tag: what marks its values where several branches of a union look alike in JSON.
    """

    name: str
    encode: Convert
    decode: Convert
    kinds: frozenset[str]
    holds: Callable[[Any], bool]
    tag: str


def misplaced(value: Any, expected: str) -> Unstorable:
    """The error of a Python value that is not of the declared type."""
    return Unstorable("", type_name(value), expected=expected)


# -- single values -------------------------------------------------------------------------


def _encode_str(value: Any) -> Any:
    if type(value) is str:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    raise misplaced(value, "str")


def _decode_str(value: Any) -> Any:
    if type(value) is str:
        return value
    raise Unfitting("", "a text", shown(value))


def _encode_int(value: Any) -> Any:
    if type(value) is int:
        return value
    if isinstance(value, int) and type(value) is not bool:
        return int(value)
    raise misplaced(value, "int")


def _decode_int(value: Any) -> Any:
    if type(value) is int:
        return value
    raise Unfitting("", "a whole number", shown(value))


def _encode_bool(value: Any) -> Any:
    if value is True or value is False:
        return value
    raise misplaced(value, "bool")


def _decode_bool(value: Any) -> Any:
    if value is True or value is False:
        return value
    raise Unfitting("", "true or false", shown(value))


def _encode_float(value: Any) -> Any:
    if type(value) is float and -INFINITY < value < INFINITY:
        return value
    if isinstance(value, float):
        return encode_any(float(value))
    if isinstance(value, int) and type(value) is not bool:
        try:
            return float(value)
        except OverflowError:
            raise Unstorable("", "int", reason="it is too large for a float") from None
    raise misplaced(value, "float")


def _decode_float(value: Any) -> Any:
    if type(value) is float:
        return value
    if type(value) is int:
        try:
            return float(value)
        except OverflowError:
            pass
    if type(value) is dict and value.get(TAG) == "float":
        return decode_float_text(value.get("v"))
    raise Unfitting("", "a number", shown(value))


def _encode_none(value: Any) -> Any:
    if value is None:
        return None
    raise misplaced(value, "None")


def _decode_none(value: Any) -> Any:
    if value is None:
        return None
    raise Unfitting("", "null", shown(value))


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and type(value) is not bool


def _single(kind: type, kinds: str, encode: Convert, decode: Convert) -> Codec:
    name = "None" if kind is type(None) else kind.__name__
    holds = _is_int if kind is int else kind.__instancecheck__
    return Codec(name, encode, decode, frozenset({kinds}), holds, name)


ANY = Codec("Any", encode_any, decode_any, frozenset(), lambda value: True, "Any")
STR = _single(str, "str", _encode_str, _decode_str)
INT = _single(int, "int", _encode_int, _decode_int)
BOOL = _single(bool, "bool", _encode_bool, _decode_bool)
FLOAT = _single(float, "float", _encode_float, _decode_float)
NONE = Codec(
    "None", _encode_none, _decode_none, frozenset({"null"}), lambda value: value is None, "None"
)

SINGLES: dict[Any, Codec] = {
    Any: ANY,
    object: ANY,
    typing.NoReturn: ANY,
    None: NONE,
    type(None): NONE,
    str: STR,
    int: INT,
    bool: BOOL,
    float: FLOAT,
}
PRIMITIVES = {"str", "int", "bool", "float", "None"}


def scalar(cls: type, one: Scalar) -> Codec:
    """The codec of a type that is written as one text."""
    write, read, expected, number = one.write, one.read, one.expected, one.number

    def encode(value: Any) -> Any:
        if type(value) is cls or holds(value):
            return write(value)
        raise misplaced(value, cls.__name__)

    def decode(value: Any) -> Any:
        if number is not None and (type(value) is int or type(value) is float):
            return number(value)
        return decode_text(value, expected, read)

    def holds(value: Any) -> bool:
        # A datetime is a date to Python; storing it as one would lose the time.
        return isinstance(value, cls) and SCALARS.get(type(value), one).name == one.name

    return Codec(cls.__name__, encode, decode, frozenset({"str"}), holds, one.name)


def enum_of(cls: type[enum.Enum]) -> Codec:
    """The codec of an enum: by value where all are texts or all are numbers, else by name."""
    members = list(cls.__members__.values())
    plain = {type(member.value) for member in members}
    if issubclass(cls, enum.Flag):
        return _flag(cls)
    by_value = plain == {str} or plain == {int}
    to_json = {m.name: m.value if by_value else m.name for m in members}
    from_json = {value: cls.__members__[name] for name, value in to_json.items()}
    expected = "one of " + ", ".join(map(repr, list(from_json)[:12]))

    def encode(value: Any) -> Any:
        if type(value) is cls:
            return to_json[value.name]
        raise misplaced(value, cls.__qualname__)

    def decode(value: Any) -> Any:
        if type(value) is str or type(value) is int:
            member = from_json.get(value)
            if member is not None:
                return member
        raise Unfitting("", expected, shown(value))

    kind = "int" if plain == {int} else "str"
    return Codec(
        cls.__qualname__, encode, decode, frozenset({kind}), cls.__instancecheck__, class_name(cls)
    )


def _flag(cls: type[enum.Flag]) -> Codec:
    def encode(value: Any) -> Any:
        if isinstance(value, cls):
            return value.value
        raise misplaced(value, cls.__qualname__)

    def decode(value: Any) -> Any:
        try:
            if type(value) is int:
                return cls(value)
        except ValueError:
            pass
        raise Unfitting("", f"a number that is a {cls.__qualname__}", shown(value))

    holds = cls.__instancecheck__
    return Codec(cls.__qualname__, encode, decode, frozenset({"int"}), holds, class_name(cls))


def literal(annotation: Any) -> Codec:
    """The codec of `Literal[...]`; `1` and `True` are two values."""
    values = get_args(annotation)
    name = "Literal[" + ", ".join(map(repr, values)) + "]"
    to_json = {(type(v), v): encode_any(v) for v in values}
    singles = {(type(j), j): v for (_, v), j in to_json.items() if not isinstance(j, dict)}
    expected = "one of " + ", ".join(map(repr, values))

    def encode(value: Any) -> Any:
        if holds(value):
            json = to_json[type(value), value]
            return dict(json) if type(json) is dict else json
        raise Unstorable("", type_name(value), reason=f"it is {shown(value)}, declared is {name}")

    def decode(value: Any) -> Any:
        if type(value) is dict:
            value = decode_any(value)
            if holds(value):
                return value
        elif type(value) is not list and (type(value), value) in singles:
            return singles[type(value), value]
        raise Unfitting("", expected, shown(value))

    def holds(value: Any) -> bool:
        return isinstance(value, Hashable) and (type(value), value) in to_json

    kinds = frozenset(KINDS[type(json)] for json in to_json.values())
    return Codec(name, encode, decode, kinds, holds, name)


# -- containers ----------------------------------------------------------------------------

LISTS: dict[Any, tuple[type, tuple[type, ...]]] = {
    list: (list, (list, tuple)),
    abc.Sequence: (list, (list, tuple, collections.deque)),
    abc.MutableSequence: (list, (list, tuple, collections.deque)),
    abc.Iterable: (list, (list, tuple, set, frozenset, collections.deque)),
    abc.Collection: (list, (list, tuple, set, frozenset, collections.deque)),
    collections.deque: (collections.deque, (collections.deque,)),
    tuple: (tuple, (tuple, list)),
    set: (set, (set, frozenset)),
    abc.Set: (set, (set, frozenset)),
    abc.MutableSet: (set, (set, frozenset)),
    frozenset: (frozenset, (frozenset, set)),
}
DICTS: dict[Any, type] = {
    dict: dict,
    abc.Mapping: dict,
    abc.MutableMapping: dict,
    collections.OrderedDict: collections.OrderedDict,
    collections.defaultdict: dict,
    collections.Counter: collections.Counter,
}


def list_of(origin: Any, item: Codec) -> Codec:
    """The codec of lists, sets and tuples of any length."""
    make, accepted = LISTS[origin]
    name = f"{getattr(origin, '__name__', 'list')}[{item.name}{', ...' * (origin is tuple)}]"
    unordered = make in (set, frozenset)
    exact = make is origin  # a union's list is no tuple, its Sequence may be one
    plain = {STR: str, INT: int, BOOL: bool}.get(item)
    one_encode, one_decode = item.encode, item.decode

    def encode(value: Any) -> Any:
        if not holds_any(value):
            raise misplaced(value, name)
        if plain is not None and set(map(type, value)) == {plain}:
            return sorted(value) if unordered else list(value)
        out: list[Any] = []
        try:
            out.extend(map(one_encode, value))
        except Misfit as error:
            raise error.under(f"[{len(out)}]") from None
        return sorted_items(out) if isinstance(value, set | frozenset) else out

    def decode(value: Any) -> Any:
        if type(value) is not list:
            raise Unfitting("", "a list", shown(value))
        if plain is not None and set(map(type, value)) == {plain}:
            return make(value)
        out: list[Any] = []
        try:
            out.extend(map(one_decode, value))
        except Misfit as error:
            raise error.under(f"[{len(out)}]") from None
        return out if make is list else _made(make, out)

    def holds_any(value: Any) -> bool:
        return isinstance(value, accepted)

    def holds(value: Any) -> bool:
        return isinstance(value, accepted[:1] if exact else accepted)

    return Codec(name, encode, decode, frozenset({"list"}), holds, name)


def _made(make: Callable[[Any], Any], items: Any) -> Any:
    try:
        return make(items)
    except TypeError:
        raise Unfitting("", "made of values that can be hashed", shown(items)) from None


def fixed_tuple(items: tuple[Codec, ...]) -> Codec:
    """The codec of tuples of a fixed length."""
    name = f"tuple[{', '.join(item.name for item in items) or '()'}]"
    encoders = [item.encode for item in items]
    decoders = [item.decode for item in items]

    def convert(value: Any, converters: list[Convert]) -> list[Any]:
        out: list[Any] = []
        try:
            for one, converter in zip(value, converters, strict=True):
                out.append(converter(one))
        except Misfit as error:
            raise error.under(f"[{len(out)}]") from None
        return out

    def encode(value: Any) -> Any:
        if not isinstance(value, tuple | list) or len(value) != len(encoders):
            raise misplaced(value, name)
        return convert(value, encoders)

    def decode(value: Any) -> Any:
        if type(value) is not list or len(value) != len(decoders):
            raise Unfitting("", f"a list of {len(decoders)}", shown(value))
        return tuple(convert(value, decoders))

    def holds(value: Any) -> bool:
        return isinstance(value, tuple) and len(value) == len(items)

    return Codec(name, encode, decode, frozenset({"list"}), holds, name)


def dict_of(origin: Any, key: Codec, item: Codec) -> Codec:
    """The codec of dicts and mappings."""
    if key.kinds == {"str"}:
        return _object(origin, key.encode, key.decode, key.name, item)
    if key.kinds == {"int"}:
        return _object(
            origin,
            lambda value: str(key.encode(value)),
            lambda text: key.decode(_int_key(text)),
            key.name,
            item,
        )
    return _pairs(origin, key, item)


def _int_key(text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        return text


def _object(
    origin: Any, key_encode: Convert, key_decode: Convert, key_name: str, item: Codec
) -> Codec:
    """A dict whose keys are texts in JSON."""
    name = f"{origin.__name__}[{key_name}, {item.name}]"
    make = DICTS[origin]
    item_encode, item_decode = item.encode, item.decode

    def encode(value: Any) -> Any:
        if not isinstance(value, abc.Mapping):
            raise misplaced(value, name)
        out = {}
        key: Any = ""
        try:
            for key, one in value.items():
                out[key_encode(key)] = item_encode(one)
        except Misfit as error:
            raise error.under(key_path(key)) from None
        return out

    def decode(value: Any) -> Any:
        if type(value) is not dict:
            raise Unfitting("", "an object", shown(value))
        out = {}
        key: Any = ""
        try:
            for key, one in value.items():
                out[key_decode(key)] = item_decode(one)
        except Misfit as error:
            raise error.under(key_path(key)) from None
        return out if make is dict else make(out)

    return Codec(name, encode, decode, frozenset({"dict"}), _is_mapping, name)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, abc.Mapping)


def _pairs(origin: Any, key: Codec, item: Codec) -> Codec:
    """A dict whose keys are no texts in JSON: a list of pairs."""
    pair = fixed_tuple((key, item))
    name = f"{origin.__name__}[{key.name}, {item.name}]"
    make = DICTS[origin]

    def encode(value: Any) -> Any:
        if not isinstance(value, abc.Mapping):
            raise misplaced(value, name)
        out: list[Any] = []
        at: Any = None
        try:
            for at, one in value.items():
                out.append([key.encode(at), item.encode(one)])
        except Misfit as error:
            raise error.under(key_path(at)) from None
        return out

    def decode(value: Any) -> Any:
        if type(value) is dict:  # as a person writes it
            value = [[at, one] for at, one in value.items()]
        if type(value) is not list:
            raise Unfitting("", "a list of pairs of a key and a value", shown(value))
        return _made(make, [pair.decode(one) for one in value])

    return Codec(name, encode, decode, frozenset({"list"}), _is_mapping, name)


def any_dict(origin: Any) -> Codec:
    """A dict of which the annotation says nothing more."""
    make = DICTS[origin]

    def encode(value: Any) -> Any:
        if not isinstance(value, abc.Mapping):
            raise misplaced(value, origin.__name__)
        return encode_any(value if isinstance(value, dict) else dict(value))

    def decode(value: Any) -> Any:
        out = decode_any(value)
        if type(out) is not dict:
            raise Unfitting("", "an object", shown(value))
        return out if make is dict else make(out)

    name = origin.__name__
    return Codec(name, encode, decode, frozenset({"dict"}), _is_mapping, name)


# -- unions --------------------------------------------------------------------------------


def _optional(inner: Codec) -> Codec:
    inner_encode, inner_decode, inner_holds = inner.encode, inner.decode, inner.holds

    def encode(value: Any) -> Any:
        return None if value is None else inner_encode(value)

    def decode(value: Any) -> Any:
        return None if value is None else inner_decode(value)

    def holds(value: Any) -> bool:
        return value is None or inner_holds(value)

    name = f"{inner.name} | None"
    return Codec(name, encode, decode, inner.kinds | {"null"}, holds, name)


def union(branches: list[Codec]) -> Codec:
    """The codec of values that may be of several types, tagged only where JSON is ambiguous."""
    # Python holds A | B and B | A for equal, so their order may mean nothing.
    branches = sorted(branches, key=lambda b: (b.name not in PRIMITIVES, b.name, b.tag))
    rest = [branch for branch in branches if branch is not NONE]
    if len(rest) < len(branches) and len(rest) == 1 and "null" not in rest[0].kinds:
        return _optional(rest[0])
    owners = _owners(branches)
    tags = _tags(branches)
    by_tag = {tag: branch for branch, tag in zip(branches, tags, strict=True)}
    name = " | ".join(branch.name for branch in branches)
    # A StrEnum is a str too: the narrower branch has to be asked first.
    narrow_first = sorted(zip(branches, tags, strict=True), key=lambda pair: _width(pair[0]))

    def encode(value: Any) -> Any:
        errors = []
        for branch, tag in narrow_first:
            if branch.holds(value):
                try:
                    json = branch.encode(value)
                except Misfit as error:
                    errors.append(error)
                    continue
                mixed_up = type(json) is dict and TAG in json
                plain = owners.get(KINDS[type(json)]) is branch and not mixed_up
                return json if plain else {TAG: tag, "v": json}
        if len(errors) == 1:
            raise errors[0]
        if not errors and FLOAT in branches and _is_int(value):
            return FLOAT.encode(value)
        raise misplaced(value, name)

    def decode(value: Any) -> Any:
        if type(value) is dict and TAG in value:
            tagged = by_tag.get(value[TAG]) if isinstance(value[TAG], str) else None
            if tagged is not None and value.keys() == {TAG, "v"}:
                return tagged.decode(value["v"])
        owner = owners.get(KINDS.get(type(value), ""))
        if owner is not None:
            return owner.decode(value)
        return _decode_first(branches, value, name)

    def holds(value: Any) -> bool:
        return any(branch.holds(value) for branch in branches)

    kinds = frozenset().union(*(branch.kinds for branch in branches))
    return Codec(name, encode, decode, kinds, holds, name)


def _width(branch: Codec) -> int:
    return 2 if branch.name.startswith("Literal[") else int(branch.name in PRIMITIVES)


def _owners(branches: list[Codec]) -> dict[str, Codec]:
    """JSON type -> the one branch whose values look like that without a tag."""
    owners = {}
    for kind in KINDS.values():
        claims = [branch for branch in branches if kind in branch.kinds]
        if claims and (len(claims) == 1 or claims[0].name in PRIMITIVES):
            owners[kind] = claims[0]
    return owners


def _tags(branches: list[Codec]) -> list[str]:
    tags: list[str] = []
    for branch in branches:
        twins = tags.count(branch.tag)
        tags.append(f"{branch.tag}#{twins}" if twins else branch.tag)
    return tags


def _decode_first(branches: list[Codec], value: Any, name: str) -> Any:
    """What the first branch that fits makes of it: input written by a person has no tags."""
    for branch in branches:
        try:
            return branch.decode(value)
        except Misfit:
            continue
    raise Unfitting("", name, shown(value))
