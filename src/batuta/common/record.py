"""Codecs of classes that are stored by their fields, and of every other annotation."""

from __future__ import annotations

import dataclasses
import enum
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, ForwardRef, TypeVar, get_args, get_origin

from batuta.common import typed
from batuta.common.misfit import Misfit, Unfitting, Unstorable, shown
from batuta.common.scalar import SCALARS
from batuta.common.typed import ANY, Codec, misplaced
from batuta.common.untyped import (
    MAX_DEPTH,
    TAG,
    class_name,
    classes,
    decode_any,
    depth,
    encode_any,
    find_class,
    is_model,
    is_record_class,
    key_path,
    too_deep,
    type_name,
)


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """One field of a class.

    Parameters
    ----------
    name: the attribute. argument: its name in the constructor, None where it has none.
    annotation: resolved. required: whether the constructor insists on it.
    """

    name: str
    argument: str | None
    annotation: Any
    required: bool


# -- classes with fields -------------------------------------------------------------------


def hints_of(cls: type) -> dict[str, Any]:
    """The resolved annotations of a class, also where one of them cannot be resolved."""
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except Exception:  # whatever a name in an annotation may lead to
        return _hints_one_by_one(cls)


def _hints_one_by_one(cls: type) -> dict[str, Any]:
    """As `hints_of`; a name that cannot be resolved (a local class) stands for anything."""
    hints: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        scope = vars(sys.modules.get(base.__module__, types))
        for name, annotation in vars(base).get("__annotations__", {}).items():
            hints[name] = resolve(annotation, scope, dict(vars(base)) | {cls.__name__: cls})
    return hints


def resolve(annotation: Any, scope: Mapping[str, Any], local: Mapping[str, Any]) -> Any:
    """One annotation, `Any` where it names something that is not there."""
    if not isinstance(annotation, str):
        return annotation
    holder = type("Holder", (), {"__annotations__": {"it": annotation}})
    try:
        hints = typing.get_type_hints(holder, dict(scope), dict(local), include_extras=True)
    except Exception:  # as above
        return Any
    return hints["it"]


def _fields_of_dataclass(cls: type) -> list[Field]:
    hints = hints_of(cls)
    return [
        Field(
            one.name,
            one.name if one.init else None,
            hints.get(one.name, Any),
            one.init
            and one.default is dataclasses.MISSING
            and one.default_factory is dataclasses.MISSING,
        )
        for one in dataclasses.fields(cls)
    ]


def _fields_of_attrs(cls: Any) -> list[Field]:
    nothing = sys.modules["attr"].NOTHING
    hints = hints_of(cls)
    return [
        Field(
            one.name,
            one.alias if one.init else None,
            hints.get(one.name, Any),
            one.init and one.default is nothing,
        )
        for one in cls.__attrs_attrs__
    ]


def _fields_of_namedtuple(cls: Any) -> list[Field]:
    hints = hints_of(cls)
    return [
        Field(name, name, hints.get(name, Any), name not in cls._field_defaults)
        for name in cls._fields
    ]


def _substituted(annotation: Any, mapping: Mapping[Any, Any]) -> Any:
    """An annotation with its type variables replaced."""
    if isinstance(annotation, TypeVar):
        return mapping.get(annotation, annotation)
    parameters = getattr(annotation, "__parameters__", ())
    if not mapping or not parameters or isinstance(annotation, type):
        return annotation
    return annotation[tuple(mapping.get(one, one) for one in parameters)]


def _with_fields(cls: type, arguments: tuple[Any, ...], name: str) -> Codec:
    """The codec of a dataclass, an attrs class or a NamedTuple: an object by field names."""
    if dataclasses.is_dataclass(cls):
        fields = _fields_of_dataclass(cls)
    elif hasattr(cls, "_fields"):
        fields = _fields_of_namedtuple(cls)
    else:
        fields = _fields_of_attrs(cls)
    mapping = dict(zip(getattr(cls, "__parameters__", ()), arguments, strict=False))
    codecs = {one.name: codec_of(_substituted(one.annotation, mapping)) for one in fields}
    writers = [(one.name, codecs[one.name].encode) for one in fields]

    def encode(value: Any) -> Any:
        if type(value) is not cls:
            return encode_subclass(value, cls, name)
        out = {}
        at = ""
        try:
            for at, convert in writers:
                out[at] = convert(getattr(value, at))
        except Misfit as error:
            raise error.under("." + at) from None
        return out

    decode = _field_decoder(cls, fields, codecs, name)
    kinds = frozenset({"dict"})
    return Codec(name, encode, decode, kinds, cls.__instancecheck__, class_name(cls))


def _field_decoder(
    cls: type, fields: list[Field], codecs: Mapping[str, Codec], name: str
) -> Callable[[Any], Any]:
    readers = [(one.name, one.argument, codecs[one.name].decode) for one in fields]
    required = [one.name for one in fields if one.required]
    known = {one.name for one in fields}
    simple = all(one.argument == one.name for one in fields)

    def decode(value: Any) -> Any:
        if type(value) is not dict:
            raise Unfitting("", f"an object of {name}", shown(value))
        if TAG in value:
            return decode_subclass(value, cls, name)
        arguments = {}
        later = {}
        at = ""
        try:
            for at, argument, convert in readers:
                if at in value:
                    if argument is None:
                        later[at] = convert(value[at])
                    else:
                        arguments[argument] = convert(value[at])
        except Misfit as error:
            raise error.under("." + at) from None
        if len(arguments) != len(value) or not simple:
            check_names(value, known, name)
        return _construct(cls, arguments, later, value, required, name)

    return decode


def check_names(value: Mapping[str, Any], known: set[str], name: str) -> None:
    """Refuses unknown names, but only in input by people: what was stored by older code may
    have fields that are gone since."""
    if depth.strict:
        for key in value:
            if key not in known:
                hint = "fields: " + ", ".join(sorted(known))
                raise Unfitting(f".{key}", "absent", f"a field that {name} does not have", hint)


def _construct(
    cls: type,
    arguments: dict[str, Any],
    later: dict[str, Any],
    value: dict[str, Any],
    required: list[str],
    name: str,
) -> Any:
    for one in required:
        if one not in value:
            raise Unfitting(f".{one}", f"there (a field of {name})", "missing")
    try:
        made = cls(**arguments)
    except Exception as error:  # the class's own checks may raise anything
        got = f"refused by the class: {type(error).__name__}: {error}"
        raise Unfitting("", f"a valid {name}", got) from error
    for at, one in later.items():
        object.__setattr__(made, at, one)
    return made


def encode_subclass(value: Any, cls: type, name: str) -> Any:
    """A value of a class derived from the declared one, marked with its own class."""
    kind = type(value)
    if not isinstance(value, cls) or not is_record_class(kind):
        raise misplaced(value, name)
    if find_class(class_name(kind)) is not kind:
        hint = f"move the class {kind.__qualname__} to the top of its module"
        raise Unstorable("", type_name(value), hint)
    return {TAG: class_name(kind), "v": codec_of(kind).encode(value)}


def decode_subclass(value: dict[str, Any], cls: type, name: str) -> Any:
    """The inverse of `encode_subclass`."""
    kind = find_class(value[TAG]) if isinstance(value[TAG], str) else None
    if kind is None or not issubclass(kind, cls) or not is_record_class(kind) or "v" not in value:
        raise Unfitting("", f"an object of {name}", f"an object of {value[TAG]}")
    return codec_of(kind).decode(value["v"])


def _typed_dict(cls: Any, arguments: tuple[Any, ...], name: str) -> Codec:
    hints = hints_of(cls)
    mapping = dict(zip(getattr(cls, "__parameters__", ()), arguments, strict=False))
    codecs = {key: codec_of(_substituted(hint, mapping)) for key, hint in hints.items()}
    required = [key for key, hint in hints.items() if _is_required(key, hint, cls)]

    def convert(value: Any, encoding: bool) -> Any:
        out = {}
        at = ""
        try:
            for at, codec in codecs.items():
                if at in value:
                    out[at] = codec.encode(value[at]) if encoding else codec.decode(value[at])
        except Misfit as error:
            raise error.under("." + at) from None
        return out

    def encode(value: Any) -> Any:
        if not isinstance(value, dict):
            raise misplaced(value, name)
        _check_keys(value, required, codecs, name)
        return convert(value, True)

    def decode(value: Any) -> Any:
        if type(value) is not dict:
            raise Unfitting("", f"an object of {name}", shown(value))
        for key in required:
            if key not in value:
                raise Unfitting(f".{key}", f"there (a key of {name})", "missing")
        check_names(value, set(codecs), name)
        return convert(value, False)

    def holds(value: Any) -> bool:
        return isinstance(value, dict) and set(required) <= value.keys() <= codecs.keys()

    return Codec(name, encode, decode, frozenset({"dict"}), holds, class_name(cls))


def _is_required(key: str, hint: Any, cls: Any) -> bool:
    """Python itself misses NotRequired in annotations that are texts (PEP 655)."""
    marks = {getattr(get_origin(hint), "__name__", getattr(get_origin(hint), "_name", ""))}
    if marks & {"Required", "NotRequired"}:
        return "Required" in marks
    return key in cls.__required_keys__


def _check_keys(
    value: Mapping[Any, Any], required: list[str], known: Mapping[str, Any], name: str
) -> None:
    for key in required:
        if key not in value:
            raise Unstorable(f".{key}", reason=f"{name} needs this key, it is missing")
    for key in value:
        if key not in known:
            raise Unstorable(key_path(key), reason=f"{name} has no such key")


def _model(cls: Any) -> Codec:
    """A pydantic model: written and checked by pydantic itself."""
    name = cls.__qualname__
    invalid = sys.modules["pydantic"].ValidationError

    def encode(value: Any) -> Any:
        if type(value) is not cls:
            return encode_subclass(value, cls, name)
        try:
            return value.model_dump(mode="json", by_alias=True, round_trip=True)
        except Exception as error:  # a model's own serializers may raise anything
            raise Unstorable("", name, reason=str(error)) from error

    def decode(value: Any) -> Any:
        if type(value) is dict and TAG in value:
            return decode_subclass(value, cls, name)
        try:
            return cls.model_validate(value)
        except invalid as error:
            first = error.errors()[0]
            path = "".join(
                f".{part}" if isinstance(part, str) else f"[{part}]" for part in first["loc"]
            )
            got = f"{shown(first['input'])}: {first['msg']}"
            raise Unfitting(path, f"as {name} declares it", got) from error

    return Codec(name, encode, decode, frozenset({"dict"}), cls.__instancecheck__, class_name(cls))


def _foreign(cls: type) -> Codec:
    """A class that says nothing about its fields: a base class or a protocol, maybe."""
    name = cls.__qualname__

    def holds(value: Any) -> bool:
        try:
            return isinstance(value, cls)
        except TypeError:  # a protocol that cannot be asked
            return True

    def encode(value: Any) -> Any:
        if not holds(value):
            raise misplaced(value, name)
        return encode_any(value)

    return Codec(name, encode, decode_any, frozenset(), holds, class_name(cls))


# -- every annotation ----------------------------------------------------------------------


made_codecs: dict[Any, Codec] = {}


def codec_of(annotation: Any) -> Codec:
    """The codec of an annotation; the same object each time.

    Parameters
    ----------
    annotation: a type, or whatever else may stand behind a parameter. What says nothing
        about the value (`Any`, a type variable, an unknown class) is stored with tags.
    """
    try:
        made = made_codecs.get(annotation)
    except TypeError:  # it cannot be hashed: the metadata of an Annotated[...], a list
        annotated = get_origin(annotation) is typing.Annotated
        return codec_of(get_args(annotation)[0]) if annotated else ANY
    if made is not None:
        return made
    # Each thread has its own list, so that none meets the half-made codec of another one.
    making: dict[Any, Codec] = depth.making
    if annotation in making:
        return making[annotation]
    making[annotation] = _reference(annotation)
    try:
        made = _build(annotation)
    finally:
        del making[annotation]
    return made_codecs.setdefault(annotation, made)


def _reference(annotation: Any) -> Codec:
    """Stands for the codec of an annotation that contains itself, and counts the depth."""
    cls = get_origin(annotation) or annotation
    name = getattr(cls, "__qualname__", str(annotation))

    def guarded(attribute: str) -> Callable[[Any], Any]:
        def convert(value: Any) -> Any:
            depth.at += 1
            try:
                if depth.at > MAX_DEPTH:
                    raise too_deep()
                return getattr(codec_of(annotation), attribute)(value)
            except RecursionError:
                raise too_deep() from None
            finally:
                depth.at -= 1

        return convert

    def holds(value: Any) -> bool:
        return isinstance(value, cls) if isinstance(cls, type) else True

    record = isinstance(cls, type) and is_record_class(cls)
    kinds = frozenset({"dict"} if record else ())
    tag = class_name(cls) if isinstance(cls, type) else str(annotation)
    return Codec(name, guarded("encode"), guarded("decode"), kinds, holds, tag)


def _build(annotation: Any) -> Codec:
    if annotation in typed.SINGLES:
        return typed.SINGLES[annotation]
    if isinstance(annotation, str | ForwardRef | TypeVar):
        return ANY
    if hasattr(annotation, "__supertype__"):
        return codec_of(annotation.__supertype__)
    if type(annotation).__name__ == "TypeAliasType":
        return codec_of(annotation.__value__)
    origin = get_origin(annotation)
    if origin is not None:
        return _build_special(annotation, origin, get_args(annotation))
    if isinstance(annotation, type):
        return _build_class(annotation, (), annotation.__qualname__)
    return ANY


def _build_special(annotation: Any, origin: Any, arguments: tuple[Any, ...]) -> Codec:
    """An annotation with square brackets."""
    if origin in (typing.Union, types.UnionType):
        branches = [codec_of(one) for one in arguments]
        return ANY if ANY in branches else typed.union(list(dict.fromkeys(branches)))
    if origin is typing.Literal:
        return typed.literal(annotation)
    if origin is typing.Annotated or origin in WRAPPERS:
        return codec_of(arguments[0])
    if type(origin).__name__ == "TypeAliasType":
        mapping = dict(zip(origin.__type_params__, arguments, strict=False))
        return codec_of(_substituted(origin.__value__, mapping))
    if origin is tuple and not (len(arguments) == 2 and arguments[1] is Ellipsis):
        return typed.fixed_tuple(tuple(codec_of(one) for one in arguments))
    if origin in typed.LISTS:
        return typed.list_of(origin, codec_of(arguments[0]))
    if origin in typed.DICTS:
        values = int if len(arguments) == 1 else arguments[1]  # Counter[str]
        return typed.dict_of(origin, codec_of(arguments[0]), codec_of(values))
    if isinstance(origin, type) and origin is not type:
        names = ", ".join(codec_of(one).name for one in arguments)
        return _build_class(origin, arguments, f"{origin.__qualname__}[{names}]")
    return ANY


WRAPPERS = {
    getattr(typing, name)
    for name in ("Required", "NotRequired", "ReadOnly", "Final", "ClassVar")
    if hasattr(typing, name)
}


def _build_class(cls: type, arguments: tuple[Any, ...], name: str) -> Codec:
    if cls in SCALARS:
        return typed.scalar(cls, SCALARS[cls])
    if cls in typed.LISTS:
        return typed.list_of(cls, ANY)
    if cls in typed.DICTS:
        return typed.any_dict(cls)
    if typing.is_typeddict(cls):
        return _typed_dict(cls, arguments, name)
    if issubclass(cls, enum.Enum):
        return typed.enum_of(cls)
    if is_model(cls):
        return _model(cls)
    if is_record_class(cls):
        return _with_fields(cls, arguments, name)
    return _foreign(cls)


def _class_codec(cls: type) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    codec = codec_of(cls)
    return codec.encode, codec.decode


classes.codec = staticmethod(_class_codec)
