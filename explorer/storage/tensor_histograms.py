"""The histograms in some rows of a segment of the table `tensors`."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from explorer.storage.bins import WHOLE_NUMBERS, Counts, Histograms
from explorer.storage.columns import numbers, validity
from explorer.storage.list_pages import Lists
from explorer.storage.pages import OtherLayout, decode_column
from explorer.storage.sealed import SealedFile
from explorer.storage.tensor_rows import COLUMNS, check_histograms, entries_of, small_numbers

MAX_ENTRIES: Final = 4_000_000
"""Bins of all rows of a segment."""
_INTEGERS: Final = ("step", "zeros", "nans", "infs", "n")
_FLOATS: Final = ("mean", "std", "min", "max")
HISTOGRAM_COLUMNS: Final = (*_INTEGERS, *_FLOATS, "m", "bins", "counts")
_INT32_BYTES, _INT64_BYTES = 4, 8
_MAX_FAMILIAR_BYTES: Final = 256
_NARROW_BITS: Final = 31  # of counts that are at home in int32, which is half of the memory: as nearly all are


def histograms_of(table: pa.Table) -> Histograms:
    """The histograms of a table with the columns `HISTOGRAM_COLUMNS`."""
    m = table.column("m")
    offsets, bins = entries_of(table.column("bins"), np.int16)
    counts = entries_of(table.column("counts"), np.int64)[1]
    is_narrow = not len(counts) or counts.max() < 1 << _NARROW_BITS
    return Histograms(
        m=np.where(validity(m), small_numbers(m), np.int8(WHOLE_NUMBERS)),
        offsets=offsets,
        bins=bins,
        counts=counts.astype(np.int32) if is_narrow else counts,
        **{name: numbers(table.column(name)) for name in (*_INTEGERS, *_FLOATS)},
    )


def decode_histograms(file: SealedFile, num_rows: int, group_rows: int, start: int, stop: int) -> Histograms:
    """The histograms of the rows from `start` to before `stop`, without Parquet's own reader.

    Args:
        file: the segment.
        num_rows: rows of it.
        group_rows: rows of each row group but the last one.
        start: the first row wanted.
        stop: the row behind the last one wanted.

    Raises:
        OtherLayout: nothing is wrong, but Parquet's own reader has to decode these rows.
        ValueError, OSError: a checksum is wrong, or a value is impossible.
    """
    groups: list[_Group] = []
    for number in range(start // group_rows, -(-stop // group_rows)):
        first = number * group_rows
        size = min(group_rows, num_rows - first)
        groups.append(_Group(file, number, size, max(start - first, 0), min(stop - first, size)))
    columns = {name: np.concatenate([group.columns[name] for group in groups]) for name in groups[0].columns}
    num = np.concatenate([np.diff(group.offsets) for group in groups])
    offsets = np.zeros(len(num) + 1, np.int64)
    np.cumsum(num, out=offsets[1:])
    is_narrow = all(group.counts.num_bits <= _NARROW_BITS for group in groups)
    bins = np.empty(offsets[-1], np.int16)
    counts: Counts = np.empty(offsets[-1], np.int32 if is_narrow else np.int64)
    at = 0
    for group in groups:
        low, high = int(group.offsets[0]), int(group.offsets[-1])
        group.bins.fill(bins[at : at + high - low], low, high)
        group.counts.fill(counts[at : at + high - low], low, high)
        at += high - low
    check_histograms(columns["m"], (offsets, bins), counts)
    return Histograms(offsets=offsets, bins=bins, counts=counts, **columns)


class _Group:
    """Some rows of one row group: the columns with a number a row, and the lists, which are put together later."""

    def __init__(self, file: SealedFile, group: int, size: int, first: int, stop: int) -> None:
        self.columns: dict[str, npt.NDArray[Any]] = {}

        def chunk(name: str) -> bytes:
            return file.read_chunk(group * len(COLUMNS) + COLUMNS.index(name))

        for names, kind in ((_INTEGERS, np.int64), (_FLOATS, np.float64), (("m",), np.int32)):
            for name in names:
                data = chunk(name)
                decode = _decoded_again if len(data) <= _MAX_FAMILIAR_BYTES else _decoded
                self.columns[name] = decode(data, size, kind)[first:stop]
        self.bins = Lists(chunk("bins"), size, MAX_ENTRIES, _INT32_BYTES)
        self.counts = Lists(chunk("counts"), size, MAX_ENTRIES, _INT64_BYTES, self.bins)
        if not np.array_equal(self.bins.offsets, self.counts.offsets):
            raise ValueError("has bins without counts")
        self.offsets = self.bins.offsets[first : stop + 1]


def _decoded(data: bytes, size: int, kind: type[np.generic]) -> npt.NDArray[Any]:
    """The numbers of a column chunk, of which every row has one."""
    values = np.empty(size, kind)
    if decode_column(data, size, values) is not None:
        raise OtherLayout
    values.flags.writeable = False
    return values


# How many values are NaN, infinite or in all is as a rule the same in all rows, and so are these chunks, byte by byte.
_decoded_again = lru_cache(maxsize=64)(_decoded)
