"""A state machine as a definition of the system: a workflow whose program is an interpreter."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from json import loads
from typing import Any

from batuta.kernel.errors import BatutaError
from batuta.kernel.event import Event
from batuta.workflow.asl.arn import DEFAULT, Place
from batuta.workflow.asl.build import build
from batuta.workflow.asl.context import timestamp
from batuta.workflow.asl.errors import Malformed
from batuta.workflow.asl.execution import Execution, Recorder
from batuta.workflow.asl.states.distributed import DistributedMap
from batuta.workflow.asl.states.node import States
from batuta.workflow.asl.states.task import PLAIN
from batuta.workflow.model import Definitions, Workflow

SECOND = 1_000_000_000


class InputCodec:
    """An execution has one input, which is JSON as it stands."""

    @staticmethod
    def shown() -> str:
        """The signature, for people."""
        return "(input)"

    @staticmethod
    def decode_call(args: list[Any], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], Any]:
        """Raises `TypeError` for more than one input."""
        if len(args) > 1 or (args and kwargs):
            raise TypeError("a state machine takes one input")
        return tuple(args), kwargs

    @staticmethod
    def encode_call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Any], Any]:
        """As they stand."""
        return list(args), kwargs

    @staticmethod
    def problems(args: list[Any], kwargs: dict[str, Any]) -> list[Any]:
        """None: every JSON value is an input."""
        return []

    decode_result = staticmethod(PLAIN.decode_result)
    encode_result = staticmethod(PLAIN.decode_result)


CODEC = InputCodec()


class Compiled:
    """A definition's text made ready to run; kept for as long as it is in use."""

    __slots__ = ("definition", "hash", "states", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.definition: dict[str, Any] = loads(text)
        self.states: States = build(self.definition)
        self.hash = hashlib.sha256(text.encode()).hexdigest()[:16]

    def within(self, path: tuple[str, ...]) -> States:
        """The flow of an item processor: the names of the states around it lead there, each
        Parallel's followed by the number of the branch."""
        states = self.states
        steps = iter(path)
        for name in steps:
            node: Any = states.nodes[name]
            branches: list[States] | None = getattr(node, "branches", None)
            states = node.states if branches is None else branches[int(next(steps))]
        return states


@lru_cache(maxsize=500)
def compiled(text: str) -> Compiled:
    """A definition made ready. Raises `BatutaError` for one with mistakes."""
    try:
        return Compiled(text)
    except Malformed as wrong:
        raise BatutaError(f"the state machine has a mistake: {wrong.message}") from wrong
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as wrong:
        raise BatutaError(
            f"the state machine's definition is broken: {type(wrong).__name__}: {wrong}",
            hint="`batuta check` shows each mistake with its line",
        ) from wrong


class StateMachine:
    """A state machine; the kernel's runs treat it as a workflow.

    Parameters
    ----------
    name: as its ARN has it. text: its definition, JSON.
    about: what else a run of it keeps: `type` (STANDARD, EXPRESS), `arn` (as it was started,
        with version or alias), `role`, `quotas` (`aws`: the service's own limits), `path` and
        `label` and `map_run` (a child execution of a distributed Map).
    steps: the project's Python steps, by name.
    place: region and account of its ARNs.
    source: file and line of its definition.
    recorder: gets the history of its executions.
    """

    priority = 0
    fn: Callable[..., Any] | None = None
    codec = CODEC

    def __init__(
        self,
        name: str,
        text: str,
        about: Mapping[str, Any] | None = None,
        *,
        steps: Mapping[str, Any] | None = None,
        place: Place = DEFAULT,
        source: str = "",
        recorder: Recorder | None = None,
    ) -> None:
        self.name = name
        self.compiled = compiled(text)
        self.about = dict(about or {})
        self.steps: Mapping[str, Any] = {} if steps is None else steps
        self.place = place
        self.source = source
        self.recorder = recorder
        self.type: str = self.about.get("type", "STANDARD")
        self.express = self.type == "EXPRESS"
        self.quotas = self.about.get("quotas") == "aws"
        self.path: tuple[str, ...] = tuple(self.about.get("path", ()))
        self.code_hash = self.compiled.hash
        self.__doc__ = self.compiled.definition.get("Comment")

    @property
    def text(self) -> str:
        """The definition."""
        return self.compiled.text

    @property
    def deadline(self) -> int | None:
        """How long an execution may take, ns: the definition's TimeoutSeconds."""
        seconds = None if self.path else self.compiled.definition.get("TimeoutSeconds")
        return None if seconds is None else int(seconds * SECOND)

    @property
    def arn(self) -> str:
        """The ARN that it was started by."""
        arn: str = self.about.get("arn") or self.place.machine(self.name)
        return arn

    def begun(self, given: Mapping[str, Any] | None) -> dict[str, Any]:
        """What `run.started` keeps of it, so that the run goes on with what it began with."""
        return {**self.about, **(given or {}), "definition": self.text}

    def child(self, node: DistributedMap, map_run: str) -> StateMachine:
        """The item processor of a distributed Map, as a machine of its own."""
        about = {
            **self.about, "type": node.execution_type, "path": node.path, "label": node.label,
            "map_run": map_run, "arn": f"{self.place.machine(self.name)}/{node.label}",
        }  # fmt: skip
        return StateMachine(
            self.name, self.text, about, steps=self.steps, place=self.place, source=self.source
        )

    def program(self, started: Event, operations_max: int) -> Execution:
        """What drives an execution of it, not begun yet."""
        args = started.data["args"]
        input = args[0] if args else started.data["kwargs"]
        run = started.subject
        execution = Execution(
            self, self.compiled.within(self.path), run, self._about(run, input, started.time),
            input, self.recorder,
        )  # fmt: skip
        execution.cause, execution.now = started, started.time
        return execution

    def _about(self, run: str, input: Any, at: int) -> dict[str, Any]:
        name = self.about.get("execution") or run.partition(":")[2] or run
        execution = {
            "Id": self.place.execution(run, self.type, self.about.get("label")), "Input": input,
            "Name": name, "RoleArn": self.about.get("role", ""), "StartTime": timestamp(at),
            "RedriveCount": 0,
        }  # fmt: skip
        machine = {"Id": self.arn, "Name": self.name}
        return {"Execution": execution, "StateMachine": machine}


def flow_of(
    definitions: Definitions, data: Mapping[str, Any], recorder: Recorder | None = None
) -> Workflow[Any, Any] | StateMachine | None:
    """The definition that a run is of: one of the project's, or the one that it began with.

    Parameters
    ----------
    data: of `run.start` or `run.started`; a state machine's has its definition with it.
    """
    about = data.get("machine")
    name = data.get("workflow", "")
    found: Workflow[Any, Any] | StateMachine | None = definitions.workflows.get(name)
    if about is None or "definition" not in about:
        return found
    rest = {key: value for key, value in about.items() if key != "definition"}
    source = found.source if isinstance(found, StateMachine) else ""
    return StateMachine(
        name, about["definition"], rest, steps=definitions.steps, place=definitions.place,
        source=source, recorder=recorder,
    )  # fmt: skip
