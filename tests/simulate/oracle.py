"""Watches a simulation, and checks afterwards that everything that must hold did hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.simulate.expect import Expected, TooMany, following
from tests.simulate.flows import NARROW
from tests.simulate.machines import undisturbed

from batuta.common.duration import SECOND
from batuta.kernel.event import Event
from batuta.kernel.journal import Batch
from batuta.kernel.world import Command
from batuta.simulate.server import Server
from batuta.simulate.simulation import Request, Simulation
from batuta.workflow.runs import Runs

if TYPE_CHECKING:
    from tests.simulate.scenario import Scenario

ENDS = ("run.completed", "run.failed", "run.cancelled", "run.terminated", "run.continued")
ASKS = ("step.asked", "step.performed")
UNCAUSED = (
    "run.started", "signal.received", "run.cancel_asked", "run.terminated", "thing.happened",
    "schedule.fired",
)  # fmt: skip
"""What people and clocks begin."""


class Violation(AssertionError):
    """Something that must hold did not."""


def must(holds: object, rule: str, *what: object) -> None:
    """Raise `Violation` unless it holds."""
    if not holds:
        raise Violation(f"{rule}: " + " ".join(str(one) for one in what))


@dataclass(slots=True)
class Story:
    """One run as the journal tells it."""

    started: Event
    ended: Event | None = None
    events: list[Event] = field(default_factory=list)


class Oracle:
    """The observer of a simulation, and the judge behind it."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.simulation: Simulation
        self.asked: set[str] = set()
        self.recorded: set[str] = set()
        self.epochs: dict[int, tuple[str, int]] = {}
        self.acknowledged: list[tuple[Request, str, dict[str, Any]]] = []
        self.trace: list[tuple[int, str, str]] | None = None
        self.performed_count = 0
        self.crashes = 0
        self.fences = 0

    # -- watching --------------------------------------------------------------------------

    def note(self, server: Server, text: str) -> None:
        """Something for the trace."""
        if self.trace is not None:
            self.trace.append((self.simulation.agenda.now, server.owner, text))

    def performed(self, server: Server, command: Command) -> None:
        """A command is handed to the world."""
        self.performed_count += 1
        if self.trace is not None:
            self.note(server, f"performs {command.id} {command.name}")
        id = command.id
        if id in self.recorded:
            must(self._stale(server, command), "performed again though its outcome is known", id)
        if not command.repeatable:
            must(id in self.asked, "performed before its asking was durable", id)
        queue = command.target.queue
        if queue is not None:
            flying = sum(one.target.queue == queue for one in server.world.flying.values())
            must(flying < NARROW, "more at once than the queue allows", id)

    def _stale(self, server: Server, command: Command) -> bool:
        """Whether the server lost the partition and has not noticed yet."""
        leases = {one.partition: one.owner for one in self.simulation.journal.leases()}
        return leases[command.cause.partition] != server.owner

    def cancelled(self, server: Server, command: str) -> None:
        """A command is stopped."""
        if self.trace is not None:
            self.note(server, f"cancels {command}")

    def committed(self, server: Server, batch: Batch) -> None:
        """A batch is durable."""
        if self.trace is not None:
            self.note(server, f"commits {len(batch.events)} events")
        for event in batch.events:
            if event.command is not None:
                if event.type in ASKS:
                    self.asked.add(event.command)
                if event.type != "step.asked":
                    self.recorded.add(event.command)
        for partition in {event.partition for event in batch.events}:
            owner, epoch = self.epochs.get(partition, ("", 0))
            held = batch.epochs[partition]
            if owner == server.owner:
                must(held >= epoch, "an epoch went back", partition, held, epoch)
            else:
                must(held > epoch, "two servers wrote one partition", partition, held, epoch)
            self.epochs[partition] = server.owner, held

    def fenced(self, server: Server) -> None:
        """A batch was refused."""
        self.fences += 1
        self.note(server, "is fenced")

    def crashed(self, server: Server) -> None:
        """A server's process ended."""
        self.crashes += 1
        self.note(server, "crashes")

    def answered(self, request: Request, message: str, reply: dict[str, Any]) -> None:
        """A client was told that its request is done."""
        self.acknowledged.append((request, message, reply))

    # -- judging ---------------------------------------------------------------------------

    def check(self) -> None:
        """Check everything. Raises `Violation`."""
        events = self.simulation.journal.read(0, 1_000_000)
        self.events = events
        stories = self.stories = _stories(events)
        _check_causes(events)
        _check_commands(events)
        self._check_runs(stories)
        self._check_times(events)
        self._check_acknowledged(stories, events)
        self._check_deliveries(events)
        self._check_results(stories)
        self._check_replay(stories)
        if not self.scenario.clocked:
            self._check_rest()

    def _check_runs(self, stories: dict[str, Story]) -> None:
        statuses = {one.id: one.status for one in self.simulation.journal.records("run")}
        for id, story in stories.items():
            ended = story.ended
            if ended is None:
                # Of a clock that goes on for ever, the last run may be under way.
                must(id.startswith("tick@"), "a run did not end", id)
                continue
            must(story.events[-1] is ended, "a run went on after its end", id, story.events[-1])
            status = ended.type.removeprefix("run.")
            must(statuses.get(id) == status, "a row disagrees with its events", id, statuses[id])
            _check_saga(id, story)

    def _check_times(self, events: list[Event]) -> None:
        timers: dict[tuple[str, str], int] = {}
        calm = not self.simulation.faults.rates
        # While a partition changes hands, nobody looks at its timers until the lease is taken.
        handover = self.simulation.lease_s * SECOND / 4
        bound = SECOND / 100 + (handover if len(self.simulation.servers) > 1 else 0)
        for event in events:
            kind, data = event.type, event.data
            if kind in ("timer.set", "wait.set") and data.get("due") is not None:
                timers[event.subject, data["key"]] = data["due"]
            elif kind in ("timer.fired", "wait.expired"):
                due = timers[event.subject, data["key"]]
                must(event.time >= due, "a timer fired early", event.subject, data)
                late = event.time - due
                must(not calm or late <= bound, "a timer is late", event.subject, data)

    def _check_acknowledged(self, stories: dict[str, Story], events: list[Event]) -> None:
        signals = {e.data["id"] for e in events if e.type == "signal.received"}
        sent = {event.data.get("id") for event in events if event.type == "thing.happened"}
        cancels = {event.subject for event in events if event.type == "run.cancel_asked"}
        for request, message, reply in self.acknowledged:
            subject = request.subject
            if request.type == "event.send":
                must(request.data["id"] in sent, "an acknowledged event is lost", request)
                continue
            story = stories.get(subject)
            must(story is not None, "an acknowledged run is lost", request)
            assert story is not None
            if request.type == "run.signal" and story.ended is None:
                must(message in signals, "an acknowledged signal is lost", request)
            if request.type == "run.signal" and reply.get("status") != "posted":
                forwarded = reply["id"] != subject
                must(forwarded or message in signals, "an acknowledged signal is lost", request)
            if request.type == "run.cancel" and reply.get("status") == "cancelling":
                must(subject in cancels, "an acknowledged cancellation is lost", request)
            if request.type == "run.terminate" and story.ended is not None:
                must(story.ended is not None, "an acknowledged termination is lost", request)

    def _check_deliveries(self, events: list[Event]) -> None:
        happened: dict[str, list[Event]] = {}
        ended: dict[str, int] = {}
        begun: dict[str, int] = {}
        emitted: set[str] = set()
        for event in events:
            if event.type == "thing.happened":
                happened.setdefault(event.subject, []).append(event)
                emitted.discard(event.data["id"])
            elif event.type == "event.emitted":
                emitted.add(event.data["id"])
            elif event.type in ("delivery.done", "delivery.dead"):
                ended.setdefault(event.subject, event.seq)
            elif event.type == "run.started":
                begun[event.subject] = event.seq
        must(not emitted, "an emitted event is lost", emitted)
        for subject, queue in happened.items():
            before = 0
            for id in dict.fromkeys(event.data["id"] for event in queue):
                delivery = f"react:{id}"
                must(delivery in ended, "an event was not delivered", subject, delivery)
                must(delivery in begun, "an event started no run", subject, delivery)
                must(begun[delivery] > before, "events were delivered out of order", delivery)
                before = ended[delivery]

    def _check_results(self, stories: dict[str, Story]) -> None:
        expected = Expected(self.simulation.seed)
        disturbed = {
            request.subject
            for request in self.simulation.requests
            if request.type in ("run.cancel", "run.terminate") or "deadline" in request.data
        }
        for id, plan in self.scenario.plans.items():
            last = id
            while stories[last].ended is not None and stories[last].ended.type == "run.continued":  # type: ignore[union-attr]
                last = following(last)
            ended = stories[last].ended
            assert ended is not None
            if id in disturbed and ended.type != "run.completed":
                continue
            try:
                endings = expected.run(plan, id)
            except TooMany:
                continue
            done = ended.type == "run.completed"
            must(ended.type in ("run.completed", "run.failed"), "a strange end", id, ended.type)
            value = ended.data["result"] if done else None
            must(
                any(one == done and (not one or what == value) for one, what, _ in endings),
                "not what the plan comes to", id, ended.type, ended.data, "instead of", endings,
            )  # fmt: skip

        for id, (name, input) in self.scenario.executions.items():
            ended = stories[id].ended
            if ended is None or (id in disturbed and ended.type != "run.completed"):
                continue
            machine: Any = self.simulation.definitions.workflows[name]
            wanted = undisturbed(machine, id, input, self.simulation.seed)
            must(ended.type == "run.completed", "an execution failed", id, ended.data)
            must(ended.data["result"] == wanted.output, "not what it comes to undisturbed", id,
                 ended.data["result"], "instead of", wanted.output)  # fmt: skip

    def _check_replay(self, stories: dict[str, Story]) -> None:
        """A machine that folds the journal again comes to the same."""
        simulation = self.simulation
        runs = Runs(simulation.definitions, simulation.partition_of, keep_ended=True)
        for id, story in stories.items():
            run = runs.restore(story.events)
            must(run is not None, "a run cannot be folded", id)
            assert run is not None
            must(run.stuck is None, "the code asks for something else on replay", id, run.stuck)
            if story.ended is None:
                continue
            must(run.status == story.ended.type[4:], "folded otherwise", id, run.status)
            program = run.program
            if story.ended.type == "run.completed":
                assert program is not None
                result = program.workflow.codec.encode_result(program.result)
                must(result == story.ended.data["result"], "another result on replay", id, result)
                must(not (program.wanted or program.dropped), "unfinished on replay", id)

    def _check_rest(self) -> None:
        """What has converged writes nothing, and asks for nothing."""
        simulation = self.simulation
        journal = simulation.journal
        waiting = journal.messages(range(journal.partitions))
        must(not waiting, "messages are left", waiting)
        for kind in ("run", "delivery"):
            for record in journal.records(kind, statuses=("running", "sleeping", "waiting")):
                must(False, "a row is still active", record)
        head = journal.head()
        for server in simulation.servers:
            server.life.ended = True
        for lease in journal.leases():
            journal.release(lease.owner)
        server = Server(simulation, "judge")
        server.boot()
        while simulation.agenda.busy and simulation.agenda.step():
            pass
        must(journal.head() == head, "a system at rest writes", journal.read(head))


def _stories(events: list[Event]) -> dict[str, Story]:
    stories: dict[str, Story] = {}
    for event in events:
        if event.type == "run.started":
            must(event.subject not in stories, "a run was started twice", event.subject)
            stories[event.subject] = Story(event)
        story = stories.get(event.subject)
        if story is not None and not event.type.startswith("delivery."):
            story.events.append(event)
            if event.type in ENDS:
                must(story.ended is None, "a run ended twice", event.subject)
                story.ended = event
    return stories


def _check_causes(events: list[Event]) -> None:
    seqs = {0}
    before = 0
    for event in events:
        must(event.seq > before, "the order of the journal", event.seq)
        before = event.seq
        cause = event.cause_seq
        if cause is None:
            must(event.type in UNCAUSED, "an event without a cause", event.type, event.subject)
        else:
            must(0 < cause < event.seq and cause in seqs, "a cause that is not there", event)
        seqs.add(event.seq)


def _check_commands(events: list[Event]) -> None:
    asked: dict[str, Event] = {}
    ended: dict[str, Event] = {}
    failed: dict[tuple[str, str], Event] = {}
    for event in events:
        command = event.command
        if command is None:
            continue
        data = event.data
        place = event.subject, data["key"]
        if event.type in ASKS:
            must(command not in asked, "a command was asked for twice", command)
            asked[command] = event
            if data["attempt"] > 1:
                last = failed.get(place)
                must(last is not None, "another attempt without a failure", command)
                assert last is not None
                at = event.data.get("asked", event.time)
                must(at >= last.data["retry_at"], "tried again too early", command)
            if event.type == "step.asked":
                continue
        must(command in asked, "an outcome of what was not asked", command)
        must(command not in ended, "a second outcome", command, event.type)
        ended[command] = event
        if event.type == "step.failed":
            failed[place] = event


def _check_saga(id: str, story: Story) -> None:
    """Within each saga: all done, or all undone."""
    done: dict[str, set[str]] = {}
    undone: dict[str, set[str]] = {}
    named: dict[str, str] = {}
    for event in story.events:
        data = event.data
        if event.type == "step.asked" and data["name"] in ("reserve", "release"):
            named[data["key"]] = data["args"][0].removeprefix("reserve:")
        elif event.type == "step.completed" and data["key"] in named:
            what = named[data["key"]]
            into = done if data["result"] is not None else undone
            into.setdefault(what.partition(".")[0], set()).add(what)
    if story.ended is not None and story.ended.type == "run.terminated":
        return
    for tag, released in undone.items():
        must(released == done.get(tag, set()), "a saga is half undone", id, tag, released, done)
