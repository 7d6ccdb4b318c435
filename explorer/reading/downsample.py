"""From any number of points to the pixels of a chart, without losing a spike.

A line drawn through the first, lowest, highest and last point of every pixel column (M4) covers the same pixels as the
line through all points: https://doi.org/10.14778/2732951.2732953. Column i of `num_px` holds the points with
`floor((x - lo) / (hi - lo) * num_px) == i`; a point at `hi` belongs to the last column.

Everywhere: `x` is ascending (repeated values are fine), int64 or float64, without NaN; `y` is float64 and may hold NaN
and infinities, which are never taken as extremes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from explorer.reading.blocks import BLOCK, Blocks, Floats, Ints, Numbers


class Envelope(NamedTuple):
    """One row for each pixel column that holds points, left to right.

    Attributes:
        x: of the column's last point; [k], same type as the `x` given.
        low, high: extremes of the finite values; NaN where there is none; float64[k].
        last: the last finite value; NaN where there is none; float64[k].
        num_points: int64[k].
    """

    x: Numbers
    low: Floats
    high: Floats
    last: Floats
    num_points: Ints


class Marks(NamedTuple):
    """Values that no line can show: at most one row for each pixel column and kind, left to right.

    Attributes:
        row: of the first such value; int64[k].
        kind: "NaN", "Infinity" or "-Infinity"; [k].
        num_points: how many of this kind the column holds; int64[k].
    """

    row: Ints
    kind: list[str]
    num_points: Ints


def column_edges(x: Numbers, lo: float, hi: float, num_px: int, *, log_x: bool = False) -> Ints:
    """Where each pixel column begins: its rows are `edges[i]:edges[i + 1]`; int64[num_px + 1].

    With `log_x` columns are evenly spaced in log(x), and `lo` must be above 0. `lo == hi` is one column.
    """
    if not hi > lo:
        first, last = np.searchsorted(x, [lo, hi]), np.searchsorted(x, [lo, hi], side="right")
        return np.concatenate([[first[0]], np.full(num_px, last[1])]).astype(np.int64)
    bounds = np.geomspace(lo, hi, num_px + 1) if log_x else lo + (hi - lo) * (np.arange(num_px + 1) / num_px)
    # Keys of another type than x would make numpy convert all of x.
    keys = np.ceil(bounds).astype(np.int64) if x.dtype.kind == "i" else bounds
    edges = np.searchsorted(x, keys).astype(np.int64)
    edges[-1] = np.searchsorted(x, np.floor(hi).astype(np.int64) if x.dtype.kind == "i" else hi, side="right")
    if len(x):
        _settle(x, edges, lo, hi, num_px, log_x)
    return edges


def _settle(x: Numbers, edges: Ints, lo: float, hi: float, num_px: int, log_x: bool) -> None:
    """Rounding can put a point that lies on a bound one column off; move such edges by the defining formula."""

    def column(rows: Ints) -> Floats:
        at = x[np.clip(rows, 0, len(x) - 1)].astype(np.float64)
        part = np.log(at / lo) / np.log(hi / lo) if log_x else (at - lo) / (hi - lo)
        return np.floor(part * num_px)

    inner = edges[1:-1]
    wanted = np.arange(1, num_px)
    inner += (inner < edges[-1]) & (column(inner) < wanted)
    inner -= (inner > edges[0]) & (column(inner - 1) >= wanted)


def m4(
    x: Numbers,
    y: Floats,
    lo: float,
    hi: float,
    num_px: int,
    *,
    blocks: Blocks | None = None,
    log_x: bool = False,
) -> Ints:
    """The rows to draw in the window `lo <= x <= hi`, ascending: at most about four for each pixel column.

    For each column: its first, lowest, highest and last row; where the first or last is not finite, also the first and
    last finite one, so that a gap stays a gap. One row before and one after the window are added, so that the line runs
    to the window's edges. All rows of the window when there are no more than four a pixel.

    >>> import numpy as np
    >>> m4(np.arange(1_000), np.sin(np.arange(1_000.0)), 0, 999, 1)
    array([  0, 344, 699, 999])
    """
    edges = column_edges(x, lo, hi, num_px, log_x=log_x)
    first, end = int(edges[0]), int(edges[-1])
    outside = [max(first - 1, 0), min(end, len(x) - 1)]
    if end - first <= 4 * num_px:
        return np.arange(outside[0], outside[1] + 1)
    starts = edges[:-1][edges[:-1] < edges[1:]]
    ends = np.append(starts[1:], end)
    low, high = _extremes(y, starts, ends, blocks)
    rows = [starts, ends - 1, low[low >= 0], high[high >= 0], np.array(outside)]
    for at, pick in ((starts, _first_finite), (ends - 1, _last_finite)):
        for column in np.flatnonzero(~np.isfinite(y[at]) & (low >= 0)):
            rows.append(np.array([starts[column] + pick(y[starts[column] : ends[column]])]))
    return _distinct(np.concatenate(rows))


def envelope(
    x: Numbers,
    y: Floats,
    lo: float,
    hi: float,
    num_px: int,
    *,
    blocks: Blocks | None = None,
    log_x: bool = False,
) -> Envelope:
    """Low, high and last of every pixel column of the window `lo <= x <= hi` that holds points.

    One row a column instead of M4's four, for charts of many series.
    """
    edges = column_edges(x, lo, hi, num_px, log_x=log_x)
    starts = edges[:-1][edges[:-1] < edges[1:]]
    if not len(starts):
        none = np.empty(0)
        return Envelope(x[:0], none, none, none, np.empty(0, np.int64))
    ends = np.append(starts[1:], edges[-1])
    low, high = _extremes(y, starts, ends, blocks)
    last = y[ends - 1].copy()
    for column in np.flatnonzero(~np.isfinite(last)):
        known = low[column] >= 0
        at = starts[column] + _last_finite(y[starts[column] : ends[column]]) if known else 0
        last[column] = y[at] if known else np.nan
    return Envelope(
        x[ends - 1], np.where(low < 0, np.nan, y[low]), np.where(high < 0, np.nan, y[high]), last, ends - starts
    )


def marks(
    x: Numbers,
    y: Floats,
    lo: float,
    hi: float,
    num_px: int,
    *,
    blocks: Blocks | None = None,
    log_x: bool = False,
) -> Marks:
    """NaN and infinities in the window `lo <= x <= hi`."""
    edges = column_edges(x, lo, hi, num_px, log_x=log_x)
    rows = _nonfinite_rows(y, int(edges[0]), int(edges[-1]), blocks)
    values = y[rows]
    found: list[tuple[Ints, Ints, str]] = []
    for kind, is_kind in (("NaN", np.isnan(values)), ("Infinity", values > 0), ("-Infinity", values < 0)):
        of_kind = rows[is_kind]
        bounds = np.searchsorted(of_kind, edges)
        counts = np.diff(bounds)
        found.append((of_kind[bounds[:-1][counts > 0]], counts[counts > 0], kind))
    row = np.concatenate([rows for rows, _, _ in found])
    order = np.argsort(row, kind="stable")
    kinds = [kind for rows, _, kind in found for _ in range(len(rows))]
    num_points = np.concatenate([counts for _, counts, _ in found])
    return Marks(row[order], [kinds[at] for at in order], num_points[order])


def _nonfinite_rows(y: Floats, first: int, end: int, blocks: Blocks | None) -> Ints:
    suspect = None if blocks is None else blocks.suspect_rows(first, end)
    if suspect is None:
        return np.flatnonzero(~np.isfinite(y[first:end])) + first
    return suspect[~np.isfinite(y[suspect])]


def _extremes(y: Floats, starts: Ints, ends: Ints, blocks: Blocks | None) -> tuple[Ints, Ints]:
    first, end = int(starts[0]), int(ends[-1])
    if blocks is not None and len(blocks) >= end - BLOCK:
        return blocks.extremes(y, starts, ends)
    low, high = Blocks.of(y[first:end]).extremes(y[first:end], starts - first, ends - first)
    return np.where(low < 0, -1, low + first), np.where(high < 0, -1, high + first)


def _distinct(rows: Ints) -> Ints:
    """Ascending, each once. The first call of `np.unique` imports masked arrays, which takes as long as a chart."""
    rows.sort()
    keep = np.ones(len(rows), bool)
    keep[1:] = rows[1:] != rows[:-1]
    return rows[keep]


def _first_finite(values: Floats) -> int:
    return int(np.isfinite(values).argmax())


def _last_finite(values: Floats) -> int:
    return len(values) - 1 - int(np.isfinite(values[::-1]).argmax())
