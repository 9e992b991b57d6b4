"""Signature version 4: who signed a request, and whether the signature is theirs.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, unquote

from batuta.workflow.asl.registry import ServiceError

ALGORITHM = "AWS4-HMAC-SHA256"
SKEW_S = 300
STAMP = "%Y%m%dT%H%M%SZ"
_FIELD = re.compile(r"\s*(Credential|SignedHeaders|Signature)=([^,]*)\s*")


@dataclass(frozen=True, slots=True)
class Signature:
    """What the `Authorization` header says."""

    key: str
    date: str
    region: str
    service: str
    signed: tuple[str, ...]
    value: str

    @property
    def scope(self) -> str:
        """What the signing key is for."""
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


@dataclass(frozen=True, slots=True)
class Signed:
    """The parts of a request that are signed.

    Parameters
    ----------
    path, query: as they were sent. headers: names in small letters, with all their values.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, Sequence[str]]
    body: bytes


def is_signed(authorization: str) -> bool:
    """Whether an `Authorization` header is one of this kind."""
    return authorization.startswith("AWS4-")


def parse(authorization: str) -> Signature:
    """The header taken apart. Raises `ServiceError`."""
    if not authorization:
        raise ServiceError("MissingAuthenticationTokenException", "Missing Authentication Token")
    algorithm, _, rest = authorization.partition(" ")
    if algorithm != ALGORITHM:
        raise _incomplete(f"Unsupported AWS 'algorithm': '{algorithm}'")
    fields: dict[str, str] = {}
    for part in rest.split(","):
        found = _FIELD.fullmatch(part)
        if found is not None:
            fields[found[1]] = found[2]
    missing = [
        name for name in ("Credential", "Signature", "SignedHeaders") if not fields.get(name)
    ]
    if missing:
        raise _incomplete(
            " ".join(f"Authorization header requires '{name}' parameter." for name in missing)
        )
    scope = fields["Credential"].split("/")
    if len(scope) != 5 or scope[4] != "aws4_request":
        raise _incomplete(
            "Credential must have exactly 5 slash-delimited elements, e.g. "
            f"keyid/date/region/service/term, got '{fields['Credential']}'"
        )
    signed = tuple(fields["SignedHeaders"].lower().split(";"))
    key, day, region, service, _ = scope
    return Signature(key, day, region, service, signed, fields["Signature"])


def _incomplete(message: str) -> ServiceError:
    return ServiceError("IncompleteSignatureException", message)


def _invalid(message: str) -> ServiceError:
    return ServiceError("InvalidSignatureException", message)


def verify(request: Signed, credentials: Mapping[str, str], now: datetime) -> str:
    """The access key whose owner signed the request. Raises `ServiceError`."""
    signature = parse(_one(request.headers, "authorization"))
    secret = credentials.get(signature.key)
    if secret is None:
        raise ServiceError(
            "UnrecognizedClientException", "The security token included in the request is invalid."
        )
    stamp = _one(request.headers, "x-amz-date")
    _check_date(signature, stamp, now)
    if "host" not in signature.signed:
        raise _invalid("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
    wanted = sign(request, signature, stamp, secret)
    if not hmac.compare_digest(wanted.encode(), signature.value.encode("utf-8", "replace")):
        raise _invalid(
            "The request signature we calculated does not match the signature you provided. "
            "Check your AWS Secret Access Key and signing method. "
            "Consult the service documentation for details."
        )
    return signature.key


def _check_date(signature: Signature, stamp: str, now: datetime) -> None:
    try:
        signed_at = datetime.strptime(stamp, STAMP).replace(tzinfo=UTC)
    except ValueError:
        raise _incomplete(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
        ) from None
    if stamp[:8] != signature.date:
        raise _invalid(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from "
            f"HTTP: '{signature.date}' != '{stamp[:8]}', from '{stamp}'."
        )
    behind = (now - signed_at).total_seconds()
    if abs(behind) > SKEW_S:
        shown, here = f"{signed_at:{STAMP}}", f"{now:{STAMP}}"
        if behind > 0:
            raise _invalid(f"Signature expired: {shown} is now earlier than {here} - 5 min.")
        raise _invalid(f"Signature not yet current: {shown} is still later than {here} + 5 min.")


def sign(request: Signed, signature: Signature, stamp: str, secret: str) -> str:
    """The signature that the owner of a secret gives a request, in hex."""
    headers = "".join(
        f"{name}:{','.join(' '.join(value.split()) for value in request.headers.get(name, ()))}\n"
        for name in signature.signed
    )
    body = hashlib.sha256(request.body).hexdigest()
    parts = (
        request.method, _path(request.path), _query(request.query), headers,
        ";".join(signature.signed), body,
    )  # fmt: skip
    canonical = hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()
    text = "\n".join((ALGORITHM, stamp, signature.scope, canonical))
    key = b"AWS4" + secret.encode()
    for part in signature.scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _path(path: str) -> str:
    return quote(path or "/", safe="/-_.~")


def _query(query: str) -> str:
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    quoted = sorted((_quoted(name), _quoted(value)) for name, _, value in pairs)
    return "&".join(f"{name}={value}" for name, value in quoted)


def _quoted(text: str) -> str:
    return quote(unquote(text), safe="-_.~")


def _one(headers: Mapping[str, Sequence[str]], name: str) -> str:
    values = headers.get(name, ())
    return values[0] if values else ""
