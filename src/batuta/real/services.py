"""What the tasks of state machines ask of services: the effects, and who performs which command."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

from batuta.kernel.errors import BatutaError
from batuta.kernel.world import Command, Outcome
from batuta.real.activity import Activities
from batuta.real.aws.clients import Clients
from batuta.real.aws.effect import Aws
from batuta.real.aws.items import Items
from batuta.real.aws.places import Places
from batuta.real.aws.results import Results
from batuta.real.integrations import Integrations, Located, integrations_of
from batuta.real.invoke import Invoke
from batuta.real.job import Hub, Job
from batuta.real.lambdas import Lambdas
from batuta.real.nested import Nested, States
from batuta.real.shell import Surroundings
from batuta.workflow.asl.resource import parse

log = logging.getLogger("batuta")

Effect = Callable[[Job], Awaitable[Outcome]]
CALLS = ("aws", "nested")


class Services:
    """The effects of one world.

    Attributes
    ----------
    activities: the pool of activities, at which workers ask for tasks.
    clients: of boto3; `clients.answer_here` tells where this server is Step Functions itself.
    nested: executions begun by others; its `states` is who answers them in this process.
    effects: by the names of their pools.
    """

    def __init__(self, hub: Hub, around: Surroundings, integrations: Integrations) -> None:
        self.clients = Clients(integrations)
        self.activities = Activities(hub)
        self._lambdas = Lambdas(hub, around, integrations, self.clients)
        self._invoke = Invoke(around, integrations, self.clients)
        places = Places(integrations.folder, self.clients)
        self._calls = Aws(self.clients)
        self.nested = Nested(integrations, self._calls)
        self.effects: Mapping[str, Effect] = {
            "aws": self._call,
            "jobs": self._call,
            "lambda": self._lambdas.perform,
            "invoke": self._invoke.perform,
            "items": Items(places).perform,
            "results": Results(places).perform,
        }

    def reload(self, project: Located) -> None:
        """The project changed; what it had said holds on where its settings are wrong now."""
        try:
            integrations = integrations_of(project)
        except BatutaError as wrong:
            log.warning("the settings of services stay as they were: %s", wrong)
            return
        self.clients.use(integrations)
        self._lambdas.use(integrations)
        self._invoke.use(integrations)
        self.nested.use(integrations)

    def _call(self, job: Job) -> Awaitable[Outcome]:
        nested = job.command.kind == "nested"
        return self.nested.perform(job) if nested else self._calls.perform(job)

    def answer(
        self, states: States, url: str | None = None, key: tuple[str, str] | None = None
    ) -> None:
        """Let tasks ask this process for executions and activities.

        Parameters
        ----------
        states: who answers. url: where `aws-sdk:sfn` reaches it by HTTP; None: nowhere.
        key: access key and secret to sign with there; None: anything will do.
        """
        self.nested.states = states
        self.activities.known = states.knows_activity
        if url is not None:
            self.clients.answer_here(url, *(key or ()))

    async def close(self) -> None:
        """End the functions and close the connections."""
        await self._lambdas.close()
        await self._invoke.close()


def place_of(command: Command) -> str:
    """The pool of a command that is no function's: jobs that only wait have one of their own."""
    if command.kind not in CALLS:
        return command.kind
    resource = parse(str(command.data.get("resource", "")))
    if resource.service == "apigateway":
        return "invoke"
    return "jobs" if resource.pattern.startswith("sync") else "aws"
