"""Commands and outcomes that outlive the loop that began them: nothing is done twice for it."""

from __future__ import annotations

from collections.abc import Container, Iterable

from batuta.kernel.loop import Loop
from batuta.kernel.world import Command, Outcome
from batuta.real.world import RealWorld


class Strays:
    """What a world does for partitions that went to another server, or for a loop before.

    Parameters
    ----------
    world: performs the commands.
    """

    def __init__(self, world: RealWorld) -> None:
        self._world = world
        self._outcomes: dict[str, Outcome] = {}
        self._disowned: set[str] = set()
        self._again: dict[str, Command] = {}

    def keep(self, outcomes: Iterable[Outcome]) -> None:
        """The commit of these outcomes failed; whoever asks for them again gets them."""
        self._outcomes = {outcome.command: outcome for outcome in outcomes}

    def perform(self, command: Command) -> Outcome | None:
        """Begin with a command, unless it is under way; an outcome that is there already."""
        if self._outcomes:
            kept = self._outcomes.pop(command.id, None)
            if kept is not None:
                return kept
        if not self._world.has(command.id):
            self._world.perform(command)
        elif command.id in self._disowned:
            self._again[command.id] = command
        return None

    def disown(self, partitions: Container[int]) -> None:
        """Stop what is done for other partitions than these: it is another server's now."""
        for command in self._world.commands():
            if command.cause.partition not in partitions:
                self._again.pop(command.id, None)
                if command.id not in self._disowned:
                    self._disowned.add(command.id)
                    self._world.cancel(command.id)

    def sift(self, outcomes: list[Outcome], loop: Loop) -> list[Outcome]:
        """Without the outcomes of what was stopped: those say nothing about the command."""
        if not self._disowned:
            return outcomes
        wanted = []
        for outcome in outcomes:
            if outcome.command not in self._disowned:
                wanted.append(outcome)
                continue
            self._disowned.discard(outcome.command)
            command = self._again.pop(outcome.command, None)
            if command is None:
                loop.dispatcher.done(outcome.command)
            else:
                self._world.perform(command)
        return wanted
