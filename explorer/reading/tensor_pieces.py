"""What one segment of the table `tensors` holds, as numpy arrays and as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from explorer.reading.pieces import newest_wins
from explorer.storage.bins import Histograms
from explorer.storage.columns import numbers
from explorer.storage.tensor_files import TensorSegment, TensorSpan
from explorer.storage.tensor_rows import COLUMNS

STATISTICS: Final = tuple(name for name in COLUMNS if name not in ("bins", "counts"))
"""Columns of the statistics, in the order of the file."""
_PER_ROW: Final = ("step", "zeros", "nans", "infs", "n", "mean", "std", "min", "max")

Range = tuple[Histograms, int, int]
"""Rows of one table of histograms, from one to before another."""


def read_histograms(segment: TensorSegment, kind: str, names: Iterable[str]) -> Histograms:
    """The histograms of some tensors of one kind, in the order of the segment. Raises DamagedFile."""
    return segment.read_histograms(kind, names)


def ranges_of(spans: Sequence[TensorSpan], found: Histograms) -> dict[str, Range]:
    """Where the rows of each name are, given the spans that were read, in their order."""
    ranges = {}
    start = 0
    for span in spans:
        ranges[span.name] = (found, start, start + span.num_rows)
        start += span.num_rows
    return ranges


def joined(ranges: Sequence[Range]) -> Histograms:
    """The rows of several ranges, one after the other, in arrays of their own."""
    columns: dict[str, npt.NDArray[Any]] = {}
    for name in (*_PER_ROW, "m"):
        columns[name] = np.concatenate([getattr(h, name)[start:stop] for h, start, stop in ranges])
    entries = [slice(h.offsets[start], h.offsets[stop]) for h, start, stop in ranges]
    for name in ("bins", "counts"):
        parts = [getattr(h, name)[part] for (h, _, _), part in zip(ranges, entries, strict=True)]
        columns[name] = np.concatenate(parts)
    num = np.concatenate([np.diff(h.offsets[start : stop + 1]) for h, start, stop in ranges])
    offsets = np.zeros(len(num) + 1, np.int64)
    np.cumsum(num, out=offsets[1:])
    return Histograms(offsets=offsets, **columns)


def newest(rows: Histograms) -> Histograms:
    """By ascending step, each step once: of several rows of one step the last one."""
    kept = newest_wins(rows.step)
    return rows if kept is None else rows.take(kept)


def read_statistics(segment: TensorSegment, kind: str | None) -> pa.Table:
    """The columns `STATISTICS` of a kind, or of all kinds, in the order of the segment. Raises DamagedFile."""
    return segment.read(STATISTICS, None, None if kind is None else [kind])


def newest_statistics(tables: Sequence[pa.Table], spans: Sequence[Sequence[TensorSpan]]) -> pa.Table:
    """One table sorted by name, kind and step, with one row for each: of several the last one.

    Args:
        tables: rows of segments, in the order in which they count.
        spans: whose rows each table has.
    """
    table = pa.concat_tables(tables)
    keys = sorted({(span.name, span.kind) for each in spans for span in each})
    code = {key: number for number, key in enumerate(keys)}
    flat = [span for each in spans for span in each]
    codes = np.repeat([code[span.name, span.kind] for span in flat], [span.num_rows for span in flat])
    step = numbers(table.column("step"))
    order = np.lexsort((step, codes))
    last = np.ones(len(order), bool)
    last[:-1] = (np.diff(codes[order]) != 0) | (np.diff(step[order]) != 0)
    rows = order[last]
    taken = table.take(pa.Array.from_buffers(pa.int64(), len(rows), [None, pa.py_buffer(rows)]))
    return taken.combine_chunks()
