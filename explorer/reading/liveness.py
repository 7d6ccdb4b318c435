"""Whether a run that says it is running still is.

On the machine that records it, and since the same boot, the process itself is asked for. From any other machine the
only thing to trust is whether the heartbeat's *content* changes between two looks: the clocks of two machines may
differ by anything, and so may those of a file server.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Final

from explorer.errors import FileError
from explorer.reading.info import State
from explorer.storage.layout import RunPaths
from explorer.storage.records import read_json

# A heartbeat is overdue after this many of its own periods, and this many seconds more.
_PERIODS: Final = 3.0
_GRACE_S: Final = 5.0
# At the very first look there is nothing to compare with. A run that was last heard of more than a day ago is shown as
# stale at once; should the clocks differ that much, its next heartbeat corrects it.
_LONG_AGO: Final = timedelta(days=1)
# Heartbeats seen after the process was found gone, until we believe them: it lives in another process namespace.
_BEATS_AFTER_DEATH: Final = 2


@dataclass(frozen=True)
class Pulse:
    """What a process wrote about itself. Missing facts are None.

    Attributes:
        host, boot_id, pid, process_start: which process; `process_start` in seconds after boot.
        beat: anything that differs after each heartbeat.
        every_s: how often it beats, in seconds.
        updated: by its own clock.
    """

    host: str | None
    boot_id: str | None
    pid: int | None
    process_start: float | None
    beat: tuple[int, ...]
    every_s: float
    updated: datetime


@dataclass
class _Memory:
    beat: tuple[int, ...]
    since: float  # monotonic clock when this beat was first seen
    has_beaten: bool = False
    found_gone: bool = False
    beats_after: int = 0


class Liveness:
    """Remembers the heartbeat of each run from one look to the next. Not thread-safe: its owner holds a lock."""

    def __init__(self) -> None:
        self._host = socket.gethostname()
        self._boot_id = read_boot_id()
        self._memory: dict[str, _Memory] = {}

    def state(self, run_id: str, pulse: Pulse) -> State:
        """The state of a run whose totals say `running`."""
        now = time.monotonic()
        memory = self._memory.setdefault(run_id, _Memory(pulse.beat, now))
        if memory.beat != pulse.beat:
            memory.beat, memory.since, memory.has_beaten = pulse.beat, now, True
            memory.beats_after += memory.found_gone
        if memory.beats_after < _BEATS_AFTER_DEATH and self._is_ours(pulse):
            alive = process_is_alive(pulse.pid or 0, pulse.process_start or 0.0)
            memory.found_gone = memory.found_gone or not alive
            return "running" if alive else "killed"
        if not memory.has_beaten and datetime.now(timezone.utc) - pulse.updated > _LONG_AGO:
            return "stale"
        return "running" if now - memory.since <= _PERIODS * pulse.every_s + _GRACE_S else "stale"

    def forget(self, run_id: str) -> None:
        """Drop what is remembered of a run that is gone or has ended."""
        self._memory.pop(run_id, None)

    def _is_ours(self, pulse: Pulse) -> bool:
        known = pulse.boot_id is not None and pulse.pid is not None and pulse.process_start is not None
        return known and pulse.boot_id == self._boot_id and pulse.host == self._host


def read_boot_id() -> str | None:
    """What this boot of this machine is called, or None where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None


def process_is_alive(pid: int, start_s: float) -> bool:
    """Whether the process that began `start_s` seconds after boot still runs; another one may have its number now."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        state, *rest = text[text.rindex(")") + 1 :].split()
        found_s = int(rest[18]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return False
    return state not in ("Z", "X") and abs(found_s - start_s) < 0.05


def writer_is_gone(run_dir: Path, attempt: int, rank: int) -> bool:
    """Whether it is certain that nobody writes this process's files any more; False when in doubt."""
    try:
        record = read_json(RunPaths(run_dir).summary_json(attempt, rank))
    except (FileError, FileNotFoundError):
        return False
    if record.get("state") != "running":
        return True
    pid, start = record.get("pid"), record.get("process_start")
    here = record.get("boot_id") == read_boot_id() is not None and record.get("host") == socket.gethostname()
    return here and isinstance(pid, int) and isinstance(start, int | float) and not process_is_alive(pid, start)
