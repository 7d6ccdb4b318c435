"""What is measured of one tensor in main memory: exact counters, moments, and how often each bin's key occurs.

numpy does it, in pieces that fit the processor's caches. Of torch only what starts no OpenMP threads is used: those
would spin through the training's time wherever its cores are busy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from explorer.recording.watching.moments import Moments, Numbers, moments_of

SMALL = 8_192
_CHUNK = 1 << 18
_SINGLE_THREAD_CHUNK = 1 << 20  # where torch counts, and no one shares the cache
_TORCH_PIECE = 1 << 15  # a torch operation on more elements starts threads
_NUM_KEYS = 1 << 16
_SIGN = 1 << 15
_INFINITE = 0x7F80
UNDERFLOW_KEY = 102 << 7
"""The key of 2**-25, below which float16 rounds to zero."""
_UNDERFLOWS = np.array([UNDERFLOW_KEY, _SIGN, _SIGN + UNDERFLOW_KEY])
_LARGEST = float(np.finfo(np.float32).max)
_ENDS = np.array([_INFINITE, _SIGN, _SIGN + _INFINITE])

Keys = npt.NDArray[np.uint16]
Counts = npt.NDArray[np.int64]
Source = Callable[[int, int], Numbers]


@dataclass(frozen=True)
class Measured:
    """What is known of the values of one tensor.

    Attributes:
        n: all of them, NaN and infinities included.
        zeros, nans, infs: exact counts.
        underflow: values other than zero below 2**-25 in magnitude.
        moments: of the finite values.
        low, high: smallest and largest finite value; NaN when there is none.
        keys: uint16[k] ascending, upper halves of the float32 patterns that occur.
        counts: int64[k], how many values have each.
    """

    n: int
    zeros: int
    nans: int
    infs: int
    underflow: int
    moments: Moments
    low: float
    high: float
    keys: Keys
    counts: Counts

    @property
    def all_squares(self) -> float:
        """The sum of the squares of all values, as IEEE 754 adds: NaN or infinite where a value is."""
        if self.nans or self.infs:
            return math.nan if self.nans else math.inf
        return self.moments.norm**2

    def with_zeros(self, count: int) -> Measured:
        """The same and so many zeros more: those that a sparse tensor does not hold."""
        if not count:
            return self
        table = np.zeros(_NUM_KEYS, np.int64)
        table[self.keys] = self.counts
        table[0] += count
        return replace(
            self,
            n=self.n + count,
            zeros=self.zeros + count,
            moments=self.moments.plus(Moments(count)),
            low=float(np.fmin(self.low, 0.0)),
            high=float(np.fmax(self.high, 0.0)),
            **_occupied(table),
        )


def plus(first: Measured, second: Measured) -> Measured:
    """Of the values of both together."""
    table = np.zeros(_NUM_KEYS, np.int64)
    table[first.keys] = first.counts
    table[second.keys] += second.counts
    sums = {name: getattr(first, name) + getattr(second, name) for name in ("n", "zeros", "nans", "infs", "underflow")}
    return Measured(
        **sums,
        moments=first.moments.plus(second.moments),
        low=float(np.fmin(first.low, second.low)),
        high=float(np.fmax(first.high, second.high)),
        **_occupied(table),
    )


class Workspace:
    """Memory that is used again for each tensor: fresh pages cost more than the counting itself. One a thread."""

    def __init__(self) -> None:
        self._singles: dict[int, Tensor] = {}
        self._difference = np.empty(0, np.float32)
        self._torch_keys = torch.empty(0, dtype=torch.int32, device="cpu")

    def source(self, values: Tensor, place: int = 0) -> Source:
        """The values from `start` to `end` as numpy's: float64 as they are, all others as float32, which is exact.

        What it gives out is overwritten by the next call; two sources used in turn need two places.
        """
        if values.dtype in (torch.float32, torch.float64):
            array = values.numpy()
            return lambda start, end: array[start:end]

        def convert(start: int, end: int) -> Numbers:
            singles = self._singles.get(place)
            if singles is None or len(singles) < end - start:
                size = max(end - start, _CHUNK)
                singles = self._singles[place] = torch.empty(size, dtype=torch.float32, device="cpu")
            for at in range(start, end, _TORCH_PIECE):
                stop = min(at + _TORCH_PIECE, end)
                singles[at - start : stop - start].copy_(values[at:stop])
            converted: Numbers = singles[: end - start].numpy()
            return converted

        return convert

    def measure(self, values: Tensor) -> Measured:
        """Everything of a flat tensor; see `Measured`."""
        return self._measure(self.source(values), values.numel())

    def measure_difference(self, after: Tensor, before: Tensor) -> Measured:
        """The same of `after - before`, two flat tensors of one type."""
        with np.errstate(invalid="ignore", over="ignore"):  # where both are infinite
            return self._measure(self.difference(after, before), after.numel())

    def difference(self, after: Tensor, before: Tensor) -> Source:
        """`after - before`; overwritten by the next call."""
        later, earlier = self.source(after, 0), self.source(before, 1)

        def subtract(start: int, end: int) -> Numbers:
            first = later(start, end)
            if len(self._difference) < len(first) or self._difference.dtype != first.dtype:
                self._difference = np.empty(_SINGLE_THREAD_CHUNK, first.dtype)
            return np.subtract(first, earlier(start, end), out=self._difference[: len(first)])

        return subtract

    def _measure(self, source: Source, n: int) -> Measured:
        if n <= SMALL:
            return measure_few(source(0, n))
        by_torch = torch.get_num_threads() == 1
        size = _SINGLE_THREAD_CHUNK if by_torch else _CHUNK
        table, occupied, moments, extremes = None, None, Moments(), _Extremes()
        zeros = nans = infs = 0
        for start in range(0, n, size):
            values = source(start, min(start + size, n))
            singles = as_singles(values)
            counts = self._count_by_torch(singles) if by_torch else _count(singles)
            keys = np.flatnonzero(counts != 0)
            if counts[0] or counts[_SIGN]:
                zeros += len(values) - int(np.count_nonzero(values))
            if extremes.look(values, keys):
                nans += int(np.count_nonzero(np.isnan(values)))
                infs += int(np.count_nonzero(np.isinf(values)))
            moments = moments.plus(moments_of(values))
            if table is None:
                table, occupied = counts, keys
            else:
                table += counts
                occupied = None
        assert table is not None, "n > SMALL"
        low, high = extremes.low, extremes.high
        if zeros:  # as of a ReLU: all of one sign, and zero
            low, high = min(low, 0.0), max(high, 0.0)
        if math.isinf(low) or math.isinf(high):  # all of one sign: rare enough to go through it again
            low, high = _range(source, n, size)
        if occupied is None:
            occupied = np.flatnonzero(table != 0)
        found = table[occupied]
        positive, first_negative, negative = np.searchsorted(occupied, _UNDERFLOWS).tolist()
        below = int(found[:positive].sum() + found[first_negative:negative].sum())
        return Measured(n, zeros, nans, infs, below - zeros, moments, low, high, occupied.astype(np.uint16), found)

    def _count_by_torch(self, singles: npt.NDArray[np.float32]) -> Counts:
        if not len(self._torch_keys):
            self._torch_keys = torch.empty(_SINGLE_THREAD_CHUNK, dtype=torch.int32, device="cpu")
        keys = self._torch_keys[: len(singles)]
        np.right_shift(singles.view(np.uint32), np.uint32(16), out=keys.numpy().view(np.uint32))
        found: Counts = torch.bincount(keys, minlength=_NUM_KEYS).numpy()
        return found


def measure_few(values: Numbers) -> Measured:
    """Of at most some thousand values: in float64, straight from the definitions."""
    n = len(values)
    keys, counts = _count_few(_upper_halves(as_singles(values)))
    finite = values.astype(np.float64)
    zeros = n - int(np.count_nonzero(finite))
    nans = infs = 0
    with np.errstate(all="ignore"):
        total = float(np.add.reduce(finite))
        if not math.isfinite(total):
            nans, infs = int(np.count_nonzero(np.isnan(finite))), int(np.count_nonzero(np.isinf(finite)))
            finite = finite[np.isfinite(finite)]
            total = float(np.add.reduce(finite))
        if not len(finite):
            return Measured(n, zeros, nans, infs, 0, Moments(), math.nan, math.nan, keys, counts)
        mean = total / len(finite)
        centred = finite - mean
        return Measured(
            n=n,
            zeros=zeros,
            nans=nans,
            infs=infs,
            underflow=int(np.count_nonzero(np.abs(finite) < 2.0**-25)) - zeros,
            moments=Moments(len(finite), mean, float(np.add.reduce(np.multiply(centred, centred, out=centred)))),
            low=float(np.minimum.reduce(finite)),
            high=float(np.maximum.reduce(finite)),
            keys=keys,
            counts=counts,
        )


def _count_few(keys: Keys) -> tuple[Keys, Counts]:
    """The keys that occur, ascending, and how often. Sorts `keys` itself; half the time of numpy's `unique`."""
    keys.sort()
    first = np.ones(len(keys) + 1, bool)
    np.not_equal(keys[1:], keys[:-1], out=first[1:-1])
    edges = np.flatnonzero(first)
    return keys[edges[:-1]], edges[1:] - edges[:-1]


def as_singles(values: Numbers) -> npt.NDArray[np.float32]:
    """As float32, whose patterns the bins are made of; finite values beyond its range count as the largest."""
    if values.dtype == np.float32:
        return values
    with np.errstate(over="ignore", under="ignore"):
        singles = values.astype(np.float32)
    beyond = np.isinf(singles) & np.isfinite(values)
    singles[beyond] = np.copysign(np.float32(_LARGEST), values[beyond])
    return singles


class _Extremes:
    """Smallest and largest finite value, found by looking only at the chunks that reach the outermost bins so far."""

    def __init__(self) -> None:
        self.low, self.high = math.inf, -math.inf
        self._low_key, self._high_key = _SIGN, 0

    def look(self, values: Numbers, keys: npt.NDArray[np.intp]) -> bool:
        """Go through a chunk in which these keys occur, ascending. Whether it holds NaN or infinities."""
        positive, first_negative, negative = np.searchsorted(keys, _ENDS).tolist()
        if positive and keys[positive - 1] >= self._high_key:
            self.high = max(self.high, _finite(values, float(values.max()), np.max))
            self._high_key = int(keys[positive - 1])
        if negative > first_negative and keys[negative - 1] >= self._low_key:
            self.low = min(self.low, _finite(values, float(values.min()), np.min))
            self._low_key = int(keys[negative - 1])
        return bool(positive < first_negative or negative < len(keys))


def _finite(values: Numbers, found: float, extreme: Callable[[Numbers], Any]) -> float:
    return found if math.isfinite(found) else float(extreme(values[np.isfinite(values)]))


def _range(source: Source, n: int, size: int) -> tuple[float, float]:
    low, high = math.nan, math.nan
    for start in range(0, n, size):
        values = source(start, min(start + size, n))
        finite = values[np.isfinite(values)]
        if len(finite):
            low, high = float(np.fmin(low, finite.min())), float(np.fmax(high, finite.max()))
    return low, high


def _upper_halves(singles: npt.NDArray[np.float32]) -> Keys:
    return (np.ascontiguousarray(singles).view(np.uint32) >> np.uint32(16)).astype(np.uint16)


def _count(singles: npt.NDArray[np.float32]) -> Counts:
    if np.little_endian:
        return np.bincount(singles.view(np.uint16)[1::2], minlength=_NUM_KEYS)
    return np.bincount(_upper_halves(singles), minlength=_NUM_KEYS)


def _occupied(table: Counts) -> dict[str, Any]:
    keys = np.flatnonzero(table != 0)
    return {"keys": keys.astype(np.uint16), "counts": table[keys]}
