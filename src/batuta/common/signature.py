"""Calls of functions as JSON: arguments and results as the function's signature types them."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Sequence
from inspect import Parameter
from typing import Any

from batuta.common.misfit import Misfit, Uncallable, Unfitting
from batuta.common.problem import Problem
from batuta.common.record import codec_of, resolve
from batuta.common.source import Source, source_of
from batuta.common.typed import ANY, Codec
from batuta.common.untyped import depth
from batuta.kernel.errors import BatutaError

Call = tuple[list[Any], dict[str, Any]]
PythonCall = tuple[tuple[Any, ...], dict[str, Any]]
POSITIONAL = {Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD}
MAX_PLANS = 64


class Unresolved(BatutaError):
    """An annotation that names something which does not exist when the program runs."""


class Plan:
    """The codecs for calls of one shape: so many positional arguments, these named ones."""

    __slots__ = ("decoders", "encoders", "named", "named_decoders", "named_encoders", "positional")

    def __init__(self, positional: list[tuple[str, Codec]], named: list[tuple[str, Codec]]) -> None:
        self.positional = positional
        self.named = named
        self.encoders = [codec.encode for _, codec in positional]
        self.decoders = [codec.decode for _, codec in positional]
        self.named_encoders = [(name, codec.encode) for name, codec in named]
        self.named_decoders = [(name, codec.decode) for name, codec in named]


class SignatureCodec:
    """How calls of one function become JSON and come back.

    The annotations are looked up at the first use (or by `resolve`), so that a function may
    name classes that are defined below it.

    Parameters
    ----------
    fn: the function; decorated, async and bound ones too.
    name: what to call it in errors; its own name by default.

    Attributes
    ----------
    encode_call: (args, kwargs) -> (list, dict) of JSON. Raises `Uncallable` where Python
        could not bind them either, `Unstorable` for what cannot be stored.
    decode_call: (list, dict) of JSON -> (args, kwargs). Raises `Unfitting`, `Uncallable`.
    encode_result, decode_result: the same for what it returns.
    source: where it is defined.
    """

    __slots__ = (
        "_fn",
        "_plans",
        "at",
        "codecs",
        "decode_call",
        "decode_result",
        "encode_call",
        "encode_result",
        "name",
        "parameters",
        "result",
        "source",
    )

    encode_call: Callable[[Sequence[Any], dict[str, Any]], Call]
    decode_call: Callable[[Sequence[Any], dict[str, Any]], PythonCall]
    encode_result: Callable[[Any], Any]
    decode_result: Callable[[Any], Any]

    def __init__(self, fn: Callable[..., Any], name: str | None = None) -> None:
        self._fn = fn
        self.name: str = name or str(getattr(fn, "__name__", repr(fn)))
        self.source: Source = source_of(fn)
        self.at = str(self.source)
        self.parameters: list[Parameter] = []
        self.codecs: dict[str, Codec] = {}
        self.result: Codec = ANY
        self._plans: dict[tuple[Any, ...], Plan] = {}
        self.encode_call = lambda args, kwargs: self.resolve().encode_call(args, kwargs)
        self.decode_call = lambda args, kwargs: self.resolve().decode_call(args, kwargs)
        self.encode_result = lambda value: self.resolve().encode_result(value)
        self.decode_result = lambda value: self.resolve().decode_result(value)

    def resolve(self) -> SignatureCodec:
        """Look the annotations up now. Raises `Unresolved` with the place of the definition."""
        hints = hints_of_function(self._fn, self.name, self.at)
        signature = inspect.signature(self._fn)
        self.parameters = list(signature.parameters.values())
        self.codecs = {one.name: codec_of(hints.get(one.name, Any)) for one in self.parameters}
        self._plans = {}
        self.result = codec_of(hints.get("return", Any))
        self.encode_call = self._encoder_of_calls()
        self.decode_call = self._decoder_of_calls()
        self.encode_result = self._of_result(self.result.encode)
        self.decode_result = self._of_result(self.result.decode)
        return self

    # -- calls -----------------------------------------------------------------------------

    def _plan(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Plan:
        """What to do with calls of this shape; made once for each shape."""
        shape = (len(args), *kwargs)
        plan = self._plans.get(shape)
        if plan is None:
            positional = [(name, self.codecs[codec]) for name, codec in self._names(args, kwargs)]
            named = [(name, self._codec_of_keyword(name)) for name in kwargs]
            plan = Plan(positional, named)
            if len(self._plans) < MAX_PLANS:
                self._plans[shape] = plan
        return plan

    def _encode_call(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Call:
        plan = self._plan(args, kwargs)
        try:
            if not kwargs:
                return [convert(v) for convert, v in zip(plan.encoders, args, strict=True)], {}
            return (
                [convert(v) for convert, v in zip(plan.encoders, args, strict=True)],
                {name: convert(kwargs[name]) for name, convert in plan.named_encoders},
            )
        except Misfit:
            pass
        for (name, codec), value in zip(plan.positional, args, strict=True):
            self._converted(name, codec.encode, value)
        return [], {name: self._converted(name, c.encode, kwargs[name]) for name, c in plan.named}

    def _decode_call(self, args: Sequence[Any], kwargs: dict[str, Any]) -> PythonCall:
        plan = self._plan(args, kwargs)
        try:
            positional = [convert(v) for convert, v in zip(plan.decoders, args, strict=True)]
            if not kwargs:
                return tuple(positional), {}
            named = {name: convert(kwargs[name]) for name, convert in plan.named_decoders}
            return tuple(positional), named
        except Misfit:
            pass
        for (name, codec), value in zip(plan.positional, args, strict=True):
            self._converted(name, codec.decode, value)
        return (), {name: self._converted(name, c.decode, kwargs[name]) for name, c in plan.named}

    def _encoder_of_calls(self) -> Callable[[Sequence[Any], dict[str, Any]], Call]:
        """The general one, with a shorter way for calls that just give every argument."""
        general = self._encode_call
        if not POSITIONAL.issuperset(one.kind for one in self.parameters):
            return general
        encoders = [self.codecs[one.name].encode for one in self.parameters]
        wanted = len(encoders)
        only = encoders[0] if wanted == 1 else None

        def encode_call(args: Sequence[Any], kwargs: dict[str, Any]) -> Call:
            if kwargs or len(args) != wanted:
                return general(args, kwargs)
            try:
                if only is not None:
                    return [only(args[0])], {}
                return [encode(v) for encode, v in zip(encoders, args)], {}  # noqa: B905
            except Misfit:
                return general(args, kwargs)  # which says in which parameter

        return encode_call

    def _decoder_of_calls(self) -> Callable[[Sequence[Any], dict[str, Any]], PythonCall]:
        """The same for decoding."""
        general = self._decode_call
        if not POSITIONAL.issuperset(one.kind for one in self.parameters):
            return general
        decoders = [self.codecs[one.name].decode for one in self.parameters]
        wanted = len(decoders)
        only = decoders[0] if wanted == 1 else None

        def decode_call(args: Sequence[Any], kwargs: dict[str, Any]) -> PythonCall:
            if kwargs or len(args) != wanted:
                return general(args, kwargs)
            try:
                if only is not None:
                    return (only(args[0]),), {}
                return tuple([decode(v) for decode, v in zip(decoders, args)]), {}  # noqa: B905
            except Misfit:
                return general(args, kwargs)

        return decode_call

    def _converted(self, name: str, convert: Callable[[Any], Any], value: Any) -> Any:
        try:
            return convert(value)
        except Misfit as error:
            raise error.within(name, self.at) from error.__cause__

    def _of_result(self, convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
        label = f"{self.name}()"
        at = self.at

        def converted(value: Any) -> Any:
            try:
                return convert(value)
            except Misfit as error:
                raise error.within(label, at) from error.__cause__

        return converted

    def _codec_of_keyword(self, name: str) -> Codec:
        codec = self.codecs.get(name)
        if codec is not None and self._kind(name) is not Parameter.VAR_KEYWORD:
            return codec
        return next(
            self.codecs[one.name] for one in self.parameters if one.kind is Parameter.VAR_KEYWORD
        )

    def _kind(self, name: str) -> Any:
        return next(one.kind for one in self.parameters if one.name == name)

    # -- binding ---------------------------------------------------------------------------

    def _names(self, args: Sequence[Any], kwargs: dict[str, Any]) -> list[tuple[str, str]]:
        """For each positional argument what to call it and whose codec it has."""
        misfits = self.misfits(args, kwargs)
        if misfits:
            raise Uncallable(
                f"{self.name}() {misfits[0]}", at=self.at, hint=f"it is {self.shown()}"
            )
        names: list[tuple[str, str]] = []
        for one in self.parameters:
            if one.kind is Parameter.VAR_POSITIONAL:
                extra = range(len(args) - len(names))
                names += [(f"{one.name}[{index}]", one.name) for index in extra]
            elif one.kind not in (Parameter.KEYWORD_ONLY, Parameter.VAR_KEYWORD):
                names.append((one.name, one.name))
        return names[: len(args)]

    def misfits(self, args: Sequence[Any], kwargs: dict[str, Any]) -> list[str]:
        """What keeps Python from calling the function like that, as ends of a sentence."""
        found = []
        rest = dict(kwargs)
        left = len(args)
        open_ended = any(one.kind is Parameter.VAR_KEYWORD for one in self.parameters)
        for one in self.parameters:
            if one.kind is Parameter.VAR_POSITIONAL:
                left = 0
                continue
            if one.kind is Parameter.VAR_KEYWORD:
                continue
            by_name = one.kind is not Parameter.POSITIONAL_ONLY and one.name in rest
            if left and one.kind is not Parameter.KEYWORD_ONLY:
                left -= 1
                if by_name:
                    found.append(f"gets its argument `{one.name}` twice")
                    rest.pop(one.name)
            elif by_name:
                rest.pop(one.name)
            elif one.default is Parameter.empty:
                found.append(f"lacks its argument `{one.name}`")
        if left:
            found.append(f"takes {len(args) - left} positional arguments, {len(args)} are given")
        if rest and not open_ended:
            found += [f"has no parameter `{name}`" for name in rest]
        return found

    def shown(self) -> str:
        """The signature in one line."""
        text = str(inspect.signature(self._fn))
        return self.name + re.sub(r"(: |-> )'([^']*)'", r"\1\2", text)

    def problems(self, args: Any, kwargs: Any) -> list[Problem]:
        """Everything that is wrong with a call that a person wrote as JSON."""
        self.resolve()
        if not isinstance(args, list) or not isinstance(kwargs, dict):
            return [self._problem("arguments are a JSON list, named ones a JSON object", None)]
        hint = f"it is {self.shown()}"
        found = [
            self._problem(f"{self.name}() {text}", hint) for text in self.misfits(args, kwargs)
        ]
        if found:
            return found
        strict, depth.strict = depth.strict, True
        try:
            for (name, codec), value in zip(self._names(args, kwargs), args, strict=True):
                found += self._check(name, self.codecs[codec], value)
            for name, value in kwargs.items():
                found += self._check(name, self._codec_of_keyword(name), value)
        finally:
            depth.strict = strict
        return found

    def _check(self, name: str, codec: Codec, value: Any) -> list[Problem]:
        try:
            codec.decode(value)
        except Misfit as error:
            return [self._problem(error.within(name, self.at).message, error.hint)]
        return []

    def _problem(self, message: str, hint: str | None) -> Problem:
        return Problem(message, self.source, hint, rule="arguments")


def hints_of_function(fn: Callable[..., Any], name: str, at: str) -> dict[str, Any]:
    """The resolved annotations of a function.

    A function defined inside of another one may name classes that only that one knows:
    these stand for anything. Elsewhere an unknown name is an error.
    """
    target = inspect.unwrap(fn)
    while hasattr(target, "func"):
        target = inspect.unwrap(target.func)
    target = getattr(target, "__func__", target)
    if not isinstance(target, types.FunctionType) and not isinstance(target, type):
        target = type(target).__call__
    try:
        return typing.get_type_hints(target, include_extras=True)
    except Exception as error:  # a name in an annotation may lead to anything
        if "<locals>" in getattr(target, "__qualname__", ""):
            return _local_hints(target)
        hint = "import it where the program runs, not only under TYPE_CHECKING"
        if not isinstance(error, NameError):
            hint = "write the annotation so that Python can evaluate it"
        text = f"an annotation of {name}() cannot be resolved: {error}"
        raise Unresolved(text, at=at, hint=hint) from error


def _local_hints(fn: Any) -> dict[str, Any]:
    scope = getattr(fn, "__globals__", {})
    cells = zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True)
    local = {}
    for name, cell in cells:
        try:
            local[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return {
        name: resolve(annotation, scope, local)
        for name, annotation in getattr(fn, "__annotations__", {}).items()
    }


def signature_codec(fn: Callable[..., Any], name: str | None = None) -> SignatureCodec:
    """The codec of a function's calls and results; see `SignatureCodec`."""
    return SignatureCodec(fn, name)


def check_call(fn: Callable[..., Any], args: Any, kwargs: Any) -> list[Problem]:
    """Every problem of a call of `fn` that was given as JSON (on the command line, over
    HTTP); none: it can be made."""
    return SignatureCodec(fn).problems(args, kwargs)


__all__ = [
    "SignatureCodec",
    "Uncallable",
    "Unfitting",
    "Unresolved",
    "check_call",
    "signature_codec",
]
