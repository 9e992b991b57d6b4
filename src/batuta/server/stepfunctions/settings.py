"""What a project says about its Step Functions API, in the table `[stepfunctions]`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batuta.kernel.errors import BatutaError
from batuta.workflow.asl.arn import ACCOUNT, DEFAULT, REGION, Place

FILE = "batuta.toml"
TABLE = "stepfunctions"


@dataclass(frozen=True, slots=True)
class Settings:
    """How the API answers.

    Parameters
    ----------
    place: region and account in all ARNs.
    credentials: access key -> secret; where there are any, requests have to be signed.
    strict: whether the service's own quotas are kept to (`quotas = "aws"`).
    """

    place: Place = DEFAULT
    credentials: Mapping[str, str] = field(default_factory=dict)
    strict: bool = False


def read_settings(folder: Path) -> Settings:
    """The settings of a project folder; the usual ones where it has no `batuta.toml`.

    Raises `BatutaError` for a file or a value that cannot be understood.
    """
    file = folder / FILE
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Settings()
    except (OSError, ValueError) as error:
        raise BatutaError(f"`{FILE}` cannot be read: {error}", at=str(file)) from error
    return settings_of(content.get(TABLE, {}), str(file))


def settings_of(table: Any, at: str = FILE) -> Settings:
    """The table `[stepfunctions]` as settings. Raises `BatutaError`."""
    if not isinstance(table, dict):
        raise BatutaError(f"`{TABLE}` is not a table", at=at, hint=f"write `[{TABLE}]`")
    known = ("region", "account", "credentials", "quotas")
    for name in table:
        if name not in known:
            raise BatutaError(
                f"`[{TABLE}]` has an unknown setting `{name}`", at=at,
                hint=f"known are: {', '.join(known)}",
            )  # fmt: skip
    credentials = table.get("credentials", {})
    if not isinstance(credentials, dict) or not all(
        isinstance(secret, str) and secret for secret in credentials.values()
    ):
        raise BatutaError(
            f"`credentials` of `[{TABLE}]` is no table of access keys and their secrets", at=at,
            hint='write `credentials = { AKIAEXAMPLE = "secret" }`',
        )  # fmt: skip
    quotas = table.get("quotas", "batuta")
    if quotas not in ("aws", "batuta"):
        raise BatutaError(
            f"`quotas` of `[{TABLE}]` is `{quotas}`", at=at, hint='use "aws" or "batuta"'
        )
    place = Place(str(table.get("region", REGION)), str(table.get("account", ACCOUNT)))
    return Settings(place, credentials, quotas == "aws")
