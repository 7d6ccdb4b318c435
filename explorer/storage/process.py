"""Which process this is, and whether a process that wrote something is gone for certain."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def boot_id() -> str | None:
    """A name of this start of the machine; None where the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def process_start(pid: int) -> float | None:
    """When a process started, in seconds after boot; None when there is no such process or no way to know."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        return int(stat.rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None


def identify() -> dict[str, Any]:
    """`host`, `pid`, `boot_id` and `process_start` of this process: enough to tell later whether it is gone."""
    pid = os.getpid()
    return {"host": socket.gethostname(), "pid": pid, "boot_id": boot_id(), "process_start": process_start(pid)}


def is_gone(record: Mapping[str, Any]) -> bool:
    """Whether the process that `identify` described is gone for certain. False when nobody can tell from here."""
    here = boot_id()
    if record.get("host") != socket.gethostname() or here is None:
        return False
    if record.get("boot_id") != here:
        return True
    pid = record.get("pid")
    return isinstance(pid, int) and process_start(pid) != record.get("process_start")
