"""What is measured of one tensor in main memory: exact counters, moments, and how often each bin's key occurs.

numpy does it, in one pass of pieces that fit the processor's second cache. Of torch only what starts no OpenMP threads
is used: those would spin through the training's time wherever its cores are busy.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from explorer.recording.watching.checksum import RunningChecksum
from explorer.recording.watching.moments import PIECE, Moments, Numbers, RowSums

SMALL = 4_096
_UPPER = 1 if sys.byteorder == "little" else 0
_TORCH_PIECE = 1 << 15  # a torch operation on more elements starts threads
_NUM_KEYS = 1 << 16
_SIGN = 1 << 15
UNDERFLOW = 2.0**-25
"""Below this float16 rounds to zero."""
UNDERFLOW_KEY = 102 << 7
"""The key of that."""
_UNDERFLOWS = np.array([UNDERFLOW_KEY, _SIGN, _SIGN + UNDERFLOW_KEY])
_LARGEST = float(np.finfo(np.float32).max)

Keys = npt.NDArray[np.uint16]
Counts = npt.NDArray[np.int64]
Source = Callable[[int, int], Numbers]


class Measured(NamedTuple):
    """What is known of the values of one tensor.

    Attributes:
        n: all of them, NaN and infinities included.
        zeros, nans, infs: exact counts.
        underflow: values other than zero below 2**-25 in magnitude.
        moments: of the finite values.
        low, high: smallest and largest finite value; NaN when there is none.
        keys: uint16[k] ascending, upper halves of the float32 patterns that occur.
        counts: int64[k], how many values have each.
        checksum: of all bits, where it was asked for; see `checksum`.
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
    checksum: int | None = None

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
        return self._replace(
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
        self._counter = _Counter()

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
                size = max(end - start, PIECE)
                singles = self._singles[place] = torch.empty(size, dtype=torch.float32, device="cpu")
            for at in range(start, end, _TORCH_PIECE):
                stop = min(at + _TORCH_PIECE, end)
                singles[at - start : stop - start].copy_(values[at:stop])
            converted: Numbers = singles[: end - start].numpy()
            return converted

        return convert

    def measure(self, values: Tensor, *, checksum: bool = False) -> Measured:
        """Everything of a flat tensor; see `Measured`."""
        with np.errstate(all="ignore"):
            return self._measure(self.source(values), values.numel(), RunningChecksum(values) if checksum else None)

    def measure_difference(self, after: Tensor, before: Tensor) -> Measured:
        """The same of `after - before`, two flat tensors of one type."""
        with np.errstate(all="ignore"):
            return self._measure(self.difference(after, before), after.numel(), None)

    def difference(self, after: Tensor, before: Tensor) -> Source:
        """`after - before`; overwritten by the next call."""
        later, earlier = self.source(after, 0), self.source(before, 1)

        def subtract(start: int, end: int) -> Numbers:
            first = later(start, end)
            if len(self._difference) < len(first) or self._difference.dtype != first.dtype:
                self._difference = np.empty(max(len(first), PIECE), first.dtype)
            found = self._difference[: len(first)]
            if first.flags.c_contiguous:
                return np.subtract(first, earlier(start, end), out=found)
            np.copyto(found, first)  # a sample lies apart: copied first, it is subtracted from at full speed
            return np.subtract(found, earlier(start, end), out=found)

        return subtract

    def _measure(self, source: Source, n: int, checksum: RunningChecksum | None) -> Measured:
        if n <= SMALL:
            few = measure_few(source(0, n))
            return few if checksum is None else few._replace(checksum=checksum.finish())
        sums, extremes, counter = None, _Extremes(), self._counter
        zeros = 0
        counter.clear(n)
        for start in range(0, n, PIECE):
            end = min(start + PIECE, n)
            values = source(start, end)
            if sums is None:
                sums = RowSums(n, values.dtype)
            sums.add(start, values)
            extremes.look(values)
            if counter.add(as_singles(values)):
                zeros += len(values) - int(np.count_nonzero(values))
            if checksum is not None:
                checksum.advance(end)
        assert sums is not None, "n > SMALL"
        keys, counts = counter.found()
        positive, first_negative, negative = np.searchsorted(keys, _UNDERFLOWS).tolist()
        below = int(counts[:positive].sum() + counts[first_negative:negative].sum())
        return Measured(
            n=n,
            zeros=zeros,
            nans=extremes.nans,
            infs=extremes.infs,
            underflow=below - zeros,
            moments=sums.moments(source),
            low=extremes.low,
            high=extremes.high,
            keys=keys.astype(np.uint16),
            counts=counts,
            checksum=None if checksum is None else checksum.finish(),
        )


def measure_few(values: Numbers) -> Measured:
    """Of at most some thousand values: in float64, straight from the definitions."""
    n = len(values)
    keys, counts = count_few(upper_halves(as_singles(values)))
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
            underflow=int(np.count_nonzero(np.abs(finite) < UNDERFLOW)) - zeros,
            moments=Moments(len(finite), mean, float(np.add.reduce(np.multiply(centred, centred, out=centred)))),
            low=float(np.minimum.reduce(finite)),
            high=float(np.maximum.reduce(finite)),
            keys=keys,
            counts=counts,
        )


def count_few(keys: Keys) -> tuple[Keys, Counts]:
    """The keys that occur, ascending, and how often. Sorts `keys` itself; half the time of numpy's `unique`."""
    keys.sort()
    edges = find_runs(keys)
    return keys[edges[:-1]], edges[1:] - edges[:-1]


def find_runs(keys: Keys, starts: Counts | None = None) -> Counts:
    """Where each run of equal keys begins (one at each of `starts` too) and the last one ends: int64[runs + 1]."""
    first = np.ones(len(keys) + 1, bool)
    np.not_equal(keys[1:], keys[:-1], out=first[1:-1])
    if starts is not None:
        first[starts] = True
    return np.flatnonzero(first)


def upper_halves(singles: npt.NDArray[np.float32]) -> Keys:
    """The keys of these values, in their order."""
    return (np.ascontiguousarray(singles).view(np.uint32) >> np.uint32(16)).astype(np.uint16)


def as_singles(values: Numbers) -> npt.NDArray[np.float32]:
    """As float32, whose patterns the bins are made of; finite values beyond its range count as the largest."""
    if values.dtype == np.float32:
        return values
    with np.errstate(over="ignore", under="ignore"):
        singles = values.astype(np.float32)
    beyond = np.isinf(singles) & np.isfinite(values)
    singles[beyond] = np.copysign(np.float32(_LARGEST), values[beyond])
    return singles


class _Counter:
    """How often each key occurs in a large tensor.

    `scatter_add_` is the quickest loop that counts: it takes no look at the keys before, needs no table of its own for
    each piece, and never starts threads, so that pieces stay in the processor's second cache.
    """

    def __init__(self) -> None:
        self._keys = torch.empty(PIECE, dtype=torch.int64, device="cpu")
        self._halves = self._keys.numpy()
        self._tables = {kind: torch.zeros(_NUM_KEYS, dtype=kind, device="cpu") for kind in (torch.int32, torch.int64)}
        self._ones = {kind: torch.ones(PIECE, dtype=kind, device="cpu") for kind in self._tables}
        self._use(torch.int32)

    def _use(self, kind: torch.dtype) -> None:
        self._table, self._one = self._tables[kind], self._ones[kind]
        self._counts = self._table.numpy()
        self._num_small = 0

    def clear(self, n: int) -> None:
        """Begin with a tensor of n values."""
        self._use(torch.int32 if n < 1 << 31 else torch.int64)
        self._counts.fill(0)

    def add(self, singles: npt.NDArray[np.float32]) -> bool:
        """Count a piece of at most `PIECE` values. Whether it may hold zeros."""
        n = len(singles)
        self._halves[:n] = singles.view(np.uint16)[_UPPER::2]
        self._table.scatter_add_(0, self._keys[:n], self._one[:n])
        before, self._num_small = self._num_small, int(self._counts[0]) + int(self._counts[_SIGN])
        return self._num_small > before

    def found(self) -> tuple[npt.NDArray[np.intp], Counts]:
        """The keys that occur, ascending, and int64 how often."""
        keys = np.flatnonzero(self._counts != 0)
        return keys, self._counts[keys].astype(np.int64)


class _Extremes:
    """Smallest and largest finite value (NaN when there is none), and how many are not finite."""

    def __init__(self) -> None:
        self.low = self.high = math.nan
        self.nans = self.infs = 0

    def look(self, values: Numbers) -> None:
        low, high = float(np.minimum.reduce(values)), float(np.maximum.reduce(values))
        if not (math.isfinite(low) and math.isfinite(high)):
            self.nans += int(np.count_nonzero(np.isnan(values)))
            self.infs += int(np.count_nonzero(np.isinf(values)))
            finite = values[np.isfinite(values)]
            if not len(finite):
                return
            low, high = float(np.minimum.reduce(finite)), float(np.maximum.reduce(finite))
        self.low, self.high = (low if not self.low <= low else self.low), (high if not self.high >= high else self.high)


def _occupied(table: Counts) -> dict[str, Any]:
    keys = np.flatnonzero(table != 0)
    return {"keys": keys.astype(np.uint16), "counts": table[keys]}
