"""Whether a run that says it is running still is.

On the machine that records it, and since the same boot, the process itself is asked for. From any other machine the
only thing to trust is whether the heartbeat's *content* changes between two looks: the clocks of two machines may
differ by anything, and so may those of a file server.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Final

from explorer.errors import FileError
from explorer.reading.info import State
from explorer.storage import process
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
    """What a process wrote about itself.

    Attributes:
        process: what `storage.process.identify` tells.
        beat: anything that differs after each heartbeat.
        every_s: how often it beats, in seconds.
        updated: by its own clock.
    """

    process: Mapping[str, Any]
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
        self._memory: dict[str, _Memory] = {}

    def state(self, run_id: str, pulse: Pulse) -> State:
        """The state of a run whose totals say `running`."""
        now = time.monotonic()
        memory = self._memory.setdefault(run_id, _Memory(pulse.beat, now))
        if memory.beat != pulse.beat:
            memory.beat, memory.since, memory.has_beaten = pulse.beat, now, True
            memory.beats_after += memory.found_gone
        alive = is_alive(pulse.process) if memory.beats_after < _BEATS_AFTER_DEATH else None
        if alive is not None:
            memory.found_gone = memory.found_gone or not alive
            return "running" if alive else "killed"
        if not memory.has_beaten and datetime.now(timezone.utc) - pulse.updated > _LONG_AGO:
            return "stale"
        return "running" if now - memory.since <= _PERIODS * pulse.every_s + _GRACE_S else "stale"

    def forget(self, run_id: str) -> None:
        """Drop what is remembered of a run that is gone or has ended."""
        self._memory.pop(run_id, None)


def is_alive(described: Mapping[str, Any]) -> bool | None:
    """Whether the process that `storage.process.identify` described still runs; None when nobody can tell from here."""
    pid, boot_id, start = described.get("pid"), described.get("boot_id"), described.get("process_start")
    if not (isinstance(boot_id, str) and isinstance(pid, int) and isinstance(start, int | float)):
        return None
    if process.is_gone(described):
        return False
    if not process.is_visible(described):
        return None
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[:1] not in (["Z"], ["X"])  # dead, and nobody has collected it yet


def writer_is_gone(run_dir: Path, attempt: int, rank: int) -> bool:
    """Whether it is certain that nobody writes this process's files any more; False when in doubt."""
    try:
        record = read_json(RunPaths(run_dir).summary_json(attempt, rank))
    except (FileError, FileNotFoundError):
        return False
    return record.get("state") != "running" or is_alive(record) is False
