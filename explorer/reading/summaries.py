"""From the small files of a run to its entry in the catalogue.

A summary is data from anywhere: a value of another type than ours counts as absent, and never as an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final, cast

from explorer.errors import FileError
from explorer.reading.info import EPOCH, LazyMetrics, RunError, RunInfo, State
from explorer.reading.liveness import Pulse
from explorer.storage.layout import RunPaths, list_process_files
from explorer.storage.records import Record, read_json, read_record

_ENDED: Final = ("finished", "failed", "killed")
_SUMMARY_MISSING: Final = "summary: no usable file, so there are no totals"


def make_info(
    run_dir: Path, *, records: Sequence[Record | str], user: Record | str, num_attempts: int, num_ranks: int
) -> tuple[RunInfo, Pulse | None]:
    """One run, and its pulse if it has not said that it ended (its state is then `stale` until the pulse is felt).

    Args:
        run_dir: the run's folder; its identity is read from there only when there is no usable summary.
        records: the summary of each attempt, oldest first, or what is wrong with it.
        user: the user's edits, or what is wrong with them.
        num_attempts: how many attempts have a summary.
        num_ranks: how many ranks have one.
    """
    summaries = [record for record in records if isinstance(record, dict)]
    problems = [record for record in (*records, user) if isinstance(record, str)]
    user = user if isinstance(user, dict) else {}
    run_id = run_dir.name
    if summaries:
        newest = summaries[-1]
    else:
        newest, more = _read_identity(run_dir)
        problems += more or [_SUMMARY_MISSING]
        num_attempts = num_ranks = 1
    recorded = _text(newest.get("state"))
    updated = parse_time(newest.get("updated"))
    info = RunInfo(
        run_id=run_id,
        path=run_dir,
        name=_text(user.get("name")) or _text(newest.get("name")) or run_id,
        group=_text(newest.get("group")) or None,
        tags=_texts(user.get("tags")) if "tags" in user else _texts(newest.get("tags")),
        notes=_text(user["notes"]) if "notes" in user else _text(newest.get("notes")),
        archived=user.get("archived") is True,
        created=parse_time(newest.get("created")),
        state=cast(State, recorded) if recorded in _ENDED else "stale",
        updated=updated,
        duration_s=sum(_number(record.get("duration_s")) for record in summaries),
        last_step=next((step for r in reversed(summaries) if (step := _integer(r.get("last_step"))) is not None), None),
        rows=sum(_integer(record.get("rows")) or 0 for record in summaries),
        num_attempts=num_attempts,
        num_ranks=num_ranks,
        config=_mapping(newest.get("config")),
        metrics=LazyMetrics([_mapping(record.get("metrics")) for record in summaries]),
        problems=tuple(problems),
        host=_text(newest.get("host")),
        error=_error(newest.get("error")) if recorded == "failed" else None,
        warnings=_texts(newest.get("warnings")),
        dropped_rows=sum(_integer(record.get("dropped_rows")) or 0 for record in summaries),
        refused_values=sum(_integer(record.get("refused_values")) or 0 for record in summaries),
        overhead=_mapping(newest.get("overhead")),
    )
    return info, None if recorded in _ENDED else _pulse(newest, num_attempts)


def _read_identity(run_dir: Path) -> tuple[Record, list[str]]:
    """What run.json and the newest attempt say of a run that has written no totals yet, and what is wrong with them."""
    try:
        record = read_record(RunPaths(run_dir).run_json)
    except (FileError, FileNotFoundError) as error:
        return {}, [f"run.json: {error.reason if isinstance(error, FileError) else 'is missing'}"]
    for _, _, path in reversed(list_process_files(run_dir, "attempts")):
        try:
            attempt = read_json(path)
        except (FileError, FileNotFoundError):
            continue
        record |= {key: attempt.get(key) for key in ("host", "boot_id", "pid", "process_start")}
        record["updated"] = attempt.get("started")
        break
    return record, []


def _pulse(record: Record, num_attempts: int) -> Pulse:
    return Pulse(
        process=record,
        beat=(num_attempts, _integer(record.get("heartbeat")) or 0),
        every_s=min(max(_number(record.get("heartbeat_every_s")), 0.1), 3600.0),
        updated=parse_time(record.get("updated")),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0


def parse_time(value: object) -> datetime:
    """An ISO-8601 time in UTC; 1970 for anything else."""
    if not isinstance(value, str):
        return EPOCH
    try:
        found = datetime.fromisoformat(value.replace("Z", "+00:00"))
        return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return EPOCH


def _error(value: object) -> RunError | None:
    if not isinstance(value, dict):
        return None
    return RunError(_text(value.get("type")), _text(value.get("message")), _text(value.get("traceback")))
