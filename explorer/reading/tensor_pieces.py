"""What one segment of the table `tensors` holds, as numpy arrays and as tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from explorer.reading.pieces import newest_wins
from explorer.storage.bins import Histograms
from explorer.storage.columns import numbers
from explorer.storage.tensor_files import TensorSegment, TensorSpan
from explorer.storage.tensor_rows import COLUMNS

STATISTICS: Final = tuple(name for name in COLUMNS if name not in ("bins", "counts"))
"""Columns of the statistics, in the order of the file."""

Part = tuple[Histograms, int, int]
"""Rows of some histograms, from one to before another."""


def parts_of(spans: Sequence[TensorSpan], parts: Iterable[Histograms]) -> Iterator[tuple[str, Part]]:
    """Whose rows are in each part, given the spans that are read, in their order; a name's can be in several."""
    left = iter(spans)
    name, num_left = "", 0
    for found in parts:
        start = 0
        while start < len(found):
            if not num_left:
                span = next(left)
                name, num_left = span.name, span.num_rows
            stop = min(start + num_left, len(found))
            yield name, (found, start, stop)
            num_left -= stop - start
            start = stop


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
