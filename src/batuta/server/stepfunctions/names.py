"""ARNs in requests: taken apart, and refused in the service's words where they are none."""

from __future__ import annotations

import re
from dataclasses import dataclass

from batuta.server.stepfunctions.errors import invalid_arn, wrong_resource
from batuta.workflow.asl.arn import run_of
from batuta.workflow.asl.registry import ServiceError

ARN = re.compile(r"arn:aws[a-z-]*:states:[a-z0-9-]*:[0-9]*:([A-Za-z]+):(.+)", re.DOTALL)
BAD_SIGNS = re.compile(r"[\s<>{}\[\]?*\"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class MachineArn:
    """A state machine's ARN.

    Parameters
    ----------
    name: the state machine's. label: of a Map state in it.
    qualifier: a version's number or an alias's name.
    """

    name: str
    label: str | None = None
    qualifier: str | None = None

    @property
    def version(self) -> int | None:
        """The version's number, where a version is meant."""
        known = self.qualifier is not None and self.qualifier.isdecimal()
        return int(self.qualifier or "") if known else None

    @property
    def alias(self) -> str | None:
        """The alias's name, where an alias is meant."""
        return None if self.version is not None else self.qualifier


def _parts(arn: str, *kinds: str) -> str:
    """What stands behind the resource type. Raises `ServiceError`."""
    if not arn.startswith("arn:"):
        raise invalid_arn(f"Invalid ARN prefix: {arn}")
    found = ARN.fullmatch(arn)
    if found is None:
        raise invalid_arn(arn)
    if found[1] not in kinds:
        raise wrong_resource(found[1].lower())
    return found[2]


def machine_of(arn: str) -> MachineArn:
    """A state machine, version or alias. Raises `ServiceError`."""
    path, _, qualifier = _parts(arn, "stateMachine").partition(":")
    name, _, label = path.partition("/")
    if not name or ":" in qualifier:
        raise invalid_arn(arn)
    return MachineArn(name, label or None, qualifier or None)


def activity_of(arn: str) -> str:
    """An activity's name. Raises `ServiceError`."""
    name = _parts(arn, "activity")
    if BAD_SIGNS.search(name):
        raise invalid_arn(arn)
    return name


def execution_of(arn: str, *, express: bool = False) -> str:
    """The run that an execution is. Raises `ServiceError`.

    Parameters
    ----------
    express: whether executions of EXPRESS state machines are served as well.
    """
    kinds = ("execution", "express") if express else ("execution",)
    rest = _parts(arn, *kinds)
    run = run_of(arn)
    if run is None or ":" not in rest or rest.startswith(":") or rest.endswith(":"):
        raise invalid_arn(arn)
    return run


def map_run_of(arn: str) -> str:
    """What stands behind `mapRun:` in a map run's ARN. Raises `ServiceError`."""
    return _parts(arn, "mapRun")


def check_name(name: str) -> str:
    """A name that may be given to something. Raises `ServiceError`."""
    if BAD_SIGNS.search(name):
        raise ServiceError("InvalidName", f"Invalid Name: '{name}'")
    return name
