"""The history of a run as one value, folded from its events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from batuta.kernel.event import Event

OPEN = frozenset({"running", "retrying", "waiting"})  # of a node
ENDED = frozenset({"completed", "failed", "cancelled", "terminated", "continued"})  # of a run


@dataclass(slots=True)
class Attempt:
    """One try of a step. Times in ns; `seq` is the asking, `end_seq` its outcome."""

    number: int
    command: str | None
    seq: int
    asked: int
    started: int | None = None
    ended: int | None = None
    outcome: str = "running"  # running | completed | failed | cancelled
    error: dict[str, Any] | None = None
    retry_at: int | None = None
    end_seq: int | None = None


@dataclass(slots=True, eq=False)
class Node:
    """One operation of a run: a step, a timer, a wait, a child run, or a bundle of branches.

    Parameters
    ----------
    key: its place in the run; `3.0.1` is operation 3, branch 0, its first operation.
    kind: `function`, `shell`, `http` (steps) · `timer` · `signal`, `event` (waits) · `child` ·
        `emit` · `patch` · `parallel` (gather, race, timeout) · `branch`.
    status: running | retrying | waiting | completed | failed | cancelled | expired.
    input: `{"args": [...], "kwargs": {...}}` of a step, or what a wait waits for.
    undoes: the step undoes another one (`True`, or which).
    due: when a timer or the limit of a wait ends, ns.
    child: the id of the child run.
    seq, end_seq: the events that began and ended it.
    """

    key: str
    kind: str
    name: str
    status: str
    seq: int = 0
    end_seq: int | None = None
    started: int = 0
    ended: int | None = None
    input: Any = None
    output: Any = None
    error: dict[str, Any] | None = None
    undoes: Any = None
    due: int | None = None
    child: str | None = None
    attempts: list[Attempt] = field(default_factory=list)
    children: list[Node] = field(default_factory=list)

    @property
    def is_step(self) -> bool:
        return bool(self.attempts)

    @property
    def duration(self) -> int | None:
        """From the asking to the end, in ns; None while it is open."""
        return None if self.ended is None else self.ended - self.started

    @property
    def retry_at(self) -> int | None:
        """When the next attempt is due, ns."""
        return self.attempts[-1].retry_at if self.attempts and self.status == "retrying" else None


@dataclass(slots=True)
class Signal:
    """A signal that arrived."""

    seq: int
    time: int
    name: str
    value: Any


@dataclass(slots=True)
class RunView:
    """Everything about one run that its events say.

    Parameters
    ----------
    status: running | sleeping | parked | completed | failed | cancelled | terminated |
        continued, or `unknown` where there was no `run.started`.
    reason: one sentence beside the status: why it is so, or what it waits for.
    definition: `file:line`. source: the hash of the code.
    started, ended, deadline: ns. last: the time of the newest event.
    steps: the operations of the run, in order, branches below their operation.
    nodes: the same, by key. seq, end_seq: its first and its last event.
    """

    id: str
    workflow: str = ""
    status: str = "unknown"
    reason: str = ""
    started: int = 0
    ended: int | None = None
    last: int = 0
    deadline: int | None = None
    definition: str | None = None
    source: str | None = None
    input: dict[str, Any] = field(default_factory=dict)
    result: Any = None
    error: dict[str, Any] | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    priority: int = 0
    parent: dict[str, Any] | None = None
    trigger: dict[str, Any] | None = None
    forked: dict[str, Any] | None = None
    continued_as: str | None = None
    cancel_reason: str | None = None
    retries: int = 0
    steps: list[Node] = field(default_factory=list)
    signals: list[Signal] = field(default_factory=list)
    patches: list[str] = field(default_factory=list)
    nodes: dict[str, Node] = field(default_factory=dict)
    seq: int = 0
    end_seq: int = 0

    @property
    def duration(self) -> int | None:
        """From start to end, in ns; None while it goes on."""
        return None if self.ended is None else self.ended - self.started

    def walk(self) -> Iterator[tuple[int, Node]]:
        """Every node with its depth, parents before children."""
        stack = [(0, node) for node in reversed(self.steps)]
        while stack:
            depth, node = stack.pop()
            yield depth, node
            stack.extend((depth + 1, child) for child in reversed(node.children))


def run_view(events: Iterable[Event]) -> RunView:
    """Fold the events of one run, in order, into its picture; other events are passed over."""
    view = RunView("")
    for event in events:
        fold = FOLDS.get(event.type)
        if fold is None:
            continue
        if not view.seq:
            view.id, view.seq, view.started = event.subject, event.seq, event.time
        fold(view, event)
        view.last, view.end_seq = event.time, event.seq
    _close_bundles(view.steps)
    _settle(view)
    return view


# -- the run itself ------------------------------------------------------------------------------


def _run_started(view: RunView, event: Event) -> None:
    data = event.data
    view.status = "running"
    view.started = event.time
    view.workflow = data.get("workflow", "")
    view.definition = data.get("definition")
    view.source = data.get("source")
    view.input = {"args": data.get("args") or [], "kwargs": data.get("kwargs") or {}}
    view.attributes = dict(data.get("attributes") or {})
    view.priority = data.get("priority") or 0
    view.deadline = data.get("deadline")
    view.parent = data.get("parent")
    view.trigger = data.get("trigger")
    view.forked = data.get("forked")


def _run_ended(view: RunView, event: Event) -> None:
    data = event.data
    view.status = event.type.removeprefix("run.")
    view.ended = event.time
    view.result = data.get("result")
    view.error = data.get("error")
    view.reason = (view.error or {}).get("message") or data.get("reason") or ""
    view.continued_as = data.get("id") if view.status == "continued" else None
    if view.continued_as:
        view.reason = f"goes on as {view.continued_as}"


def _run_parked(view: RunView, event: Event) -> None:
    view.status = "parked"
    view.reason = event.data.get("reason") or ""
    view.error = event.data.get("error")


def _run_cancel_asked(view: RunView, event: Event) -> None:
    view.cancel_reason = event.data.get("reason") or "asked to cancel"


def _run_retried(view: RunView, event: Event) -> None:
    view.status, view.reason = "running", ""
    view.ended = view.error = view.result = view.cancel_reason = None
    view.retries += 1


def _run_undo_asked(view: RunView, event: Event) -> None:
    _run_retried(view, event)
    view.retries -= 1
    view.cancel_reason = "asked to undo"


def _attributes_set(view: RunView, event: Event) -> None:
    values = event.data.get("attributes", event.data)
    view.attributes.update({name: value for name, value in values.items() if name != "key"})


def _signal_received(view: RunView, event: Event) -> None:
    data = event.data
    view.signals.append(Signal(event.seq, event.time, data.get("name", ""), data.get("value")))
    for node in view.nodes.values():
        # The first wait for it has it; one that is not awaited yet is kept by the run.
        if node.kind == "signal" and node.name == data.get("name") and node.status == "waiting":
            node.status, node.ended, node.end_seq = "completed", event.time, event.seq
            node.output = data.get("value")
            break


def _patch_marked(view: RunView, event: Event) -> None:
    view.patches.append(event.data.get("name", ""))


# -- its operations ------------------------------------------------------------------------------


def _place(view: RunView, node: Node) -> Node:
    """Put a node where its key says, with the bundles and branches above it."""
    known = view.nodes.get(node.key)
    if known is not None:
        node.children = known.children
        siblings = _siblings(view, node.key)
        siblings[siblings.index(known)] = node
    else:
        _siblings(view, node.key).append(node)
    view.nodes[node.key] = node
    return node


def _siblings(view: RunView, key: str) -> list[Node]:
    parent_key = key.rpartition(".")[0]
    if not parent_key:
        return view.steps
    parent = view.nodes.get(parent_key)
    if parent is None:
        depth = parent_key.count(".")
        kind, name = ("branch", f"branch {parent_key}") if depth % 2 else ("parallel", "parallel")
        parent = _place(view, Node(parent_key, kind, name, "running"))
    if parent.kind == "branch" and key.endswith(".0"):
        # A gather directly in a gather: operations of a branch count from 1, parts from 0.
        parent.kind, parent.name = "parallel", "parallel"
    return parent.children


def _node(view: RunView, event: Event, kind: str, name: str, status: str) -> Node:
    key = str(event.data.get("key", event.seq))
    return _place(view, Node(key, kind, name, status, seq=event.seq, started=event.time))


def _step_asked(view: RunView, event: Event) -> None:
    data = event.data
    key = str(data.get("key", ""))
    name, kind = data.get("name", ""), data.get("kind") or "function"
    node = view.nodes.get(key)
    if node is None or node.name != name or not node.attempts:
        node = _node(view, event, kind, name, "running")
        node.undoes = data.get("undoes")
    if "args" in data or "kwargs" in data:
        node.input = {"args": data.get("args") or [], "kwargs": data.get("kwargs") or {}}
    elif node.input is None:
        node.input = {name: value for name, value in data.items() if name not in _ASKING}
    number = data.get("attempt") or len(node.attempts) + 1
    node.attempts.append(Attempt(number, event.command, event.seq, event.time))
    node.status, node.ended, node.error, node.end_seq = "running", None, None, None


_ASKING = frozenset({"key", "name", "kind", "attempt", "undoes", "result", "started", "asked"})


def _step_performed(view: RunView, event: Event) -> None:
    """A repeatable step whose outcome came before its asking was written: one event for both."""
    _step_asked(view, event)
    _step_ended(view, event)
    node = view.nodes[str(event.data.get("key", ""))]
    node.attempts[-1].asked = event.data.get("asked") or event.time
    node.attempts[-1].outcome = node.status = "completed"
    node.output = event.data.get("result")


def _step_ended(view: RunView, event: Event) -> None:
    data = event.data
    node = view.nodes.get(str(data.get("key", "")))
    if node is None or not node.attempts:
        return
    number = data.get("attempt")
    attempt = next((a for a in reversed(node.attempts) if a.number == number), node.attempts[-1])
    attempt.outcome = node.status = event.type.removeprefix("step.")
    attempt.started = data.get("started") or attempt.asked
    attempt.ended = node.ended = event.time
    attempt.end_seq = node.end_seq = event.seq
    attempt.error = node.error = data.get("error")
    attempt.retry_at = data.get("retry_at")
    if node.status == "completed":
        node.output = data.get("result")
    elif attempt.retry_at is not None:
        node.status, node.ended = "retrying", None


def _timer_set(view: RunView, event: Event) -> None:
    data = event.data
    node = _node(view, event, "timer", str(data.get("what") or "sleep"), "waiting")
    node.due = data.get("due")


def _wait_set(view: RunView, event: Event) -> None:
    data = event.data
    node = _node(view, event, data.get("kind") or "event", str(data.get("name") or ""), "waiting")
    node.due = data.get("due")
    node.input = {name: data[name] for name in ("name", "subject", "where") if data.get(name)}


def _child_asked(view: RunView, event: Event) -> None:
    data = event.data
    node = _node(view, event, "child", data.get("workflow", ""), "running")
    node.child = data.get("id")
    node.input = {"args": data.get("args") or [], "kwargs": data.get("kwargs") or {}}


def _event_emitted(view: RunView, event: Event) -> None:
    data = event.data
    node = _node(view, event, "emit", data.get("type", ""), "completed")
    node.ended, node.end_seq = event.time, event.seq
    node.input = {name: data[name] for name in ("type", "subject", "id") if data.get(name)}


def _ended(status: str) -> Callable[[RunView, Event], None]:
    def fold(view: RunView, event: Event) -> None:
        data = event.data
        node = view.nodes.get(str(data.get("key", "")))
        if node is None:
            return
        node.status = data.get("status", status) if node.kind == "child" else status
        node.ended, node.end_seq = event.time, event.seq
        node.error = data.get("error")
        rest = {name: value for name, value in data.items() if name not in _ENDING}
        node.output = data.get("result", rest or None)

    return fold


_ENDING = frozenset({"key", "id", "status", "error"})

FOLDS: dict[str, Callable[[RunView, Event], None]] = {
    "run.started": _run_started,
    "run.completed": _run_ended,
    "run.failed": _run_ended,
    "run.cancelled": _run_ended,
    "run.terminated": _run_ended,
    "run.continued": _run_ended,
    "run.parked": _run_parked,
    "run.cancel_asked": _run_cancel_asked,
    "run.retried": _run_retried,
    "run.undo_asked": _run_undo_asked,
    "attributes.set": _attributes_set,
    "signal.received": _signal_received,
    "patch.marked": _patch_marked,
    "step.asked": _step_asked,
    "step.completed": _step_ended,
    "step.performed": _step_performed,
    "step.failed": _step_ended,
    "step.cancelled": _step_ended,
    "timer.set": _timer_set,
    "timer.fired": _ended("completed"),
    "timer.cancelled": _ended("cancelled"),
    "wait.set": _wait_set,
    "wait.met": _ended("completed"),
    "wait.expired": _ended("expired"),
    "wait.cancelled": _ended("cancelled"),
    "child.asked": _child_asked,
    "child.ended": _ended("completed"),
    "child.cancelled": _ended("cancelled"),
    "event.emitted": _event_emitted,
}


# -- what follows from all of them ---------------------------------------------------------------


def _close_bundles(nodes: list[Node]) -> None:
    """Give bundles and branches the status and the times of what is in them."""
    for node in nodes:
        if not node.children:
            continue
        _close_bundles(node.children)
        if node.kind not in ("parallel", "branch"):
            continue
        node.started = min(child.started for child in node.children)
        node.seq = min(child.seq for child in node.children)
        statuses = {child.status for child in node.children}
        node.status = next((s for s in _WORST_FIRST if s in statuses), "completed")
        if node.status in OPEN:
            continue
        node.ended = max(child.ended or 0 for child in node.children)
        node.end_seq = max(child.end_seq or 0 for child in node.children)


_WORST_FIRST = ("running", "retrying", "waiting", "failed", "completed", "expired", "cancelled")


def _settle(view: RunView) -> None:
    """What an ended run left open is cancelled; a live one says what it waits for."""
    leaves = [node for _, node in view.walk() if node.kind not in ("parallel", "branch")]
    if view.status in ENDED:
        for node in leaves:
            if node.status in OPEN:
                node.status, node.ended = "cancelled", view.ended
        _close_bundles(view.steps)
        return
    open_nodes = [node for node in leaves if node.status in OPEN]
    if view.status != "running" or not open_nodes:
        return
    if all(node.status in ("waiting", "retrying") for node in open_nodes):
        view.status = "sleeping"
    view.reason = "; ".join(describe_open(node) for node in open_nodes[:3])
    if len(open_nodes) > 3:
        view.reason += f"; and {len(open_nodes) - 3} more"
    if view.cancel_reason:
        view.reason = f"cancelling ({view.cancel_reason}): {view.reason}"


def describe_open(node: Node) -> str:
    """What an unfinished operation is doing, in a few words."""
    if node.kind == "timer":
        return "sleeps" if node.name == "sleep" else f"waits: {node.name}"
    if node.kind in ("signal", "event"):
        return f"waits for {node.kind} `{node.name}`"
    if node.kind == "child":
        return f"waits for run {node.child}"
    if node.status == "retrying":
        message = (node.error or {}).get("message", "")
        return f"will try step `{node.name}` again after: {message}"
    attempt = node.attempts[-1].number if node.attempts else 1
    return f"performs step `{node.name}`" + (f", attempt {attempt}" if attempt > 1 else "")
