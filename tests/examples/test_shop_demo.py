"""The example as a whole: real server, real kill -9, real audit."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from examples.shop import audit as audit_module
from examples.shop.audit import audit

SHOP = Path(audit_module.__file__).parent
ORDERS = 150


def demo(state: Path, *options: str) -> list[str]:
    return [sys.executable, str(SHOP / "demo.py"), "--state", str(state), *options]


def commands_mentioning(text: str) -> list[str]:
    """The command lines of living processes that contain a text."""
    if Path("/proc/self/cmdline").exists():
        lines = []
        for entry in Path("/proc").iterdir():
            try:
                lines.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except (OSError, UnicodeDecodeError):
                continue  # no process, or one that has just ended
    else:
        listed = subprocess.run(["ps", "-axo", "args"], capture_output=True, text=True, check=True)
        lines = listed.stdout.splitlines()
    return [line for line in lines if text in line]


@pytest.mark.crash
def test_orders_survive_a_kill(tmp_path: Path) -> None:
    options = ("--orders", str(ORDERS), "--kills", "1")
    done = subprocess.run(demo(tmp_path, *options), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("kill -9 ") == 1
    assert "all 150 orders were submitted again: none is new" in done.stdout
    assert "(75 by the workflow, 75 by the state machine)" in done.stdout
    assert "batuta show checkout-machine:order-" in done.stdout
    assert "shop.py:" in done.stdout.partition("$ batuta why order-")[2]

    report = audit(tmp_path, tmp_path / "orders.jsonl")
    assert report.violations == []
    assert report.outcomes.total() == ORDERS
    assert report.outcomes["shipped"] > ORDERS / 2
    assert min(report.outcomes["compensated"], report.outcomes["rejected"]) > 0
    assert commands_mentioning(str(tmp_path)) == []


@pytest.mark.crash
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_nothing_is_left_running(tmp_path: Path, number: signal.Signals, code: int) -> None:
    with subprocess.Popen(
        demo(tmp_path, "--orders", "100"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("batuta up"):
                break
        url = line.rpartition(" ")[2].strip()
        assert httpx.get(f"{url}/healthz").is_success
        assert len(commands_mentioning(str(tmp_path))) >= 5  # itself, three services, the server
        os.kill(process.pid, number)
        process.communicate(timeout=30)
    assert process.returncode == code
    assert commands_mentioning(str(tmp_path)) == []


def test_it_says_what_is_wrong_with_the_workflow(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(SHOP, copy, ignore=shutil.ignore_patterns(".batuta", "__pycache__"))
    (copy / "shop.py").write_text("from batuta import workflow\n\nasync def checkout(:\n")
    command = [sys.executable, str(copy / "demo.py"), "--orders", "5", "--state", str(copy / "s")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "there is no workflow `checkout`" in done.stderr
    assert "shop.py" in done.stderr  # what the server said about it
    assert commands_mentioning(str(tmp_path)) == []
