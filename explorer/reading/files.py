"""The files of a run, one by one: what each is, what it holds, and whether it can be used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from explorer.errors import FileError
from explorer.storage import layout, live, segments
from explorer.storage.layout import SegmentFile
from explorer.storage.records import read_json
from explorer.storage.snapshot_files import open_snapshot_file
from explorer.storage.tensor_files import open_tensor_segment
from explorer.storage.verify import verify_run

FileKind = Literal[
    "identity", "edits", "patch", "attempt", "totals", "model", "segment", "journal", "tensors", "snapshot"
]
_MAX_FOREIGN: Final = 100_000


@dataclass(frozen=True, kw_only=True)
class RunFile:
    """One file of a run."""

    name: str
    """Path below the run's folder, with `/` between the parts."""
    kind: FileKind
    """`segment`, `journal`, `tensors` and `snapshot` hold rows; the others are records about the run."""
    size_bytes: int
    """Size when it was listed."""
    rows: int | None
    """Rows in it; None for records and for files that cannot be used."""
    num_metrics: int | None
    """Metrics in it, or tensors of `tensors` and `snapshot`; None as for `rows`."""
    problem: str | None
    """Why it cannot be used, or what is wrong with it; None when nothing is known to be wrong."""


def list_files(run_dir: str | Path) -> list[RunFile]:
    """The files of a run that count, records first, then tables in the order of their rows.

    Reads the footer of each segment and the whole of each journal, no values of segments: damage inside a column shows
    only in `verify_files`. A missing segment number is told by `list_missing`.
    """
    run_dir = Path(run_dir)
    tables = [found for table in layout.TABLES for found in _table_files(run_dir, table)]
    return [*_records(run_dir), *tables, *_tensor_files(run_dir), *_snapshot_files(run_dir)]


def list_missing(run_dir: str | Path) -> list[str]:
    """One sentence for each segment that must have existed and is not there."""
    listed = {table: layout.list_segments(run_dir, table) for table in layout.TABLES}
    listed[layout.TENSORS] = _tensor_segments(Path(run_dir))
    return [f"{table}: {gap}" for table, files in listed.items() for gap in layout.list_gaps(files)]


def verify_files(run_dir: str | Path) -> dict[str, str]:
    """Read every file whole and check every checksum.

    Returns:
        Name as in `RunFile.name` to what is wrong, several reasons joined by `; `. Empty when all is well. What is
        wrong with the run itself has the name of a folder, such as `scalars`.
    """
    found: dict[str, str] = {}
    for finding in verify_run(run_dir):
        name = _name(Path(run_dir), finding.path)
        found[name] = f"{found[name]}; {finding.reason}" if name in found else finding.reason
    return found


def count_foreign(run_dir: str | Path) -> int:
    """How many files below a run's folder are none of ours; they are never read. Stops counting at 100,000."""
    ours = {found.name for found in _records(Path(run_dir))} | {
        _name(Path(run_dir), file.path) for table in layout.TABLES for file in layout.list_segments(run_dir, table)
    }
    ours |= {_name(Path(run_dir), file.path) for file in _tensor_segments(Path(run_dir))}
    ours |= {_name(Path(run_dir), file.path) for file in layout.list_snapshot_files(run_dir)}
    count = 0
    for folder, _, names in os.walk(run_dir):
        count += sum(_name(Path(run_dir), Path(folder, name)) not in ours for name in names)
        if count >= _MAX_FOREIGN:
            break
    return count


def _records(run_dir: Path) -> Iterator[RunFile]:
    paths = layout.RunPaths(run_dir)
    found: list[tuple[FileKind, Path]] = [("identity", paths.run_json), ("edits", paths.user_json)]
    found += [("attempt", path) for _, _, path in layout.list_process_files(run_dir, "attempts")]
    found += [("totals", path) for _, _, path in layout.list_process_files(run_dir, "summary")]
    found += [("model", path) for _, _, path in layout.list_process_files(run_dir, layout.MODEL)]
    for kind, path in found:
        size = _size(path)
        if size is not None:
            yield _file(run_dir, path, kind, size, problem=_record_problem(path))
    size = _size(paths.git_diff)
    if size is not None:
        yield _file(run_dir, paths.git_diff, "patch", size)


def _table_files(run_dir: Path, table: str) -> Iterator[RunFile]:
    for file in layout.list_segments(run_dir, table):
        try:
            yield _rows_file(run_dir, file)
        except FileNotFoundError:
            continue  # a journal that became a segment meanwhile
        except FileError as error:
            yield _file(run_dir, file.path, file.name.kind, file.size, problem=error.reason)


def _rows_file(run_dir: Path, file: SegmentFile) -> RunFile:
    if file.name.kind == "journal":
        tables, damaged = live.read_journal(file.path, final=False)
        names = {name for table in tables for name in table.column_names[2:]}
        problem = f"has {damaged} damaged places; the rows around them are read" if damaged else None
        rows = sum(table.num_rows for table in tables)
        return _file(run_dir, file.path, "journal", file.size, rows, len(names), problem)
    with segments.open_segment(file.path) as segment:
        return _file(run_dir, file.path, "segment", file.size, segment.num_rows, len(segment.metrics))


def _tensor_segments(run_dir: Path) -> list[SegmentFile]:
    return [file for file in layout.list_segments(run_dir, layout.TENSORS) if file.name.kind == "segment"]


def _tensor_files(run_dir: Path) -> Iterator[RunFile]:
    for file in _tensor_segments(run_dir):
        try:
            with open_tensor_segment(file.path) as segment:
                num_tensors = len({span.name for span in segment.tensors})
                yield _file(run_dir, file.path, "tensors", file.size, segment.num_rows, num_tensors)
        except FileNotFoundError:
            continue
        except FileError as error:
            yield _file(run_dir, file.path, "tensors", file.size, problem=error.reason)


def _snapshot_files(run_dir: Path) -> Iterator[RunFile]:
    for found in layout.list_snapshot_files(run_dir):
        try:
            with open_snapshot_file(found.path) as file:
                yield _file(run_dir, found.path, "snapshot", found.identity[0], None, len(file.entries))
        except FileNotFoundError:  # dropped meanwhile
            continue
        except FileError as error:
            yield _file(run_dir, found.path, "snapshot", found.identity[0], problem=error.reason)


def _file(
    run_dir: Path,
    path: Path,
    kind: FileKind,
    size: int,
    rows: int | None = None,
    num_metrics: int | None = None,
    problem: str | None = None,
) -> RunFile:
    name = _name(run_dir, path)
    return RunFile(name=name, kind=kind, size_bytes=size, rows=rows, num_metrics=num_metrics, problem=problem)


def _record_problem(path: Path) -> str | None:
    try:
        read_json(path)
    except FileNotFoundError:
        return "is gone"
    except FileError as error:
        return error.reason
    return None


def _name(run_dir: Path, path: Path) -> str:
    return path.relative_to(run_dir).as_posix() if path != run_dir else "."


def _size(path: Path) -> int | None:
    try:
        return os.lstat(path).st_size
    except OSError:
        return None
