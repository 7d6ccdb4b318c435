"""From the small files of a run to its entry in the catalogue.

A summary is data from anywhere: a value of another type than ours counts as absent, and never as an error.
A list of a thousand runs is read in 50 ms, so each step here counts: most of a summary's text is the totals of its
metrics, which are cut out and decoded only when somebody looks at them.
"""

from __future__ import annotations

import errno
import json
import math
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

from explorer.errors import FileError
from explorer.reading.info import EPOCH, LazyMetrics, RunError, RunInfo
from explorer.reading.liveness import Pulse
from explorer.storage.layout import RunPaths, list_process_files
from explorer.storage.records import MAX_RECORD_BYTES, Record, check_format, read_json, read_record

_ENDED: Final = ("finished", "failed", "killed")
Stamp = tuple[int, int, int]  # inode, modification time in ns, bytes
_MIN_INTEGER, _MAX_INTEGER = -(2**63), 2**63 - 1
_READS_Z: Final = sys.version_info >= (3, 11)  # as a time zone
_SUMMARY_MISSING: Final = "summary: no usable file, so there are no totals"


def read_summary(path: str) -> tuple[Stamp, Record]:
    """A summary, with what tells it from another one that has the same name later.

    The value of `metrics`, which the recorder writes last, comes as JSON if nothing speaks against it.

    Raises:
        FileNotFoundError: it is not there, or it is a link.
        FileError: as `records.read_record`.
    """
    try:
        fd = os.open(path, _READ_ONLY)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link is none of our files
            raise FileNotFoundError(path) from None
        return (0, 0, 0), read_record(path)
    try:
        found = os.fstat(fd)
        data = os.read(fd, found.st_size) if stat.S_ISREG(found.st_mode) and found.st_size < MAX_RECORD_BYTES else b""
    finally:
        os.close(fd)
    return (found.st_ino, found.st_mtime_ns, found.st_size), _split(path, data) or read_record(path)


def _split(path: str, data: bytes) -> Record | None:
    """The record with its metrics left as they are; None when this text has to be read the slow way."""
    at = data.rfind(_METRICS)
    # The sequence is no part of a text, where its quotes would have backslashes; inside another object, what is before
    # it does not decode; and nothing but the end may follow.
    if (
        at < 0
        or data[-2:] != b"}}"
        or b"\\u" in data  # perhaps half a character, as `read_json` replaces it
        or b"\xed" in data
        or (data.find(b"}", at) < len(data) - 2 and data.find(b"},", at) >= 0)
    ):
        return None
    try:
        text = str(data[:at] + b"}", "utf-8")
        record, end = _scan(text, 0)
    except (ValueError, RecursionError, StopIteration):
        return None
    if end != len(text) or not isinstance(record, dict):
        return None
    check_format(path, record.get("format"))
    record["metrics"] = data[at + len(_METRICS) : -1]
    return record


def _refuse_constant(token: str) -> None:
    raise ValueError(token)


_READ_ONLY: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_METRICS: Final = b',"metrics":'
_scan: Final = json.JSONDecoder(parse_constant=_refuse_constant).scan_once  # type: ignore[attr-defined]


def make_info(
    run_dir: str, *, records: Sequence[Record | str], user: Record | str, num_attempts: int, num_ranks: int
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
    run_id = run_dir.rpartition(os.sep)[2]
    if summaries:
        newest = summaries[-1]
    else:
        newest, more = _read_identity(Path(run_dir))
        problems += more or [_SUMMARY_MISSING]
        num_attempts = num_ranks = 1
    said = newest.get
    recorded = said("state")
    info = object.__new__(RunInfo)
    # Not through its __init__, which for a frozen class of this many fields takes as long as reading the file.
    info.__dict__.update(
        run_id=run_id,
        folder=run_dir,
        name=_text(user.get("name")) or _text(said("name")) or run_id,
        group=_text(said("group")) or None,
        tags=_texts(user["tags"] if "tags" in user else said("tags")),
        notes=_text(user["notes"] if "notes" in user else said("notes")),
        archived=user.get("archived") is True,
        created=parse_time(said("created")),
        state=recorded if recorded in _ENDED else "stale",
        updated=parse_time(said("updated")),
        duration_s=sum([_number(record.get("duration_s")) for record in summaries]),
        last_step=_last_step(summaries),
        rows=_count(summaries, "rows"),
        num_attempts=num_attempts,
        num_ranks=num_ranks,
        config=_mapping(said("config")),
        metrics=LazyMetrics([_json_or_mapping(record.get("metrics")) for record in summaries]),
        problems=tuple(problems),
        host=_text(said("host")),
        error=_error(said("error")) if recorded == "failed" else None,
        warnings=_texts(said("warnings")),
        dropped_rows=_count(summaries, "dropped_rows"),
        refused_values=_count(summaries, "refused_values"),
        overhead=_mapping(said("overhead")),
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
        record |= {key: attempt.get(key) for key in ("host", "boot_id", "pid", "pid_namespace", "process_start")}
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
    return tuple([item for item in value if isinstance(item, str)]) if value and isinstance(value, list) else ()


def _last_step(records: Sequence[Record]) -> int | None:
    for record in reversed(records):
        step = _integer(record.get("last_step"))
        if step is not None:
            return step
    return None


def _count(records: Sequence[Record], key: str) -> int:
    num = 0
    for record in records:
        found = record.get(key)
        if type(found) is int and _MIN_INTEGER <= found <= _MAX_INTEGER:
            num += found
    return num


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _json_or_mapping(value: object) -> Mapping[str, Any] | bytes:
    return value if isinstance(value, bytes) else _mapping(value)


def _integer(value: object) -> int | None:
    return value if type(value) is int and _MIN_INTEGER <= value <= _MAX_INTEGER else None


def _number(value: object) -> float:
    if type(value) is float and math.isfinite(value):
        return value
    return float(_integer(value) or 0)


def parse_time(value: object) -> datetime:
    """An ISO-8601 time in UTC; 1970 for anything else."""
    if not isinstance(value, str):
        return EPOCH
    try:
        found = datetime.fromisoformat(value if _READS_Z or value[-1:] != "Z" else value[:-1] + "+00:00")
        if found.tzinfo is timezone.utc:
            return found
        return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return EPOCH


def _error(value: object) -> RunError | None:
    if not isinstance(value, dict):
        return None
    return RunError(_text(value.get("type")), _text(value.get("message")), _text(value.get("traceback")))
