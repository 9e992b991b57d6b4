"""The verbs on a journal that no server holds, from a folder of definitions."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from batuta.cli.main import main
from batuta.kernel.sqlite import SqliteJournal

APP = '''\
from pathlib import Path
from batuta import emit, every, on, query, retry, saga, signal, sleep, step, workflow


@step
def polish(name: str) -> str:
    print("polishing", name)
    return name.title()


@workflow
async def greet(name: str, times: int = 1) -> str:
    """Greets somebody."""
    return ("Hello " + await polish(name)) * times


@step
def refund(amount: int) -> None: ...


@step(undo=refund)
def pay(amount: int) -> int:
    return amount


@step(retry=retry(2, initial="10ms"))
def ship() -> str:
    if not Path("truck").exists():
        raise ConnectionError("no truck")
    return "shipped"


@workflow
async def order(amount: int) -> str:
    await pay(amount)
    return await ship()


@workflow
async def paid(amount: int) -> int:
    query("twice", lambda: amount * 2)
    async with saga():
        await pay(amount)
    return amount


@workflow
async def asks() -> bool:
    return await signal("approve", bool, within="1 day")


@on("order.paid")
async def reward(event) -> str:
    return await ship()


@every("1000 days")
async def tidy() -> None: ...
'''

Batuta = Callable[..., tuple[int, str, str]]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "app.py").write_text(APP)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    return folder


@pytest.fixture
def batuta(shop: Path, capsys: pytest.CaptureFixture[str]) -> Batuta:
    """Type a command in the project's folder."""

    def typed(*argv: str) -> tuple[int, str, str]:
        code = main(argv)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return typed


def plain(text: str) -> str:
    """Without what differs from run to run."""
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "DATE", text)
    text = re.sub(r"\d\d:\d\d:\d\d\.\d{3}", "TIME", text)
    text = re.sub(r"just now|\d+ s ago", "AGO", text)
    return re.sub(r"\d+(\.\d+)? (µs|ms|s)\b", "SPAN", text)


def columns(text: str) -> list[list[str]]:
    """A table's cells."""
    return [re.split(r"  +", line.strip()) for line in plain(text).splitlines()]


# -- run ---------------------------------------------------------------------------------------


def test_run_prints_the_result_and_nothing_else(batuta: Batuta) -> None:
    assert batuta("run", "greet", "ada") == (0, '"Hello Ada"\n', "")


def test_run_takes_arguments_by_name(batuta: Batuta) -> None:
    assert batuta("run", "greet", "ada", "times=2")[1] == '"Hello AdaHello Ada"\n'
    assert batuta("run", "greet", "name=ada")[1] == '"Hello Ada"\n'


def test_run_shows_its_steps_on_request(batuta: Batuta) -> None:
    code, out, err = batuta("run", "greet", "ada", "--id", "g1", "--follow")
    assert (code, out) == (0, '"Hello Ada"\n')
    assert plain(err) == "Started g1 (greet)\n✓ polish SPAN\n"


def test_run_with_an_id_that_is_there_is_the_same_run(batuta: Batuta) -> None:
    batuta("run", "greet", "ada", "--id", "g1")
    code, out, err = batuta("run", "greet", "bob", "--id", "g1")
    assert (code, out) == (0, '"Hello Ada"\n')
    assert err == "Run g1 was started before; this is the same one\n"


def test_a_run_that_fails(batuta: Batuta) -> None:
    code, out, err = batuta("run", "order", "5", "--id", "o1")
    assert (code, out) == (1, "")
    assert err == (
        "error: run o1 failed: ConnectionError: no truck\n"
        "  hint: `batuta show o1` has its history, `batuta retry o1` goes on from there\n"
    )


def test_run_for_programs(batuta: Batuta) -> None:
    code, out, _ = batuta("run", "greet", "ada", "--id", "g1", "--json")
    assert (code, json.loads(out)) == (
        0, {"id": "g1", "status": "completed", "result": "Hello Ada"},
    )  # fmt: skip
    code, out, _ = batuta("run", "order", "5", "--id", "o1", "--json")
    value = json.loads(out)
    assert (code, value["status"], value["error"]["message"]) == (1, "failed", "no truck")


@pytest.mark.parametrize(
    ("typed", "code", "message", "hint"),
    [
        (["gret", "x"], 1, "there is no workflow `gret`", "did you mean `greet`?"),
        (["greet", "{x"], 2, "argument 1 is not JSON: ", "put the whole value between single"),
        (["greet"], 1, "the input does not fit workflow `greet`: ", "greet(name: str"),
        (["greet", "ada", "3.5"], 1, "the input does not fit workflow `greet`: ", ""),
        (["greet", "ada", "--attr", "x"], 2, "`x` is no NAME=VALUE", ""),
    ],
)
def test_what_cannot_be_run(
    typed: list[str], code: int, message: str, hint: str, batuta: Batuta
) -> None:
    got, out, err = batuta("run", *typed)
    assert (got, out) == (code, "")
    assert err.startswith(f"error: {message}")
    assert hint in err


def test_what_is_wrong_in_the_folder_is_said(batuta: Batuta, shop: Path) -> None:
    (shop / "bad.py").write_text("import batuta\n1/0\n")
    code, out, err = batuta("run", "greet", "ada")
    assert (code, out) == (0, '"Hello Ada"\n')
    assert err.startswith("error[import]: ZeroDivisionError: division by zero\n  --> bad.py:2:1\n")


def test_detached_without_a_server(batuta: Batuta) -> None:
    code, out, err = batuta("run", "asks", "--id", "a1", "--detach")
    assert (code, out) == (0, "a1\n")
    assert err == (
        "No server runs on .batuta/journal.db: the run goes on with the next `batuta up`\n"
    )


def test_deadline_priority_and_attributes_are_kept(batuta: Batuta) -> None:
    batuta("run", "asks", "--id", "a1", "--detach", "--deadline", "1 day", "--priority", "3",
           "--attr", "country=DE", "--attr", "rank=2")  # fmt: skip
    view = json.loads(batuta("show", "a1", "--json")[1])
    assert view["priority"] == 3
    assert view["attributes"] == {"country": "DE", "rank": 2}
    assert 86_000 < (view["deadline"] - view["started"]) / 1e9 <= 86_400
    assert "a1" in batuta("ps", "--attr", "country=DE")[1]
    assert "a1" not in batuta("ps", "--attr", "country=FR")[1]


# -- looking -----------------------------------------------------------------------------------


def test_ps(batuta: Batuta) -> None:
    assert batuta("run", "greet", "ada", "--id", "g1")[0] == 0
    assert batuta("run", "order", "5", "--id", "o1")[0] == 1
    code, out, err = batuta("ps")
    assert (code, err) == (0, "")
    assert columns(out) == [
        ["STATUS", "RUN", "WORKFLOW", "STARTED", "TOOK", "REASON"],
        ["failed", "o1", "order", "AGO", "SPAN", "no truck"],
        ["completed", "g1", "greet", "AGO", "SPAN"],
    ]
    assert [line.split()[1] for line in batuta("ps", "--status", "failed")[1].splitlines()[1:]] == [
        "o1"
    ]
    assert [json.loads(line)["id"] for line in batuta("ps", "g", "--json")[1].splitlines()] == [
        "g1"
    ]
    assert batuta("ps", "--workflow", "none") == (0, "", "There are no such runs\n")
    assert batuta("ps", "--limit", "1")[2] == "The newest 1; --limit shows more\n"


def test_show(batuta: Batuta) -> None:
    batuta("run", "order", "5", "--id", "o1")
    code, out, _ = batuta("show", "o1")
    assert code == 0
    assert (
        plain(out)
        == """\
failed o1 order took SPAN
│  because no truck
│  started DATE (AGO)
│  defined app.py:33
│  input   5
├─ ✓ 1 pay SPAN
│     in  5
│     out 5
└─ ✗ 2 ship failed after SPAN (2 attempts)
      try 1 ConnectionError: no truck after SPAN, again
      try 2 ConnectionError: no truck after SPAN
"""
    )
    full = batuta("show", "o1", "--full")[1]
    assert "    Traceback (most recent call last):\n" in full
    assert 'app.py", line 29, in ship\n' in full


def test_why(batuta: Batuta) -> None:
    batuta("run", "greet", "ada", "--id", "g1")
    code, out, _ = batuta("why", "g1")
    assert code == 0
    assert plain(out).splitlines()[0].endswith("run `g1` completed")
    assert out.splitlines()[-1].strip() == "workflow `greet` is defined at app.py:11"
    chain = [json.loads(line) for line in batuta("why", "g1", "--json")[1].splitlines()]
    assert [link["type"] for link in chain] == [
        "run.completed", "step.completed", "step.asked", "run.started", "definition",
    ]  # fmt: skip
    assert batuta("why", f"#{chain[1]['seq']}")[1].splitlines() == out.splitlines()[1:]


def test_logs_hold_what_happened_and_what_was_printed(batuta: Batuta) -> None:
    batuta("run", "greet", "ada", "--id", "g1")
    code, out, _ = batuta("logs", "g1")
    assert code == 0
    assert plain(out).splitlines() == [
        "TIME  run `g1` of `greet` started, asked for from outside",
        "TIME  step `polish` was asked for [1.1]",
        "TIME  1.1 | polishing ada",
        "TIME  step `polish` completed [1.1]",
        "TIME  run `g1` completed",
    ]
    lines = [json.loads(line) for line in batuta("logs", "g1", "--json")[1].splitlines()]
    assert lines[2]["text"] == "polishing ada"
    assert batuta("logs", "g1", "-f")[1] == out, "an ended run is not waited for"


def test_events(batuta: Batuta) -> None:
    batuta("run", "greet", "ada", "--id", "g1")
    everything = [json.loads(line) for line in batuta("events", "--json")[1].splitlines()]
    assert [event["seq"] for event in everything] == sorted(e["seq"] for e in everything)
    of_steps = batuta("events", "--type", "step.*", "--subject", "g1")[1].splitlines()
    assert [line.split()[2] for line in of_steps] == ["step.asked", "step.completed"]
    assert "run.completed" in batuta("events", "--limit", "1")[1]
    assert "run.started" in batuta("events", "--after", "0", "--type", "run.*", "--limit", "1")[1]
    assert batuta("events", "--type", "x") == (0, "", "There are no such events\n")


def test_workflows_and_schedules(batuta: Batuta) -> None:
    batuta("run", "greet", "ada")
    rows = columns(batuta("workflows")[1])
    assert rows[0] == ["WORKFLOW", "STARTS", "RUNS", "DEFINED", "WHAT IT IS"]
    assert ["greet", "by hand", "1", "app.py:11", "Greets somebody."] in rows
    assert ["reward", "on order.paid", "0", "app.py:52"] in rows
    assert [row[:3] for row in columns(batuta("schedules")[1])] == [
        ["SCHEDULE", "WHEN", "MISSED"],
        ["tidy", "every 1000 days", "once"],
    ]
    row = json.loads(batuta("schedules", "--json")[1])
    assert (row["workflow"], row["expression"]) == ("tidy", "every 1000 days")


@pytest.mark.parametrize("verb", ["show", "why", "logs", "ps", "events", "cancel", "query"])
def test_without_a_journal(verb: str, batuta: Batuta) -> None:
    typed = {"ps": [], "events": [], "query": ["x", "y"]}.get(verb, ["x"])
    code, out, err = batuta(verb, *typed)
    assert (code, out) == (1, "")
    assert err == (
        "error: there is no journal in `.batuta`\n"
        "  hint: go to the project's folder, name it with --project DIR, or a server with "
        "--url URL; `batuta up DIR` makes a journal\n"
    )


@pytest.mark.parametrize("verb", ["show", "why", "logs", "cancel", "retry", "undo", "terminate"])
def test_an_id_that_nobody_knows(verb: str, batuta: Batuta) -> None:
    batuta("run", "greet", "ada")
    code, out, err = batuta(verb, "nope")
    assert (code, out) == (1, "")
    assert "`nope`" in err
    assert "\n  hint: " in err


# -- asking ------------------------------------------------------------------------------------


def test_retry_goes_on_from_where_it_failed(batuta: Batuta, shop: Path) -> None:
    batuta("run", "order", "5", "--id", "o1")
    (shop / "truck").touch()
    assert batuta("retry", "o1") == (0, '"shipped"\n', "Retried o1\n")
    view = json.loads(batuta("show", "o1", "--json")[1])
    assert [(step["name"], len(step["attempts"])) for step in view["steps"]] == [
        ("pay", 1), ("ship", 3),
    ]  # fmt: skip


def test_fork_is_a_new_run(batuta: Batuta, shop: Path) -> None:
    (shop / "truck").touch()
    batuta("run", "order", "5", "--id", "o1")
    code, out, err = batuta("fork", "o1", "2", "--id", "o2")
    assert (code, out, err) == (0, 'o2\n"shipped"\n', "Forked o1 as o2\n")
    assert "completed o2 order" in batuta("show", "o2")[1]


def test_undo_and_query(batuta: Batuta) -> None:
    batuta("run", "paid", "5", "--id", "p1")
    assert batuta("query", "p1", "twice") == (0, "10\n", "")
    assert batuta("undo", "p1") == (0, "", "Undoing p1\nUndone p1\n")
    assert "undo refund" in batuta("show", "p1")[1]
    code, _, err = batuta("query", "p1", "thrice")
    assert code == 1
    assert "it answers: twice" in err


def test_cancel_and_terminate(batuta: Batuta) -> None:
    for id in ("a1", "a2"):
        batuta("run", "asks", "--id", id, "--detach")
    assert batuta("cancel", "a1", "--reason", "no more") == (
        0, "", "Asked to cancel a1\nCancelled a1\n",
    )  # fmt: skip
    assert batuta("terminate", "a2")[::2] == (0, "Terminated a2\n")
    assert batuta("terminate", "a1") == (
        0, "", "Nothing to do: run a1 has ended before (cancelled)\n",
    )  # fmt: skip
    rows = columns(batuta("ps")[1])
    assert sorted((row[0], row[1]) for row in rows[1:]) == [
        ("cancelled", "a1"), ("terminated", "a2"),
    ]  # fmt: skip


def test_signal_is_kept_for_whoever_goes_on(batuta: Batuta) -> None:
    batuta("run", "asks", "--id", "a1", "--detach")
    code, out, err = batuta("signal", "a1", "approve", "true")
    assert (code, out) == (0, "")
    assert err.startswith("Signalled a1\n")
    assert batuta("run", "asks", "--id", "a1")[1] == "true\n"


def test_events_that_a_rule_gives_up(batuta: Batuta, shop: Path) -> None:
    code, out, err = batuta("send", "order.paid", "--subject", "o1", "--id", "e1", "--data", "{}")
    assert (code, out) == (0, "e1\n")
    assert err.startswith("Sent order.paid about o1\n")
    wait_until(batuta, "reward:e1")
    rows = columns(batuta("dead")[1])
    assert rows[1][:3] == ["reward:e1", "order.paid", "o1"]
    shown = batuta("dead", "show", "reward:e1")[1]
    assert "delivery reward:e1\n" in shown
    assert "no truck" in shown
    (shop / "truck").touch()
    assert batuta("dead", "redrive", "reward:e1") == (0, "", "Redrove reward:e1\n")
    for _ in range(50):
        if batuta("dead") == (0, "", "There are no dead letters\n"):
            break
        batuta("run", "greet", "ada")  # gives a system the time to go on
    assert batuta("dead") == (0, "", "There are no dead letters\n")


def wait_until(batuta: Batuta, id: str) -> None:
    """Until a delivery is among the dead letters; each command lets the system go on a little."""
    for _ in range(50):
        if id in batuta("dead")[1]:
            return
        batuta("run", "greet", "ada")
    raise AssertionError(batuta("dead"))


@pytest.mark.parametrize("action", ["show", "redrive"])
def test_dead_needs_an_id(action: str, batuta: Batuta) -> None:
    assert batuta("dead", action) == (
        2, "", f"error: `dead {action}` needs an ID\n  hint: `batuta dead` lists them\n",
    )  # fmt: skip


def test_an_event_of_batutas_own_kind(batuta: Batuta) -> None:
    code, _, err = batuta("send", "run.started")
    assert code == 1
    assert err.startswith("error: ")
    assert batuta("send", "a.b", "--data", "x")[0] == 2


# -- keeping -----------------------------------------------------------------------------------


def test_backup_and_restore(batuta: Batuta, shop: Path) -> None:
    batuta("run", "greet", "ada", "--id", "g1")
    code, _, err = batuta("backup", "copy.db")
    assert code == 0
    assert err.startswith("Backed up .batuta/journal.db to copy.db (0.1 MB) in ")
    assert batuta("backup", "copy.db")[2].startswith("error: `copy.db` is there already\n")
    batuta("run", "greet", "ada", "--id", "g2")
    assert batuta("restore", "copy.db")[2] == (
        "error: there is a journal in .batuta/journal.db\n"
        "  hint: --force puts the backup in its place\n"
    )
    assert batuta("restore", "copy.db", "--force")[0] == 0
    assert [row[1] for row in columns(batuta("ps")[1])[1:]] == ["g1"]
    assert batuta("restore", "none.db")[2].startswith("error: `none.db` is no file\n")
    (shop / "text.db").write_text("no journal at all" * 100)
    code, _, err = batuta("restore", "text.db", "--force")
    assert code == 1
    assert [row[1] for row in columns(batuta("ps")[1])[1:]] == ["g1"], "nothing was replaced"


def test_restore_makes_a_journal_where_there_is_none(batuta: Batuta, shop: Path) -> None:
    SqliteJournal(shop / "empty.db").close()
    assert batuta("restore", "empty.db", "--json")[0] == 0
    assert batuta("ps") == (0, "", "There are no runs yet\n")


def test_env_without_a_server(batuta: Batuta, shop: Path) -> None:
    code, out, err = batuta("env")
    assert (code, out) == (0, f"export BATUTA_STATE={shop}/.batuta\n")
    assert err == "No server runs on .batuta/journal.db; `batuta up` starts one\n"


def test_a_database_that_is_none(batuta: Batuta) -> None:
    code, _, err = batuta("ps", "--database", "mysql://x")
    assert code == 1
    assert err == (
        "error: `mysql://x` is no address of a database\n"
        "  hint: write postgresql://USER@HOST/NAME\n"
    )


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nowhere", "`nowhere` is no address of a server"),
        ("http://127.0.0.1:9", "no server answers at http://127.0.0.1:9: Connection refused"),
    ],
)
def test_a_server_that_is_none(url: str, message: str, batuta: Batuta) -> None:
    code, _, err = batuta("ps", "--url", url)
    assert code == 1
    assert err.startswith(f"error: {message}\n  hint: ")


def test_backup_does_not_go_through_a_server(batuta: Batuta) -> None:
    assert batuta("backup", "x", "--url", "http://127.0.0.1:9")[2].startswith(
        "error: `backup` works on the journal itself, not through a server\n"
    )
