"""Why something happened: the chain of causes, each with a sentence, down to the definition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from batuta.kernel.errors import NotFound
from batuta.kernel.event import Event
from batuta.kernel.journal import Journal

Data = dict[str, Any]


@dataclass(frozen=True, slots=True)
class WhyLine:
    """One link of the chain, newest first.

    Parameters
    ----------
    seq: the event, or None for a line that stands for a definition or for left-out events.
    time: ns, or None.
    sentence: what happened, in words.
    at: `file:line` of the user's definition, where it is known.
    """

    seq: int | None
    time: int | None
    type: str
    subject: str
    sentence: str
    at: str | None = None


def why_chain(journal: Journal, id: str | int, *, limit: int = 200) -> list[WhyLine]:
    """The chain of causes of a thing, newest first, ending with where it is defined.

    Parameters
    ----------
    id: a run's id, a command's id (`run/key.attempt`), the seq of an event (`42`, `"#42"`),
        a delivery's id, a schedule's name (`schedule:NAME`) or any other subject.
    limit: so many events at most; where the chain is longer, one line says how many were
        passed over, and the start of the run follows.

    Raises
    ------
    NotFound: nothing is known by that id.
    """
    start = find_event(journal, id)
    lines: list[WhyLine] = []
    event: Event | None = start
    definitions: dict[str, Data] = {}
    while event is not None and len(lines) < limit:
        cause = event.cause_seq
        before, event = event, journal.event(cause) if cause else None
        _learn(journal, before, definitions)
        lines.append(_line(before, event, definitions))
        if before.type == "run.started":
            lines.extend(_definition(before))
    if event is not None:
        lines.extend(_shortened(journal, event, definitions))
    elif lines[-1].type not in ("definition", "run.started"):
        # It began with what a person sent: say as well which definition that met.
        lines.extend(_definition_of(journal, lines[-1].subject))
    return lines


def _definition_of(journal: Journal, run: str) -> list[WhyLine]:
    started = journal.read(subject=run, types=("run.started",), limit=1)
    return _definition(started[0]) if started else []


def find_event(journal: Journal, id: str | int) -> Event:
    """The newest event of what an id names. Raises `NotFound`."""
    found = _by_seq(journal, id) if isinstance(id, int) else _by_text(journal, id)
    if found is None:
        raise NotFound(
            f"nothing is known as `{_short(id)}`",
            hint="give the id of a run, of a step's attempt, of an event (#SEQ) or of a delivery; "
            "`batuta ps` lists the runs",
        )
    return found


def _by_seq(journal: Journal, seq: int) -> Event | None:
    return journal.event(seq) if 0 < seq < 2**63 else None


def _by_text(journal: Journal, id: str) -> Event | None:
    number = id.removeprefix("#")
    plain = number.isascii() and number.isdigit() and len(number) < 20
    if plain and id.startswith("#"):
        return _by_seq(journal, int(number))
    command = journal.asked(id) if "/" in id else []
    if command:
        return command[-1]
    newest = journal.read(subject=id, newest_first=True, limit=1)
    if newest:
        return newest[0]
    return _by_seq(journal, int(number)) if plain else None


def _learn(journal: Journal, event: Event, definitions: dict[str, Data]) -> None:
    """Remember which definition the run of an event has, read once per run."""
    if event.subject in definitions or not event.type.startswith(_RUN_EVENTS):
        return
    started = (
        [event]
        if event.type == "run.started"
        else journal.read(subject=event.subject, types=("run.started",), limit=1)
    )
    definitions[event.subject] = started[0].data if started else {}


_RUN_EVENTS = ("run.", "step.", "timer.", "wait.", "child.", "signal.", "patch.", "event.emitted")


def _line(event: Event, cause: Event | None, definitions: dict[str, Data]) -> WhyLine:
    at = definitions.get(event.subject, {}).get("definition")
    text = sentence(event, cause)
    return WhyLine(event.seq, event.time, event.type, event.subject, text, at)


def _definition(started: Event) -> list[WhyLine]:
    data = started.data
    at = data.get("definition")
    if not at:
        return []
    text = f"workflow `{data.get('workflow', '')}` is defined at {at}"
    return [WhyLine(None, None, "definition", started.subject, text, at)]


def _shortened(journal: Journal, event: Event, definitions: dict[str, Data]) -> list[WhyLine]:
    """A line for the events that are left out, then where their run began."""
    text = f"earlier causes follow from #{event.seq} on"
    lines = [WhyLine(None, None, "more", event.subject, text)]
    started = journal.read(subject=event.subject, types=("run.started",), limit=1)
    if started:
        _learn(journal, started[0], definitions)
        lines += [_line(started[0], None, definitions), *_definition(started[0])]
    return lines


# -- sentences -----------------------------------------------------------------------------------


def sentence(event: Event, cause: Event | None = None) -> str:
    """What an event says, in a short sentence; its cause, where given, lends it names."""
    if event.type in _STEP_ENDS:
        return _STEP_ENDS[event.type](event.data, _step_name(event, cause))
    say = SENTENCES.get(event.type)
    if say is None:
        source = event.data.get("source")
        origin = f" from {_short(source)}" if source else ""
        about = f" about `{_short(event.subject)}`" if event.subject else ""
        return f"event `{event.type}`{about} arrived{origin}"
    return say(event.data, event)


def _short(value: object, limit: int = 120) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _error(data: Data) -> str:
    error = data.get("error")
    if not isinstance(error, dict):
        return _short(error or "")
    kind = str(error.get("type", "")).rpartition(":")[2]
    return _short(f"{kind}: {error.get('message', '')}")


def _reason(data: Data) -> str:
    reason = data.get("reason")
    return f": {_short(reason)}" if reason else ""


def _run_started(data: Data, event: Event) -> str:
    text = f"run `{_short(event.subject)}` of `{data.get('workflow', '')}` started"
    trigger, parent, forked = data.get("trigger"), data.get("parent"), data.get("forked")
    if forked:
        return f"{text} as a fork of run `{_short(forked['run'])}` from operation {forked['key']}"
    if parent:
        return f"{text}, asked for by run `{_short(parent.get('run', ''))}`"
    if isinstance(trigger, dict):
        kind = trigger.get("kind") or trigger.get("type") or trigger.get("rule")
        return f"{text}, triggered by {_short(kind)}" if kind else text
    return text if event.cause_seq else f"{text}, asked for from outside"


def _step_asked(data: Data, event: Event) -> str:
    attempt = data.get("attempt") or 1
    again = f", attempt {attempt}" if attempt > 1 else ""
    undoes = data.get("undoes")
    undone = f"`{undoes}`" if isinstance(undoes, str) else "an earlier one"
    to_undo = f" to undo {undone}" if undoes else ""
    return f"step `{data.get('name') or data.get('key', '')}` was asked for{to_undo}{again}"


def _step_name(event: Event, cause: Event | None) -> str:
    """Outcomes do not repeat the name of their step; the asking, their cause, has it."""
    name = event.data.get("name")
    if name is None and cause is not None and cause.command == event.command:
        name = cause.data.get("name")
    return f"step `{name or event.command or event.data.get('key', '')}`"


def _step_failed(data: Data, step: str) -> str:
    then = "for good" if data.get("retry_at") is None else "it will be tried again"
    return f"{step} failed (attempt {data.get('attempt') or 1}, {then}): {_error(data)}"


_STEP_ENDS: dict[str, Callable[[Data, str], str]] = {
    "step.completed": lambda data, step: f"{step} completed",
    "step.performed": lambda data, step: f"{step} was asked for and completed",
    "step.failed": _step_failed,
    "step.cancelled": lambda data, step: f"{step} was cancelled",
}


def _timer_set(data: Data, event: Event) -> str:
    what = data.get("what") or "sleep"
    return "the run went to sleep" if what == "sleep" else f"a timer was set: {_short(what)}"


def _wait_set(data: Data, event: Event) -> str:
    about = f" about `{_short(data['subject'])}`" if data.get("subject") else ""
    return f"the run began to wait for {data.get('kind', 'event')} `{data.get('name', '')}`{about}"


def _child_ended(data: Data, event: Event) -> str:
    why = f": {_error(data)}" if data.get("error") else ""
    return f"child run `{_short(data.get('id', ''))}` {data.get('status', 'ended')}{why}"


def _delivery(what: str) -> Callable[[Data, Event], str]:
    def say(data: Data, event: Event) -> str:
        rule = event.subject.partition(":")[0]
        why = f": {_error(data)}" if data.get("error") else ""
        return f"rule `{_short(rule)}` {what}{why}"

    return say


SENTENCES: dict[str, Callable[[Data, Event], str]] = {
    "run.started": _run_started,
    "run.completed": lambda data, event: f"run `{_short(event.subject)}` completed",
    "run.failed": lambda data, event: f"run `{_short(event.subject)}` failed: {_error(data)}",
    "run.cancelled": lambda data, event: f"run `{_short(event.subject)}` cancelled{_reason(data)}",
    "run.terminated": lambda data, event: (
        f"run `{_short(event.subject)}` terminated{_reason(data)}"
    ),
    "run.continued": lambda data, event: f"the run goes on as `{_short(data.get('id', ''))}`",
    "run.parked": lambda data, event: f"run `{_short(event.subject)}` was parked{_reason(data)}",
    "run.cancel_asked": lambda data, event: f"it was asked to cancel{_reason(data)}",
    "run.retried": lambda data, event: "somebody asked to retry the run from where it failed",
    "run.undo_asked": lambda data, event: "somebody asked to undo the run",
    "run.forked": lambda data, event: f"run `{_short(event.subject)}` was forked",
    "step.asked": _step_asked,
    "timer.set": _timer_set,
    "timer.fired": lambda data, event: "the time was up",
    "wait.set": _wait_set,
    "wait.met": lambda data, event: "what the run waited for arrived",
    "wait.expired": lambda data, event: "the time limit of a wait ran out",
    "signal.received": lambda data, event: f"signal `{data.get('name', '')}` arrived",
    "child.asked": lambda data, event: (
        f"a child run of `{data.get('workflow', '')}` was asked for: `{_short(data.get('id', ''))}`"
    ),
    "child.ended": _child_ended,
    "event.emitted": lambda data, event: (
        f"the run emitted `{data.get('type', '')}` about `{_short(data.get('subject', ''))}`"
    ),
    "patch.marked": lambda data, event: f"new code took over at patch `{data.get('name', '')}`",
    "attributes.set": lambda data, event: "search attributes were set",
    "schedule.fired": lambda data, event: f"schedule `{_short(data.get('name', ''))}` was due",
    "delivery.asked": _delivery("matched the event"),
    "delivery.done": _delivery("dealt with the event"),
    "delivery.failed": _delivery("failed on the event and will try again"),
    "delivery.dead": _delivery("gave the event up: it is among the dead letters"),
    "delivery.redriven": _delivery("was given the event again by hand"),
    "server.started": lambda data, event: "the server started",
    "server.stopped": lambda data, event: "the server stopped",
}
