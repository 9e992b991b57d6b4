"""One call of a service: parameters out of JSON, the answer into it, errors as the service's."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from json import dumps
from typing import Any

from batuta.kernel.world import Failure
from batuta.real.aws.clients import Clients
from batuta.real.aws.failures import RUNTIME, Refusal, failure_of_call, nulls_refused
from batuta.real.aws.names import OPERATIONS, operation_name
from batuta.real.aws.shapes import Misfits, arguments, optimised_answer, sdk_answer
from batuta.real.call import Refused

_NAMESPACE = uuid.UUID("3ad94a2f-84f9-4f6c-9a38-fc3ad5d2b9b9")
SEND_EMPTY = Refusal("MissingParameter", "The request must contain the parameter MessageBody.")


@dataclass(frozen=True, slots=True)
class Asked:
    """A call that a task asks for.

    Parameters
    ----------
    service: as the resource names it (`aws-sdk:s3`, `sqs`). action: `sendMessage`.
    input: the parameters. command: its id, from which idempotency tokens are derived.
    region: of the execution, used where nothing says another. role: to assume, or None.
    """

    service: str
    action: str
    input: Any
    command: str
    region: str | None = None
    role: str | None = None


def token_for(command: str) -> str:
    """The idempotency token of a command: the same whenever it is performed again."""
    return str(uuid.uuid5(_NAMESPACE, command))


class Operation:
    """An operation of a service, found by a resource's words. Raises `Refused`."""

    def __init__(self, clients: Clients, asked: Asked) -> None:
        self.asked = asked
        known = OPERATIONS.get((asked.service, asked.action))
        word = asked.service.removeprefix("aws-sdk:")
        service, wanted = known or (clients.service(word), operation_name(asked.action))
        self.client = clients.client(service, asked.region, asked.role)
        model = self.client.meta.service_model
        name = _spelled(wanted, model.operation_names)
        if name is None:
            text = f"the service `{word}` has no API action `{asked.action}`"
            raise Refused(Failure(RUNTIME, text, retryable=False))
        self.model = model.operation_model(name)
        self.method = _method(self.client, name)

    @property
    def input_shape(self) -> Any:
        """The shape of its parameters."""
        return self.model.input_shape

    @property
    def output_shape(self) -> Any:
        """The shape of its answer."""
        return self.model.output_shape

    def arguments(self, value: Any) -> dict[str, Any]:
        """The task's parameters as boto3 wants them. Raises `Refused`."""
        try:
            found, nulls = arguments(self.input_shape, value)
        except Misfits as misfits:
            raise Refused(_not_started(value, misfits.problems)) from None
        if nulls:
            refusal = SEND_EMPTY if nulls == ["MessageBody"] else nulls_refused(nulls)
            raise self.refused(refusal) from None
        for name, shape in self.input_shape.members.items() if self.input_shape else ():
            if name not in found and shape.metadata.get("idempotencyToken"):
                found[name] = token_for(self.asked.command)
        return found

    def call(self, given: dict[str, Any]) -> dict[str, Any]:
        """Call it and give boto3's answer. Blocks. Raises `Refused`."""
        try:
            answer: dict[str, Any] = getattr(self.client, self.method)(**given)
        except Exception as error:  # boto3 has an open set of exceptions
            raise self.refused(error) from error
        return answer

    def answer(self, answer: dict[str, Any]) -> Any:
        """Boto3's answer as the state sees it, without what is told of HTTP."""
        if self.asked.service.startswith("aws-sdk:"):
            return sdk_answer(self.output_shape, answer)
        return optimised_answer(self.output_shape, answer)

    def refused(self, error: Exception) -> Exception:
        """An error of the call as its failure; one that is none of boto3's as it is."""
        failure = failure_of_call(error, self.client.meta.service_model, self.asked.service)
        return error if failure is None else Refused(failure)


def _spelled(name: str, known: list[str]) -> str | None:
    """An operation, whose acronyms may be spelled otherwise (`createDbInstance`)."""
    if name in known:
        return name
    return next((each for each in known if each.lower() == name.lower()), None)


def _method(client: Any, operation: str) -> str:
    mapping: dict[str, str] = client.meta.method_to_api_mapping
    return next(method for method, name in mapping.items() if name == operation)


def _not_started(value: Any, problems: list[str]) -> Failure:
    shown = dumps(value, separators=(",", ":"), ensure_ascii=False)
    text = f"The Parameters '{shown}' could not be used to start the Task: [{', '.join(problems)}]"
    return Failure(RUNTIME, text, retryable=False)
