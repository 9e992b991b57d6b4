"""A run's picture is a fold of its events: lists of events in, views out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batuta.kernel.errors import BatutaError, NotFound
from batuta.kernel.event import Event, Record
from batuta.kernel.journal import Batch, Journal
from batuta.kernel.sqlite import SqliteJournal
from batuta.workflow.view import (
    as_json,
    run_graph,
    run_view,
    search,
    timeline,
    why_chain,
)

S = 1_000_000_000


class Story:
    """Events of one run, written in order, a second apart."""

    def __init__(self, run: str = "order-1") -> None:
        self.run = run
        self.events: list[Event] = []
        self.now = 100 * S

    def add(self, type: str, cause: Event | None = None, /, **data: Any) -> Event:
        self.now += S
        last = self.events[-1] if self.events else None
        command = None
        if type.startswith("step."):
            command = f"{self.run}/{data['key']}.{data.setdefault('attempt', 1)}"
        event = Event(
            type, self.run, data, cause or last, self.now, command, seq=len(self.events) + 1
        )
        self.events.append(event)
        return event

    def started(self, **more: Any) -> Event:
        return self.add(
            "run.started", workflow="checkout", args=[{"id": 1}], kwargs={},
            definition="shop.py:12", source="abc", attributes={"customer": "ada"}, **more,
        )  # fmt: skip

    def step(self, key: str, name: str, result: Any = None) -> None:
        asked = self.add("step.asked", key=key, name=name, kind="function", args=[1], kwargs={})
        self.add("step.completed", asked, key=key, result=result, started=asked.time)


def error(message: str) -> dict[str, Any]:
    return {"type": "shop:Declined", "message": message, "traceback": "", "retryable": True}


def test_a_run_from_its_start_to_its_end() -> None:
    story = Story()
    story.started()
    story.step("1", "charge", {"receipt": 7})
    story.add("run.completed", result="ok")
    view = run_view(story.events)
    assert (view.id, view.workflow, view.status, view.result) == (
        "order-1", "checkout", "completed", "ok",
    )  # fmt: skip
    assert view.definition == "shop.py:12"
    assert view.attributes == {"customer": "ada"}
    assert view.duration == 3 * S
    [node] = view.steps
    assert (node.name, node.status, node.output) == ("charge", "completed", {"receipt": 7})
    assert node.duration == S
    assert node.input == {"args": [1], "kwargs": {}}


def test_retries_are_attempts_of_one_node() -> None:
    story = Story()
    story.started()
    story.add("step.asked", key="1", name="charge", kind="function", args=[], kwargs={})
    story.add("step.failed", key="1", error=error("no"), started=101 * S, retry_at=200 * S)
    view = run_view(story.events)
    assert (view.status, view.steps[0].status, view.steps[0].retry_at) == (
        "sleeping", "retrying", 200 * S,
    )  # fmt: skip
    assert view.reason == "will try step `charge` again after: no"
    story.add("step.asked", key="1", name="charge", kind="function", attempt=2)
    assert run_view(story.events).reason == "performs step `charge`, attempt 2"
    story.add("step.failed", key="1", attempt=2, error=error("never"), started=0, retry_at=None)
    story.add("run.failed", error=error("never"))
    view = run_view(story.events)
    assert [a.outcome for a in view.steps[0].attempts] == ["failed", "failed"]
    assert (view.status, view.reason) == ("failed", "never")
    assert run_graph(view).nodes[0].badge == "×2"
    [row] = timeline(view).rows
    assert [(span.number, span.outcome) for span in row.spans] == [(1, "failed"), (2, "failed")]


def test_branches_stand_below_their_operation() -> None:
    story = Story()
    story.started()
    story.step("1", "validate")
    story.step("2.0.1", "reserve")
    story.step("2.0.2", "pack")
    story.add("step.asked", key="2.1", name="notify", kind="http")
    story.step("3", "ship")
    view = run_view(story.events)
    assert [n.kind for n in view.steps] == ["function", "parallel", "function"]
    branch, notify = view.steps[1].children
    assert [n.name for n in branch.children] == ["reserve", "pack"]
    assert (branch.status, notify.status, view.steps[1].status) == (
        "completed", "running", "running",
    )  # fmt: skip
    graph = run_graph(view)
    assert [(e.source, e.target) for e in graph.edges] == [
        ("1", "2.0.1"), ("2.0.1", "2.0.2"), ("1", "2.1"), ("2.0.2", "3"), ("2.1", "3"),
    ]  # fmt: skip
    assert [(row.node.key, row.depth) for row in timeline(view).rows] == [
        ("1", 0), ("2", 0), ("2.0", 1), ("2.0.1", 2), ("2.0.2", 2), ("2.1", 1), ("3", 0),
    ]  # fmt: skip


def test_a_gather_in_a_gather_is_parallel_too() -> None:
    story = Story()
    story.started()
    for key in ("1.0.0", "1.0.1", "1.1"):
        story.step(key, f"s{key}")
    view = run_view(story.events)
    assert [n.kind for n in view.steps[0].children] == ["parallel", "function"]
    assert run_graph(view).edges == []


def test_two_gathers_in_a_row_meet_in_one_place() -> None:
    story = Story()
    story.started()
    for key in ("1.0", "1.1", "2.0", "2.1"):
        story.step(key, f"s{key}")
    graph = run_graph(run_view(story.events))
    assert [(e.source, e.target) for e in graph.edges] == [
        ("1.0", "2<"), ("1.1", "2<"), ("2<", "2.0"), ("2<", "2.1"),
    ]  # fmt: skip


def test_timers_waits_signals_and_children() -> None:
    story = Story()
    story.started(parent={"run": "big", "key": "4"})
    story.add("timer.set", key="1", due=900 * S, what="sleep")
    view = run_view(story.events)
    assert (view.status, view.reason, view.steps[0].due) == ("sleeping", "sleeps", 900 * S)
    story.add("timer.fired", key="1")
    story.add("wait.set", key="2", kind="signal", name="approve", due=950 * S)
    assert run_view(story.events).reason == "waits for signal `approve`"
    story.add("signal.received", name="approve", value=True, id="s1")
    story.add("wait.met", key="2", value=True)
    story.add("wait.set", key="3", kind="event", name="parcel", subject="1", due=960 * S)
    story.add("wait.expired", key="3")
    story.add("child.asked", key="4", workflow="ship", id="order-1/4")
    assert run_view(story.events).reason == "waits for run order-1/4"
    story.add("child.ended", key="4", id="order-1/4", status="completed", result="box")
    story.add("event.emitted", key="5", type="order.paid", subject="1", id="e1")
    story.add("attributes.set", key="6", attributes={"paid": True})
    story.add("patch.marked", name="v2")
    story.add("run.continued", id="order-1.2")
    view = run_view(story.events)
    assert [n.status for n in view.steps] == [
        "completed", "completed", "expired", "completed", "completed",
    ]  # fmt: skip
    assert view.steps[3].output == "box"
    assert view.signals[0].value is True
    assert view.attributes == {"customer": "ada", "paid": True}
    assert (view.patches, view.status, view.continued_as) == (["v2"], "continued", "order-1.2")
    assert view.parent == {"run": "big", "key": "4"}


def test_undo_steps_are_marked() -> None:
    story = Story()
    story.started()
    story.add("step.asked", key="2", name="refund", kind="function", undoes="charge")
    view = run_view(story.events)
    assert view.steps[0].undoes == "charge"
    assert run_graph(view).nodes[0].badge == "undo"


def test_what_a_terminated_run_left_open_is_cancelled() -> None:
    story = Story()
    story.started()
    story.add("step.asked", key="1.0", name="a", kind="function")
    story.add("run.terminated", reason="by hand")
    view = run_view(story.events)
    assert (view.status, view.reason) == ("terminated", "by hand")
    assert [node.status for _, node in view.walk()] == ["cancelled", "cancelled"]


def test_a_retried_run_goes_on() -> None:
    story = Story()
    story.started()
    story.add("step.asked", key="1", name="a", kind="function")
    story.add("step.failed", key="1", error=error("no"), started=0, retry_at=None)
    story.add("run.failed", error=error("no"))
    story.add("run.retried", **{"from": 2})
    view = run_view(story.events)
    assert (view.status, view.ended, view.error, view.retries) == ("running", None, None, 1)
    story.add("step.asked", key="1", name="a", kind="function", attempt=2)
    story.add("step.completed", key="1", attempt=2, result=1, started=0)
    [node] = run_view(story.events).steps
    assert (node.status, len(node.attempts), node.error) == ("completed", 2, None)


def test_a_cancelling_and_a_parked_run_say_so() -> None:
    story = Story()
    story.started()
    story.add("step.asked", key="1", name="a", kind="function")
    story.add("run.cancel_asked", reason="too late")
    assert run_view(story.events).reason == "cancelling (too late): performs step `a`"
    story.add("run.parked", reason="code changed", error=error("differs"))
    view = run_view(story.events)
    assert (view.status, view.reason, view.error) == ("parked", "code changed", error("differs"))


def test_nothing_gives_an_unknown_run() -> None:
    assert run_view([]).status == "unknown"
    assert timeline(run_view([])).rows == []
    assert run_graph(run_view([])).nodes == []


def test_long_runs_are_condensed_in_the_graph_and_paged_in_the_timeline() -> None:
    story = Story()
    story.started()
    for number in range(1, 501):
        story.step(str(number), f"s{number}")
    view = run_view(story.events)
    graph = run_graph(view, limit=10)
    assert len(graph.nodes) == 11
    assert graph.nodes[5].label == "490 more"
    assert len(graph.edges) == 10
    assert [row.node.key for row in timeline(view, offset=498, limit=5).rows] == ["499", "500"]


def test_shares_of_a_timeline_lie_between_none_and_all() -> None:
    story = Story()
    story.started()
    story.step("1", "a")
    line = timeline(run_view(story.events))
    assert line.share(line.started) == 0.0
    assert line.share(line.ended) == 1.0
    assert line.share(line.ended + S) == 1.0


TYPES = (
    "run.started", "run.failed", "run.retried", "run.parked", "step.asked", "step.completed",
    "step.failed", "timer.set", "timer.fired", "wait.set", "wait.met", "child.asked",
    "child.ended", "event.emitted", "signal.received", "unknown.type",
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(TYPES), st.sampled_from(["1", "2", "2.0", "2.0.1", "2.1.0.1"])),
        max_size=30,
    )
)
def test_any_order_of_events_folds_and_stays_a_tree(moves: list[tuple[str, str]]) -> None:
    story = Story()
    for type, key in moves:
        story.add(type, key=key, name="x", kind="function", workflow="w", id="c")
    view = run_view(story.events)
    walked = [node.key for _, node in view.walk()]
    assert sorted(walked) == sorted(view.nodes)
    assert len(walked) == len(set(walked))
    graph = run_graph(view)
    known = {node.id for node in graph.nodes}
    assert all(edge.source in known and edge.target in known for edge in graph.edges)
    assert as_json(view)["status"] == view.status
    assert timeline(view).rows or not walked


# -- with a journal ---------------------------------------------------------------------------


def journal_of(events: Iterable[Event], records: Iterable[Record] = ()) -> Journal:
    journal = SqliteJournal(":memory:")
    epoch = journal.acquire(0, "test", 0, 10**18)
    assert epoch is not None
    for event in events:
        event.seq = 0
    journal.commit(Batch(events=list(events), records=list(records), epochs={0: epoch}))
    return journal


def compensated() -> Story:
    story = Story()
    paid = Event("order.placed", "1", {"id": "e1", "source": "shop", "data": {}}, None, 99 * S)
    story.events.append(paid)
    started = story.started(trigger={"rule": "checkout", "event": 1})
    assert started.cause is paid
    story.step("1", "charge")
    story.add("step.asked", key="2", name="ship", kind="function")
    story.add("step.failed", key="2", error=error("no van"), started=0, retry_at=None)
    story.add("step.asked", key="3", name="refund", kind="function", undoes="charge")
    story.add("step.completed", key="3", result=None, started=0)
    story.add("run.failed", error=error("no van"))
    return story


def test_why_goes_back_to_the_event_and_the_definition() -> None:
    journal = journal_of(compensated().events)
    lines = why_chain(journal, "order-1")
    assert [line.sentence for line in lines] == [
        "run `order-1` failed: Declined: no van",
        "step `refund` completed",
        "step `refund` was asked for to undo `charge`",
        "step `ship` failed (attempt 1, for good): Declined: no van",
        "step `ship` was asked for",
        "step `charge` completed",
        "step `charge` was asked for",
        "run `order-1` of `checkout` started, triggered by checkout",
        "workflow `checkout` is defined at shop.py:12",
        "event `order.placed` about `1` arrived from shop",
    ]
    assert lines[0].at == "shop.py:12"
    journal.close()


@pytest.mark.parametrize("id", [6, "6", "#6", "order-1/2.1"])
def test_why_takes_seqs_and_commands(id: str | int) -> None:
    journal = journal_of(compensated().events)
    assert why_chain(journal, id)[0].sentence.startswith("step `ship` failed")
    journal.close()


@pytest.mark.parametrize("id", ["nobody", 99999, -1, "#0", 10**30, "9" * 40, "x" * 10_000, "a/b"])
def test_why_says_when_nothing_is_known(id: str | int) -> None:
    journal = journal_of(compensated().events)
    with pytest.raises(NotFound, match="nothing is known"):
        why_chain(journal, id)
    journal.close()


def test_a_long_chain_is_cut_and_still_ends_at_the_definition() -> None:
    story = Story()
    story.started()
    for number in range(1, 50):
        story.step(str(number), "s")
    journal = journal_of(story.events)
    lines = why_chain(journal, "order-1", limit=10)
    assert len(lines) == 13
    assert lines[10].sentence == "earlier causes follow from #89 on"
    assert lines[-1].sentence == "workflow `checkout` is defined at shop.py:12"
    journal.close()


def test_search_pages_through_runs_newest_first() -> None:
    records = [
        Record(
            "run", f"r{n:02}", 0, "failed" if n % 2 else "sleeping", "checkout", n * S,
            ended=(n + 1) * S if n % 2 else None, attributes={"n": n},
            data={"definition": "shop.py:12", "error": "no van"} if n % 2
            else {"waits": [{"kind": "signal", "name": "approve"}]},
        )
        for n in range(10)
    ]  # fmt: skip
    journal = journal_of([Event("run.started", "r00", {}, None, S)], records)
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = search(journal, cursor=cursor, limit=4)
        seen += [row.id for row in page.rows]
        cursor = page.next
        if cursor is None:
            break
    assert seen == [f"r{n:02}" for n in reversed(range(10))]
    failed = search(journal, statuses=["failed"], limit=1)
    assert failed.rows[0].reason == "no van"
    assert failed.rows[0].duration == S
    assert search(journal, attributes={"n": 4}).rows[0].reason == "waits for signal `approve`"
    with pytest.raises(BatutaError, match="is no cursor"):
        search(journal, cursor="~~")
    journal.close()
