"""Parameters and answers between JSON and the shapes that botocore knows of each operation."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from json import dumps
from typing import Any

from batuta.kernel.world import Failure
from batuta.real.aws.names import member_name, upper_first
from batuta.real.call import Refused
from batuta.workflow.asl.errors import DATA_LIMIT_EXCEEDED

CIPHERS = frozenset(
    (
        *("CiphertextBlob", "EncryptedKeyMaterial", "ImportToken"),
        *("Mac", "Signature", "SourceCiphertext"),
    )
)
"""Blobs that are no text: base64 in both directions."""

BODY_LIMIT = 16 * 1024 * 1024
TOO_LARGE = f"the answer is larger than {BODY_LIMIT:,} bytes: read a part of it, or items by Map"

Namer = Callable[[str], str]


class Misfits(Exception):
    """Parameters that are not of the operation.

    Parameters
    ----------
    problems: what is wrong, as the service says it.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__(", ".join(problems))
        self.problems = problems


def arguments(shape: Any, value: Any) -> tuple[dict[str, Any], list[str]]:
    """Parameters of a task as arguments of boto3.

    Parameters
    ----------
    shape: of the operation's input; None where it has none. value: the task's parameters.

    Returns the arguments, and the required members that were given as null.
    Raises `Misfits`.
    """
    if value is None:
        value = {}
    problems: list[str] = []
    nulls: list[str] = []
    if not isinstance(value, dict):
        raise Misfits(["The parameters must be an object"])
    if shape is None:
        problems += [_unsupported(name) for name in value]
        found: dict[str, Any] = {}
    else:
        found = _structure(shape, value, problems, nulls)
    if problems:
        raise Misfits(problems)
    return found, nulls


def _unsupported(name: str) -> str:
    return f'The field "{name}" is not supported by Step Functions'


def _structure(
    shape: Any, value: dict[str, Any], problems: list[str], nulls: list[str]
) -> dict[str, Any]:
    members = _members(shape)
    found: dict[str, Any] = {}
    present = set()
    for name, each in value.items():
        member = members.get(name)
        if member is None:
            problems.append(_unsupported(name))
            continue
        present.add(member)
        if each is None:
            if member in shape.required_members:
                nulls.append(member)
            continue
        found[member] = _argument(shape.members[member], member, each, problems, nulls)
    problems += [
        f'The field "{upper_first(member)}" is required but was missing'
        for member in shape.required_members
        if member not in present and not shape.members[member].metadata.get("idempotencyToken")
    ]
    return found


@lru_cache(maxsize=4096)
def _members(shape: Any) -> Mapping[str, str]:
    """The names that a structure's members may be written with -> the members."""
    known: dict[str, str] = {}
    for name in shape.members:
        known[member_name(name)] = known[upper_first(name)] = name
        known.setdefault(name, name)
    return known


def _argument(shape: Any, name: str, value: Any, problems: list[str], nulls: list[str]) -> Any:
    if getattr(shape, "is_document_type", False):
        return value
    convert = _ARGUMENTS.get(shape.type_name)
    if convert is not None:
        return convert(shape, name, value, problems)
    wanted, what = _CONTAINERS[shape.type_name]
    given: Any = value
    if not isinstance(value, wanted):
        problems.append(f"The value for the field '{upper_first(name)}' must be {what}")
        return None
    if shape.type_name == "structure":
        return _structure(shape, given, problems, nulls)
    if shape.type_name == "map":
        return {
            key: _argument(shape.value, key, each, problems, nulls)
            for key, each in given.items()
            if each is not None
        }
    return [_argument(shape.member, name, each, problems, nulls) for each in given]


_CONTAINERS: dict[str, tuple[type, str]] = {
    "structure": (dict, "an object"),
    "map": (dict, "an object"),
    "list": (list, "an array"),
}


def text_of(value: Any) -> str:
    """A text as it stands, anything else as JSON: what a member that is text gets."""
    if isinstance(value, str):
        return value
    return dumps(value, separators=(",", ":"), ensure_ascii=False)


def _string(shape: Any, name: str, value: Any, problems: list[str]) -> Any:
    if shape.serialization.get("jsonvalue"):
        return value
    return text_of(value)


def _blob(shape: Any, name: str, value: Any, problems: list[str]) -> bytes:
    if isinstance(value, str) and name in CIPHERS:
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            problems.append(f"The value for the field '{upper_first(name)}' must be base64")
            return b""
    if isinstance(value, str) and shape.serialization.get("streaming"):
        return dumps(value, ensure_ascii=False).encode()  # a text too is written as JSON
    return text_of(value).encode()


def _whole(shape: Any, name: str, value: Any, problems: list[str]) -> Any:
    if isinstance(value, str) and value.lstrip("-").isdigit():
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        problems.append(f"The value for the field '{upper_first(name)}' must be an integer")
    return value


def _number(shape: Any, name: str, value: Any, problems: list[str]) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        problems.append(f"The value for the field '{upper_first(name)}' must be a number")
    return value


def _boolean(shape: Any, name: str, value: Any, problems: list[str]) -> Any:
    if isinstance(value, str) and value in ("true", "false"):
        return value == "true"
    if not isinstance(value, bool):
        problems.append(f"The value for the field '{upper_first(name)}' must be a boolean")
    return value


def _timestamp(shape: Any, name: str, value: Any, problems: list[str]) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, UTC)
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        what = "a valid ISO 8601 date-time"
        problems.append(f"The value for the field '{upper_first(name)}' must be {what}")
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


_ARGUMENTS: dict[str, Callable[[Any, str, Any, list[str]], Any]] = {
    "string": _string, "character": _string, "blob": _blob, "integer": _whole, "long": _whole,
    "short": _whole, "byte": _whole, "float": _number, "double": _number, "boolean": _boolean,
    "timestamp": _timestamp, "bigInteger": _whole, "bigDecimal": _number,
}  # fmt: skip


# -- answers -----------------------------------------------------------------------------------


def sdk_answer(shape: Any, value: Any) -> Any:
    """An answer of boto3 as an `aws-sdk` integration shows it: times as ISO text."""
    return {} if shape is None else _shown(shape, "", value, member_name, _iso)


def optimised_answer(shape: Any, value: Any) -> Any:
    """An answer of boto3 as an optimised integration shows it: times in ms since 1970."""
    return {} if shape is None else _shown(shape, "", value, upper_first, _epoch_ms)


def _shown(shape: Any, name: str, value: Any, namer: Namer, time: Callable[[datetime], Any]) -> Any:
    if value is None:
        return None
    kind = shape.type_name
    if kind == "structure" and not getattr(shape, "is_document_type", False):
        return {
            namer(key): _shown(shape.members[key], key, each, namer, time)
            for key, each in value.items()
            if key in shape.members and each is not None
        }
    if kind == "map":
        return {key: _shown(shape.value, key, each, namer, time) for key, each in value.items()}
    if kind == "list":
        return [_shown(shape.member, name, each, namer, time) for each in value]
    if kind == "blob":
        return _text(name, value)
    if isinstance(value, datetime):
        return time(value)
    return value


def _text(name: str, value: Any) -> str:
    """Bytes or a stream of them as text where they are, else in base64."""
    data: bytes = value.read(BODY_LIMIT + 1) if hasattr(value, "read") else value
    if len(data) > BODY_LIMIT:
        raise Refused(Failure(DATA_LIMIT_EXCEEDED, TOO_LARGE, retryable=False))
    if name not in CIPHERS:
        try:
            return data.decode()
        except UnicodeDecodeError:
            pass
    return base64.b64encode(data).decode()


def _iso(time: datetime) -> str:
    time = time.astimezone(UTC)
    text = time.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{time.microsecond // 1000:03d}Z" if time.microsecond >= 1000 else f"{text}Z"


def _epoch_ms(time: datetime) -> int:
    return round(time.timestamp() * 1000)


def metadata(answer: dict[str, Any]) -> dict[str, Any]:
    """What optimised integrations tell of the HTTP answer."""
    about = answer.get("ResponseMetadata", {})
    headers = {_header(name): text for name, text in about.get("Headers", {}).items()}
    return {
        "SdkHttpMetadata": {
            "AllHttpHeaders": {name: [text] for name, text in headers.items()},
            "HttpHeaders": headers,
            "HttpStatusCode": about.get("HTTPStatusCode", 200),
        },
        "SdkResponseMetadata": {"RequestId": about.get("RequestId", "")},
    }


_HEADERS = {
    "connection": "Connection", "content-length": "Content-Length", "date": "Date",
    "content-type": "Content-Type", "server": "Server", "x-amzn-requestid": "x-amzn-RequestId",
}  # fmt: skip


def _header(name: str) -> str:
    return _HEADERS.get(name.lower(), name)
