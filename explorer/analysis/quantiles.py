"""Quantiles of histograms, for fans over steps."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from explorer.analysis.monotone_cubic import outer_density, places, shared_density
from explorer.storage.bins import MAX_M, MIN_M, WHOLE_NUMBERS, Histograms, bin_edges

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def histogram_quantiles(h: Histograms, q: npt.ArrayLike) -> Floats:
    """Return quantiles of the finite values of each row, as `np.quantile(values, q)` defines them.

    The values of a bin are spread over the part of it that lies between the row's smallest and largest value, by a
    monotone cubic through the counts of the bins beside it (see `monotone_cubic`), evenly where there are none. So the
    quantiles 0 and 1 are exact, and so is every quantile of a row of one value or of equal values; any other is off by
    at most the width of the bin that holds it (1/8 of the value at m = 3, 1/128 at m = 7), and in large tensors by less
    than 0.1 standard deviations where bins are not wider than one (std above 0.8 % of the mean). Zeros are exact.

    Args:
        h: n rows.
        q: `[k]` probabilities from 0 to 1, in any order.

    Returns:
        float64[n, k]; NaN in rows without a finite value.

    Raises:
        ValueError: a probability is outside 0 to 1.

    >>> from explorer.storage.bins import histogram_of
    >>> histogram_quantiles(histogram_of([1.0, 2.0, 4.0]), [0.0, 0.25, 0.5, 1.0]).tolist()
    [[1.0, 1.50390625, 2.0078125, 4.0]]
    """
    probabilities = np.atleast_1d(np.asarray(q, dtype=np.float64))
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError(f"probabilities are from 0 to 1, got {probabilities.tolist()}")
    num = finite_counts(h)
    place = probabilities * np.maximum(num - 1, 0)[:, None]
    rank = np.floor(place).astype(np.int64)
    fraction = place - rank
    low = order_statistics(h, rank)
    high = order_statistics(h, np.minimum(rank + 1, np.maximum(num - 1, 0)[:, None]))
    # Not low + fraction * (high - low), which can overflow; rounding can leave the two by a hair.
    return np.clip(low * (1 - fraction) + high * fraction, low, high)


def finite_counts(h: Histograms, start: int = 0, stop: int | None = None) -> Ints:
    """How many finite values each row holds, or each from `start` to before `stop`: int64[n]."""
    begins = h.offsets[start : len(h) if stop is None else stop]
    ends = h.offsets[start + 1 : start + 1 + len(begins)]
    num = np.zeros(len(begins), np.int64)
    some = (ends > begins).nonzero()[0]
    if len(some):
        first = begins[0]
        num[some] = np.add.reduceat(h.counts[first : ends[-1]], begins[some] - first)
    return num


def order_statistics(h: Histograms, rank: Ints, *, evenly: bool = False, total: Ints | None = None) -> Floats:
    """Return the values at some places of each row's sorted finite values, to the width of a bin.

    Args:
        h: n rows.
        rank: int64[n, k], from 0 to the row's number of finite values less one.
        evenly: spread the values of a bin evenly over it, which takes a third of the time.
        total: `running_counts(h)`, when that is known.

    Returns:
        float64[n, k]; NaN in rows without a finite value.
    """
    if not len(h.bins):
        return np.full(rank.shape, np.nan)
    if total is None:
        total = running_counts(h)
    ends = total[h.offsets]
    num = np.diff(ends)[:, None]
    wanted = ends[:-1, None] + rank
    entry = np.searchsorted(total[1:], wanted.ravel(), side="right").reshape(rank.shape)
    if ends[-1] in ends[:-1]:  # the last rows are empty
        np.minimum(entry, len(h.bins) - 1, out=entry)
    low, high = _clipped_at(h, entry)
    share = (wanted - total[entry] + 0.5) / h.counts[entry]
    inside = share if evenly else places(share, *_end_densities(h, entry, low, high))
    value = low * (1 - inside) + high * inside
    least, most = h.min[:, None], h.max[:, None]
    np.copyto(value, least, where=rank == 0)
    np.copyto(value, most, where=(rank == num - 1) & (rank > 0))
    np.clip(value, least, most, out=value)
    value[num[:, 0] == 0] = np.nan
    return value


def _end_densities(h: Histograms, entry: Ints, low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Densities at the two ends of bins, over their own; see `monotone_cubic`. Bins stand beside each other or not."""
    width = high - low
    first, last = h.offsets[:-1, None], h.offsets[1:, None] - 1
    before, after = np.maximum(entry - 1, first), np.minimum(entry + 1, last)
    before, after = (np.clip(other, 0, len(h.bins) - 1) for other in (before, after))  # rows without any have neither
    sides = []
    for other in (before, after):
        other_low, other_high = _clipped_at(h, other)
        other_width = other_high - other_low
        touches = (other_high == low) | (other_low == high)
        is_there = (other != entry) & touches & (width > 0) & (other_width > 0)
        relative = np.where(is_there, other_width, 1.0) / np.where(is_there, width, 1.0)
        density = h.counts[other] / h.counts[entry] / relative
        sides.append((is_there, shared_density(relative, density), outer_density(relative, density)))
    (has_before, left, right_end), (has_after, right, left_end) = sides
    left = np.where(has_before, left, np.where(has_after, left_end, 1.0))
    right = np.where(has_after, right, np.where(has_before, right_end, 1.0))
    return left, right


def _clipped_at(h: Histograms, entry: Ints) -> tuple[Floats, Floats]:
    """Ends of the bins at some entries of each row, int64[n, k], cut to the row's smallest and largest value."""
    m = int(h.m[0])
    low, high = bin_bounds(h.bins[entry], m if (h.m == m).all() else h.m[:, None])
    most = h.max[:, None]
    low = np.minimum(np.maximum(low, h.min[:, None]), most)
    return low, np.minimum(np.maximum(high, low), most)


def bin_bounds(bins: npt.NDArray[np.int16], m: npt.NDArray[np.int8] | int) -> tuple[Floats, Floats]:
    """Lower and upper ends of bins (the shape of `bins`), `low <= high`.

    Bin 0, which holds nothing larger than the smallest normal float32, is exactly 0; a whole number is itself.
    """
    if isinstance(m, int) and m != WHOLE_NUMBERS:
        lower, upper = _ends_of_bins(m)
        place = np.add(bins, len(lower) // 2, dtype=np.int64)
        return lower.take(place, mode="clip"), upper.take(place, mode="clip")
    number = bins.astype(np.int64)
    mantissa = np.asarray(m, np.int64)
    whole = mantissa == WHOLE_NUMBERS
    shift = MAX_M - mantissa
    edges = _signed_edges()
    middle = len(edges) // 2
    # Whole numbers take no edge; clipping keeps the largest of them inside the table.
    low = edges.take((number - (number < 0) << shift) + middle, mode="clip")
    high = edges.take((number + (number > 0) << shift) + middle, mode="clip")
    return (np.where(whole, number, low), np.where(whole, number, high)) if whole.any() else (low, high)


@lru_cache(maxsize=MAX_M - MIN_M + 1)
def _ends_of_bins(m: int) -> tuple[Floats, Floats]:
    """What `bin_bounds` returns of all bins of m mantissa bits, and of one more on either side; bin 0 in the middle."""
    last = 255 << m
    return bin_bounds(np.arange(-last, last + 1).astype(np.int16), np.full(1, m, np.int8))


@lru_cache(maxsize=1)
def _signed_edges() -> Floats:
    """The finest edges and, before them, their negatives; 0 in the middle."""
    edges = bin_edges(MAX_M)
    return np.concatenate([-edges[:0:-1], [0.0], edges[1:]])


def clipped_bounds(h: Histograms) -> tuple[Floats, Floats]:
    """`bin_bounds` of every entry, cut to the row's smallest and largest value: float64[offsets[-1]] each."""
    num_entries = np.diff(h.offsets)
    low, high = bin_bounds(h.bins, np.repeat(h.m, num_entries))
    least, most = np.repeat(h.min, num_entries), np.repeat(h.max, num_entries)
    low = np.clip(low, least, most)
    return low, np.clip(high, low, most)


def running_counts(h: Histograms) -> Ints:
    """How many values lie before each entry of all rows: int64[k + 1]; the last one is the number of all."""
    total = np.zeros(len(h.counts) + 1, np.int64)
    total[1:] = h.counts  # summed up in place: from int32 to int64 it takes half as long again
    return np.cumsum(total, out=total)
