"""Problems that loaders and checks collect, and how they are shown: like a good compiler."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from batuta.common.source import Source

SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with what a user wrote.

    Parameters
    ----------
    message: one sentence: what is wrong.
    source: where; None where it is of no file (the command line).
    hint: what to do about it.
    severity: `error`, `warning` or `note`.
    rule: short name of the check that found it, for silencing and for the documentation.
    """

    message: str
    source: Source | None = None
    hint: str | None = None
    severity: str = "error"
    rule: str = ""


def sort(problems: Iterable[Problem]) -> list[Problem]:
    """Each problem once, by file, line and column, the graver ones first on one position."""

    def order(problem: Problem) -> tuple[Source, int, str, str]:
        rank = SEVERITIES.index(problem.severity) if problem.severity in SEVERITIES else 3
        return problem.source or Source(""), rank, problem.message, problem.rule

    return sorted(dict.fromkeys(problems), key=order)


def read_file(file: str) -> str:
    """The text of a file, empty where it cannot be read: its lines are only decoration."""
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


WIDTH = 160
"""How much of a line is shown."""


def render(problems: Iterable[Problem], read: Callable[[str], str] = read_file) -> str:
    """The problems as text for a terminal, without colours.

    Parameters
    ----------
    problems: in any order, with repetitions; shown sorted and once each.
    read: file name -> its text, to show the line in question; empty text: not shown.
    """
    texts: dict[str, list[str]] = {}
    parts = []
    for problem in sort(problems):
        source = problem.source
        if source is not None and source.file not in texts:
            texts[source.file] = read(source.file).splitlines()
        parts.append(_one(problem, texts[source.file] if source else []))
    return "\n\n".join(parts)


def _one(problem: Problem, lines: list[str]) -> str:
    rule = f"[{problem.rule}]" if problem.rule else ""
    out = [f"{problem.severity}{rule}: {problem.message}"]
    source = problem.source
    margin = " "
    if source is not None:
        number = str(source.line) if source.line else ""
        margin = " " * (len(number) + 1)
        out.append(f"{' ' * max(len(number), 2)}--> {source}")
        if 0 < source.line <= len(lines):
            out += _excerpt(lines[source.line - 1], source, margin)
    if problem.hint:
        first, *more = problem.hint.splitlines()
        out.append(f"  hint: {first}")
        out += [f"        {line}" for line in more]
    return "\n".join(out)


def _excerpt(text: str, source: Source, margin: str) -> list[str]:
    """The line, or the part of a long one around the column, with its number and a caret."""
    text = text.rstrip()
    first = max(0, source.column - 1 - WIDTH // 2) if len(text) > WIDTH else 0
    part = text[first : first + WIDTH]
    head, tail = "…" if first else "", "…" if first + WIDTH < len(text) else ""
    shown = [f"{margin}|", f"{source.line} | {head}{part.expandtabs(4)}{tail}".rstrip()]
    if source.column:
        before = head + text[first : source.column - 1].expandtabs(4)
        shown.append(f"{margin}| {' ' * len(before)}^")
    return shown
