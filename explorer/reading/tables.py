"""The scalars of one run as data frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from explorer.errors import FileError
from explorer.reading.blocks import Ints
from explorer.reading.pieces import Piece, TableFiles, missing_parts, newest_wins, open_piece
from explorer.storage.columns import column_name, numbers, validity
from explorer.storage.points import Points, points_of

if TYPE_CHECKING:
    import pandas as pd

_NUM_TRIES: Final = 4


def metric_names(run_dir: Path, table: str) -> list[str]:
    """Every metric that any file of a table has, sorted. Files that cannot be read are left out."""
    names: set[str] = set()
    files = TableFiles(run_dir, table)
    files.look()
    for rank in files.ranks():
        for piece in _pieces(files, rank):
            names.update(name for found in piece.tables for name in found.column_names[2:])
            if not piece.is_journal:
                try:
                    with open_piece(piece, table) as segment:
                        names.update(segment.metrics)
                except (FileError, FileNotFoundError):
                    continue
    return sorted(names)


def read_frame(run_dir: Path, table: str, metrics: list[str], rank: int | None) -> pd.DataFrame:
    """The newest value of each metric per step; see `Run.scalars`."""
    found: dict[str, list[tuple[int, Points]]] = {name: [] for name in metrics}
    problems: list[str] = []
    for attempt, _, part in _read_pieces(run_dir, table, metrics, rank, problems, all_ranks=False):
        for name in metrics:
            points = points_of(part, name)
            if points is not None and len(points):
                found[name].append((attempt, points))
    merged = {name: _merged(parts) for name, parts in found.items()}
    steps = _union([points.step for points in merged.values()])
    wall_us = np.full(len(steps), np.iinfo(np.int64).min)
    columns = {}
    for name, points in merged.items():
        # Of the same length they are the same steps.
        at = slice(None) if len(points.step) == len(steps) else np.searchsorted(steps, points.step)
        wall_us[at] = np.maximum(wall_us[at], points.wall_us)
        columns[name] = _column(points.value, at, len(steps))
    return _frame({"step": steps, "wall_time": wall_us.view("datetime64[us]")}, columns, problems)


def raw_rows(run_dir: Path, table: str, metrics: list[str], rank: int | None) -> pd.DataFrame:
    """Every row as it was logged; see `Run.scalars`."""
    problems: list[str] = []
    heads: list[tuple[Ints, Ints, int, int]] = []
    values: dict[str, list[tuple[int, npt.NDArray[np.bool_], npt.NDArray[Any]]]] = {name: [] for name in metrics}
    start = 0
    for attempt, of_rank, part in _read_pieces(run_dir, table, metrics, rank, problems, all_ranks=rank is None):
        names = [name for name in metrics if name in part.column_names[2:]]
        valid = {name: validity(part.column(part.column_names.index(name, 2))) for name in names}
        if not names:
            continue
        some = np.any(list(valid.values()), axis=0)
        heads.append((numbers(part.column(0))[some], numbers(part.column(1))[some], attempt, of_rank))
        for name in names:
            column = numbers(part.column(part.column_names.index(name, 2)))[some]
            values[name].append((start, valid[name][some], column))
        start += int(some.sum())
    empty = np.empty(0, np.int64)
    steps = np.concatenate([empty, *(head[0] for head in heads)])
    wall_us = np.concatenate([empty, *(head[1] for head in heads)])
    attempts = np.concatenate([empty, *(np.full(len(head[0]), head[2]) for head in heads)])
    ranks = np.concatenate([empty, *(np.full(len(head[0]), head[3]) for head in heads)])
    columns = {}
    for name, parts in values.items():
        at = np.concatenate([empty, *(first + np.flatnonzero(kept) for first, kept, _ in parts)])
        logged = [column[kept] for _, kept, column in parts]
        columns[name] = _column(_joined(logged), at, start)
    fixed = {"attempt": attempts, "rank": ranks, "step": steps, "wall_time": wall_us.view("datetime64[us]")}
    frame = _frame(fixed, columns, problems)
    return frame.iloc[np.lexsort((ranks, attempts, steps))].reset_index(drop=True)


def _read_pieces(
    run_dir: Path, table: str, metrics: list[str], rank: int | None, problems: list[str], *, all_ranks: bool
) -> Iterator[tuple[int, int, pa.Table]]:
    """(attempt, rank, rows) of every file that can be read, in the order in which they count."""
    files = TableFiles(run_dir, table)
    files.look()
    known = files.ranks()
    for shown in known if all_ranks else ([rank] if rank is not None else known[:1]):
        problems += files.gaps(shown)
        pieces = _pieces(files, shown)
        parts: dict[tuple[int, int], set[int]] = {}
        for piece in pieces:
            parts.setdefault(piece.key[:2], set()).add(piece.key[2])
        for piece in pieces:
            if piece.problem:
                problems.append(piece.problem)
            for found in piece.tables:
                yield piece.file.name.attempt, shown, found
            if piece.is_journal:
                continue
            try:
                with open_piece(piece, table) as segment:
                    missing = missing_parts(segment, piece.file.name, parts[piece.key[:2]])
                    problems += [f"{piece.file.path.name}: part {part} of it is missing" for part in missing]
                    if any(name in segment.metrics for name in metrics):
                        yield piece.file.name.attempt, shown, segment.read(metrics)
            except FileError as error:
                problems.append(f"{piece.file.path.name}: {error.reason}")
            except FileNotFoundError:
                problems.append(f"{piece.file.path.name}: was moved away while it was read")


def _pieces(files: TableFiles, rank: int) -> list[Piece]:
    for _ in range(_NUM_TRIES):
        try:
            return files.pieces(rank)
        except FileNotFoundError:  # a journal that has become a segment
            files.forget_look()
            files.look()
    return files.pieces(rank)


def _merged(logged: list[tuple[int, Points]]) -> Points:
    """Points of several files as one; all from the first step of a newer attempt on was given up with the older one."""
    parts: list[Points] = []
    newest: int | None = None
    for attempt, points in logged:
        if attempt != newest and newest is not None:
            parts = [_before(part, points.first_step) for part in parts]
        newest = attempt
        parts.append(points)
    step = np.concatenate([np.empty(0, np.int64), *(points.step for points in parts)])
    value = _joined([points.value for points in parts])
    wall_us = np.concatenate([np.empty(0, np.int64), *(points.wall_us for points in parts)])
    rows = newest_wins(step)
    return Points(step, value, wall_us) if rows is None else Points(step[rows], value[rows], wall_us[rows])


def _before(points: Points, step: int) -> Points:
    kept = points.step < step
    return points if kept.all() else Points(points.step[kept], points.value[kept], points.wall_us[kept])


def _joined(parts: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """All integers stay integers; a mixture becomes float64."""
    return np.concatenate(parts) if parts else np.empty(0, np.float64)


def _union(steps: list[Ints]) -> Ints:
    filled = [each for each in steps if len(each)]
    if not filled:
        return np.empty(0, np.int64)
    longest = max(filled, key=len)
    if all(each is longest or (len(each) == len(longest) and np.array_equal(each, longest)) for each in filled):
        return longest
    return np.unique(np.concatenate(filled))


def _column(value: npt.NDArray[Any], at: Ints | slice, num_rows: int) -> npt.NDArray[Any] | pd.arrays.IntegerArray:
    import pandas as pd

    if len(value) == num_rows:
        placed = np.empty(num_rows, value.dtype)
        placed[at] = value
        return placed
    if value.dtype == np.int64:
        integers = np.zeros(num_rows, np.int64)
        missing = np.ones(num_rows, bool)
        integers[at], missing[at] = value, False
        return pd.arrays.IntegerArray(integers, missing)
    floats = np.full(num_rows, np.nan)
    floats[at] = value
    return floats


def _frame(fixed: dict[str, Any], columns: dict[str, Any], problems: list[str]) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame(fixed | {column_name(name): values for name, values in columns.items()})
    frame.attrs["problems"] = tuple(problems)
    return frame
