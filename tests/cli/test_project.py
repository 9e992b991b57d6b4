"""Loading a folder: what is found, what is wrong with it, and what changes while it runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from batuta.cli.main import main
from batuta.cli.project import Project, changed, load, reload
from batuta.common.problem import render
from batuta.kernel.errors import BatutaError

Write = Callable[..., Path]
GREET = """\
from batuta import step, workflow


@step
def polish(name: str) -> str:
    return name.title()


@workflow
async def greet(name: str) -> str:
    return "Hello " + await polish(name)
"""


def shown(project: Project) -> str:
    """The problems as they are shown, with the lines of the files."""
    return render(project.problems, lambda file: (project.folder / file).read_text("utf-8"))


# -- what is found -----------------------------------------------------------------------------


def test_everything_that_a_folder_defines(write: Write) -> None:
    project = load(
        write(
            app=GREET,
            more="""\
            from batuta import cron, every, field, on, queue, step
            from app import greet, polish

            bank = queue("bank", concurrency=10, rate="100/s")
            queue("mail", concurrency=1)

            @step(queue="mail")
            def post(text: str) -> None: ...

            @on("order.paid", where=field("data.total") > 100)
            async def reward(event) -> None: ...

            @every("15m")
            async def tidy() -> None: ...

            @cron("0 9 * * mon-fri", name="morning")
            async def report(due) -> None: ...
            """,
        )
    )
    assert shown(project) == ""
    assert project.name == "shop"
    assert sorted(project.workflows) == ["greet", "morning", "reward", "tidy"]
    assert sorted(project.steps) == ["polish", "post"]
    assert sorted(project.rules) == ["reward"]
    assert sorted(project.schedules) == ["morning", "tidy"]
    assert {name: each.concurrency for name, each in project.queues.items()} == {
        "bank": 10,
        "mail": 1,
    }
    assert project.definitions.workflows is project.workflows


def test_siblings_share_their_modules(write: Write) -> None:
    folder = write(app=GREET, other="from batuta import step\nimport app\nseen = app.greet\n")
    project = load(folder)
    assert project.modules["other"].seen is project.workflows["greet"]
    assert project.workflows["greet"].module == "app"
    assert project.workflows["greet"].source == f"{folder / 'app.py'}:9"


def test_only_files_with_definitions_are_run(write: Write) -> None:
    write(
        app=GREET,
        tool='raise SystemExit("this file does not import batuta")',
        _private='import batuta\nraise RuntimeError("private")',
        test_app='import batuta\nraise RuntimeError("a test")',
        demo='import batuta\nraise RuntimeError("a demo")',
        conftest='import batuta\nraise RuntimeError("a fixture")',
        client='def later():\n    import batuta\nraise RuntimeError("only later")',
        typed='"""import batuta"""\nraise RuntimeError("only text")',
    )
    project = load(write({"below/app.py": 'import batuta\nraise RuntimeError("below")'}))
    assert shown(project) == ""
    assert sorted(project.workflows) == ["greet"]


def test_what_a_private_module_defines_counts_where_it_is_imported(write: Write) -> None:
    folder = write(_flows=GREET, app="from batuta import step\nfrom _flows import greet\n")
    assert sorted(load(folder).workflows) == ["greet"]


def test_an_import_behind_a_condition_counts(write: Write) -> None:
    folder = write(app="try:\n    import batuta\nexcept ImportError:\n    raise\nx = batuta.step\n")
    assert "app" in load(folder).modules


def test_two_projects_with_modules_of_the_same_name(write: Write, tmp_path: Path) -> None:
    first = load(write(app=GREET))
    other = tmp_path / "other"
    other.mkdir()
    (other / "app.py").write_text(GREET.replace("greet", "salute"))
    second = load(other)
    assert (sorted(first.workflows), sorted(second.workflows)) == (["greet"], ["salute"])


def test_what_files_print_is_no_data(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    load(write(app=GREET + '\nprint("loaded")\n'))
    assert capsys.readouterr() == ("", "loaded\n")


def test_an_unknown_workflow_is_answered_with_the_nearest(write: Write) -> None:
    project = load(write(app=GREET))
    with pytest.raises(BatutaError) as caught:
        project.workflow("gret")
    assert str(caught.value) == "there is no workflow `gret`\n  hint: did you mean `greet`?"


@pytest.mark.parametrize(("name", "what"), [("nowhere", "does not exist"), ("a.py", "is a file")])
def test_a_folder_that_is_none(name: str, what: str, tmp_path: Path) -> None:
    (tmp_path / "a.py").touch()
    with pytest.raises(BatutaError) as caught:
        load(tmp_path / name)
    assert caught.value.message == f"`{tmp_path / name}` {what}"
    assert caught.value.hint == "give the folder that holds the definitions"


# -- what is wrong -----------------------------------------------------------------------------

BROKEN = {
    "syntax": (
        "import batuta\n\ndef f(:\n    pass\n",
        """\
error[syntax]: not valid Python: invalid syntax
  --> broken.py:3:7
  |
3 | def f(:
  |       ^""",
    ),
    "unclosed": (
        "import batuta\nx = (1,\n",
        """\
error[syntax]: not valid Python: '(' was never closed
  --> broken.py:2:5
  |
2 | x = (1,
  |     ^""",
    ),
    "indentation": (
        "import batuta\nif True:\nx = 1\n",
        """\
error[syntax]: wrong indentation: expected an indented block after 'if' statement on line 2
  --> broken.py:3:1
  |
3 | x = 1
  | ^""",
    ),
    "name": (
        "from batuta import step\n\nx = 1 + chrge\n",
        """\
error[import]: NameError: name 'chrge' is not defined
  --> broken.py:3:9
  |
3 | x = 1 + chrge
  |         ^""",
    ),
    "deep": (
        "import batuta\n\ndef f():\n    return 1 / 0\n\nf()\n",
        """\
error[import]: ZeroDivisionError: division by zero
  --> broken.py:4:12
  |
4 |     return 1 / 0
  |            ^""",
    ),
    "exit": (
        "import batuta, sys\nsys.exit(3)\n",
        """\
error[import]: the file ends the program (`SystemExit: 3`) when it is imported
  --> broken.py:2:1
  |
2 | sys.exit(3)
  | ^
  hint: put what shall only happen in a script below `if __name__ == "__main__":`""",
    ),
    "module": (
        "import batuta\nimport no_such_thing\n",
        f"""\
error[import]: ModuleNotFoundError: No module named 'no_such_thing'
  --> broken.py:2:1
  |
2 | import no_such_thing
  | ^
  hint: install what provides `no_such_thing` into {sys.prefix}, or correct the name""",
    ),
    "no message": (
        "import batuta\nraise ValueError\n",
        """\
error[import]: ValueError
  --> broken.py:2:1
  |
2 | raise ValueError
  | ^""",
    ),
    "not async": (
        "from batuta import workflow\n\n@workflow\ndef f() -> None: ...\n",
        """\
error[definition]: workflow `f` is not an `async def` function
  --> broken.py:3
  |
3 | @workflow
  hint: write `async def`; the work goes into steps, which may be plain functions""",
    ),
    "twice in a file": (
        "from batuta import step\n\n@step\ndef f(): ...\n\n@step\ndef f(): ...\n",
        """\
error[twice]: `f` is defined a second time in this file
  --> broken.py:7:1
  |
7 | def f(): ...
  | ^
  hint: the first one, at broken.py:4, is hidden by it: rename one""",
    ),
    "queue": (
        'from batuta import queue, step\n\nqueue("bank")\n\n@step(queue="bnak")\ndef f(): ...\n',
        """\
error[queue]: step `f` waits in queue `bnak`, which nobody defines
  --> broken.py:6
  |
6 | def f(): ...
  hint: did you mean `bank`?""",
    ),
    "rule": (
        'from batuta import on\n\n@on("a.b")\nasync def f(a, b): ...\n',
        """\
error[signature]: `f` is called with the event alone, but its function takes 2 arguments
  --> broken.py:4
  |
4 | async def f(a, b): ...
  hint: give it one parameter for the event""",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_explained_and_the_others_load(case: str, write: Write) -> None:
    text, expected = BROKEN[case]
    project = load(write(app=GREET, broken=text))
    assert shown(project) == expected
    assert project.broken
    assert "greet" in project.workflows


def test_a_broken_helper_is_named_with_who_imports_it(write: Write) -> None:
    project = load(
        write(
            one="import batuta\nimport helper\n",
            two="import batuta\nfrom other import x\n",
            helper="y = {}\ny['a']\n",
            other="def f(:\n",
        )
    )
    assert [(p.message, str(p.source)) for p in project.problems] == [
        ("KeyError: 'a' (imported by `one.py`)", "helper.py:2:1"),
        ("not valid Python: invalid syntax (imported by `two.py`)", "other.py:1:7"),
    ]


def test_two_workflows_of_one_name(write: Write) -> None:
    project = load(write(a=GREET, b=GREET.replace("polish", "shine")))
    assert shown(project) == (
        "error[twice]: two workflows are called `greet`\n"
        "  --> b.py:10\n"
        "   |\n"
        "10 | async def greet(name: str) -> str:\n"
        "  hint: the other one is at a.py:10; give one of them a name of its own with `name=`"
    )


def test_a_queue_with_two_limits(write: Write) -> None:
    text = 'from batuta import queue\nqueue("bank", concurrency={n})\n'
    project = load(write(a=text.format(n=1), b=text.format(n=2)))
    assert shown(project) == (
        "error: queue `bank` is defined twice, with different limits\n"
        "  hint: define it once and import it from there"
    ).replace("error:", "error[twice]:")


def test_a_name_of_pythons_own(write: Write) -> None:
    project = load(write(queue=GREET))
    assert shown(project) == (
        "error[name]: `queue.py` has the name of a module that is Python's own\n"
        "  --> queue.py\n"
        "  hint: rename it, for example to `queue_workflows.py`"
    )


def test_a_name_that_is_no_name(write: Write) -> None:
    project = load(write({"my-app.py": GREET}))
    assert shown(project) == (
        "error[name]: `my-app.py` cannot be imported: `my-app` is no Python name\n"
        "  --> my-app.py\n"
        "  hint: rename it, for example to `my_app.py`"
    )


def test_a_name_that_another_module_has(write: Write) -> None:
    project = load(write(pytest=GREET))
    assert project.problems[0].message == (
        f"`pytest.py` has the name of a module that is already taken by {pytest.__file__}, "
        "whose name it has"
    )


def test_text_that_is_no_python(write: Write) -> None:
    folder = write()
    (folder / "zero.py").write_bytes(b"import batuta\nx = '\x00'\n")
    (folder / "latin.py").write_bytes(b"import batuta\nx = '\xe4'\n")
    (folder / "deep.py").write_text("import batuta\nx = " + "-" * 100_000 + "1\n")
    (folder / "huge.py").write_text("import batuta\n" + "#" * 5_000_001)
    problems = {str(p.source).partition(":")[0]: p.message for p in load(folder).problems}
    assert sorted(problems) == ["deep.py", "huge.py", "latin.py", "zero.py"]
    assert "null bytes" in problems["zero.py"]
    assert problems["huge.py"] == "`huge.py` is larger than 5 MB"


@pytest.mark.skipif(os.getuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(write: Write) -> None:
    folder = write(app=GREET)
    (folder / "app.py").chmod(0)
    assert load(folder).problems[0].message == "`app.py` cannot be read: Permission denied"


def test_annotations_that_nobody_knows(write: Write) -> None:
    text = "from __future__ import annotations\n" + GREET.replace("name: str", "name: Persn")
    project = load(write(app=text))
    assert [str(p.source) for p in project.problems] == ["app.py:6", "app.py:11"]
    assert all("Persn" in p.message for p in project.problems)


# -- check -------------------------------------------------------------------------------------


def test_check_says_what_it_found(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(write(app=GREET))]) == 0
    assert capsys.readouterr() == ("", "Checked shop: 1 workflow, 1 step\n")


def test_check_shows_all_problems(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(app=BROKEN["syntax"][0], other=BROKEN["exit"][0], good=GREET)
    assert main(["check", str(folder)]) == 1
    out, err = capsys.readouterr()
    first = BROKEN["syntax"][1].replace("broken", "app")
    second = BROKEN["exit"][1].replace("broken", "other")
    assert out == ""
    assert err == f"{first}\n\n{second}\n\nFound 2 problems\n"


def test_check_for_programs(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(write(app=BROKEN["name"][0])), "--json"]) == 1
    assert capsys.readouterr().out == (
        '{"severity":"error","rule":"import","message":"NameError: name \'chrge\' is not defined",'
        '"file":"app.py","line":3,"column":9,"hint":null}\n'
    )


# -- reloading ---------------------------------------------------------------------------------


def test_nothing_changed(write: Write) -> None:
    project = load(write(app=GREET))
    assert not changed(project)
    os.utime(project.folder / "app.py", (1, 1))
    assert not changed(project), "only touched"


@pytest.mark.parametrize("kind", ["edited", "same size", "helper", "new", "gone"])
def test_a_change_is_seen(kind: str, write: Write) -> None:
    folder = write(app=GREET + "import helper\n", helper="x = 1\n")
    project = load(folder)
    match kind:
        case "edited":
            write(app=GREET + "\nimport helper\ny = 2\n")
        case "same size":
            write(app=(GREET + "import helper\n").replace("Hello", "Ciao "))
        case "helper":
            write(helper="x = 2\n")
        case "new":
            write(more="import batuta\n")
        case "gone":
            (folder / "helper.py").unlink()
    assert changed(project)


def test_reload_takes_what_is_new_at_once(write: Write) -> None:
    project = load(write(app=GREET))
    old = project.workflows["greet"]
    write(app=GREET.replace("Hello", "Howdy"))
    fresh = reload(project)
    assert fresh is not project
    assert fresh.workflows["greet"] is not old
    assert fresh.workflows["greet"].code_hash != old.code_hash
    assert sys.modules["app"].greet is fresh.workflows["greet"]
    assert not changed(fresh)


def test_a_helper_is_loaded_anew_too(write: Write) -> None:
    app = "from batuta import step\nimport helper\nvalue = helper.x\n"
    project = load(write(app=app, helper="x = 1\n"))
    write(helper="x = 2\n")
    assert reload(project).modules["app"].value == 2


def test_a_broken_reload_keeps_what_runs(write: Write) -> None:
    project = load(write(app=GREET))
    write(app="import batuta\n1/0\n")
    broken = reload(project)
    assert broken.problems[0].message == "ZeroDivisionError: division by zero"
    assert broken.workflows == project.workflows
    assert sys.modules["app"].greet is project.workflows["greet"]
    assert not changed(broken), "it is not tried again before it is edited"
    write(app=GREET)
    assert reload(broken).problems == []
