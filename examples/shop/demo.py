"""Runs the shop's orders to their end while its server is killed on the way, then audits the books.

    python demo.py                        # 1,000 orders, two kill -9
    python demo.py --orders 200 --kills 5 --seed 7 --keep

Half of the orders go through the Python workflow, the others through the state machine.

Exit code 0: every order was shipped once and paid once, or was taken back completely.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

HERE = Path(__file__).resolve().parent
ORDERS, SEED = 1000, 2026
BATCH = 100
STARTED_WITHIN_S = 30.0
MOVES_WITHIN_S = 60.0
LOOK_EVERY_S = 0.2
ENDED = ("completed", "failed", "cancelled", "terminated")
WORKFLOW, MACHINE = "checkout", "checkout-machine"


class Trouble(Exception):
    """Why the demonstration cannot go on."""


def main() -> int:
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with contextlib.ExitStack() as cleanup:
        stage = Stage(options.state.resolve(), cleanup)
        try:
            return play(stage, options)
        except (Trouble, httpx.HTTPError) as trouble:
            print(f"\nerror: {trouble}\n{stage.last_words()}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("\nstopped; nothing is left running", file=sys.stderr)
            return 130


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The shop's checkout, through kill -9.")
    parser.add_argument("--orders", type=int, default=ORDERS, help=f"how many (default: {ORDERS})")
    parser.add_argument("--kills", type=int, default=2, help="kill -9 of the server (default: 2)")
    parser.add_argument("--seed", type=int, default=SEED, help="of orders and outages")
    parser.add_argument("--keep", action="store_true", help="leave the server up until Ctrl-C")
    state = HERE / ".batuta" / "demo"
    parser.add_argument("--state", type=Path, default=state, help="a folder, made anew")
    return parser.parse_args()


def play(stage: Stage, options: argparse.Namespace) -> int:
    """The whole demonstration, from an empty folder to the verdict."""
    orders = stage.set_up(options.orders, options.seed)
    print(f"bank, warehouse and mail server are up; {len(orders):,} orders wait")
    server = stage.start_server()
    print(f"batuta up examples/shop: {server.url}")
    show = Show(len(orders))
    server.submit(orders)
    for number in range(1, options.kills + 1):
        show.until(server, len(orders) * number // (options.kills + 1))
        pid = server.kill()
        show.line(f"kill -9 {pid}")
        began = time.monotonic()
        server = stage.start_server(server.port)
        show.line(f"up again after {time.monotonic() - began:.1f} s")
    if options.kills:
        if forgotten := server.submit(orders):
            raise Trouble(f"{forgotten} orders had been taken and were forgotten")
        show.line(f"all {len(orders):,} orders were submitted again: none is new")
    show.until(server, len(orders))
    show.summary()
    code = stage.audit()
    stage.explain(server)
    stage.point_on(server, keep=options.keep)
    return code


# -- what is shown -------------------------------------------------------------------------------


class Show:
    """The progress line, and how long it took."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.began = time.monotonic()
        self.live = sys.stdout.isatty()
        self.tenth = -1

    def until(self, server: Server, wanted: int) -> None:
        """Show progress until so many orders have ended."""
        moved, last = time.monotonic(), -1
        while True:
            counts = server.counts()
            ended = sum(each.ended for each in counts.values())
            self.progress(ended, counts)
            if ended >= wanted:
                return
            if ended != last:
                moved, last = time.monotonic(), ended
            if time.monotonic() - moved > MOVES_WITHIN_S:
                raise Trouble(f"no order ended within {MOVES_WITHIN_S:.0f} s")
            time.sleep(LOOK_EVERY_S)

    def progress(self, ended: int, counts: dict[str, Counts]) -> None:
        rate = ended / (time.monotonic() - self.began)
        workflow, machine = counts[WORKFLOW], counts[MACHINE]
        text = (
            f"{ended:>6,} of {self.total:,} ended ({workflow.ended:,} by the workflow, "
            f"{machine.ended:,} by the state machine)   "
            f"{workflow.running + machine.running:>5,} running   {rate:>5,.0f} orders/s"
        )
        tenth = 10 * ended // self.total
        if self.live:
            print(f"\r\x1b[K{text}", end="", flush=True)
        elif tenth != self.tenth:
            print(text, flush=True)
        self.tenth = tenth

    def line(self, text: str) -> None:
        """A line above the progress line."""
        print(f"\r\x1b[K  {text}" if self.live else f"  {text}", flush=True)

    def summary(self) -> None:
        took = time.monotonic() - self.began
        print("\n" if self.live else "", end="")
        print(f"\nall orders ended after {took:.1f} s, {self.total / took:,.0f} orders/s\n")


# -- the server ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Counts:
    """How many runs of one kind there are."""

    ended: int
    running: int


@dataclass(slots=True)
class Server:
    """`batuta up` as a process, and its HTTP API."""

    process: subprocess.Popen[bytes]
    port: int
    api: httpx.Client

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def submit(self, orders: list[dict[str, Any]]) -> int:
        """Start a run for each order, and say how many are new: the order's id is in its run's
        id, and a second start with an id is the same run."""
        new = 0
        for first in range(0, len(orders), BATCH):
            batch = [run_of(order) for order in orders[first : first + BATCH]]
            answer = self.api.post("/api/runs:batch", json={"runs": batch}).raise_for_status()
            results = answer.json()["results"]
            if refused := [result["error"] for result in results if "error" in result]:
                raise Trouble(f"an order was not taken: {refused[0]}")
            new += sum(result["created"] for result in results)
        return new

    def counts(self) -> dict[str, Counts]:
        """How many runs there are of the workflow and of the state machine."""
        flows = self.api.get("/api/workflows").raise_for_status().json()["workflows"]
        found = {}
        for flow in flows:
            ended = sum(flow["runs"].get(status, 0) for status in ENDED)
            found[flow["name"]] = Counts(ended, sum(flow["runs"].values()) - ended)
        return found

    def compensated(self, workflow: str) -> list[dict[str, Any]]:
        """The runs of compensated orders; the workflow marks them with a search attribute, too."""
        search: dict[str, str | int] = {"workflow": workflow, "limit": 1000}
        runs: list[dict[str, Any]] = self.api.get("/api/runs", params=search).json()["runs"]
        return [run for run in runs if str(run["result"]).startswith("compensated")]

    def kill(self) -> int:
        """kill -9."""
        self.process.kill()
        self.process.wait()
        self.api.close()
        return self.process.pid


def run_of(order: dict[str, Any]) -> dict[str, Any]:
    """How an order is started: those with an even number by the state machine."""
    flow = WORKFLOW if int(order["id"].rpartition("-")[2]) % 2 else MACHINE
    return {"workflow": flow, "id": order["id"], "args": [order]}


class Stage:
    """The folder of everything that is written, and the processes that are running.

    Parameters
    ----------
    folder: made anew. cleanup: what ends the processes, whatever happens.
    """

    def __init__(self, folder: Path, cleanup: contextlib.ExitStack) -> None:
        self.folder = folder
        self.cleanup = cleanup
        mine = {name: text for name, text in os.environ.items() if not name.startswith("BATUTA_")}
        self.environment = mine

    def set_up(self, count: int, seed: int) -> list[dict[str, Any]]:
        """Make the orders, and start the three services with empty books."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        asked = ["--orders", str(count), "--seed", str(seed), "--into", str(self.folder)]
        subprocess.run([sys.executable, HERE / "make_orders.py", *asked], check=True)
        for name in ("bank", "stock", "mail"):
            self.environment[f"SHOP_{name.upper()}"] = self.start_service(name, seed)
        lines = (self.folder / "orders.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def start_service(self, name: str, seed: int) -> str:
        """Start one of the services; its first line is its address."""
        catalogue = self.folder / "catalogue.json"
        arguments = ["--data", self.folder, "--seed", str(seed), "--catalogue", catalogue]
        command = [sys.executable, "-m", f"services.{name}", *arguments]
        process = self.start(command, name, stdout=subprocess.PIPE)
        assert process.stdout is not None
        with process.stdout as lines:
            address = lines.readline().decode().strip()
        if not address:
            raise Trouble(f"the {name} did not start")
        return address

    def start_server(self, port: int | None = None) -> Server:
        """Start `batuta up` and wait until it answers."""
        port = port or free_port()
        state = self.folder / "state"
        command = [sys.executable, "-m", "batuta", "up", HERE, "--port", str(port)]
        process = self.start([*command, "--state", state, "--no-follow"], "server")
        api = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
        self.cleanup.callback(api.close)
        deadline = time.monotonic() + STARTED_WITHIN_S
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if api.get("/healthz").is_success:
                    return Server(process, port, api)
            time.sleep(0.02)
        raise Trouble("the server did not start")

    def start(self, command: list[Any], name: str, **more: Any) -> subprocess.Popen[bytes]:
        """A process that ends with the demonstration; what it prints is kept in a file."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=HERE,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches the demonstration only, which ends them
                **{"stdout": log, **more},
            )
        self.cleanup.callback(end, process)
        return process

    def last_words(self) -> str:
        """The end of what the processes printed."""
        return "\n".join(self._ends_of_logs())

    def _ends_of_logs(self) -> Iterator[str]:
        for log in sorted(self.folder.glob("*.log")):
            lines = log.read_text(errors="replace").splitlines()[-15:]
            yield from (f"  {log.name}: {line}" for line in lines)

    # -- the end ---------------------------------------------------------------------------------

    def audit(self) -> int:
        """What the books say; the audit's exit code."""
        orders = self.folder / "orders.jsonl"
        books = ["--data", str(self.folder), "--orders", str(orders)]
        code = subprocess.run([sys.executable, HERE / "audit.py", *books], check=False).returncode
        print("\nthe audit found nothing wrong" if code == 0 else "\nTHE AUDIT FAILED", flush=True)
        return code

    def explain(self, server: Server) -> None:
        """Why one of the compensated orders ended as it did."""
        orders = server.compensated(WORKFLOW)
        if orders:
            sold_out = [run for run in orders if "sold out" in str(run["result"])]
            print(f"\n$ batuta why {(id := (sold_out or orders)[0]['id'])}", flush=True)
            batuta = [sys.executable, "-m", "batuta"]
            subprocess.run([*batuta, "why", id, "--url", server.url], check=False)

    def point_on(self, server: Server, *, keep: bool) -> None:
        """Where to look next."""
        state = self.folder / "state"
        reach = f"--url {server.url}" if keep else f"--state {shown(state)}"
        print("\nto look further:")
        print(f"  batuta ps --attr outcome=compensated {reach}")
        for flow, order in ((WORKFLOW, "order-0001"), (MACHINE, f"{MACHINE}:order-0002")):
            some = server.compensated(flow)[:1]
            print(f"  batuta show {some[0]['id'] if some else order} {reach}")
        print(f"  sqlite3 {shown(self.folder / 'bank.sqlite')} 'select * from ledger'")
        if not keep:
            print("  python examples/shop/demo.py --keep   leaves the server and its pages up")
            return
        print(f"  {server.url}   the pages; Ctrl-C ends everything", flush=True)
        server.process.wait()


def shown(path: Path) -> Path:
    """A path as one would type it here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process, kindly at first."""
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
