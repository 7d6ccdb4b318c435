"""Clocks, memory and disk of processes, and what is known of the machine."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import sys
from contextlib import suppress
from pathlib import Path

import psutil

_SUBREAPER, _NO_HUGE_PAGES = 36, 41


def adopt_orphans() -> None:
    """Keep what a library starts and detaches among our descendants, so that its CPU time is counted."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def cpu_s() -> float:
    """User and system seconds of this process and of everything it started, ended or alive."""
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        used = resource.getrusage(who)
        total += used.ru_utime + used.ru_stime
    return total + sum(_cpu_of(child) for child in psutil.Process().children(recursive=True))


def tree_cpu_s(pid: int) -> float:
    """The same of another process."""
    process = psutil.Process(pid)
    return sum(_cpu_of(one) for one in [process, *process.children(recursive=True)])


def _cpu_of(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return times.user + times.system + times.children_user + times.children_system
    return 0.0


def tree_memory_bytes(pid: int) -> int:
    """Resident memory of a process and what it started, shared libraries included, whoever else has them open."""
    process = psutil.Process(pid)
    total = 0
    for one in [process, *process.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            total += one.memory_info().rss
    return total


def has_mapped(pid: int, library: str) -> bool:
    """Whether a process has loaded a shared library whose path holds this text."""
    return library in Path(f"/proc/{pid}/maps").read_text()


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file())


def sync_folder(folder: Path) -> None:
    """Force every file below a folder to the device."""
    for path in [folder, *folder.rglob("*")]:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def describe() -> str:
    """One line: processor, cores, memory, system, Python."""
    model = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    memory_gib = psutil.virtual_memory().total / 2**30
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{os.cpu_count()} cores ({model}), {memory_gib:.0f} GiB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}; load over 1, 5, 15 minutes {load}"
    )


def without_huge_pages() -> None:
    """Have the kernel give this process small pages only (Linux; elsewhere nothing happens).

    Numpy and pyarrow ask for huge ones. Where memory is fragmented the kernel then moves other pages out of the way,
    which it counts as this process's time: 0.1 to 0.6 s for the same 120 MB, from one process to the next.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_NO_HUGE_PAGES, 1, 0, 0, 0)
