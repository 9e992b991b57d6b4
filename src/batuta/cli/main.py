"""The command line: finds the verb, runs it, and says what went wrong."""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from batuta.cli.arguments import COMMON, GROUPS, REACH, VERBS_LIST, Verb
from batuta.cli.out import Out
from batuta.cli.usage import FAILED, INTERRUPTED, OK, USAGE, UsageError
from batuta.kernel.errors import BatutaError

# Verb -> where its function is; the module is imported when the verb is typed, not before.
VERBS: dict[str, str] = {
    "up": "batuta.cli.up:up",
    "check": "batuta.cli.check:check",
    "run": "batuta.cli.run:run",
    "simulate": "batuta.cli.simulate:simulate",
    "ps": "batuta.cli.look:ps",
    "show": "batuta.cli.look:show",
    "logs": "batuta.cli.follow:logs",
    "why": "batuta.cli.look:why",
    "events": "batuta.cli.follow:events",
    "workflows": "batuta.cli.lists:workflows",
    "schedules": "batuta.cli.lists:schedules",
    "query": "batuta.cli.act:query",
    "send": "batuta.cli.act:send",
    "signal": "batuta.cli.act:signal",
    "cancel": "batuta.cli.act:cancel",
    "terminate": "batuta.cli.act:terminate",
    "retry": "batuta.cli.act:retry",
    "redrive": "batuta.cli.act:redrive",
    "fork": "batuta.cli.act:fork",
    "undo": "batuta.cli.act:undo",
    "dead": "batuta.cli.lists:dead",
    "backup": "batuta.cli.keep:backup",
    "restore": "batuta.cli.keep:restore",
    "env": "batuta.cli.keep:env",
    "version": "batuta.cli.keep:version",
}


class Parser(argparse.ArgumentParser):
    """An argparse parser whose errors look like all others of Batuta's."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"`{self.prog} --help` shows what it takes")


class Top(Parser):
    """The parser of `batuta` itself: its help lists the verbs by what one wants to do."""

    def format_help(self) -> str:
        lines = ["usage: batuta VERB …", "", self.description or "", ""]
        for group, title in GROUPS.items():
            lines.append(f"{title}:")
            lines += [f"  {v.name:<11}{v.summary}" for v in VERBS_LIST if v.group == group]
            lines.append("")
        lines.append("`batuta VERB --help` says more about one of them.")
        return "\n".join(lines) + "\n"


def parser() -> argparse.ArgumentParser:
    """The parser of everything that can be typed; importing and calling it is cheap."""
    top = Top(prog="batuta", description="One orchestrator: workflows, events, schedules.")
    top.add_argument("--version", action="store_true", help="print the version")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", parser_class=Parser)
    for verb in VERBS_LIST:
        sub = verbs.add_parser(
            verb.name,
            help=verb.summary,
            description=f"{verb.summary}. {verb.text}".strip(),
            epilog=_examples(verb),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        for flags, options in (*verb.arguments, *(REACH if verb.reaches else ()), *COMMON):
            sub.add_argument(*flags, **options)
    return top


def _examples(verb: Verb) -> str | None:
    return (
        "\n".join(("examples:", *(f"  {line}" for line in verb.examples)))
        if verb.examples
        else None
    )


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """What was typed. Raises `UsageError`."""
    first = argv[0] if argv else "--help"
    if not first.startswith("-") and first not in VERBS:
        raise _unknown_verb(first)
    # A dash that begins a JSON number is no option; argparse knows that by itself.
    args = parser().parse_args(argv or ["--help"])
    if args.version:
        args.verb, args.json = "version", False
    elif args.verb is None:
        raise UsageError("no verb was given", hint="`batuta --help` lists them")
    return args


def _unknown_verb(name: str) -> UsageError:
    near = difflib.get_close_matches(name, [*VERBS, *NEIGHBOURS], 1)
    meant = NEIGHBOURS.get(near[0], near[0]) if near else None
    hint = f"did you mean `batuta {meant}`?" if meant else "`batuta --help` lists the verbs"
    return UsageError(f"there is no verb `{name}`", hint=hint)


# What other tools call it.
NEIGHBOURS = {
    "start": "run", "serve": "up", "server": "up", "dev": "up", "list": "ps", "ls": "ps",
    "describe": "show", "inspect": "show", "get": "show", "history": "show", "status": "ps",
    "log": "logs", "tail": "logs", "emit": "send", "publish": "send", "kill": "terminate",
    "stop": "cancel", "abort": "cancel", "resume": "retry", "rerun": "retry", "replay": "fork",
    "reset": "fork", "rollback": "undo", "compensate": "undo", "validate": "check", "lint": "check",
    "explain": "why", "cron": "schedules", "dlq": "dead", "help": "--help",
    "dump": "backup",
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv: what was typed behind `batuta`; `sys.argv` by default.

    Returns
    -------
    0: done. 1: it failed. 2: what was typed cannot be understood. 130: interrupted.
    """
    try:
        args = parse(sys.argv[1:] if argv is None else argv)
    except UsageError as error:
        Out().error(error)
        return USAGE
    except SystemExit as ended:  # --help
        return int(ended.code or 0)
    return perform(args)


def run_named(given: str) -> str:
    """The run that is meant: an execution is known by its ARN, too."""
    run: str | None = importlib.import_module("batuta.workflow.asl.arn").run_of(given)
    return run or given


def perform(args: argparse.Namespace) -> int:
    """Run a verb whose arguments are parsed."""
    out = Out()
    out.json = args.json
    if ":states:" in (getattr(args, "id", None) or ""):
        args.id = run_named(args.id)
    try:
        module, _, function = VERBS[args.verb].partition(":")
        code: int = getattr(importlib.import_module(module), function)(args, out)
    except UsageError as error:
        out.error(error)
        return USAGE
    except BatutaError as error:
        out.error(error)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read us (`head`) has seen enough; what is still in the buffer is for nobody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    return code
