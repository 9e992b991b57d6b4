"""The intrinsic functions (`States.Format` …) of payload templates, compiled once."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from binascii import Error
from collections.abc import Callable
from json import dumps, loads
from typing import Any

from batuta.common.keyed import bits
from batuta.workflow.asl.env import Env
from batuta.workflow.asl.errors import INTRINSIC_FAILURE, Malformed, StateFailed
from batuta.workflow.asl.paths import Evaluator, reference
from batuta.workflow.asl.size import VALUE_MAX, Scale, TooMuch

Function = Callable[[Env, list[Any]], Any]
NAME = re.compile(r"States\.\w+")
NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")
WORDS = {"true": True, "false": False, "null": None}
TEXT_MAX = 10_000
CALL_WORK = 10
FORMAT_MAX = 1_000_000
RANGE_MAX = 1000
ALGORITHMS = ("MD5", "SHA-1", "SHA-256", "SHA-384", "SHA-512")
DEPTH_MAX = 10
HASHES = {
    "MD5": "md5",
    "SHA-1": "sha1",
    "SHA-256": "sha256",
    "SHA-384": "sha384",
    "SHA-512": "sha512",
}


def compile_intrinsic(text: str) -> Evaluator:
    """A call of an intrinsic function, ready to evaluate.

    Raises `Malformed`; the evaluator raises `StateFailed` (States.IntrinsicFailure), and
    `PathMissing` where a path among the arguments leads nowhere.
    """
    parser = _Parser(text)
    made = parser.call(1)
    parser.space()
    if parser.at != len(text):
        raise Malformed(f"`{text[parser.at :]}` is not expected after the call", parser.at)
    return made


class Literal:
    """An argument that is written out."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, root: Any, env: Env) -> Any:
        return self.value


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def space(self) -> None:
        while self.text[self.at : self.at + 1] in (" ", "\t", "\n"):
            self.at += 1

    def call(self, depth: int) -> Evaluator:
        """`States.Name(argument, …)`."""
        found = NAME.match(self.text, self.at)
        if found is None or depth > DEPTH_MAX:
            why = "an intrinsic function is missing" if found is None else "nested too deeply"
            raise Malformed(why, self.at)
        name = found.group()
        if name not in FUNCTIONS:
            raise Malformed(f"there is no intrinsic function `{name}`", self.at)
        function, least, most = FUNCTIONS[name]
        begun, self.at = self.at, found.end()
        arguments = self._arguments(depth)
        if len(arguments) < least or (most is not None and len(arguments) > most):
            raise Malformed(f"`{name}` has {len(arguments)} arguments, which is wrong", begun)
        if name in OF_NUMBERS:
            for each in arguments:
                if isinstance(each, Literal) and isinstance(each.value, str):
                    raise Malformed(f"`{name}` takes numbers, not '{each.value}'", begun)

        def called(root: Any, env: Env) -> Any:
            given = [each(root, env) for each in arguments]
            return function(env, _measured(name, given, env))

        return called

    def _arguments(self, depth: int) -> list[Evaluator]:
        self.space()
        if self.text[self.at : self.at + 1] != "(":
            raise Malformed("`(` is missing", self.at)
        self.at += 1
        found: list[Evaluator] = []
        self.space()
        if self.text[self.at : self.at + 1] == ")":
            self.at += 1
            return found
        while True:
            self.space()
            found.append(self._argument(depth))
            self.space()
            char = self.text[self.at : self.at + 1]
            self.at += 1
            if char == ")":
                return found
            if char != ",":
                raise Malformed("`,` or `)` is missing", self.at - 1)

    def _argument(self, depth: int) -> Evaluator:
        text, at = self.text, self.at
        if text[at : at + 1] == "'":
            return Literal(self._quoted())
        if text[at : at + 1] == "$":
            return self._path()
        if text.startswith("States.", at):
            return self.call(depth + 1)
        for word, constant in WORDS.items():
            if text.startswith(word, at):
                self.at += len(word)
                return Literal(constant)
        found = NUMBER.match(text, at)
        if found is None:
            raise Malformed("an argument is missing", at)
        self.at = found.end()
        return Literal(loads(found.group()))

    def _quoted(self) -> str:
        begun = self.at
        self.at += 1
        made: list[str] = []
        while self.at < len(self.text):
            char = self.text[self.at]
            self.at += 1
            if char == "'":
                return "".join(made)
            if char == "\\" and self.at < len(self.text):
                # The braces keep their backslash: `States.Format` tells them from its places.
                after = self.text[self.at]
                self.at += 1
                made.append(f"\\{after}" if after in "{}\\" else after)
                continue
            made.append(char)
        raise Malformed("' is missing", begun)

    def _path(self) -> Evaluator:
        begun, depth, quote = self.at, 0, ""
        while self.at < len(self.text):
            char = self.text[self.at]
            if quote:
                if char == "\\":
                    self.at += 1
                quote = "" if char == quote else quote
            elif char in "'\"":
                quote = char
            elif char in "[(":
                depth += 1
            elif char in "])":
                if depth == 0:
                    break
                depth -= 1
            elif char in ", " and depth == 0:
                break
            self.at += 1
        return reference(self.text[begun : self.at])


# -- the functions -------------------------------------------------------------------------------


def _fail(cause: str) -> StateFailed:
    return StateFailed(INTRINSIC_FAILURE, cause)


def _measured(name: str, arguments: list[Any], env: Env) -> list[Any]:
    """The arguments, which may hold one and the same thing many times."""
    most, bytes_at_once = (FORMAT_MAX, 4) if name == "States.Format" else (VALUE_MAX, 20)
    scale = Scale(env.allowance.weighed)
    try:
        # The functions read all of it, however often it was read before.
        weight = scale.weigh(arguments, most)
        env.allowance.spend(CALL_WORK + weight // bytes_at_once)
    except TooMuch as much:
        env.allowance.spend(scale.visited)
        raise _fail(f"Invalid arguments in {name}: what it is given {much}") from much
    return arguments


def _list(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _fail(f"Invalid arguments in {name}: the first argument is not an array")
    return value


def _rounded(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _fail(f"Invalid arguments in {name}: {_shown(value)} is not a number")
    return math.floor(value + 0.5)


def _string(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _fail(f"Invalid arguments in {name}: {_shown(value)} is not a string")
    return value


def _shown(value: Any) -> str:
    return dumps(value, separators=(",", ":"), ensure_ascii=False)


def _plain(value: Any) -> str:
    """A value in the text of `States.Format`: objects and lists as the service prints them."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}={_plain(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_plain(each) for each in value) + "]"
    return _shown(value)


def _format(env: Env, arguments: list[Any]) -> str:
    template, values = _string("States.Format", arguments[0]), arguments[1:]
    parts = re.split(r"(?<!\\)\{\}", template)
    if len(parts) - 1 != len(values):
        raise _fail(
            "Invalid arguments in States.Format: number of arguments do not match the occurrences "
            "of {}"
        )
    made = [_unescaped(parts[0])]
    for value, part in zip(values, parts[1:], strict=True):
        made += _plain(value), _unescaped(part)
    return "".join(made)


def _unescaped(text: str) -> str:
    return re.sub(r"\\([{}\\])", r"\1", text)


def _string_to_json(env: Env, arguments: list[Any]) -> Any:
    text = _string("States.StringToJson", arguments[0])
    if not text.strip():
        return None
    try:
        return loads(text)
    except RecursionError as deep:
        raise _fail("Invalid arguments in States.StringToJson: nested too deeply") from deep
    except ValueError as wrong:
        raise _fail(f"Invalid arguments in States.StringToJson: {wrong}") from wrong


def _partition(env: Env, arguments: list[Any]) -> list[Any]:
    items = _list("States.ArrayPartition", arguments[0])
    size = _rounded("States.ArrayPartition", arguments[1])
    if size < 1:
        raise _fail("Invalid arguments in States.ArrayPartition: the size is not positive")
    return [items[at : at + size] for at in range(0, len(items), size)]


def _contains(env: Env, arguments: list[Any]) -> bool:
    wanted = _shown(arguments[1])
    return any(_shown(each) == wanted for each in _list("States.ArrayContains", arguments[0]))


def _range(env: Env, arguments: list[Any]) -> list[int]:
    start, end, step = (_rounded("States.ArrayRange", each) for each in arguments)
    if step == 0:
        raise _fail("Invalid arguments in States.ArrayRange: the step is 0")
    made = range(start, end + (1 if step > 0 else -1), step)
    if len(made) > RANGE_MAX:
        raise _fail(f"Invalid arguments in States.ArrayRange: more than {RANGE_MAX} items")
    return list(made)


def _get_item(env: Env, arguments: list[Any]) -> Any:
    items = _list("States.ArrayGetItem", arguments[0])
    at = _rounded("States.ArrayGetItem", arguments[1])
    if not 0 <= at < len(items):
        raise _fail(f"Invalid arguments in States.ArrayGetItem: there is no item {at}")
    return items[at]


def _unique(env: Env, arguments: list[Any]) -> list[Any]:
    return list({_shown(each): each for each in _list("States.ArrayUnique", arguments[0])}.values())


def _encode(env: Env, arguments: list[Any]) -> str:
    return base64.b64encode(_short("States.Base64Encode", arguments[0]).encode()).decode()


def _decode(env: Env, arguments: list[Any]) -> str:
    try:
        return base64.b64decode(_short("States.Base64Decode", arguments[0]), validate=True).decode()
    except (Error, ValueError) as wrong:
        raise _fail(f"Invalid arguments in States.Base64Decode: {wrong}") from wrong


def _short(name: str, value: Any) -> str:
    text = _string(name, value)
    if len(text) > TEXT_MAX:
        raise _fail(f"Invalid arguments in {name}: more than {TEXT_MAX} characters")
    return text


def _hash(env: Env, arguments: list[Any]) -> str:
    data, name = arguments
    algorithm = HASHES.get(name) if isinstance(name, str) else None
    if algorithm is None:
        raise _fail(f"Invalid arguments in States.Hash: {_shown(name)} is no algorithm")
    text = data if isinstance(data, str) else _shown(data)
    return hashlib.new(algorithm, text.encode()).hexdigest()


def _merge(env: Env, arguments: list[Any]) -> dict[str, Any]:
    first, second, deep = arguments
    if not (isinstance(first, dict) and isinstance(second, dict)) or deep is not False:
        raise _fail("Invalid arguments in States.JsonMerge: two objects and false are wanted")
    return {**first, **second}


def _random(env: Env, arguments: list[Any]) -> int:
    start, end = (_rounded("States.MathRandom", each) for each in arguments[:2])
    if end <= start:
        raise _fail("Invalid arguments in States.MathRandom: the range is empty")
    seeded = len(arguments) > 2
    luck = bits(_rounded("States.MathRandom", arguments[2]), "seed") if seeded else env.draw()
    return start + luck % (end - start)


def _add(env: Env, arguments: list[Any]) -> int:
    return sum(_rounded("States.MathAdd", each) for each in arguments)


def _split(env: Env, arguments: list[Any]) -> list[str]:
    text = _string("States.StringSplit", arguments[0])
    signs = _string("States.StringSplit", arguments[1])
    if not signs:
        return [text]
    return [part for part in re.split("[" + re.escape(signs) + "]", text) if part]


def _uuid(env: Env, arguments: list[Any]) -> str:
    digits = f"{env.draw():016x}{env.draw():016x}"
    kind = "89ab"[int(digits[16], 16) % 4]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{kind}{digits[17:20]}-{digits[20:]}"


FUNCTIONS: dict[str, tuple[Function, int, int | None]] = {
    "States.Format": (_format, 1, None),
    "States.StringToJson": (_string_to_json, 1, 1),
    "States.JsonToString": (lambda env, arguments: _shown(arguments[0]), 1, 1),
    "States.Array": (lambda env, arguments: arguments, 0, None),
    "States.ArrayPartition": (_partition, 2, 2),
    "States.ArrayContains": (_contains, 2, 2),
    "States.ArrayRange": (_range, 3, 3),
    "States.ArrayGetItem": (_get_item, 2, 2),
    "States.ArrayLength": (lambda env, given: len(_list("States.ArrayLength", given[0])), 1, 1),
    "States.ArrayUnique": (_unique, 1, 1),
    "States.Base64Encode": (_encode, 1, 1),
    "States.Base64Decode": (_decode, 1, 1),
    "States.Hash": (_hash, 2, 2),
    "States.JsonMerge": (_merge, 3, 3),
    "States.MathRandom": (_random, 2, 3),
    "States.MathAdd": (_add, 2, 2),
    "States.StringSplit": (_split, 2, 2),
    "States.UUID": (_uuid, 0, 0),
}

OF_NUMBERS = ("States.ArrayRange", "States.MathAdd", "States.MathRandom")
