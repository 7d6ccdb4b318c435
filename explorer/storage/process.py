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


def pid_namespace() -> int | None:
    """The inode of this process's PID namespace: containers count processes apart. None where the system has none."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return None


def identify() -> dict[str, Any]:
    """Enough to tell later whether this process is gone.

    Returns:
        ``host``, ``pid``, ``pid_namespace``, ``boot_id`` and ``process_start`` (s after boot); None for what the system
        does not tell.
    """
    pid = os.getpid()
    return {
        "host": socket.gethostname(),
        "pid": pid,
        "pid_namespace": pid_namespace(),
        "boot_id": boot_id(),
        "process_start": process_start(pid),
    }


def is_visible(record: Mapping[str, Any]) -> bool:
    """Whether the process that `identify` described would be seen from here: same machine, start and PID namespace."""
    here = boot_id()
    if here is None or (record.get("host"), record.get("boot_id")) != (socket.gethostname(), here):
        return False
    return record.get("pid_namespace") is not None and record.get("pid_namespace") == pid_namespace()


def is_gone(record: Mapping[str, Any]) -> bool:
    """Whether the process that `identify` described is gone for certain. False when nobody can tell from here."""
    here = boot_id()
    if record.get("host") != socket.gethostname() or here is None:
        return False
    if record.get("boot_id") != here:
        return True
    if not is_visible(record):
        return False
    pid = record.get("pid")
    return isinstance(pid, int) and process_start(pid) != record.get("process_start")
