"""Defects that are planted on purpose, to prove that the seeds would find them.

`python -m tests.simulate.defects NAME` runs seeds on a copy of the source with that defect,
until one fails; without a name it goes through all of them.
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

SEEDS_MAX = 400

Change = tuple[str, str, str]
"""(module, what stands there, what stands there instead)"""

FINISH_GUARD: Change = (
    "batuta.workflow.runs",
    "if run.program is None or run.program.open.get(call.key) is not call:",
    "if run.program is None:",
)
PERFORMERS_KEPT: Change = (
    "batuta.kernel.loop",
    "machine = self._performers.pop(outcome.command, None)",
    "machine = self._performers.get(outcome.command)",
)

DEFECTS: dict[str, list[Change]] = {
    "acknowledged before the commit": [
        (
            "batuta.simulate.commits",
            '            if moment == "before":\n',
            (
                "            for message_id, reply in turn.replies.items():\n"
                "                request = self._server.waiting.pop(message_id, None)\n"
                "                if request is not None:\n"
                "                    self._server.simulation.answered(request, message_id, reply)\n"
                '            if moment == "before":\n'
            ),
        )
    ],
    "writes are not fenced": [
        (
            "batuta.kernel.tables",
            "        if epochs.get(partition) != epoch:\n",
            "        if epochs.get(partition) is None:\n",
        )
    ],
    "an owner's epoch is not a new one": [
        ("batuta.kernel.tables", "epoch += 1\n", "epoch = max(epoch, 1)\n")
    ],
    "performed before the asking is durable": [
        ("batuta.kernel.loop", "if command.repeatable:\n", "if True:\n")
    ],
    "an outcome counts twice": [
        PERFORMERS_KEPT,
        FINISH_GUARD,
        (
            "batuta.workflow.fold",
            (
                "def _step_completed(runs: Runs, run: Run, event: Event) -> None:\n"
                "    program = run.program\n"
                '    entry = runs.commands.pop(event.command or "", None)\n'
            ),
            (
                "def _step_completed(runs: Runs, run: Run, event: Event) -> None:\n"
                "    program = run.program\n"
                '    entry = runs.commands.get(event.command or "")\n'
            ),
        ),
    ],
    "attempts are not counted": [
        ("batuta.workflow.fold", '    call.attempt = data["attempt"]\n', "")
    ],
    "a timer fires early after recovery": [
        (
            "batuta.workflow.fold",
            '    due = ask.due = event.data.get("due")\n',
            (
                '    due = ask.due = event.data.get("due") and (\n'
                '        event.time if program.replaying else event.data["due"])\n'
            ),
        )
    ],
    "a timer is lost on recovery": [
        ("batuta.workflow.runs", "        if record.wake is not None:\n", "        if False:\n")
    ],
    "a retry is lost on recovery": [
        (
            "batuta.workflow.fold",
            "        runs.time(run, retry_at, call.key)\n",
            ("        if not program.replaying:\n            runs.time(run, retry_at, call.key)\n"),
        )
    ],
    "a step in flight is lost on recovery": [
        (
            "batuta.workflow.runs",
            "                    self.recovered.append((run, ask))\n",
            "                    pass\n",
        )
    ],
    "one compensation is skipped": [
        ("batuta.workflow.saga", "    while undos:\n", "    while len(undos) > 1:\n")
    ],
    "compensations are forgotten on replay": [
        (
            "batuta.workflow.program",
            "type(ask) is Call and waiter.sagas and ask.step.undo is not None:",
            (
                "type(ask) is Call and waiter.sagas and ask.step.undo is not None"
                " and not self.replaying:"
            ),
        )
    ],
    "a signal that nobody awaits yet is dropped": [
        (
            "batuta.workflow.program",
            "        self.signals.setdefault(name, deque()).append(value)\n",
            "        return\n",
        )
    ],
    "a second start makes a second run": [
        (
            "batuta.workflow.runs",
            "        if known is None and record is None:\n",
            "        if known is None:\n",
        )
    ],
    "a cancelled step's late outcome is accepted": [
        PERFORMERS_KEPT,
        FINISH_GUARD,
        (
            "batuta.kernel.loop",
            (
                "                self._performers.pop(command_id, None)\n"
                "                self.dispatcher.drop(command_id)\n"
            ),
            "                self.dispatcher.drop(command_id)\n",
        ),
        (
            "batuta.workflow.fold",
            (
                "def _step_cancelled(runs: Runs, run: Run, event: Event) -> None:\n"
                '    entry = runs.commands.pop(event.command or "", None)\n'
            ),
            (
                "def _step_cancelled(runs: Runs, run: Run, event: Event) -> None:\n"
                '    entry = runs.commands.get(event.command or "")\n'
            ),
        ),
    ],
    "a queue has no limit after recovery": [
        (
            "batuta.workflow.runs",
            "                    command = command_of(run, call, call.asked)\n",
            (
                "                    command = command_of(run, call, call.asked)\n"
                "                    command.queue = None\n"
            ),
        )
    ],
    "a cancelled step gives its place back too early": [
        (
            "batuta.kernel.dispatch",
            "        if command not in self._running:\n",
            "        self.done(command)\n        if command not in self._running:\n",
        )
    ],
    "events are delivered last first": [
        ("batuta.workflow.deliveries", "        head = queue[0]\n", "        head = queue[-1]\n")
    ],
    "messages are taken without being folded": [
        (
            "batuta.kernel.loop",
            (
                "        for message in messages:\n            self._receive(message, now, into)\n"
                "        self._looked_up.clear()\n"
            ),
            (
                "        for message in list(messages)[:1]:\n"
                "            self._receive(message, now, into)\n"
                "        for message in list(messages)[1:]:\n"
                "            self._open.batch.taken.append(message.id)\n"
                "        self._looked_up.clear()\n"
            ),
        )
    ],
    "a message for another server is dropped": [
        (
            "batuta.kernel.loop",
            "        else:\n            self._open.batch.messages.append(message)\n",
            "",
        )
    ],
    "a run that wakes keeps the row of a sleeping one": [
        (
            "batuta.workflow.deciding",
            "    if status != run.recorded or rested != run.rested:\n",
            '    if run.recorded != "sleeping" and status != run.recorded:\n',
        )
    ],
    "what is due together is not looked at again": [
        (
            "batuta.workflow.deciding",
            "            while keys and len(into.events) == before:\n",
            "            while keys:\n",
        )
    ],
    "outcomes of one turn do not know of each other": [
        (
            "batuta.kernel.loop",
            "may wait for the next one any more.\n                self._fold(into)\n",
            "may wait for the next one any more.\n",
        )
    ],
    "a task token that comes early is forgotten": [
        (
            "batuta.workflow.asl.execution",
            "        self.signals.setdefault(name, deque()).append(value)\n",
            "        return\n",
        )
    ],
    "the results of items stand in the order of their ends": [
        (
            "batuta.workflow.asl.states.inline_map",
            "join.results[child.index] = output",
            "join.results[len(join.results) - join.left] = output",
        )
    ],
    "an item's operations are counted over all items": [
        (
            "batuta.workflow.asl.states.inline_map",
            'f"{state.key}.{at}."',
            'f"{state.key}.{execution.operations}."',
        )
    ],
    "an item's result is lost on recovery": [
        (
            "batuta.workflow.asl.states.inline_map",
            "        join.results[child.index] = output\n",
            (
                "        if not execution.replaying:\n"
                "            join.results[child.index] = output\n"
            ),
        )
    ],
    "retries of a state are not counted on recovery": [
        (
            "batuta.workflow.asl.execution",
            "    def draw(self) -> int:\n",
            (
                "    def forget(self, scope: Scope) -> None:\n"
                "        if self.replaying:\n"
                "            scope.retries = None\n"
                "\n"
                "    def draw(self) -> int:\n"
            ),
        ),
        (
            "batuta.workflow.asl.states.node",
            "                execution.sleep(scope, delay, again)\n",
            (
                "                execution.forget(scope)\n"
                "                execution.sleep(scope, delay, again)\n"
            ),
        ),
    ],
    "a variable is assigned twice on recovery": [
        (
            "batuta.workflow.asl.states.node",
            "                assigned = self.assign(result, env)\n",
            (
                "                if execution.replaying:\n"
                "                    twice = self.assign(result, env)\n"
                "                    env.variables = {**env.variables, **twice}\n"
                "                assigned = self.assign(result, env)\n"
            ),
        )
    ],
    "the results of child executions stand in the order of their ends": [
        (
            "batuta.workflow.asl.states.distributed",
            "run.results[at] = value",
            "run.results[len(run.results)] = value",
        )
    ],
}
"""What somebody might have written instead."""


class Planted(importlib.abc.SourceLoader):
    """Loads a module with changes in its source."""

    def __init__(self, name: str, path: str, changes: list[Change]) -> None:
        self.name = name
        self.path = path
        self.changes = changes

    def get_filename(self, fullname: str) -> str:
        """Where the unchanged source stands."""
        return self.path

    def get_data(self, path: str | bytes) -> bytes:
        """The changed source."""
        if str(path) != self.path:
            raise OSError("no byte code: the source is changed")
        source = Path(self.path).read_text(encoding="utf-8")
        for module, old, new in self.changes:
            if source.count(old) != 1:
                raise LookupError(
                    f"{module} holds what this defect changes {source.count(old)} times, not "
                    f"once; bring tests/simulate/defects.py up to date:\n{old}"
                )
            source = source.replace(old, new)
        return source.encode()


class Planter(importlib.abc.MetaPathFinder):
    """Finds the modules that a defect changes."""

    def __init__(self, changes: list[Change]) -> None:
        self.changes = changes

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The changed module, where it is one."""
        changes = [change for change in self.changes if change[0] == name]
        spec = PathFinder.find_spec(name, path, target) if changes else None
        if spec is None or spec.origin is None:
            return None
        loader = Planted(name, spec.origin, changes)
        return importlib.util.spec_from_file_location(name, spec.origin, loader=loader)


def hunt(name: str) -> tuple[int, str] | None:
    """The first seed that finds a defect, and what it says; in a fresh process only."""
    if any(module.startswith("batuta") for module in sys.modules):
        raise RuntimeError("a defect is planted before anything is imported")
    sys.meta_path.insert(0, Planter(DEFECTS[name]))
    # Only now: the modules under test are loaded with the defect in them.
    scenario = importlib.import_module("tests.simulate.scenario")
    for seed in range(SEEDS_MAX):
        try:
            scenario.run(seed)
        except Exception as problem:
            said = str(problem).partition("\n")[0]
            return seed, f"{type(problem).__name__}: {said[:150]}"
    return None


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulate.defects", description=__doc__)
    parser.add_argument("name", choices=sorted(DEFECTS))
    found = hunt(parser.parse_args().name)
    text = "not found" if found is None else f"seed {found[0]}: {found[1]}"
    sys.stdout.write(text + "\n")
    return 0 if found is None else 1


if __name__ == "__main__":
    sys.exit(main())
