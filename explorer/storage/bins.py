"""Bins that every histogram of every tensor, step and run shares, so that any two can be compared.

The key of a value is the upper 16 bits of its float32 pattern: sign, 8 bits of exponent, 7 of mantissa. Folded to m
mantissa bits (3 to 7) it is a bin. Bins are numbered in the order of their values: b > 0 holds [edge(b), edge(b + 1)),
b < 0 the mirror image, and bin 0 both zeros and what is smaller than the first edge. `edge(b)` is the float32 whose
bits are `b << (23 - m)`. Folding to fewer mantissa bits merges whole neighbours, so it is exact: two histograms are
compared at the smaller of their m. Only finite values are in bins; NaN and infinities are counted apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from explorer.errors import UsageError

MIN_M: Final = 3
MAX_M: Final = 7
MAX_BINS: Final = 512
WHOLE_NUMBERS: Final = -1
"""In place of m: the bins are whole numbers themselves, such as class labels."""

_SIGN_KEY: Final = 1 << 15
_NUM_FINITE_KEYS: Final = 255 << MAX_M  # of one sign; the exponent 255 is that of NaN and infinities
_EDGES: Final = np.array([_NUM_FINITE_KEYS, _SIGN_KEY, _SIGN_KEY + _NUM_FINITE_KEYS])
_SMALL: Final = 8_192  # up to here sorting the keys is faster than counting all 65,536 of them
_CHUNK: Final = 1 << 17

Ints = npt.NDArray[np.int64]
Int16s = npt.NDArray[np.int16]
Counts = npt.NDArray[np.int64] | npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]


@lru_cache(maxsize=8)
def bin_edges(m: int) -> Floats:
    """Lower edges of the bins 0, 1, ... of m mantissa bits: float64[(255 << m) + 1], read-only.

    Bin b > 0 holds `[edges[b], edges[b + 1])`. The last edge is the largest float32; no finite value lies beyond it.

    Raises:
        UsageError: m is not from 3 to 7.

    Example:
        >>> bin_edges(3)[[0, 127 << 3, (127 << 3) + 1, 128 << 3]].tolist()
        [0.0, 1.0, 1.125, 2.0]
    """
    _check_fold(m, m)
    keys = np.arange((255 << m) + 1, dtype=np.uint32) << np.uint32(23 - m)
    edges = keys.view(np.float32).astype(np.float64)
    edges[-1] = np.finfo(np.float32).max
    edges.flags.writeable = False
    return edges


def fold_counts(counts16: npt.NDArray[Any]) -> tuple[int, Int16s, Ints]:
    """The histogram of a tensor from the counts of its values' upper 16 bits.

    Args:
        counts16: int64[65536], how many values have each key; the keys of NaN and infinities are ignored.

    Returns:
        (m, bins int16[k] ascending, counts int64[k]) of bins that are occupied: the finest m from 3 to 7 with at most
        512 of them; at m = 3 more are kept.
    """
    keys = np.flatnonzero(counts16 != 0)  # four times as fast as of the counts themselves
    return fold_keys(keys, counts16[keys])


def fold_keys(keys: npt.NDArray[Any], counts: npt.NDArray[Any]) -> tuple[int, Int16s, Ints]:
    """As `fold_counts`, from the keys that occur (distinct, ascending, from 0 to 65535) and how often each does."""
    end_positive, first_negative, end_negative = keys.searchsorted(_EDGES.astype(keys.dtype)).tolist()
    if first_negative == end_negative and end_positive <= MAX_BINS:  # as of the weights of a normalisation
        return MAX_M, keys[:end_positive].astype(np.int16), counts[:end_positive].astype(np.int64)
    negative = keys[first_negative:end_negative][::-1].astype(np.int64)
    finest = np.concatenate([_SIGN_KEY - negative, keys[:end_positive]]).astype(np.int16)
    counts = np.concatenate([counts[first_negative:end_negative][::-1], counts[:end_positive]])
    if len(finest) <= MAX_BINS and np.count_nonzero(finest == 0) < 2:  # there is nothing to merge
        return MAX_M, finest, counts.astype(np.int64, copy=False)
    shift = _finest_shift(finest)
    folded = _shifted(finest, shift)
    starts = _starts(folded)
    return MAX_M - shift, folded[starts], _sums(counts, starts)


def _finest_shift(bins: Int16s) -> int:
    """The fewest mantissa bits to drop, up to 4, so that at most `MAX_BINS` of these ascending bins are told apart."""
    size = np.abs(bins)
    # Neighbours of one sign become one bin when they differ in dropped bits alone; others when nothing else is left.
    lowest = size[1:] ^ size[:-1]
    middle = int(np.searchsorted(bins, 0))
    if 0 < middle < len(bins):
        lowest[middle - 1] = size[middle] | size[middle - 1]
    for shift in range(MAX_M - MIN_M):
        if np.count_nonzero(lowest >= 1 << shift) < MAX_BINS:
            return shift
    return MAX_M - MIN_M


def fold(bins: Int16s, counts: Ints, m: int, to_m: int) -> tuple[Int16s, Ints]:
    """One histogram with fewer mantissa bits. Exact: whole neighbours are merged.

    Args:
        bins: int16[k], ascending.
        counts: int64[k].
        m: mantissa bits of these bins.
        to_m: mantissa bits wanted, at most m.

    Raises:
        UsageError: to_m is larger than m, or one of them is not from 3 to 7.

    Example:
        >>> fold(np.array([-9, -8, 7, 8], np.int16), np.array([1, 2, 3, 4]), m=7, to_m=4)
        (array([-1,  0,  1], dtype=int16), array([3, 3, 4]))
    """
    _check_fold(m, to_m)
    folded = _shifted(bins, m - to_m)
    starts = _starts(folded)
    return folded[starts], _sums(counts, starts)


@dataclass(frozen=True, eq=False)
class Histograms:
    """Histograms of one tensor at n steps, with what was counted and measured beside them. The arrays never change.

    Attributes:
        step: int64[n].
        m: int8[n], mantissa bits of each row's bins; -1 (`WHOLE_NUMBERS`) where bins are whole numbers themselves.
        offsets: int64[n + 1]; row i has the entries `offsets[i]:offsets[i + 1]`.
        bins: int16[offsets[-1]], ascending within a row.
        counts: int64[offsets[-1]], how many values lie in each of those bins; or int32, which is half of the memory:
            what `TensorStore` hands out where all of them fit.
        zeros, nans, infs: int64[n], how many values are exactly zero, NaN and infinite.
        n: int64[n], how many values there are, NaN and infinities included.
        mean, std, min, max: float64[n], of the finite values themselves, not of the bins; std is the population's.
            NaN where no value is finite.
    """

    step: Ints
    m: npt.NDArray[np.int8]
    offsets: Ints
    bins: Int16s
    counts: Counts
    zeros: Ints
    nans: Ints
    infs: Ints
    n: Ints
    mean: Floats
    std: Floats
    min: Floats
    max: Floats

    def __post_init__(self) -> None:
        for name, kind in _DTYPES.items():
            values = getattr(self, name)
            if name == "counts" and getattr(values, "dtype", None) == np.int32:
                kind = np.int32
            shown = np.asarray(values, kind).view()
            shown.flags.writeable = False
            object.__setattr__(self, name, shown)

    def __len__(self) -> int:
        return len(self.step)

    @property
    def num_bytes(self) -> int:
        """Memory that the arrays take."""
        return sum(getattr(self, field.name).nbytes for field in fields(self))

    def row(self, i: int) -> Histograms:
        """Row i alone; a negative number counts from the end. Raises IndexError."""
        return self.take([range(len(self))[i]])

    def take(self, indices: Sequence[int] | Ints | npt.NDArray[np.bool_]) -> Histograms:
        """Some rows in the order asked for, or those where a mask of n booleans is true. Raises IndexError."""
        rows = np.arange(len(self))[np.asarray(indices) if len(indices) else slice(0)]
        num = np.diff(self.offsets)[rows]
        offsets = _offsets(num)
        entries = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], num)
        per_row = {name: getattr(self, name)[rows] for name in _PER_ROW}
        return Histograms(offsets=offsets, bins=self.bins[entries], counts=self.counts[entries], **per_row)

    def between(self, start: int, stop: int) -> Histograms:
        """The rows from `start` to before `stop`, which lie in the same memory; 0 <= start <= stop <= n."""
        first, last = self.offsets[start], self.offsets[stop]
        per_row = {name: getattr(self, name)[start:stop] for name in _PER_ROW}
        offsets = self.offsets[start : stop + 1] - first
        return Histograms(offsets=offsets, bins=self.bins[first:last], counts=self.counts[first:last], **per_row)

    def at_m(self, m: int) -> Histograms:
        """All rows folded to m mantissa bits. Raises UsageError where a row has fewer, or whole numbers."""
        if not len(self) or (self.m == m).all():
            return self
        if self.m.min() < m or not MIN_M <= m <= MAX_M:
            raise UsageError(f"rows of {self.m.min()} mantissa bits cannot be folded to {m}; at_m takes 3 to their m")
        num = np.diff(self.offsets)
        shift = np.repeat((self.m - m).astype(np.int16), num)
        folded = _shifted(self.bins, shift)
        first = np.ones(len(folded), bool)
        first[1:] = folded[1:] != folded[:-1]
        first[self.offsets[:-1][num > 0]] = True
        starts = np.flatnonzero(first)
        offsets = np.searchsorted(starts, self.offsets)
        per_row = {name: getattr(self, name) for name in _PER_ROW if name != "m"}
        counts = _sums(self.counts, starts)
        return Histograms(offsets=offsets, bins=folded[starts], counts=counts, m=np.full(len(self), m), **per_row)

    def dense(self, m: int | None = None) -> tuple[int, int, Ints]:
        """The counts of all rows on one range of bins.

        Args:
            m: mantissa bits; None is the smallest of all rows, the finest at which they can be compared.

        Returns:
            (m, low_bin, int64[n, width]); column j is bin `low_bin + j`. Width is 0 when no value is in any bin.

        Raises:
            UsageError: a row has fewer mantissa bits than m.
        """
        if m is None:
            m = int(self.m.min(initial=MAX_M))
        same = self.at_m(m)
        if not len(same.bins):
            return m, 0, np.zeros((len(self), 0), np.int64)
        low, high = int(same.bins.min()), int(same.bins.max())
        table = np.zeros((len(self), high - low + 1), np.int64)
        rows = np.repeat(np.arange(len(self)), np.diff(same.offsets))
        table[rows, same.bins.astype(np.int64) - low] = same.counts
        return m, low, table


_PER_ROW: Final = ("step", "m", "zeros", "nans", "infs", "n", "mean", "std", "min", "max")
_DTYPES: Final[dict[str, type[np.generic]]] = {
    **dict.fromkeys(("step", "offsets", "counts", "zeros", "nans", "infs", "n"), np.int64),
    **dict.fromkeys(("mean", "std", "min", "max"), np.float64),
    "m": np.int8,
    "bins": np.int16,
}


def empty_histograms() -> Histograms:
    """No rows."""
    return Histograms(**{name: np.zeros(int(name == "offsets"), kind) for name, kind in _DTYPES.items()})


def concatenate(parts: Sequence[Histograms]) -> Histograms:
    """The rows of several, one after the other; at least one is needed."""
    counts = np.concatenate([np.diff(part.offsets) for part in parts])
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in (*_PER_ROW, "bins", "counts")}
    return Histograms(offsets=_offsets(counts), **joined)


def histogram_of(values: npt.ArrayLike, step: int = 0) -> Histograms:
    """The histogram of an array of any shape, as one row.

    Bins and counters are those of the values as float32, which is exact for float32, bfloat16 and float16. Moments are
    computed in float64.
    """
    flat = np.ascontiguousarray(np.asarray(values).reshape(-1), np.float32)
    finite = np.isfinite(flat)
    kept = flat if finite.all() else flat[finite]
    keys = (kept.view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    if len(keys) <= _SMALL:
        m, bins, counts = fold_keys(*np.unique(keys, return_counts=True))
    else:
        counts16 = np.zeros(1 << 16, np.int64)
        for start in range(0, len(keys), _CHUNK):
            counts16 += np.bincount(keys[start : start + _CHUNK], minlength=1 << 16)
        m, bins, counts = fold_counts(counts16)
    some = len(kept) > 0
    return Histograms(
        step=np.array([step]),
        m=np.array([m]),
        offsets=np.array([0, len(bins)]),
        bins=bins,
        counts=counts,
        zeros=np.array([len(kept) - np.count_nonzero(kept)]),
        nans=np.array([np.count_nonzero(np.isnan(flat))]),
        infs=np.array([np.count_nonzero(np.isinf(flat))]),
        n=np.array([len(flat)]),
        mean=np.array([kept.mean(dtype=np.float64) if some else np.nan]),
        std=np.array([kept.std(dtype=np.float64) if some else np.nan]),
        min=np.array([kept.min() if some else np.nan]),
        max=np.array([kept.max() if some else np.nan]),
    )


def _check_fold(m: int, to_m: int) -> None:
    if not MIN_M <= to_m <= m <= MAX_M:
        raise UsageError(f"bins have {MIN_M} to {MAX_M} mantissa bits and are folded to fewer; found {m} and {to_m}")


def _shifted(bins: Int16s, shift: int | Int16s) -> Int16s:
    """`sign(b) * (|b| >> shift)`, without leaving int16: negative bins are rounded towards zero too."""
    mask = (1 << np.asarray(shift, np.int16)) - np.int16(1)
    shifted: Int16s = (bins + ((bins >> np.int16(15)) & mask).astype(np.int16)) >> np.asarray(shift, np.int16)
    return shifted


def _starts(bins: Int16s) -> Ints:
    """Where each run of equal bins begins."""
    first = np.ones(len(bins), bool)
    first[1:] = bins[1:] != bins[:-1]
    return np.flatnonzero(first)


def _sums(counts: npt.NDArray[Any], starts: Ints) -> Ints:
    return np.add.reduceat(counts, starts, dtype=np.int64) if len(starts) else np.empty(0, np.int64)


def _offsets(num: Ints) -> Ints:
    offsets = np.zeros(len(num) + 1, np.int64)
    np.cumsum(num, out=offsets[1:])
    return offsets
