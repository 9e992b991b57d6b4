"""Amazon resource names of machines, executions and map runs, and the ids of the runs they mean."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from dataclasses import dataclass

REGION = "us-east-1"
ACCOUNT = "000000000000"
PARTITION = "aws"


@dataclass(frozen=True, slots=True)
class Place:
    """Where names stand: the middle of every ARN."""

    region: str = REGION
    account: str = ACCOUNT
    partition: str = PARTITION

    @property
    def states(self) -> str:
        """The beginning of every ARN of this service."""
        return f"arn:{self.partition}:states:{self.region}:{self.account}:"

    def machine(self, name: str) -> str:
        """The ARN of a state machine; a version or alias is appended by `:NAME`."""
        return f"{self.states}stateMachine:{name}"

    def activity(self, name: str) -> str:
        """The ARN of an activity."""
        return f"{self.states}activity:{name}"

    def execution(self, run: str, kind: str = "STANDARD", label: str | None = None) -> str:
        """The ARN of the execution that a run is.

        Parameters
        ----------
        run: the run's id, `MACHINE:NAME` (`MACHINE:NAME:UUID` where express).
        label: of the Map state whose child the run is.
        """
        if label is not None:
            machine, _, rest = run.partition(":")
            run = f"{machine}/{label}:{rest}"
        return f"{self.states}{'express' if kind == 'EXPRESS' else 'execution'}:{run}"

    def map_run(self, machine: str, label: str, name: str) -> str:
        """The ARN of a map run."""
        return f"{self.states}mapRun:{machine}/{label}:{name}"


DEFAULT = Place()


def run_of(arn: str) -> str | None:
    """The id of the run that an execution's ARN means; None for something else."""
    parts = arn.split(":", 6)
    if len(parts) < 7 or parts[2] != "states" or parts[5] not in ("execution", "express"):
        return None
    machine, _, _label = parts[6].partition(":")[0].partition("/")
    return f"{machine}:{parts[6].partition(':')[2]}"


def token_of(run: str, key: str) -> str:
    """The task token of operation `key` of a run: opaque for users, the same in every replay."""
    return urlsafe_b64encode(f"{run}\n{key}".encode()).decode().rstrip("=")


def of_token(token: str) -> tuple[str, str] | None:
    """The run and the operation that a task token means; None where it is none of ours."""
    try:
        text = urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    except (Error, ValueError):
        return None
    run, found, key = text.rpartition("\n")
    return (run, key) if found else None
