"""Put a killed process's part of a run in order before the run goes on: segments for journals, totals for guesses."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from explorer.errors import FileError
from explorer.recording.totals import Totals, write_summary
from explorer.storage import layout, process, records, segments
from explorer.storage.disk import Disk
from explorer.storage.layout import RunPaths, SegmentFile, SegmentName
from explorer.storage.live import read_journal

_HALF: Final = re.compile(r"\.(.+)\.\d+-[0-9a-f]+\.tmp", re.ASCII)


def replay_journals(run_dir: Path, disk: Disk) -> list[str]:
    """Settle every attempt whose process is gone for certain and has left a journal. Raises OSError.

    Returns one sentence for each journal with damaged places; their other rows are kept.
    """
    paths = RunPaths(run_dir)
    left: dict[tuple[int, int], list[tuple[str, SegmentFile]]] = {}
    for table in layout.TABLES:
        for file in layout.list_segments(run_dir, table):
            if file.name.kind == "journal":
                left.setdefault((file.name.attempt, file.name.rank), []).append((table, file))
    problems = []
    for (attempt, rank), journals in left.items():
        try:
            owner = records.read_json(paths.attempt_json(attempt, rank))
            if not process.is_gone(owner):
                continue
            for table, file in journals:
                problems += _seal(run_dir, table, file, disk)
            _settle(paths, attempt, rank, disk)
        except (FileNotFoundError, FileError):
            continue  # it stays as it is, and readers report it
    _clean_up(run_dir, disk)
    return problems


def _clean_up(run_dir: Path, disk: Disk) -> None:
    """Remove what a kill between two files has left of processes that are gone for certain.

    That are half-written files, and journals whose segment is whole.
    """
    gone: dict[tuple[int, int], bool] = {}
    for folder in (*layout.TABLES, layout.TENSORS, layout.MODEL, "attempts", "summary"):
        for owner, path in _leftovers(run_dir / folder):
            if owner not in gone:
                gone[owner] = _is_gone(run_dir, owner)
            if gone[owner]:
                with contextlib.suppress(OSError):  # somebody else's, perhaps; it only takes room
                    disk.remove(path)


def _leftovers(folder: Path) -> Iterator[tuple[tuple[int, int], Path]]:
    """(attempt, rank) and path of each half-written file, and of each journal that has become a segment."""
    there = {entry.name: entry for entry in layout.list_folder(folder)}
    for filename, entry in there.items():
        half = _HALF.fullmatch(filename)
        segment = layout.parse_segment_name(half[1] if half else filename)
        owner = layout.parse_process_file(half[1]) if half else None
        if segment is not None:
            is_left = half or (segment.kind == "journal" and segment._replace(kind="segment").filename in there)
            owner = (segment.attempt, segment.rank) if is_left else None
        if owner is not None and entry.is_file(follow_symlinks=False):
            yield owner, Path(entry.path)


def _is_gone(run_dir: Path, place: tuple[int, int]) -> bool:
    try:
        return process.is_gone(records.read_json(RunPaths(run_dir).attempt_json(*place)))
    except (FileNotFoundError, FileError):
        return False


def _seal(run_dir: Path, table: str, file: SegmentFile, disk: Disk) -> list[str]:
    tables, damaged = read_journal(file.path, final=True)
    if tables:
        name = SegmentName(file.name.attempt, file.name.rank, file.name.segment)
        segments.write_segment(run_dir, table, name, tables, disk=disk)
    disk.remove(file.path)
    return [f"{file.path.name} had {damaged} damaged places; the rows around them are kept"] if damaged else []


def _settle(paths: RunPaths, attempt: int, rank: int, disk: Disk) -> None:
    """Make the summary say what the segments hold: the last one was written up to two seconds before the end."""
    totals = Totals()
    for file in layout.list_segments(paths.run_dir, "scalars"):
        if (file.name.attempt, file.name.rank) == (attempt, rank) and file.name.kind == "segment":
            totals.add_table(segments.read_columns(file.path))
    summary = _summary(paths, attempt, rank)
    if summary.get("state") == "running":
        summary["state"] = "killed"
    summary |= {"last_step": totals.last_step, "rows": totals.rows, "scalars": totals.scalars}
    write_summary(paths.summary_json(attempt, rank), summary, totals, disk=disk, sync=True)


def _summary(paths: RunPaths, attempt: int, rank: int) -> dict[str, Any]:
    """The summary as the process left it, or what can be said when it died before its first one."""
    try:
        return records.read_record(paths.summary_json(attempt, rank))
    except (FileNotFoundError, FileError):
        run, started = records.read_record(paths.run_json), records.read_json(paths.attempt_json(attempt, rank))
        same = {key: run.get(key) for key in ("format", "name", "group", "tags", "notes", "created", "config")}
        keys = ("started", "host", "pid", "pid_namespace", "boot_id", "process_start")
        about = {key: started.get(key) for key in keys} | {"updated": started.get("started")}
        return {**same, **about, "state": "running", "error": None, "heartbeat": 0, "heartbeat_every_s": 5.0}
