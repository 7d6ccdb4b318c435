"""The tables that `explorer.charts.curves` draws, made from plain columns.

| table | one row is | columns |
|---|---|---|
| lines | a vertex of a series | x, series, y, low, high, smooth; null breaks the line |
| dots | a value of a sparse series | x, series, y |
| marks | a value that is not finite | x, series, kind (`NaN`, `+Inf`, `-Inf`) |
| hover | a strip of the plot | x, x2, column (number of the strip), at (text), v0 to v9 (text per series), more |
| view | the ends of the axes, one row | x_low, x_high, y_low, y_high |
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from explorer.charts import arrow

Floats = npt.NDArray[np.float64]


def lines_table(labels: Sequence[str], sizes: Sequence[int], x: Floats, columns: dict[str, Floats]) -> pa.Table:
    """Return `lines` of series that stand one after the other.

    Values are float32 where that keeps what can be seen (the range of a column is not tiny beside its values), and
    float64 elsewhere.

    Args:
        labels: of the series.
        sizes: how many rows each of them has.
        x: `[n]`, the sum of `sizes`.
        columns: `y`, `low`, `high`, and `smooth` when there is one, each `[n]`; NaN becomes null. Of the other columns
            than `y`, those that hold nothing but NaN are left out.
    """
    # The browser pays for every cell, so a column without a number is left out; a chart reads it as null all the same.
    used = {name: values for name, values in columns.items() if name == "y" or not np.isnan(values).all()}
    numbers = {name: _numbers(values) for name, values in used.items()}
    return arrow.table({"x": _positions(x), "series": _series(labels, sizes), **numbers})


def dots_table(labels: Sequence[str], sizes: Sequence[int], x: Floats, y: Floats) -> pa.Table:
    """Return `dots`, as `lines_table` does."""
    return arrow.table({"x": _positions(x), "series": _series(labels, sizes), "y": _numbers(y)})


def marks_table(labels: Sequence[str], sizes: Sequence[int], x: Floats, values: Floats) -> pa.Table:
    """Return `marks` for `values` that are NaN or infinite."""
    kinds = np.where(np.isnan(values), 0, np.where(values > 0, 1, 2)).astype(np.int8)
    kind = arrow.codes(kinds, ["NaN", "+Inf", "-Inf"])
    return arrow.table({"x": arrow.column(x), "series": _series(labels, sizes), "kind": kind})


def hover_table(edges: Floats, at: Sequence[str], texts: Sequence[Sequence[str]], more: str = "") -> pa.Table:
    """Return `hover` for strips between neighbouring `edges` (`[n + 1]`), with one list of `n` texts per series."""
    count = len(edges) - 1
    columns = {
        "x": arrow.column(edges[:-1]),
        "x2": arrow.column(edges[1:]),
        "column": arrow.column(np.arange(count, dtype=np.int16)),
        "at": arrow.texts(at),
        **{f"v{k}": arrow.texts(column) for k, column in enumerate(texts)},
    }
    if more:
        columns["more"] = arrow.codes(np.zeros(count, np.int8), [more])
    return arrow.table(columns)


def view_table(x: tuple[float, float], y: tuple[float, float]) -> pa.Table:
    """Return `view`, the ends of both axes."""
    ends = {"x_low": x[0], "x_high": x[1], "y_low": y[0], "y_high": y[1]}
    return arrow.table({name: arrow.numbers([end]) for name, end in ends.items()})


def _series(labels: Sequence[str], sizes: Sequence[int]) -> pa.DictionaryArray:
    """One text per label and a small number per row."""
    dtype = np.int8 if len(labels) < 128 else np.int32
    return arrow.codes(np.repeat(np.arange(len(labels), dtype=dtype), sizes), labels)


def _positions(x: Floats) -> pa.Array:
    """Whole numbers of 32 bits where that loses nothing."""
    small = x.astype(np.int32) if x.size and np.abs(x).max() < 2**31 else None
    return arrow.column(small if small is not None and np.array_equal(small, x) else x)


def _numbers(values: Floats) -> pa.Array:
    missing = np.isnan(values)
    dtype = np.float32 if fits_float32(values[~missing]) else np.float64
    return arrow.column(values.astype(dtype), missing)


def fits_float32(values: Floats) -> bool:
    """Return whether rounding `values` to float32 moves none of them by a thousandth of their range.

    >>> fits_float32(np.array([0.1, 0.9])), fits_float32(np.array([1e9, 1e9 + 1])), fits_float32(np.array([1e300]))
    (True, False, False)
    """
    if values.size == 0:
        return True
    low, high = float(values.min()), float(values.max())
    largest = max(abs(low), abs(high))
    return largest < 3e38 and (low == high or largest * 6e-8 < (high - low) * 1e-3)
