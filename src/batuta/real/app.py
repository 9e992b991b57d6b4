"""Batuta from a script or a test: start runs and ask for their results, here or on a server."""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import sys
import threading
from collections.abc import Coroutine, Generator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from batuta.common.problem import Problem
from batuta.kernel.errors import BatutaError, NotFound, RunFailed, TimedOut
from batuta.kernel.sqlite import SqliteJournal
from batuta.real.system import System
from batuta.workflow.ask import ChildCall, active
from batuta.workflow.model import Definitions, Workflow
from batuta.workflow.run import ENDED

R = TypeVar("R")

DEFAULT_DATABASE = ".batuta/journal.db"
POLL_S = (0.01, 0.5)


class Door(Protocol):
    """How a handle reaches the system that its run is in."""

    def submit(self, type: str, subject: str, data: dict[str, Any]) -> dict[str, Any]: ...
    def query(self, run: str, name: str, args: list[Any]) -> Any: ...
    def ending(self, run: str) -> tuple[str, dict[str, Any]] | None: ...
    def know(self, workflow: Workflow[..., Any]) -> None: ...


class Run(Generic[R]):
    """One run, by its id.

    Parameters
    ----------
    id: of the run. workflow: whose run it is, to give the result its type back.
    """

    def __init__(self, door: Door, id: str, workflow: Workflow[..., R] | None = None) -> None:
        self.id = id
        self._door = door
        self._workflow = workflow

    def result(self, timeout_s: float | None = None) -> R:
        """Wait for the end: what the workflow returned.

        Raises `RunFailed` where it failed or was stopped, `TimedOut` after `timeout_s`.
        """
        until = None if timeout_s is None else monotonic() + timeout_s
        pause = POLL_S[0]
        while (ending := self._door.ending(self.id)) is None:
            if until is not None and monotonic() > until:
                raise TimedOut(f"run `{self.id}` has not ended after {timeout_s:g} s")
            sleep(pause)
            pause = min(pause * 1.5, POLL_S[1])
        status, data = ending
        if status != "completed":
            error = data.get("error") or {"message": data.get("reason") or status}
            raise RunFailed(f"run `{self.id}` {status}: {error['message']}", error)
        found: R = data.get("result")  # type: ignore[assignment]
        if self._workflow is not None:
            found = self._workflow.codec.decode_result(found)
        return found

    def signal(self, name: str, value: Any = None) -> None:
        """Send a signal to it."""
        self._door.submit("run.signal", self.id, {"name": name, "value": value})

    def cancel(self, reason: str = "cancelled") -> None:
        """Ask it to end; its compensations run."""
        self._door.submit("run.cancel", self.id, {"reason": reason})

    def terminate(self, reason: str = "terminated") -> None:
        """End it at once, without compensation."""
        self._door.submit("run.terminate", self.id, {"reason": reason})

    def query(self, name: str, *args: Any) -> Any:
        """What it answers to a question."""
        return self._door.query(self.id, name, list(args))

    def __await__(self) -> Generator[Any, Any, str]:
        raise RuntimeError("outside of a workflow `start` needs no await: ask for .result()")

    def __repr__(self) -> str:
        return f"<run {self.id}>"


class Beside(Run[R]):
    """What `start` gives in a workflow: awaited, it is the id of the run that was started."""

    def __init__(self, call: ChildCall[R]) -> None:
        self.id = call.id or ""
        self._call = call

    def __await__(self) -> Generator[Any, Any, str]:
        id: Any = yield from self._call.__await__()
        self.id = id
        return self.id


@dataclass
class Script:
    """The definitions of a script, as a project."""

    folder: Path
    name: str = "script"
    problems: list[Problem] = field(default_factory=list)
    definitions: Definitions = field(default_factory=Definitions)


class App:
    """A connection: `with connect() as app: app.start(checkout, order)`."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def start(
        self,
        workflow: Workflow[..., R] | ChildCall[R],
        /,
        *args: Any,
        id: str | None = None,
        **kwargs: Any,
    ) -> Run[R]:
        """Start a run; see the function `start`."""
        call = workflow if isinstance(workflow, ChildCall) else workflow(*args, **kwargs)
        self._door.know(call.workflow)
        data = {"workflow": call.workflow.name, "args": call.args, "kwargs": call.kwargs}
        reply = self._door.submit("run.start", id or "", data)
        return Run(self._door, reply["id"], call.workflow)

    def run(self, id: str) -> Run[Any]:
        """A run that there is already."""
        return Run(self._door, id)

    def emit(self, type: str, *, subject: str = "", data: Any = None, source: str = "") -> str:
        """Write an event; its id."""
        sent = {"type": type, "data": data, "source": source}
        return str(self._door.submit("event.send", subject, sent)["id"])

    def close(self) -> None:
        """End the connection; a system of this process stops, its runs stay in its journal."""
        if isinstance(self._door, Here):
            self._door.close()

    def __enter__(self) -> App:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()


class Here:
    """A system in a thread of this process."""

    def __init__(self, database: str, *definitions: object) -> None:
        if database != ":memory:":
            Path(database).parent.mkdir(parents=True, exist_ok=True)
        self._journal = SqliteJournal(database)
        self._project = Script(Path.cwd(), definitions=Definitions.of(*definitions))
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._live, name="batuta", daemon=True)
        self._thread.start()
        self._ready.result()

    def _live(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        self._system = System(self._project, self._journal)
        try:
            await self._system.start()
        except BaseException as error:  # whoever waits for the start has to know
            self._ready.set_exception(error)
            return
        self._ready.set_result(None)
        await self._stopped.wait()
        await self._system.stop()

    def _do(self, what: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result()

    def submit(self, type: str, subject: str, data: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self._do(self._system.submit(type, subject, data))
        return found

    def query(self, run: str, name: str, args: list[Any]) -> Any:
        return self._do(self._system.query(run, name, args))

    def ending(self, run: str) -> tuple[str, dict[str, Any]] | None:
        record = self._journal.record("run", run)
        if record is None:
            raise NotFound(f"there is no run `{run}`")
        if record.status == "continued":
            return self.ending(record.data["next"])
        if record.status not in ENDED and record.status != "parked":
            return None
        last = self._journal.read(
            subject=run, limit=1, types=(f"run.{record.status}",), newest_first=True
        )
        return record.status, last[0].data if last else {}

    def know(self, workflow: Workflow[..., Any]) -> None:
        """A workflow of a script is known with everything else that its module defines."""
        definitions = self._project.definitions
        if workflow.name not in definitions.workflows:
            definitions.add(workflow)
            for thing in vars(sys.modules.get(workflow.module, object)).values():
                definitions.add(thing)
            self._loop.call_soon_threadsafe(self._system.reload, self._project)

    def close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join()
        self._journal.close()


class There:
    """A server, by HTTP."""

    def __init__(self, url: str, token: str | None) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def submit(self, type: str, subject: str, data: dict[str, Any]) -> dict[str, Any]:
        if type == "run.start":
            return self._post("/api/runs", {"id": subject or None, **data})
        if type == "event.send":
            cloud = {"specversion": "1.0", "subject": subject, **data}
            return self._post("/api/events", cloud)
        return self._post(f"/api/runs/{quote(subject, safe='')}/{type.partition('.')[2]}", data)

    def query(self, run: str, name: str, args: list[Any]) -> Any:
        path = f"/api/runs/{quote(run, safe='')}/query/{quote(name, safe='')}"
        return self._call("GET", f"{path}?args={quote(json.dumps(args))}", None)["answer"]

    def ending(self, run: str) -> tuple[str, dict[str, Any]] | None:
        found = self._call("GET", f"/api/runs/{quote(run, safe='')}", None)
        status = found["status"]
        if status not in ENDED and status != "parked":
            return None
        return status, found

    def know(self, workflow: Workflow[..., Any]) -> None:
        """The server knows its own."""

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._call("POST", path, json.dumps(body).encode())

    def _call(self, method: str, path: str, body: bytes | None) -> dict[str, Any]:
        request = Request(self._url + path, body, self._headers, method=method)
        try:
            with urlopen(request, timeout=60) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except HTTPError as error:
            told = json.loads(error.read() or b"{}").get("error", {})
            kind = NotFound if error.code == 404 else BatutaError
            message = told.get("message") or f"{method} {path} was answered {error.code}"
            raise kind(message, at=told.get("at"), hint=told.get("hint")) from None
        except URLError as error:
            raise BatutaError(
                f"no server answers at {self._url}: {error.reason}",
                hint="`batuta up DIR` starts one",
            ) from error


def connect(target: str | None = None, *definitions: object, token: str | None = None) -> App:
    """Connect to a server, or run in this process.

    Parameters
    ----------
    target: a server's `http://…`, or a database file (`:memory:` for a test). By default
        what `BATUTA_URL` names, else `.batuta/journal.db` in this folder.
    definitions: workflows, rules, schedules and queues to run in this process, beside those
        of the module of each workflow that is started.
    token: for a server that wants one; `BATUTA_TOKEN` by default.

    Raises `JournalLocked` where another server is running on that file.
    """
    target = target or os.environ.get("BATUTA_URL") or DEFAULT_DATABASE
    if target.startswith(("http://", "https://")):
        return App(There(target, token or os.environ.get("BATUTA_TOKEN")))
    return App(Here(target, *definitions))


_default: list[App] = []


def start(
    workflow: Workflow[..., R] | ChildCall[R],
    /,
    *args: Any,
    id: str | None = None,
    **kwargs: Any,
) -> Run[R]:
    """Start a run of a workflow: `start(checkout, order, id="order-1")`, or, with its
    arguments checked by a type checker as well, `start(checkout(order), id="order-1")`.

    Outside of a workflow it goes to where `connect()` leads. In a workflow it starts a run
    beside this one, and is awaited: `await start(report, day)` gives the id.

    Parameters
    ----------
    id: of the run. Where there is a run of that id, that one is returned and none started.
    """
    if active.program is not None:
        call = workflow if isinstance(workflow, ChildCall) else workflow(*args, **kwargs)
        call.id, call.detached = id, True
        return Beside(call)
    if not _default:
        _default.append(connect())
        atexit.register(_default[0].close)
    return _default[0].start(workflow, *args, id=id, **kwargs)
