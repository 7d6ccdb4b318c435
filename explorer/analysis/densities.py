"""Histograms for drawing: the density of one row, and a heat map of many over steps.

Bins are unequal in width (each octave has as many), so counts drawn as they are paint a false shape. Here the values of
a bin are spread evenly over it, or over the part of it between the row's smallest and largest value, and what falls
between two edges is what is drawn.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from explorer.analysis.quantiles import bin_bounds, finite_counts, histogram_quantiles
from explorer.analysis.shared_bins import Scratch, Span, folded, shared_bins
from explorer.storage.bins import Histograms

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

Scale = Literal["linear", "symlog", "quantile"]
SCALES: Final[tuple[Scale, ...]] = ("linear", "symlog", "quantile")
MAX_HEAT_BINS: Final = 500

_NUM_DENSITY_BINS: Final = 64
_POOLED_VALUES: Final = 1 << 40  # shares as whole numbers
_MAX_ROWS: Final = 340  # taken at a time: what 700 bins of them need, the allocator keeps for the next
_MAX_LINES: Final = 16  # computed at a time: temporary arrays stay in the cache


class Density(NamedTuple):
    """The distribution of one row over neighbouring intervals.

    Attributes:
        low, high: float64[k], ends of the intervals, ascending and without overlap; equal where all values of an
            interval are one number.
        share: float64[k], share of the finite values in each; the sum is 1 unless edges were asked for that leave some
            values out.
        density: float64[k], share over width, so that areas can be compared; infinite where the width is 0.
    """

    low: Floats
    high: Floats
    share: Floats
    density: Floats


def density(row: Histograms, edges: npt.ArrayLike | None = None, m: int | None = None) -> Density:
    """Return the density of a histogram of one row.

    Args:
        row: one row.
        edges: `[k + 1]` ascending ends of k intervals, closed below and the last one also above; without them 64 of
            equal width from the smallest to the largest value, or one interval where those are equal.
        m: show the bins themselves instead, at this many mantissa bits (at most the row's own; `WHOLE_NUMBERS` for
            labels); the outer ones end at the smallest and the largest value.

    Returns:
        The intervals; none where no value is finite and no edges were given. Shares are 0 where no value is finite.

    Raises:
        ValueError: not one row, edges that do not ascend, or both edges and m.
        UsageError: m is larger than the row's own.

    >>> from explorer.storage.bins import histogram_of
    >>> density(histogram_of([1.0, 1.0, 3.0, 4.0]), edges=[0, 2, 4]).share.tolist()
    [0.5, 0.5]
    """
    if len(row) != 1:
        raise ValueError(f"density takes one row, got {len(row)}")
    if edges is not None and m is not None:
        raise ValueError("density takes edges or m, not both")
    if m is not None:
        row = row.at_m(m)
        low, high = (np.clip(ends, row.min, row.max) for ends in bin_bounds(row.bins, m))
        return _density(low, high, row.counts / max(row.counts.sum(), 1))
    if edges is None:
        if np.isnan(row.min[0]):
            return _density(np.empty(0), np.empty(0), np.empty(0))
        if row.min[0] == row.max[0]:
            return _density(row.min, row.max, np.ones(1))
        edges = _even(row.min[0], row.max[0], _NUM_DENSITY_BINS)
    ends = _checked_edges(edges)
    return _density(ends[:-1], ends[1:], np.diff(shares_below(row, ends)[:, 0]))


def _density(low: Floats, high: Floats, share: Floats) -> Density:
    with np.errstate(divide="ignore", invalid="ignore"):
        return Density(low, high, share, np.where(share > 0, share / (high - low), 0.0))


class Heat(NamedTuple):
    """A picture of many histograms, one column each.

    Attributes:
        share: float32[b, n], share of the finite values of row i between `edges[j]` and `edges[j + 1]`; a column sums
            to 1 unless limits leave some values out, and is 0 where no value is finite.
        edges: float64[b + 1], ascending, of equal height on the scale asked for; so shares are densities on it.
        linear_below: with `symlog`, the size c for which the height is sign(x) log(1 + |x| / c); NaN otherwise.
    """

    share: npt.NDArray[np.float32]
    edges: Floats
    linear_below: float


def heat(
    h: Histograms, num_bins: int = 200, scale: Scale = "linear", limits: tuple[float, float] | None = None
) -> Heat:
    """Return the shares of n rows over at most `num_bins` intervals of values.

    Args:
        h: n rows.
        num_bins: 1 to 500. With `quantile` fewer come back where a single value is a large share.
        scale: `linear`; `symlog`, for values over many orders of magnitude and of both signs; `quantile`, with equal
            shares of all rows together in each interval.
        limits: lowest and highest value shown; the smallest and largest of all rows without it.

    Raises:
        ValueError: num_bins, scale or limits are not as above.
    """
    if not 1 <= num_bins <= MAX_HEAT_BINS:
        raise ValueError(f"num_bins is from 1 to {MAX_HEAT_BINS}, got {num_bins}")
    if scale not in SCALES:
        raise ValueError(f"the scale is one of {', '.join(SCALES)}, got {scale!r}")
    low, high = limits if limits is not None else _range(h)
    if not -np.inf < low < high < np.inf:
        raise ValueError(f"limits are two finite numbers, the first below the second, got {low} and {high}")
    linear_below = _linear_below(h, low, high) if scale == "symlog" else np.nan
    if scale == "symlog":
        least, most = (float(np.sign(x) * np.log1p(abs(x) / linear_below)) for x in (low, high))
        heights = _even(least, most, num_bins)
        edges = np.sign(heights) * np.expm1(np.abs(heights)) * linear_below
        edges[[0, -1]] = low, high
    elif scale == "quantile":
        edges = _pooled_quantiles(h, low, high, num_bins)
    else:
        edges = _even(low, high, num_bins)
    below = shares_below(h, edges)
    share = np.empty((len(edges) - 1, len(h)), np.float32)
    np.subtract(below[1:], below[:-1], out=share, casting="same_kind")
    return Heat(share, edges, linear_below)


def _even(low: float, high: float, num: int) -> Floats:
    """`num + 1` numbers at equal distance, both ends exact, without an overflow of `high - low`."""
    t = np.linspace(0.0, 1.0, num + 1)
    return low * (1 - t) + high * t


def _range(h: Histograms) -> tuple[float, float]:
    some = np.isfinite(h.min)
    if not some.any():
        return -1.0, 1.0
    low, high = float(h.min[some].min()), float(h.max[some].max())
    if low < high:
        return low, high
    margin = 0.05 * abs(low) or 1.0
    return low - margin, high + margin


def _linear_below(h: Histograms, low: float, high: float) -> float:
    """A tenth of the standard deviation that one row in ten stays below; so narrow rows are more than a line."""
    some = h.std[h.std > 0]
    size = float(np.quantile(some, 0.1)) / 10 if some.size else max(abs(low), abs(high)) / 10
    return max(size, max(abs(low), abs(high)) * 1e-12)


def _pooled_quantiles(h: Histograms, low: float, high: float, num_bins: int) -> Floats:
    """Edges with equal shares of all rows between them, each row counting alike: ascending, from `low` to `high`."""
    if not len(h.bins):
        return _even(low, high, num_bins)
    m = int(h.m.min())
    weights = h.counts / np.repeat(finite_counts(h), np.diff(h.offsets))
    slots = folded(Span(h, 0, len(h)), m).astype(np.int64)
    first = int(slots.min())
    mass = np.bincount(slots - first, weights=weights)
    occupied = np.flatnonzero(mass)
    share = np.concatenate([[0.0], np.cumsum(mass[occupied])])
    share /= share[-1]
    bins = (occupied + first).astype(np.int16)
    ends = np.stack(bin_bounds(bins, m), axis=1).ravel()
    from_, to = np.interp([low, high], ends, np.stack([share[:-1], share[1:]], axis=1).ravel())
    pooled = _one_row(h, m, bins, np.diff(share))
    inner = histogram_quantiles(pooled, _even(float(from_), float(to), num_bins)[1:-1])[0]
    return np.unique(np.concatenate([[low], inner[(inner > low) & (inner < high)], [high]]))


def _one_row(h: Histograms, m: int, bins: npt.NDArray[np.int16], share: Floats) -> Histograms:
    """The rows of `h` as a single one, which has these shares of its values in these bins."""
    counts = np.maximum(np.rint(share * _POOLED_VALUES), 1).astype(np.int64)
    none, unknown = np.zeros(1, np.int64), np.full(1, np.nan)
    return Histograms(
        step=none,
        m=np.full(1, m, np.int8),
        offsets=np.array([0, len(bins)]),
        bins=bins,
        counts=counts,
        zeros=none,
        nans=none,
        infs=none,
        n=counts.sum(keepdims=True),
        mean=unknown,
        std=unknown,
        min=np.nanmin(h.min, keepdims=True),
        max=np.nanmax(h.max, keepdims=True),
    )


def _checked_edges(edges: npt.ArrayLike) -> Floats:
    ends = np.asarray(edges, np.float64)
    if ends.ndim != 1 or len(ends) < 2 or not (np.diff(ends) > 0).all():
        raise ValueError(f"edges are at least two ascending numbers, got {edges!r}")
    return ends


def shares_below(h: Histograms, edges: Floats) -> Floats:
    """Share of each row's finite values below some numbers, and for the last one at or below: float64[len(edges), n].

    Args:
        h: n rows.
        edges: ascending numbers.
    """
    ends = np.append(edges[:-1], np.nextafter(edges[-1], np.inf))
    found = np.zeros((len(ends), len(h)))
    scratch = Scratch()
    for start in range(0, len(h), _MAX_ROWS):
        own = h.m[start : start + _MAX_ROWS]
        for m in np.unique(own):
            below, low, high = shared_bins([Span(h, start, start + len(own))], int(m), scratch)
            if not len(low):
                continue
            # The first bin that ends at or beyond a number; where that is in the gap before it, the share stays.
            place = np.minimum(np.searchsorted(high, ends), len(high) - 1)
            width = high[place] - low[place]
            part = np.where(width > 0, (ends - low[place]) / np.where(width > 0, width, 1.0), ends > high[place])
            _fill(found[:, start : start + len(own)], below, place, np.clip(part, 0.0, 1.0), own == m)
    _fit_outer_bins(h, ends, found)
    return found


def _fill(found: Floats, below: Floats, place: Ints, part: Floats, chosen: npt.NDArray[np.bool_]) -> None:
    """Set the chosen columns to the share at `place`, and `part` of the way to the next, a few lines at a time."""
    for start in range(0, len(place), _MAX_LINES):
        lines = slice(start, start + _MAX_LINES)
        further = part[lines]
        share = below[:, place[lines]] * (1 - further) + below[:, place[lines] + 1] * further
        np.copyto(found[lines], share.T, where=chosen)


def _fit_outer_bins(h: Histograms, ends: Floats, found: Floats) -> None:
    """Spread the values of a row's first and last bin over the part of it that is within minimum and maximum."""
    rows = np.flatnonzero(np.diff(h.offsets))
    first, last = h.offsets[rows], h.offsets[rows + 1] - 1
    num = np.add.reduceat(h.counts, first) if len(rows) else first
    single = first == last
    low, high = bin_bounds(h.bins[first], h.m[rows])
    from_, to = np.clip(h.min[rows], low, high), np.where(single, np.clip(h.max[rows], low, high), high)
    row, end, part = _parts(ends, low, high, from_, to)
    found[end, rows[row]] = part * (h.counts[first] / num)[row]
    first, last, num, rows = first[~single], last[~single], num[~single], rows[~single]
    low, high = bin_bounds(h.bins[last], h.m[rows])
    row, end, part = _parts(ends, low, high, low, np.clip(h.max[rows], low, high))
    found[end, rows[row]] = 1 - (1 - part) * (h.counts[last] / num)[row]


def _parts(ends: Floats, low: Floats, high: Floats, from_: Floats, to: Floats) -> tuple[Ints, Ints, Floats]:
    """Which ends lie inside of which bin, `low` to `high` ([r] each).

    Returns:
        For each: the bin, its place in `ends`, and the share below it of the bin's values, which lie evenly between
        `from_` and `to`.
    """
    start = np.searchsorted(ends, low, side="right")
    count = np.maximum(np.searchsorted(ends, high) - start, 0)
    row = np.repeat(np.arange(len(low)), count)
    end = np.arange(len(row)) + np.repeat(start - np.cumsum(count) + count, count)
    width = (to - from_)[row]
    part = np.where(width > 0, (ends[end] - from_[row]) / np.where(width > 0, width, 1.0), ends[end] > from_[row])
    return row, end, np.clip(part, 0.0, 1.0)
