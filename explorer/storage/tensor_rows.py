"""Rows of the table `tensors`: what was counted and measured of one tensor at one step, and its histogram.

Tables are built without `pa.array` and `pa.table`, which import pandas (0.3 s of CPU in the training process).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from explorer.errors import UsageError
from explorer.storage.bins import MAX_M, MIN_M, Counts
from explorer.storage.columns import validity

KINDS: Final = ("param", "grad", "update", "activation", "labels")


class TensorRow(NamedTuple):
    """One tensor at one step; one field a column, in the order of the columns. None is null.

    Attributes:
        step: optimizer step.
        wall_time: microseconds since 1970, UTC.
        name: fully qualified name, without the prefixes of wrappers.
        kind: `param`, `grad`, `update`, `activation` or `labels`.
        n: how many values there are, NaN and infinities included.
        zeros, nans, infs: how many of them are exactly zero, NaN, infinite.
        underflow: how many are not zero and below 2**-25 in magnitude, so that float16 rounds them to zero.
        mean, std, min, max, norm: of the finite values (NaN when none is); std of the population, norm is L2.
        update_norm: |w_t - w_(t-1)| on rows of kind param.
        update_ratio: that over |w_(t-1)|.
        cosine_init: of a param, with its value when watching began.
        cosine_previous: of a grad, with the gradient one step before.
        hash: int64 of all bits; an equal hash means that nothing changed.
        units, dead_units, saturated_units: of an activation.
        m: mantissa bits of the bins; None when bins are whole numbers themselves (kind labels).
        bins: int16[k], ascending; see `bins`.
        counts: int64[k], values in each bin.
    """

    step: int
    wall_time: int
    name: str
    kind: str
    n: int
    zeros: int
    nans: int
    infs: int
    underflow: int
    mean: float
    std: float
    min: float
    max: float
    norm: float
    update_norm: float | None = None
    update_ratio: float | None = None
    cosine_init: float | None = None
    cosine_previous: float | None = None
    hash: int | None = None
    units: int | None = None
    dead_units: int | None = None
    saturated_units: int | None = None
    m: int | None = None
    bins: npt.NDArray[np.int16] | None = None
    counts: npt.NDArray[np.int64] | None = None


_INT, _FLOAT = pa.int64(), pa.float64()
_TYPES: Final[dict[str, pa.DataType]] = {
    **dict.fromkeys(TensorRow._fields, _INT),
    **dict.fromkeys(("mean", "std", "min", "max", "norm", "update_norm", "update_ratio"), _FLOAT),
    **dict.fromkeys(("cosine_init", "cosine_previous"), _FLOAT),
    "wall_time": pa.timestamp("us"),
    "name": pa.string(),
    "kind": pa.string(),
    "m": pa.int8(),
    "bins": pa.list_(pa.int16()),
    "counts": pa.list_(pa.int64()),
}
SCHEMA: Final = pa.schema(list(_TYPES.items()))
COLUMNS: Final[tuple[str, ...]] = tuple(SCHEMA.names)
_NUMPY: Final[dict[pa.DataType, type[np.generic]]] = {_INT: np.int64, _FLOAT: np.float64, pa.int8(): np.int8}
_NUM_REQUIRED: Final = COLUMNS.index("norm") + 1


def table_of(rows: Sequence[TensorRow]) -> pa.Table:
    """The rows as a table of `SCHEMA`, in their order.

    Raises:
        UsageError: a row has a number that its column cannot hold, or bins and counts of different lengths.
    """
    try:
        columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in COLUMNS]
        for name, values in zip(COLUMNS[:_NUM_REQUIRED], columns, strict=False):
            if None in values:
                raise TypeError(f"{name} is None")
        arrays = [_array(values, kind) for values, kind in zip(columns, _TYPES.values(), strict=True)]
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"a row of tensor statistics has a value that its column cannot hold: {error}") from error
    table = pa.Table.from_arrays(arrays, schema=SCHEMA)
    if columns and any(_length(bins) != _length(counts) for bins, counts in zip(*columns[-2:], strict=True)):
        raise UsageError("a row of tensor statistics has bins and counts of different lengths")
    return table


def _length(values: npt.NDArray[Any] | None) -> int:
    return -1 if values is None else len(values)


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_string(kind):
        return _strings(values)
    if pa.types.is_list(kind):
        return _lists(values, kind.value_type)
    bitmap = None
    if None in values:
        bitmap = _bitmap(values)
        values = [0 if value is None else value for value in values]
    numbers = np.array(values, np.int64 if kind == pa.timestamp("us") else _NUMPY[kind])
    return pa.Array.from_buffers(kind, len(values), [bitmap, pa.py_buffer(numbers)])


def as_text(name: str) -> str:
    """A name as it is stored: a lone surrogate, which UTF-8 has no bytes for, becomes its escape."""
    return name if name.isascii() else name.encode("utf-8", "backslashreplace").decode()


def _strings(values: list[str]) -> pa.Array:
    encoded = {value: as_text(value).encode() for value in set(values)}
    texts = [encoded[value] for value in values]
    data = b"".join(texts)
    return pa.Array.from_buffers(
        pa.string(), len(values), [None, _offsets(map(len, texts), len(texts)), pa.py_buffer(data)]
    )


def _lists(values: list[npt.NDArray[Any] | None], kind: pa.DataType) -> pa.Array:
    number = np.int16 if kind == pa.int16() else np.int64
    known = [np.asarray(value) for value in values if value is not None]
    if any(value.ndim != 1 or (len(value) and value.dtype.kind not in "iu") for value in known):
        raise TypeError("bins and counts are one-dimensional arrays of integers")
    flat = np.concatenate([np.empty(0, number), *known])
    if flat.dtype != number:
        limits = np.iinfo(number)
        if flat.min() < limits.min or flat.max() > limits.max:
            raise OverflowError(f"bins lie between {limits.min} and {limits.max}")
        flat = flat.astype(number)
    bitmap = _bitmap(values) if len(known) < len(values) else None
    offsets = _offsets((0 if value is None else len(value) for value in values), len(values))
    children = [pa.Array.from_buffers(kind, len(flat), [None, pa.py_buffer(flat)])]
    return pa.Array.from_buffers(pa.list_(kind), len(values), [bitmap, offsets], children=children)


def _offsets(lengths: Iterable[int], num: int) -> pa.Buffer:
    offsets = np.zeros(num + 1, np.int32)
    np.cumsum(np.fromiter(lengths, np.int64, num), out=offsets[1:])
    return pa.py_buffer(offsets)


def _bitmap(values: list[Any]) -> pa.Buffer:
    known = np.fromiter((value is not None for value in values), bool, len(values))
    return pa.py_buffer(np.packbits(known, bitorder="little"))


def entries_of(column: pa.ChunkedArray, number: type[np.generic]) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
    """Where each row of a list column begins among its entries, int64[n + 1], and the entries. Null is empty."""
    offsets = [np.zeros(1, np.int64)]
    entries = [np.empty(0, number)]
    total = 0
    for chunk in column.chunks:
        ends = np.frombuffer(chunk.buffers()[1], np.int32, len(chunk) + 1, 4 * chunk.offset) if len(chunk) else None
        if ends is None:
            continue
        values = chunk.values
        first, last = int(ends[0]), int(ends[-1])
        size = np.dtype(number).itemsize
        if last > first:
            entries.append(np.frombuffer(values.buffers()[1], number, last - first, size * (values.offset + first)))
        offsets.append(ends[1:].astype(np.int64) - first + total)
        total += last - first
    return np.concatenate(offsets), entries[-1] if len(entries) == 2 else np.concatenate(entries)


def check_rows(table: pa.Table) -> None:
    """Refuse rows that no writer of ours makes. Columns that are not there are not looked at.

    Raises:
        ValueError: text is not UTF-8, or as `check_histograms` says.
    """
    names = table.column_names
    table.select([name for name in ("name", "kind") if name in names]).validate(full=True)
    m = small_numbers(table.column("m"))[validity(table.column("m"))] if "m" in names else None
    bins = entries_of(table.column("bins"), np.int16) if "bins" in names else None
    counts = entries_of(table.column("counts"), np.int64) if "counts" in names else None
    if bins is not None and counts is not None and not np.array_equal(bins[0], counts[0]):
        raise ValueError("has bins without counts")
    check_histograms(m, bins, None if counts is None else counts[1])


def small_numbers(column: pa.ChunkedArray) -> npt.NDArray[np.int8]:
    """The values of an int8 column; where there is none, they mean nothing."""
    chunks = [np.frombuffer(chunk.buffers()[1], np.int8, len(chunk), chunk.offset) for chunk in column.chunks]
    return np.concatenate([np.empty(0, np.int8), *chunks])


def check_histograms(
    m: npt.NDArray[Any] | None,
    bins: tuple[npt.NDArray[np.int64], npt.NDArray[np.int16]] | None,
    counts: Counts | None,
) -> None:
    """Refuse histograms that no writer of ours makes; None is not looked at.

    Args:
        m: of the rows that have one.
        bins: where each row begins among the bins of all rows, and these.
        counts: of all rows.

    Raises:
        ValueError: m is not from 3 to 7, bins do not ascend, or a count is negative.
    """
    if m is not None and len(m) and not (m.min() >= MIN_M and m.max() <= MAX_M):
        raise ValueError("has histograms whose bins are none of ours")
    if bins is not None:
        offsets, entries = bins
        ascends = entries[1:] > entries[:-1]
        inner = offsets[1:-1]
        ascends[inner[(inner > 0) & (inner < len(entries))] - 1] = True
        if not ascends.all():
            raise ValueError("has bins that do not ascend")
    if counts is not None and counts.min(initial=1) < 0:
        raise ValueError("has counts below zero")
