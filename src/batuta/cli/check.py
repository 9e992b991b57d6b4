"""`batuta check`: every problem of a folder of definitions."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from batuta.cli.out import Out
from batuta.cli.project import Project, load, load_file
from batuta.cli.scan import is_flow
from batuta.common.problem import Problem, render


def check(args: argparse.Namespace, out: Out) -> int:
    """Load the folder, show what is wrong with it."""
    given = Path(args.dir)
    one = given.is_file() and is_flow(given.name)
    project = load_file(given) if one else load(args.dir)
    if out.json:
        for problem in project.problems:
            out.value(problem_json(problem))
    else:
        show_problems(project, out)
    errors = sum(p.severity == "error" for p in project.problems)
    if errors:
        out.note(out.tint(f"Found {errors} problem{'s' if errors > 1 else ''}", "red"))
        return 1
    out.done("Checked", f"{project.name}: {summary(project)}")
    return 0


def show_problems(project: Project, out: Out) -> None:
    """The problems with their lines, on `stderr`."""
    if project.problems:
        text = render(project.problems, lambda file: _text(project, file))
        for line in text.splitlines():
            out.note(_coloured(line, out))
        out.note()


def _text(project: Project, file: str) -> str:
    try:
        return (project.folder / file).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _coloured(line: str, out: Out) -> str:
    for word, colour in (("error", "red"), ("warning", "yellow"), ("  hint:", "cyan")):
        if line.startswith(word):
            head, colon, rest = line.partition(":")
            return out.tint(head + colon, colour) + rest
    return line


def summary(project: Project) -> str:
    """What was loaded: `3 workflows, 5 steps, 1 rule`."""
    counts = [
        ("workflow", len(project.workflows)),
        ("step", len(project.steps)),
        ("rule", len(project.rules)),
        ("schedule", len(project.schedules)),
        ("queue", len(project.queues)),
    ]
    said = [f"{n} {word}{'' if n == 1 else 's'}" for word, n in counts if n or word == "workflow"]
    return ", ".join(said)


def problem_json(problem: Problem) -> dict[str, Any]:
    """A problem for programs."""
    source = problem.source
    return {
        "severity": problem.severity,
        "rule": problem.rule,
        "message": problem.message,
        "file": source.file if source else None,
        "line": source.line if source else None,
        "column": source.column if source else None,
        "hint": problem.hint,
    }
