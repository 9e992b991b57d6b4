"""What is asked of a system is checked before it is taken in: ids, names, input."""

from __future__ import annotations

from collections.abc import Callable
from json import dumps, loads
from typing import Any

from batuta.kernel.errors import BatutaError, NotFound
from batuta.workflow.ask import RESERVED
from batuta.workflow.asl.activities import Activities
from batuta.workflow.asl.machine import StateMachine, flow_of
from batuta.workflow.asl.registry import ANSWERS
from batuta.workflow.model import Definitions

ID_MAX = 200
OWN_SIGNALS = ("task:", "map:")
"""Signals of state machines, named by a task token or by the ARN of a map run."""


class BadInput(BatutaError):
    """What was given does not fit."""


def validate(
    definitions: Definitions,
    type: str,
    subject: str,
    data: dict[str, Any],
    new_id: Callable[[], str],
) -> tuple[str, dict[str, Any]]:
    """The subject and data to record, or a `BatutaError` that says what is wrong with them."""
    check = CHECKS.get(type)
    if check is None:
        raise BadInput(f"nothing can be asked by `{type}`")
    subject, data = check(definitions, subject, data, new_id)
    check_id(subject)
    return subject, data


def check_id(id: str) -> None:
    """Raises `BadInput` for an id that is too long or has control characters."""
    if len(id) > ID_MAX:
        raise BadInput(
            f"the id `{id[:40]}…` has {len(id)} characters",
            hint=f"an id may have {ID_MAX}; put the rest into the input",
        )
    if not id.isprintable():
        raise BadInput(f"the id {id!r} has characters that cannot be printed")


def _start(
    definitions: Definitions, subject: str, data: dict[str, Any], new_id: Callable[[], str]
) -> tuple[str, dict[str, Any]]:
    name = data.get("workflow", "")
    flow = flow_of(definitions, data)
    if flow is None:
        known = ", ".join(sorted(definitions.workflows)) or "none"
        raise NotFound(f"there is no workflow `{name}`", hint=f"defined are: {known}")
    args, kwargs = data.get("args") or [], data.get("kwargs") or {}
    _expect(data, "priority", int)
    _expect(data, "deadline", int)
    for label, value in (data.get("attributes") or {}).items():
        if not isinstance(value, str | int | float | bool):
            raise BadInput(
                f"search attribute `{label}` is a {kind_of(value)}",
                hint="only text, numbers and true/false can be searched for",
            )
    try:
        flow.codec.decode_call(args, kwargs)
    except Exception as misfit:  # whatever a constructor of the user's raised, it does not fit
        problems = flow.codec.problems(args, kwargs)
        raise BadInput(
            f"the input does not fit workflow `{name}`: "
            + (problems[0].message if problems else f"{misfit.__class__.__name__}: {misfit}"),
            at=flow.source,
            hint=problems[0].hint if problems else None,
        ) from misfit
    taken = {**data, "args": args, "kwargs": kwargs}
    if isinstance(flow, StateMachine):
        # An execution's ARN has both names, so that its run's id has them, too.
        own = subject.removeprefix(f"{name}:")
        return f"{name}:{own or new_id()[:12]}", taken
    return subject or f"{name}-{new_id()[:12]}", taken


def _signal(
    definitions: Definitions, subject: str, data: dict[str, Any], new_id: Callable[[], str]
) -> tuple[str, dict[str, Any]]:
    _expect(data, "name", str, wanted=True)
    if not data["name"].startswith(OWN_SIGNALS):
        check_id(data["name"])
    return subject, {**data, "value": _json(data.get("value"), "the signal's value")}


def _expect(data: dict[str, Any], name: str, kind: type, *, wanted: bool = False) -> None:
    value = data.get(name)
    if value is None and not wanted:
        return
    if not isinstance(value, kind) or isinstance(value, bool) or value == "":
        found = "missing" if value is None else f"a {kind_of(value)}"
        raise BadInput(f"`{name}` is {found}, it has to be a {kind.__name__}")


def kind_of(value: object) -> str:
    """What a value is, for a message."""
    return type(value).__name__


def _json(value: Any, what: str) -> Any:
    try:
        return loads(dumps(value, allow_nan=False))
    except (ValueError, TypeError, RecursionError) as error:
        raise BadInput(f"{what} is not JSON: {error}") from error


def _fork(
    definitions: Definitions, subject: str, data: dict[str, Any], new_id: Callable[[], str]
) -> tuple[str, dict[str, Any]]:
    _expect(data, "key", str, wanted=True)
    id = data.get("id") or f"{subject}-fork-{new_id()[:6]}"
    check_id(id)
    return subject, {**data, "id": id}


def _send(
    definitions: Definitions, subject: str, data: dict[str, Any], new_id: Callable[[], str]
) -> tuple[str, dict[str, Any]]:
    type = data.get("type") or ""
    if not type:
        raise BadInput("an event needs a type", hint="`batuta send order.paid --subject …`")
    if type.startswith(RESERVED):
        raise BadInput(
            f"events of type `{type}` are written by Batuta itself",
            hint="choose a type that does not begin with " + ", ".join(RESERVED[:4]) + " …",
        )
    _expect(data, "id", str)
    check_id(type)
    return subject, _json({**data, "id": data.get("id") or new_id()}, "the event")


def _as_it_is(
    definitions: Definitions, subject: str, data: dict[str, Any], new_id: Callable[[], str]
) -> tuple[str, dict[str, Any]]:
    return subject, data


CHECKS = {
    "run.start": _start,
    "run.fork": _fork,
    "event.send": _send,
    "run.signal": _signal,
    "run.cancel": _as_it_is,
    "run.terminate": _as_it_is,
    "run.retry": _as_it_is,
    "run.undo": _as_it_is,
    "dead.redrive": _as_it_is,
    **dict.fromkeys((*ANSWERS, *Activities.receives), _as_it_is),
}
