"""The name of this process in leases, and whether the process of another name is dead."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def owner_name(name: str | None) -> str:
    """The name of this process in leases: what it is called, and which process it is."""
    pid = os.getpid()
    return f"{name or socket.gethostname()}@{_machine()}:{pid}:{_born(pid)}"


def is_dead(owner: str) -> bool:
    """Whether an owner was a process of this machine that does not exist any more."""
    place, pid, born = owner.rsplit(":", 2) if owner.count(":") >= 2 else ("", "", "")
    machine = _machine()
    if machine == "?" or not pid.isdigit() or place.rpartition("@")[2] != machine:
        return False
    return not Path(f"/proc/{pid}").exists() or _born(int(pid)) != born


def lives_here(owner: str) -> bool:
    """Whether an owner is a process of this machine that exists."""
    place = owner.rsplit(":", 2)[0] if owner.count(":") >= 2 else ""
    return place.rpartition("@")[2] == _machine() != "?" and not is_dead(owner)


def _machine() -> str:
    """This machine since it was booted; empty where that cannot be told."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:18]
    except OSError:
        return "?"  # no /proc: leases run out by themselves


def _born(pid: int) -> str:
    """When a process was started, in ticks since boot: two of one pid differ in it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
