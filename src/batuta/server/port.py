"""What the server needs of a system: the part of `batuta.real.system.System` that it drives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from batuta.common.problem import Problem
from batuta.kernel.event import Event
from batuta.kernel.journal import Journal
from batuta.workflow.model import Definitions


class Project(Protocol):
    """What a folder defines."""

    @property
    def definitions(self) -> Definitions: ...
    @property
    def problems(self) -> Sequence[Problem]: ...
    @property
    def folder(self) -> Path: ...


class Services(Protocol):
    """What tasks of state machines call."""

    def answer(
        self, states: Any, url: str | None = None, key: tuple[str, str] | None = None
    ) -> None:
        """Who answers what tasks ask of Step Functions, and where that is reached by HTTP."""


class System(Protocol):
    """One project on one journal in this process."""

    @property
    def journal(self) -> Journal: ...
    @property
    def project(self) -> Project: ...
    @property
    def services(self) -> Services: ...

    async def submit(self, type: str, subject: str, data: dict[str, Any]) -> dict[str, Any]:
        """Ask for something; it is durable when this returns."""

    async def query(self, run: str, name: str, args: list[Any]) -> Any:
        """Ask a run a question."""

    def follow(
        self, after: int, types: Sequence[str] = (), subject: str | None = None
    ) -> AsyncIterator[Event]:
        """Events after a seq, live, in order, without a gap."""

    def stats(self) -> dict[str, float]:
        """Counters and gauges."""
