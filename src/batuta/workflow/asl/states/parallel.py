"""Parallel: several branches at once, all of them needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batuta.workflow.asl.errors import StateFailed
from batuta.workflow.asl.scope import Join, Scope
from batuta.workflow.asl.states.node import Node, States, Value

if TYPE_CHECKING:
    from batuta.workflow.asl.execution import Execution


class Parallel(Node):
    """Runs its branches on copies of the same input; the output is the list of theirs."""

    retriable = True

    def __init__(self, name: str, value: Value, language: str, branches: list[States]) -> None:
        super().__init__(name, value, language)
        self.branches = branches
        self.parameters = self._template("Arguments" if self.jsonata else "Parameters")
        self.selector = None if self.jsonata else self._template("ResultSelector")

    def run(self, execution: Execution, scope: Scope) -> None:
        env = self.env(execution, scope)
        input = self.effective(env)
        if self.parameters is not None:
            input = self.parameters(input, env)
        execution.note(scope, "ParallelStateStarted")
        join = scope.below = Join(self, scope, len(self.branches))
        key = scope.key()
        for at, branch in enumerate(self.branches):
            child = Scope(branch, input, scope.variables, f"{key}.{at}.", scope.last, join, at)
            join.children[at] = child
            execution.ready.append(child)

    def child_ended(self, execution: Execution, join: Join, child: Scope, output: Any) -> None:
        join.results[child.index] = output
        del join.children[child.index]
        join.left -= 1
        if join.left:
            return
        scope = join.scope
        scope.below = None
        scope.last = child.last
        execution.aside(scope, "ParallelStateSucceeded")
        env = self.env(execution, scope)
        result: Any = join.results
        try:
            if self.selector is not None:
                result = self.selector(result, env)
            env.result = result
            self.leave(execution, scope, env, result, self.next)
        except StateFailed as failed:
            self.failed(execution, scope, failed)

    def child_failed(
        self, execution: Execution, join: Join, child: Scope, error: str | None, cause: str | None
    ) -> None:
        scope = join.scope
        scope.last = child.last
        if child.node.type == "Task":
            execution.aside(child, "TaskStateAborted")
        join.children.pop(child.index, None)
        join.stopped.append(child)
        execution.stop(join, noted=True)
        self.recover(execution, scope, error, cause)

    def resume(self, execution: Execution, join: Join) -> None:
        """A redrive has taken up the branches that had not ended: no other is left."""

    def note_failed(self, execution: Execution, scope: Scope) -> None:
        execution.note(scope, "ParallelStateFailed")
