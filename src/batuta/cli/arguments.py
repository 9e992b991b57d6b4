"""What can be typed: every verb with its arguments, as data that costs nothing to import."""

from __future__ import annotations

from typing import Any, NamedTuple


class Argument(NamedTuple):
    """One argument: its spellings and what argparse shall know of it."""

    flags: tuple[str, ...]
    options: dict[str, Any]


class Verb(NamedTuple):
    """One verb.

    Parameters
    ----------
    name: what is typed.
    group: under which heading it stands.
    summary: one line, what it does.
    arguments: its own, the ones that all have not counted.
    text: more, for `--help` and the documentation.
    reaches: whether it works on a journal, and so can be told which.
    examples: lines that can be typed.
    """

    name: str
    group: str
    summary: str
    arguments: tuple[Argument, ...] = ()
    text: str = ""
    reaches: bool = True
    examples: tuple[str, ...] = ()


def arg(*flags: str, **options: Any) -> Argument:
    """An argument, written as for `add_argument`."""
    return Argument(flags, options)


def flag(*flags: str, text: str) -> Argument:
    """An option without a value."""
    return Argument(flags, {"action": "store_true", "help": text})


COMMON = (flag("--json", text="write data as JSON, one value a line"),)
REACH = (
    arg("--url", metavar="URL", help="the server to talk to (or BATUTA_URL)"),
    arg("--token", metavar="TOKEN", help="what the server asks for (or BATUTA_TOKEN)"),
    arg("--project", metavar="DIR", help="the folder with the definitions; where .batuta is found"),
    arg("--state", metavar="FOLDER", help="where the journal is kept (default: DIR/.batuta)"),
    arg("--database", metavar="URL", help="a PostgreSQL journal, postgresql://…"),
)
ID = arg("id", metavar="ID", help="a run's id, or an execution's ARN")
INPUT = arg(
    "args",
    metavar="ARG",
    nargs="*",
    help="a JSON value, or NAME=VALUE (a VALUE that is no JSON is text)",
)
DIRECTORY = arg(
    "dir", metavar="DIR", nargs="?", default=".", help="the folder with the definitions"
)
REASON = arg("--reason", metavar="TEXT", default="", help="kept in the journal")
LIMIT = arg("--limit", metavar="N", type=int, default=50, help="so many at most (default: 50)")
WAIT = flag("--wait", text="return when the run has ended")

GROUPS = {
    "start": "Develop and run",
    "look": "Look",
    "act": "Act",
    "keep": "Keep",
}

VERBS_LIST = (
    Verb(
        "up",
        "start",
        "Load a folder, run it, serve its pages, follow its runs",
        (
            DIRECTORY,
            arg("--port", type=int, help="default: 8420, or the next free one"),
            arg("--host", default="127.0.0.1", help="anything but loopback needs a token"),
            arg("--token", metavar="TOKEN", help="asked of every client (or BATUTA_TOKEN)"),
            arg(
                "--state", metavar="FOLDER", help="where the journal is kept (default: DIR/.batuta)"
            ),
            arg("--database", metavar="URL", help="a PostgreSQL journal, postgresql://…"),
            arg("--server-name", metavar="NAME", help="what leases and logs call this server"),
            arg("--log", choices=("text", "json"), default="text", help="form of what is followed"),
            arg(
                "--grace",
                type=float,
                metavar="SECONDS",
                default=10.0,
                help="how long steps in flight may take to end after Ctrl-C (default: 10)",
            ),
            arg(
                "--retain",
                metavar="DURATION",
                help='forget what ended longer ago ("90 days"); kept for ever without it',
            ),
            flag("--no-follow", text="print the first three lines only"),
            flag("--no-reload", text="do not look for changed files"),
        ),
        "Ctrl-C lets the steps that are in flight end, a second one stops at once. Neither loses "
        "anything: what is not finished goes on at the next start.",
        reaches=False,
        examples=("batuta up examples/shop", "batuta up . --port 9000 --no-follow"),
    ),
    Verb(
        "check",
        "start",
        "Load a folder and show every problem in it",
        (
            arg(
                "dir",
                metavar="DIR",
                nargs="?",
                default=".",
                help="the folder with the definitions, or one file with a state machine",
            ),
        ),
        "Exit code 1 where there is any.",
        reaches=False,
        examples=("batuta check examples/shop", "batuta check flows/order.asl.json"),
    ),
    Verb(
        "run",
        "start",
        "Start a workflow, follow it, print its result",
        (
            arg("workflow", metavar="WORKFLOW", help="its name"),
            INPUT,
            arg("--id", metavar="ID", help="the run's id; a second start with it is the same run"),
            arg("--priority", type=int, help="higher goes first"),
            arg("--deadline", metavar="DURATION", help='cancelled after that ("2 h", "1 day")'),
            arg("--attr", metavar="NAME=VALUE", action="append", default=[], help="to search by"),
            flag("--detach", text="print the id and return at once"),
            flag("--follow", text="show each step as it ends, also without a terminal"),
        ),
        examples=(
            "batuta run greet '\"Ada\"'",
            "batuta run checkout order=@order.json --id order-1",
        ),
    ),
    Verb(
        "simulate",
        "start",
        "Run a workflow many times in virtual time",
        (
            arg(
                "workflow",
                metavar="WORKFLOW",
                help="its name, or a file with a state machine (`x.asl.json`)",
            ),
            INPUT,
            arg("-n", type=int, default=1000, metavar="N", help="how many runs (default: 1000)"),
            arg("--seed", type=int, default=0, help="the same seed gives the same runs"),
            arg("--models", metavar="FILE", help="how long steps take and how they end"),
            flag("--history", text="take the models from what the journal recorded"),
            arg(
                "--price",
                type=float,
                metavar="AMOUNT",
                help="of a thousand state transitions, to tell what a state machine costs",
            ),
        ),
        "Nothing is performed: steps are replaced by models of how long they take and how they "
        "end. Prints the distribution of the duration and where the time goes. A file of models is "
        "YAML or JSON: under `steps` a duration for each step's name (`30s`, `uniform(1s, 5s)`, "
        "`lognormal(200ms, 0.5)`) or a table with `duration`, `fail`, `failure` and `value` (or "
        "`values`, one of them each time); under "
        "`signals` and `events` how long they take to come. The tasks of a state machine go by the "
        "names of their states, of their steps or functions; with --history its own executions say "
        "how long each of its states took, how it failed and what it gave. Of a state machine is "
        "told what share each state has, and how many state transitions it takes.",
        examples=(
            "batuta simulate checkout order=@order.json -n 10000 --history",
            "batuta simulate flows/order.asl.json '{}' --models models.yaml --price 0.025",
        ),
    ),
    Verb(
        "ps",
        "look",
        "List runs, the newest first",
        (
            arg("text", metavar="TEXT", nargs="?", help="in the id or the workflow's name"),
            arg("--status", action="append", default=[], metavar="WORD", help="running, failed …"),
            arg("--workflow", metavar="NAME", help="runs of this workflow"),
            arg(
                "--attr", metavar="NAME=VALUE", action="append", default=[], help="with this value"
            ),
            LIMIT,
        ),
        examples=("batuta ps --status failed", "batuta ps order- --attr country=DE"),
    ),
    Verb(
        "show",
        "look",
        "Show a run's history as a tree",
        (ID, flag("--full", text="inputs and outputs whole, and tracebacks")),
        "Every operation with its duration, input, output and attempts, and the reason beside "
        "the status; of a state machine's execution also the states that ran.",
    ),
    Verb(
        "logs",
        "look",
        "Print what happened in a run, line by line",
        (
            arg("id", metavar="ID", help="a run's id or ARN, or any subject of events"),
            flag("-f", "--follow", text="go on until the run ends"),
        ),
    ),
    Verb(
        "why",
        "look",
        "Say why something happened, down to the file and line",
        (arg("id", metavar="ID", help="a run, a step's attempt (RUN/KEY.N), an event (#SEQ)"),),
        "The chain of causes, the newest first.",
    ),
    Verb(
        "events",
        "look",
        "List events, or follow them",
        (
            flag("-f", "--follow", text="go on with what happens from now on"),
            arg("--type", action="append", default=[], help='"order.*" by its beginning'),
            arg("--subject", metavar="TEXT", help="about this"),
            arg("--after", type=int, metavar="SEQ", help="from behind this event on"),
            LIMIT,
        ),
        "Without --after the last ones are listed.",
    ),
    Verb("workflows", "look", "List the workflows, with where they are defined"),
    Verb("schedules", "look", "List the schedules, with when they were and will be due"),
    Verb(
        "query",
        "look",
        "Ask a run a question that it answers",
        (
            ID,
            arg("name", metavar="NAME", help="the query's name"),
            arg("args", metavar="JSON", nargs="*", help="its arguments"),
        ),
    ),
    Verb(
        "send",
        "act",
        "Send an event",
        (
            arg("type", metavar="TYPE", help='what happened ("order.paid")'),
            arg("--subject", metavar="TEXT", default="", help="what it happened to"),
            arg("--data", metavar="JSON", help="its detail; @FILE reads a file, - reads stdin"),
            arg("--source", metavar="TEXT", default="batuta/cli", help="where it comes from"),
            arg("--id", metavar="ID", help="a second event of this id and source is dropped"),
        ),
        examples=("batuta send order.paid --subject order-1 --data '{\"total\": 120}'",),
    ),
    Verb(
        "signal",
        "act",
        "Send a signal to a run",
        (
            ID,
            arg("name", metavar="NAME", help="the signal's name"),
            arg("value", metavar="JSON", nargs="?", help="its value (default: null)"),
        ),
        examples=("batuta signal order-1 approve true",),
    ),
    Verb("cancel", "act", "Cancel a run; its undos are done", (ID, REASON, WAIT)),
    Verb("terminate", "act", "Stop a run at once, without its undos", (ID, REASON)),
    Verb("retry", "act", "Go on with a failed run from where it failed", (ID, WAIT)),
    Verb(
        "redrive",
        "act",
        "Go on with an execution that failed, timed out or was stopped",
        (ID, WAIT),
        "States that succeeded are not run again.",
        examples=(
            "batuta redrive arn:aws:states:us-east-1:000000000000:execution:order:order-7 --wait",
        ),
    ),
    Verb(
        "fork",
        "act",
        "Start a run anew from one of its steps",
        (
            ID,
            arg("key", metavar="KEY", help="what comes before it is taken over (see `show`)"),
            arg("--id", dest="new_id", metavar="ID", help="the new run's id"),
            WAIT,
        ),
    ),
    Verb(
        "undo",
        "act",
        "Undo what a finished run did, by the undos of its steps",
        (ID, WAIT),
    ),
    Verb(
        "dead",
        "act",
        "List, show or redrive events that a rule gave up",
        (
            arg("action", choices=("list", "show", "redrive"), nargs="?", default="list"),
            arg("id", metavar="ID", nargs="?", help="a delivery's id (RULE:EVENT)"),
            LIMIT,
        ),
        examples=("batuta dead", "batuta dead redrive reward:8f2c"),
    ),
    Verb(
        "backup",
        "keep",
        "Copy the journal, also while a server runs",
        (arg("file", metavar="FILE"),),
    ),
    Verb(
        "restore",
        "keep",
        "Make a backup the journal",
        (arg("file", metavar="FILE"), flag("--force", text="replace a journal that is there")),
    ),
    Verb(
        "env",
        "keep",
        "Print lines for `eval`, so that other tools find the server",
        (),
        examples=('eval "$(batuta env)"',),
    ),
    Verb("version", "keep", "Print the version", (), reaches=False),
)
