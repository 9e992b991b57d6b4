"""CloudEvents 1.0 over HTTP: structured, batched and binary requests as events to send."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from batuta.kernel.errors import BatutaError
from batuta.server.reply import Unprocessable, checked_id, parse_json
from batuta.workflow.ask import RESERVED

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
TYPE_LIMIT = 256
BATCH_LIMIT = 1000
NAME = re.compile(r"[a-z0-9]{1,64}")  # of an attribute, section 3.1


def parse(headers: Mapping[str, str], body: bytes) -> list[dict[str, Any]]:
    """The events of a request, each with `type`, `subject`, `source`, `data` and more.

    Raises
    ------
    BatutaError: the request is no CloudEvent; the message says where.
    """
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media == BATCH:
        many = parse_json(body)
        if not isinstance(many, list):
            raise BatutaError("the batch is not a list of events")
        if len(many) > BATCH_LIMIT:
            raise BatutaError(f"the batch has {len(many):,} events, at most {BATCH_LIMIT:,} go")
        return [event(each, f"event {at}: ", strict=True) for at, each in enumerate(many)]
    if media == STRUCTURED:
        return [event(parse_json(body), strict=True)]
    if "ce-type" in headers or "ce-specversion" in headers:
        return [event(_binary(headers, media, body), strict=True)]
    if media in ("application/json", ""):
        return [event(parse_json(body) if body.strip() else {}, strict=False)]
    raise Unprocessable(
        f"`{media[:80]}` is no form of event",
        hint=f"send {STRUCTURED}, {BATCH}, application/json, or headers `ce-…`",
    )


def _binary(headers: Mapping[str, str], media: str, body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {
        name.removeprefix("ce-"): unquote(value)
        for name, value in headers.items()
        if name.startswith("ce-")
    }
    if media:
        found["datacontenttype"] = media
    if not body:
        return found
    if media == "application/json" or media.endswith("+json"):
        found["data"] = parse_json(body)
    elif media.startswith("text/"):
        found["data"] = body.decode("utf-8", "replace")
    else:
        found["data_base64"] = base64.b64encode(body).decode("ascii")
    return found


def event(value: Any, where: str = "", *, strict: bool) -> dict[str, Any]:
    """One event, checked.

    Parameters
    ----------
    where: the beginning of error messages.
    strict: `specversion`, `id` and `source` are required, as the specification says;
        otherwise `source` is `http` by default and an id is made.
    """
    if not isinstance(value, dict):
        raise BatutaError(f"{where}an event is a JSON object")
    required = ("specversion", "id", "source", "type") if strict else ("type",)
    for name in required:
        if not isinstance(value.get(name), str) or not value[name]:
            raise BatutaError(f"{where}`{name}` is missing", hint="it is a text that is not empty")
    if value.get("specversion", "1.0") != "1.0":
        raise BatutaError(f"{where}specversion `{str(value['specversion'])[:20]}` is not known")
    found = {"source": "http", "subject": "", "data": None}
    for name, part in value.items():
        if name == "specversion" or (part is None and name != "data"):
            continue
        if name != "data_base64" and not NAME.fullmatch(name):
            raise BatutaError(
                f"{where}`{name[:80]}` is no name of an attribute",
                hint="names have small letters and digits only",
            )
        if name != "data" and not isinstance(part, str | int | float | bool):
            raise BatutaError(f"{where}`{name}` is not a text, number or truth value")
        found[name] = part
    _check(found, where)
    return found


def _check(found: dict[str, Any], where: str) -> None:
    for name in ("subject", "source", "id"):
        if name in found:
            found[name] = checked_id(found[name], f"{where}{name}")
    kind = found["type"]
    if len(kind) > TYPE_LIMIT or not kind.isprintable():
        raise BatutaError(f"{where}`type` is longer than {TYPE_LIMIT} characters or unprintable")
    if kind.startswith(RESERVED):
        raise Unprocessable(
            f"{where}`{kind}` is a type of Batuta's own events",
            hint="choose another name for your event, such as `shop." + kind + "`",
        )
