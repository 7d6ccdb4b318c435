"""Turn the journals that a killed process left into segments, before the run goes on."""

from __future__ import annotations

from pathlib import Path

from explorer.errors import FileError
from explorer.storage import layout, process, records, segments
from explorer.storage.disk import Disk
from explorer.storage.layout import RunPaths, SegmentName
from explorer.storage.live import read_journal


def replay_journals(run_dir: Path, disk: Disk) -> list[str]:
    """Seal every journal whose process is gone for certain. Raises OSError.

    Returns one sentence for each journal with damaged places; their other rows are kept.
    """
    paths = RunPaths(run_dir)
    problems = []
    for table in layout.TABLES:
        for file in layout.list_segments(run_dir, table):
            name = file.name
            if name.kind != "journal":
                continue
            try:
                owner = records.read_json(paths.attempt_json(name.attempt, name.rank))
                if not process.is_gone(owner):
                    continue
                tables, damaged = read_journal(file.path, final=True)
            except (FileNotFoundError, FileError):
                continue  # it stays as it is, and readers report it
            if damaged:
                problems.append(f"{file.path.name} has {damaged} damaged places; the rows around them are kept")
            if tables:
                target = SegmentName(name.attempt, name.rank, name.segment)
                segments.write_segment(run_dir, table, target, tables, disk=disk)
            disk.remove(file.path)
    return problems
