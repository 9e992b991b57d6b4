"""JSONata expressions: simple references in Python, everything else in a library, with limits."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable
from functools import lru_cache
from math import isfinite
from typing import Any

from batuta.common.keyed import bits
from batuta.workflow.asl.context import timestamp
from batuta.workflow.asl.env import MISSING, TURN_NS, Env
from batuta.workflow.asl.errors import QUERY_EVALUATION_ERROR, Malformed, StateFailed
from batuta.workflow.asl.paths import Evaluator
from batuta.workflow.asl.size import Scale, TooMuch, too_large

TIME_MS = 500
PAD_MAX = 1_000_000
DEPTH = 500
SEQUENCE = 100_000
REFERENCE = re.compile(r"\$([A-Za-z_]\w*)((?:\.[A-Za-z_]\w*)*)")
LITERAL = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?|true|false|null|'[^'\\]*'|\"[^\"\\]*\"")
STRINGS = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|/\*.*?\*/", re.DOTALL)
VARIABLES = re.compile(r"\$([A-Za-z_]\w*)")
PARTS = re.compile(r"\$states\s*\.\s*(input|context|result|errorOutput)")
NAMED = re.compile(r"(T1006: Attempted to invoke a non-function): \$\w+")
POSITION = re.compile(r"at (?:position|offset) (\d+)")
GROWS = re.compile(
    r"\.\.|\bfunction\b|\u03bb|:=|~>|\*\*|\||\^\s*\("
    r"|\$(?:append|base64\w+|distinct|each|encodeUrl\w*|filter|formatNumber|join|map|match|merge|pad"
    r"|reduce|replace|shuffle|sift|sort|split|spread|string|zip)\b"
    r"|\.\s*[({\[$]|[\w)\]`]\s*\{"  # something that is made for each item
)
"""What lets an expression make much out of little, or go on for long."""
TEXT_MAX = 2000
DATA_MAX = 256 * 1024
CALL_WORK = 60
GRACE_NS = 200_000_000
"""Up to here an expression that does not grow is evaluated in the server's own process."""
TOO_LONG = (
    f"The expressions of this execution have taken {TURN_NS / 1e9:g} s since it last waited for "
    "anything; a task is the place for work that takes long"
)
RESERVED = frozenset({"and", "or", "in", "true", "false", "null", "function"})


@lru_cache(maxsize=10_000)
def mentions(text: str) -> frozenset[str]:
    """The names of the variables and functions that an expression mentions."""
    return frozenset(VARIABLES.findall(STRINGS.sub("''", text)))


def compile_jsonata(field: str, text: str) -> Evaluator:
    """An expression (without its delimiters) ready to evaluate.

    Parameters
    ----------
    field: where it stands, for messages (`Output/total`).

    Raises `Malformed`; the evaluator raises `StateFailed` (States.QueryEvaluationError).
    """
    literal = LITERAL.fullmatch(text)
    if literal is not None:
        quoted = text[0] in "'\""
        value = text[1:-1] if quoted else json.loads(text)
        return lambda root, env: value
    expression = Expression(field, text)
    native = _native(text)
    if native is None:
        return expression
    name, members = native

    def found(root: Any, env: Env) -> Any:
        here = _start(name, env)
        for member in members:
            if type(here) is not dict or member not in here:
                return expression(root, env)
            here = here[member]
        # What the library leaves as it is; lists it may unwrap, so they are its own to give.
        return expression(root, env) if here is MISSING else here

    return found


def _native(text: str) -> tuple[str, tuple[str, ...]] | None:
    """A variable and the members behind it, where the expression is nothing else."""
    found = REFERENCE.fullmatch(text)
    if found is None:
        return None
    name, rest = found.groups()
    members = tuple(rest.split(".")[1:])
    if RESERVED.intersection(members):
        return None
    if name == "states":
        if not members or members[0] not in ("input", "context", "result", "errorOutput"):
            return None
        return f"states.{members[0]}", members[1:]
    return name, members


def _start(name: str, env: Env) -> Any:
    if name == "states.input":
        return env.input
    if name == "states.context":
        return env.context
    if name == "states.result":
        return env.result
    if name == "states.errorOutput":
        return env.error_output
    return env.variables.get(name, MISSING)


class Expression:
    """An expression that the library evaluates."""

    __slots__ = ("field", "grows", "mentioned", "parts", "text")

    def __init__(self, field: str, text: str) -> None:
        self.field = field
        self.text = text
        _compiled(text)
        self.mentioned = mentions(text)
        bare = STRINGS.sub("''", text)
        self.grows = GROWS.search(bare) is not None or len(text) > TEXT_MAX
        whole = re.search(r"\$states\b(?!\s*\.\s*(?:input|context|result|errorOutput)\b)", bare)
        self.parts = None if whole else frozenset(PARTS.findall(bare))

    def __call__(self, root: Any, env: Env) -> Any:
        bindings = self._bindings(env)
        apart = GUARD.evaluate
        weight = _weight(bindings, env)
        if apart is None or not (self.grows or weight > DATA_MAX):
            env.allowance.spend(CALL_WORK + weight // 6)
            kind, found = evaluated(self.text, bindings, env.now, env.draw)
        elif env.allowance.left <= 0:
            raise self._failed(f"was not evaluated. {TOO_LONG}")
        else:
            kind, found, took = apart(
                self.text, bindings, env.now, env.draw, env.allowance.left + GRACE_NS
            )
            env.allowance.left -= took
        if kind == "large":
            raise too_large(self.field)
        if kind == "error":
            raise self._failed(f"threw an error during evaluation. {found}")
        if kind == "undefined":
            raise self._failed("returned nothing (undefined).")
        if kind == "function":
            raise self._failed("returned an unsupported result type.")
        return found

    def _failed(self, what: str) -> StateFailed:
        return StateFailed(
            QUERY_EVALUATION_ERROR,
            f"The JSONata expression '{self.text}' specified for the field '{self.field}' {what}",
            self.field,
        )

    def _bindings(self, env: Env) -> dict[str, Any]:
        bound = {name: env.variables[name] for name in self.mentioned if name in env.variables}
        if "states" in self.mentioned:
            states = env.states
            if self.parts is not None:
                states = {name: states[name] for name in self.parts if name in states}
            bound["states"] = states
        return bound


Draw = Callable[[], int]
Evaluate = Callable[[str, dict[str, Any], int, Draw, int], tuple[str, Any, int]]
"""As `evaluated`, but given also how long it may take, and giving how long it took, ns; its kind
may be `large` too: a value that is more than `size.VALUE_MAX`."""


class Guard:
    """Who evaluates expressions that may grow; a server has a process for it, which can be
    ended. None: this process."""

    evaluate: Evaluate | None = None


GUARD = Guard()


def evaluated(text: str, bindings: dict[str, Any], now: int, draw: Draw) -> tuple[str, Any]:
    """Evaluate an expression.

    Parameters
    ----------
    bindings: the variables that it mentions, by name, `states` too.
    now: for `$now`, ns since 1970. draw: 64 random bits.

    Returns
    -------
    `value` and the value; `undefined` or `function`, for which there is none; `error` and the text.
    """
    try:
        found = _evaluate(text, bindings, now, draw)
        if found is not None:
            return "value", _whole(found)
        # The library gives None for null, for nothing and for functions: ask which it is.
        kind = _evaluate(f"$type(({text}))", bindings, now, draw)
    except (ValueError, TypeError, RuntimeError, RecursionError) as wrong:
        return "error", NAMED.sub(r"\1", str(wrong))
    return {None: "undefined", "function": "function"}.get(kind, "value"), None


def _evaluate(text: str, bindings: dict[str, Any], now: int, draw: Draw) -> Any:
    library = _compiled(text)
    for name in mentions(text) & FUNCTIONS.keys():
        register = library.register_override if name in REPLACED else library.register
        register(name, FUNCTIONS[name](now, draw))
    return library.evaluate(
        None, bindings, timeout=TIME_MS, max_stack_depth=DEPTH, max_sequence_length=SEQUENCE
    )


def _weight(bindings: dict[str, Any], env: Env) -> int:
    try:
        return Scale(env.allowance.weighed).weigh(bindings, DATA_MAX)
    except TooMuch:
        return DATA_MAX + 1


class _Library(threading.local):
    """What the library compiled, which only the thread that asked for it may use."""

    def __init__(self) -> None:
        self.compiled = lru_cache(maxsize=10_000)(_compile)


def _compiled(text: str) -> Any:
    return LIBRARY.compiled(text)


def _compile(text: str) -> Any:
    import jsonatapy  # 20 ms: only a system with JSONata pays for it

    try:
        return jsonatapy.compile(text)
    except (ValueError, TypeError, RuntimeError, RecursionError) as wrong:
        at = POSITION.search(str(wrong))
        end = len(text) if "end of expression" in str(wrong) else 0
        raise Malformed(str(wrong), int(at.group(1)) if at else end) from wrong


LIBRARY = _Library()


def _whole(value: Any) -> Any:
    """Numbers as the service prints them: 3, not 3.0."""
    if isinstance(value, float):
        if not isfinite(value):
            raise ValueError("D1001: Number out of range")
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, list):
        return [_whole(each) for each in value]
    if isinstance(value, dict):
        return {name: _whole(each) for name, each in value.items()}
    return value


# -- what Step Functions adds, and what has to come from the run ---------------------------------


def _random(now: int, draw: Draw) -> Callable[..., float]:
    def drawn(seed: Any = None) -> float:
        luck = draw() if seed is None else bits(json.dumps(seed), "seed")
        return (luck >> 11) * 2.0**-53

    return drawn


def _uuid(now: int, draw: Draw) -> Callable[[], str]:
    def drawn() -> str:
        digits = f"{draw():016x}{draw():016x}"
        kind = "89ab"[int(digits[16], 16) % 4]
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{kind}{digits[17:20]}-{digits[20:]}"

    return drawn


def _hash(now: int, draw: Draw) -> Callable[[str, str], str]:
    return lambda text, name: hashlib.new(name.replace("-", "").lower(), text.encode()).hexdigest()


def _partition(items: Any, size: Any) -> list[Any]:
    items = items if isinstance(items, list) else [items]
    return [items[at : at + int(size)] for at in range(0, len(items), int(size))]


def _range(start: Any, end: Any, step: Any) -> list[int] | int:
    made = range(int(start), int(end) + (1 if step > 0 else -1), int(step))
    if len(made) > SEQUENCE:
        raise ValueError("D2014: the range is too long")
    # A sequence of one is its item, as everywhere in the language.
    return made[0] if len(made) == 1 else list(made)


def _pad(text: str, width: Any, char: str = " ") -> str:
    if abs(width) > PAD_MAX:
        raise ValueError(f"D1011: $pad to {width} characters; {PAD_MAX:,} are the most")
    fill = (char or " ") * (abs(int(width)) - len(text))
    missing = max(abs(int(width)) - len(text), 0)
    return text + fill[:missing] if width > 0 else fill[:missing] + text


def _eval(*given: Any) -> Any:
    raise ValueError("$eval is not supported")


def _parse(text: Any) -> Any:
    return json.loads(text)


def _now(now: int, draw: Draw) -> Callable[[], str]:
    return lambda: timestamp(now)


FUNCTIONS: dict[str, Callable[[int, Draw], Callable[..., Any]]] = {
    "now": _now,
    "millis": lambda now, draw: lambda: now // 1_000_000,
    "random": _random,
    "uuid": _uuid,
    "hash": _hash,
    "partition": lambda now, draw: _partition,
    "range": lambda now, draw: _range,
    "parse": lambda now, draw: _parse,
    "pad": lambda now, draw: _pad,
    "eval": lambda now, draw: _eval,
}
REPLACED = frozenset({"now", "millis", "random", "pad", "eval"})
