"""The starts of a run's processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from explorer.errors import FileError
from explorer.reading.summaries import parse_time
from explorer.storage.layout import RunPaths
from explorer.storage.records import Record, read_json


@dataclass(frozen=True)
class Attempt:
    """One start of one process of a run.

    Attributes:
        attempt: 1 for the first start.
        rank: which of the processes.
        started: UTC.
        resumed_from_step: the last step that was there before; None for a new run.
        world_size: processes of the launch.
        host, pid: where it ran.
        state: `running`, `finished`, `failed` or `killed` as it was last written; None when there is no summary.
        duration_s: seconds recorded.
        rows: rows recorded.
        last_step: None before the first row.
        record: everything that its file says.
    """

    attempt: int
    rank: int
    started: datetime
    resumed_from_step: int | None
    world_size: int
    host: str
    pid: int | None
    state: str | None
    duration_s: float
    rows: int
    last_step: int | None
    record: Mapping[str, Any]


def read_attempt(run_dir: Path, attempt: int, rank: int, record: Record) -> Attempt:
    """An attempt by its record, with what its summary says if that can be read."""
    try:
        summary = read_json(RunPaths(run_dir).summary_json(attempt, rank))
    except (FileError, FileNotFoundError):
        summary = {}
    state, duration_s = summary.get("state"), summary.get("duration_s")
    return Attempt(
        attempt=attempt,
        rank=rank,
        started=parse_time(record.get("started")),
        resumed_from_step=_integer(record.get("resumed_from_step")),
        world_size=_integer(record.get("world_size")) or 1,
        host=str(record.get("host") or ""),
        pid=_integer(record.get("pid")),
        state=state if isinstance(state, str) else None,
        duration_s=float(duration_s) if isinstance(duration_s, int | float) else 0.0,
        rows=_integer(summary.get("rows")) or 0,
        last_step=_integer(summary.get("last_step")),
        record=record,
    )


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
