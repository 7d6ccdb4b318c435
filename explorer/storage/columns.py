"""Rows of a journal to columns of a segment.

Rows of one step whose metrics do not overlap become one row (a loop that logs the loss and later the accuracy of a
step gets the frame it expects). A metric that was logged twice at one step keeps both values, in two rows. The merged
row has the earliest wall time of its parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from explorer.storage.journal_scan import ShapeRows

STEP, WALL_TIME = "step", "wall_time"
METRIC_PREFIX = "metric:"
WALL_TYPE = pa.timestamp("us")
MAX_COLUMNS = 1_000
MAX_CELLS = 4_000_000
MAX_SHARED_CELLS = 16_000_000
PIECE_CELLS = 500_000

Int64s = npt.NDArray[np.int64]


def column_name(metric: str) -> str:
    """The column of a metric: its name, unless that is taken by ours or begins like an escaped one."""
    taken = metric in (STEP, WALL_TIME) or metric.startswith(METRIC_PREFIX)
    return METRIC_PREFIX + metric if taken else metric


def metric_name(column: str) -> str:
    """The metric of a column; the inverse of `column_name`."""
    return column.removeprefix(METRIC_PREFIX)


@dataclass(frozen=True)
class _Placed:
    """Rows of one shape and the row of the merged table that each goes to."""

    rows: ShapeRows
    target: Int64s | None  # None: the rows as they are


def tables_of(rows: Sequence[ShapeRows], wall_minus_monotonic_ns: int) -> list[pa.Table]:
    """The rows as tables with the columns `step`, `wall_time` and one nullable column a metric.

    Returns:
        One table as a rule; several, with different metrics, when one would have more than 1,000 metrics or four
        million cells. [] when there are no rows. Rows are in the order in which their step was first logged. Only where
        metrics that are logged together would need more than 16 million cells, mostly empty (one metric with every row
        and a new one beside it each time), does a metric go on in a further table.
    """
    by_integers: dict[frozenset[str], list[ShapeRows]] = {}
    for found in rows:
        if len(found.order):
            by_integers.setdefault(_integer_names(found), []).append(found)
    parts = [part for same in by_integers.values() for part in _split(same)]
    return [_table(part, wall_minus_monotonic_ns) for part in parts]


def _integer_names(rows: ShapeRows) -> frozenset[str]:
    """The metrics that are int64 here; rows that differ in them go to different tables: no column mixes types."""
    return frozenset(name for name, kind in zip(rows.shape.names, rows.shape.kinds, strict=True) if kind == "q")


def _split(rows: list[ShapeRows]) -> list[list[ShapeRows]]:
    """Groups of shapes whose table stays narrow and small; shapes that share a metric stay together."""
    parts: list[list[ShapeRows]] = []
    names: set[str] = set()
    num_rows = 0
    for group in [piece for sharing in _sharing(rows) for piece in _bounded(sharing)]:
        more = {name for found in group for name in found.shape.names}
        count = sum(len(found.order) for found in group)
        wide = len(names | more) > MAX_COLUMNS or (num_rows + count) * len(names | more) > MAX_CELLS
        if not parts or wide:
            parts.append([])
            names, num_rows = set(), 0
        parts[-1] += group
        names |= more
        num_rows += count
    return parts


def _bounded(group: list[ShapeRows]) -> list[list[ShapeRows]]:
    """A group of shapes that share metrics; in pieces, in order of first appearance, where it would be nearly empty.

    Rows of the same shape stay together. A journal holds at most four million values.
    """
    names = {name for found in group for name in found.shape.names}
    if sum(len(found.order) for found in group) * len(names) <= MAX_SHARED_CELLS:
        return [group]
    pieces: list[list[ShapeRows]] = []
    names, num_rows = set(), 0
    for found in group:
        wider = len(names) + sum(name not in names for name in found.shape.names)
        if not pieces or (num_rows + len(found.order)) * wider > PIECE_CELLS:
            pieces.append([])
            names, num_rows = set(), 0
        pieces[-1].append(found)
        names.update(found.shape.names)
        num_rows += len(found.order)
    return pieces


def _sharing(rows: list[ShapeRows]) -> list[list[ShapeRows]]:
    """Shapes that share a metric, directly or through others, grouped; in order of first appearance."""
    ordered = sorted(rows, key=lambda each: int(each.order[0]))
    leader = list(range(len(ordered)))

    def find(index: int) -> int:
        while leader[index] != index:
            leader[index] = leader[leader[index]]
            index = leader[index]
        return index

    first_with: dict[str, int] = {}
    for index, found in enumerate(ordered):
        for name in found.shape.names:
            one, other = find(first_with.setdefault(name, index)), find(index)
            leader[max(one, other)] = min(one, other)
    groups: dict[int, list[ShapeRows]] = {}
    for index, found in enumerate(ordered):
        groups.setdefault(find(index), []).append(found)
    return list(groups.values())


def _table(rows: list[ShapeRows], wall_minus_monotonic_ns: int) -> pa.Table:
    placed, steps, monotonic_ns = _place(rows)
    wall_us = (monotonic_ns + wall_minus_monotonic_ns) // 1000
    columns = {STEP: _array(steps, None, pa.int64()), WALL_TIME: _array(wall_us, None, WALL_TYPE)}
    sources: dict[str, list[tuple[_Placed, int]]] = {}
    for part in placed:
        for index, name in enumerate(part.rows.shape.names):
            sources.setdefault(name, []).append((part, index))
    for name, found in sources.items():
        columns[column_name(name)] = _column(found, len(steps))
    return pa.Table.from_arrays(list(columns.values()), names=list(columns))


def _place(rows: list[ShapeRows]) -> tuple[list[_Placed], Int64s, Int64s]:
    """Where every row goes, and the steps and times (ns) of the merged table."""
    if len(rows) == 1:
        only = rows[0]
        return [_Placed(only, None)], only.steps, only.monotonic_ns
    groups = _sharing(rows)
    rows = [found for group in groups for found in group]
    steps = np.concatenate([found.steps for found in rows])
    order = np.concatenate([found.order for found in rows])
    times = np.concatenate([found.monotonic_ns for found in rows])
    occurrence = np.concatenate([_occurrences(group) for group in groups])
    by_key = np.lexsort((order, occurrence, steps))
    new = np.ones(len(steps), bool)
    new[1:] = (np.diff(steps[by_key]) != 0) | (np.diff(occurrence[by_key]) != 0)
    key = np.cumsum(new) - 1
    heads = by_key[new]  # the earliest row of each merged row
    appearance = np.argsort(order[heads], kind="stable")
    rank = np.empty(len(heads), np.int64)
    rank[appearance] = np.arange(len(heads))
    target = np.empty(len(steps), np.int64)
    target[by_key] = rank[key]
    earliest = np.minimum.reduceat(times[by_key], np.flatnonzero(new))
    placed, at = [], 0
    for found in rows:
        placed.append(_Placed(found, target[at : at + len(found.order)]))
        at += len(found.order)
    return placed, steps[heads][appearance], earliest[appearance]


def _occurrences(group: list[ShapeRows]) -> Int64s:
    """How many rows of the group had the same step before each row: 0, 0, ... as a rule."""
    steps = np.concatenate([found.steps for found in group])
    if len(group) == 1 and bool((np.diff(steps) > 0).all()):
        return np.zeros(len(steps), np.int64)
    order = np.concatenate([found.order for found in group])
    by_step = np.lexsort((order, steps))
    new = np.ones(len(steps), bool)
    new[1:] = np.diff(steps[by_step]) != 0
    first = np.maximum.accumulate(np.where(new, np.arange(len(steps)), 0))
    result = np.empty(len(steps), np.int64)
    result[by_step] = np.arange(len(steps)) - first
    return result


def _column(sources: list[tuple[_Placed, int]], num_rows: int) -> pa.Array:
    as_int = sources[0][0].rows.shape.kinds[sources[0][1]] == "q"
    parts = [part.rows.column(index) for part, index in sources]
    kind = pa.int64() if as_int else pa.float64()
    if len(sources) == 1 and sources[0][0].target is None:
        return _array(parts[0], None, kind)
    values = np.zeros(num_rows, np.int64 if as_int else np.float64)
    valid = np.zeros(num_rows, bool)
    for (part, _), found in zip(sources, parts, strict=True):
        values[part.target] = found
        valid[part.target] = True
    return _array(values, valid, kind)


def _array(values: npt.NDArray[np.generic], valid: npt.NDArray[np.bool_] | None, kind: pa.DataType) -> pa.Array:
    """Without `pa.array`, which imports pandas (0.3 s of CPU in the training process)."""
    bitmap = None if valid is None or valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(kind, len(values), [bitmap, pa.py_buffer(np.ascontiguousarray(values))])


def numbers(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """The values of a column as they lie in memory, int64[n] or float64[n]; where there is none, they mean nothing.

    Not `ChunkedArray.to_numpy`, which imports pandas.
    """
    kind = np.float64 if column.type == pa.float64() else np.int64
    chunks = [
        np.frombuffer(chunk.buffers()[1], kind, count=len(chunk), offset=8 * chunk.offset)
        for chunk in column.chunks
        if len(chunk)
    ]
    if len(chunks) == 1:
        return chunks[0]
    return np.concatenate(chunks) if chunks else np.empty(0, kind)


def validity(column: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Which rows of a column hold a value; bool[n]."""
    found = []
    for chunk in column.chunks:
        bitmap = chunk.buffers()[0]
        if bitmap is None:
            found.append(np.ones(len(chunk), bool))
        else:
            bits = np.unpackbits(np.frombuffer(bitmap, np.uint8), bitorder="little")
            found.append(bits[chunk.offset : chunk.offset + len(chunk)].astype(bool))
    return np.concatenate(found) if found else np.empty(0, bool)
