"""Writes docs/commands.md from what can be typed: `python -m batuta.cli.docs`."""

from __future__ import annotations

import sys
from typing import Any

from batuta.cli.arguments import COMMON, GROUPS, REACH, VERBS_LIST, Argument, Verb
from batuta.cli.main import NEIGHBOURS

HEAD = """\
# Commands

Made from the program itself by `make docs`; do not edit it.

Data goes to stdout, everything that is said about it to stderr. Every verb takes `--json`
(one value a line). Colours and live lines appear on a terminal only, and not where `NO_COLOR` is
set. Every id that is printed can be given to `show`, `logs`, `why`, `cancel`, `retry` and `undo`.

| exit code | means |
|---|---|
| 0 | done |
| 1 | it failed, or the run did |
| 2 | what was typed cannot be understood |
| 130 | interrupted with Ctrl-C |
"""
REACH_HEAD = """\
## Where a command works

A command asks the server that `--url` or `BATUTA_URL` names, or the one that runs on the project's
state. Where none runs it works on the journal itself, for as long as it takes. The project is the
nearest folder, from the present one upwards, that holds a `.batuta`.

"""
WORDS = """\
## Words of other tools

"""


def document() -> str:
    """The whole page."""
    parts = [HEAD]
    for group, title in GROUPS.items():
        parts.append(f"## {title}\n\n| verb | does |\n|---|---|")
        verbs = [verb for verb in VERBS_LIST if verb.group == group]
        parts += [
            f"| [`batuta {verb.name}`](#batuta-{verb.name}) | {verb.summary} |" for verb in verbs
        ]
        parts.append("")
        parts += [_verb(verb) for verb in verbs]
    parts.append(REACH_HEAD + _table(REACH))
    neighbours = ", ".join(
        f"`{word}` → `{verb}`" for word, verb in NEIGHBOURS.items() if verb != "--help"
    )
    parts.append(f"{WORDS}Typed by mistake, they are answered with ours: {neighbours}.\n")
    return "\n".join(parts)


def _verb(verb: Verb) -> str:
    text = [f"### `batuta {verb.name}`\n", f"{verb.summary}. {verb.text}".strip() + "\n"]
    text.append(f"```text\n{_usage(verb)}\n```\n")
    if verb.arguments:
        text.append(_table(verb.arguments))
    if verb.examples:
        text.append("```sh\n" + "\n".join(verb.examples) + "\n```\n")
    return "\n".join(text)


def _usage(verb: Verb) -> str:
    positional = [_positional(a) for a in verb.arguments if not a.flags[0].startswith("-")]
    options = [f"[{_option(a)}]" for a in verb.arguments if a.flags[0].startswith("-")]
    options += ["[WHERE]"] if verb.reaches else []
    options += [f"[{_option(a)}]" for a in COMMON]
    lines, line = [], f"batuta {verb.name}"
    for word in [*positional, *options]:
        if len(line) + len(word) > 88:
            lines.append(line)
            line = "   "
        line += f" {word}"
    return "\n".join([*lines, line])


def _metavar(argument: Argument) -> str:
    options = argument.options
    if "choices" in options:
        return "|".join(options["choices"])
    return str(options.get("metavar") or argument.flags[-1].lstrip("-").upper())


def _positional(argument: Argument) -> str:
    nargs = argument.options.get("nargs")
    name = _metavar(argument)
    return {"?": f"[{name}]", "*": f"[{name} …]"}.get(str(nargs), name)


def _option(argument: Argument) -> str:
    flag = argument.flags[-1]
    return (
        flag if argument.options.get("action") == "store_true" else f"{flag} {_metavar(argument)}"
    )


def _table(arguments: tuple[Argument, ...]) -> str:
    rows = ["| argument | means |", "|---|---|"]
    for argument in arguments:
        flags = ", ".join(f"`{name}`" for name in _names(argument)).replace("|", "\\|")
        rows.append(f"| {flags} | {_text(argument.options)} |")
    return "\n".join(rows) + "\n"


def _names(argument: Argument) -> list[str]:
    if not argument.flags[0].startswith("-"):
        return [_positional(argument)]
    value = "" if argument.options.get("action") == "store_true" else f" {_metavar(argument)}"
    return [*argument.flags[:-1], argument.flags[-1] + value]


def _text(options: dict[str, Any]) -> str:
    return str(options.get("help", "")).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(document())
