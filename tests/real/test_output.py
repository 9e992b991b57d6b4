"""What steps print: caught per command, hidden where secret, bounded."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

import pytest
from tests.real import steps
from tests.real.support import Harness, run

from batuta.kernel.clock import RealClock
from batuta.real.mask import Mask
from batuta.real.output import LogFiles, StepOutput, log_path

STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ", re.MULTILINE)


def sink(folder: Path, limit: int = 10_000_000) -> LogFiles:
    return LogFiles(folder / "logs", RealClock().now, limit)


def kept(folder: Path, run: str = "run-1") -> str:
    return STAMP.sub("", log_path(folder / "logs", run).read_text())


def test_output_of_all_modes_is_caught_by_command(tmp_path: Path) -> None:
    async def story(it: Harness) -> None:
        await it.value(it.ask(steps.speak, "from a coroutine"))
        await it.value(it.ask(steps.speak_thread, "from a thread"))
        await it.value(it.ask(steps.speak_process, "from a process"))
        await it.value(it.perform("shell", {"command": "echo from a shell; printf more >&2"}))

    run(story, sink=sink(tmp_path))
    lines = kept(tmp_path).splitlines()
    assert lines[:4] == [
        "1.1 out from a coroutine",
        "1.1 err a warning",
        "2.1 out from a thread",
        "2.1 out bytes too",
    ]
    assert sorted(lines[4:6]) == ["3.1 out from a child", "3.1 out from a process"]
    assert lines[6:] == ["4.1 out from a shell", "4.1 err more"]


def test_steps_beside_each_other_do_not_mix(tmp_path: Path) -> None:
    async def story(it: Harness) -> None:
        ids = [
            it.ask(steps.speak, f"number {number}", id=f"run-{number}/1.1") for number in range(9)
        ]
        for id in ids:
            await it.value(id)

    run(story, sink=sink(tmp_path))
    for number in range(9):
        assert kept(tmp_path, f"run-{number}") == f"1.1 out number {number}\n1.1 err a warning\n"


def test_outside_of_steps_output_goes_where_it_went(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sys.stdout

    async def story(it: Harness) -> None:
        await it.value(it.ask(steps.speak, "the step says"))
        assert sys.stdout is not before
        sys.stdout.write("the server says\n")
        sys.stdout.flush()
        assert not sys.stdout.isatty()

    run(story, sink=sink(tmp_path))
    assert sys.stdout is before
    assert capsys.readouterr().out == "the server says\n"


def test_without_a_sink_steps_print_as_ever(capsys: pytest.CaptureFixture[str]) -> None:
    async def story(it: Harness) -> None:
        await it.value(it.ask(steps.speak, "hello"))

    run(story)
    assert capsys.readouterr().out == "hello\n"


@pytest.mark.parametrize("target", [steps.flood, steps.flood_process])
def test_a_flood_is_cut_and_counted(target: steps.FakeStep, tmp_path: Path) -> None:
    async def story(it: Harness) -> None:
        began = time.monotonic()
        assert await it.value(it.ask(target, 200)) == 200
        assert await it.value(it.ask(steps.double, 2)) == 4
        assert time.monotonic() - began < 10

    run(story, sink=sink(tmp_path, limit=1_000_000))
    path = log_path(tmp_path / "logs", "run-1")
    assert path.stat().st_size < 1_001_000
    last = path.read_text().splitlines()[-1]
    found = re.search(r"… ([\d,]+) bytes dropped$", last)
    assert found is not None
    # Lines that were kept have a stamp before them, so less than the limit of them is there.
    assert 199_000_000 < int(found[1].replace(",", "")) < 200_000_000


def test_secrets_are_hidden_also_in_pieces(tmp_path: Path) -> None:
    files = sink(tmp_path)
    output = StepOutput("run-1/1.1", files, Mask(["hunter22", "ünïcode-secret"]))
    for piece in ("pass: hun", "ter22\nagain hunt", "er22 and ünï", "code-secret", " end hunter"):
        output.write("out", piece)
    output.end()
    files.close()
    assert kept(tmp_path) == "1.1 out pass: ***\n1.1 out again *** and *** end hunter\n"


def test_a_full_file_stays_full_after_a_restart(tmp_path: Path) -> None:
    for _ in range(2):
        files = sink(tmp_path, limit=1000)
        output = StepOutput("run-1/1.1", files, Mask())
        for _ in range(30):
            output.write("out", "x" * 49 + "\n")
        output.end()
        files.close()
    path = log_path(tmp_path / "logs", "run-1")
    assert path.stat().st_size < 1200
    assert path.read_text().count("bytes dropped") == 2


def test_a_disk_that_cannot_be_written_does_not_fail_the_step(tmp_path: Path) -> None:
    async def story(it: Harness) -> None:
        await it.value(it.ask(steps.speak, "into the void"))

    (tmp_path / "logs").write_text("a file where the folder should be")
    run(story, sink=sink(tmp_path))


def test_run_ids_of_any_form_have_a_file_of_their_own(tmp_path: Path) -> None:
    ids = ["plain-1", "a/b", "a_b", "../../etc/passwd", "x" * 10_000, "x" * 9_999, ".", "ü", ""]
    paths = {log_path(tmp_path, id) for id in ids}
    assert len(paths) == len(ids)
    assert all(path.parent == tmp_path and len(path.name) < 140 for path in paths)
    assert log_path(tmp_path, "plain-1").name == "plain-1.log"


def test_many_runs_do_not_keep_many_files_open(tmp_path: Path) -> None:
    files = sink(tmp_path)
    for number in range(200):
        files.write(f"run-{number}/1.1", "out", "hello\n")
    assert len(files._files) <= 64
    files.write("run-0/1.1", "out", "again\n")
    files.close()
    assert kept(tmp_path, "run-0") == "1.1 out hello\n1.1 out again\n"
