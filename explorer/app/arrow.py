"""Arrow columns made from their buffers: `pa.array` would import pandas, a third of a second before the first page.

Every function takes one value per row, None where there is none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa


def numbers(values: Sequence[float | None], kind: pa.DataType | None = None) -> pa.Array:
    """Return a float64 column, or one of `kind`: any type of eight bytes or a boolean. NaN stays NaN."""
    kind = pa.float64() if kind is None else kind
    valid = np.array([value is not None for value in values], dtype=np.bool_)
    store = np.float64 if pa.types.is_floating(kind) else np.int64
    data = np.array([0 if value is None else value for value in values], dtype=store)
    bits = np.packbits(data.astype(np.bool_), bitorder="little") if pa.types.is_boolean(kind) else data
    return pa.Array.from_buffers(kind, len(values), [_validity(valid), _buffer(bits)])


def texts(values: Sequence[str | None]) -> pa.Array:
    """Return a string column. Half surrogates, which UTF-8 does not have, become question marks."""
    valid = np.array([value is not None for value in values], dtype=np.bool_)
    parts = [b"" if value is None else value.encode("utf-8", "replace") for value in values]
    offsets = _offsets([len(part) for part in parts])
    return pa.Array.from_buffers(
        pa.string(), len(parts), [_validity(valid), _buffer(offsets), pa.py_buffer(b"".join(parts))]
    )


def text_lists(values: Sequence[Sequence[str]]) -> pa.Array:
    """Return a column of lists of strings."""
    return _lists(pa.list_(pa.string()), values, texts([item for row in values for item in row]))


def number_lists(values: Sequence[Sequence[float]]) -> pa.Array:
    """Return a column of lists of float32."""
    flat = np.array([item for row in values for item in row], dtype=np.float32)
    inner = pa.Array.from_buffers(pa.float32(), len(flat), [None, _buffer(flat)])
    return _lists(pa.list_(pa.float32()), values, inner)


def _lists(kind: pa.DataType, values: Sequence[Sequence[object]], inner: pa.Array) -> pa.Array:
    offsets = _offsets([len(row) for row in values])
    return pa.Array.from_buffers(kind, len(values), [None, _buffer(offsets)], children=[inner])


def _offsets(lengths: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int32)


def _validity(valid: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> pa.Buffer | None:
    return None if valid.all() else _buffer(np.packbits(valid, bitorder="little"))


def _buffer(values: np.ndarray[tuple[int], np.dtype[np.generic]]) -> pa.Buffer:
    return pa.py_buffer(np.ascontiguousarray(values))
