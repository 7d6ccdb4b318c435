"""Small tensors in main memory: copied while the training waits, and worked out together by the writer thread.

A bias of 256 values takes as many calls of numpy as a matrix, which is 0.1 ms of the training's time. The small tensors
of a look are therefore laid one after the other, and each call is made once for all of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from explorer.recording.watching.checksum import checksums_of_few
from explorer.recording.watching.moments import Moments, Numbers
from explorer.recording.watching.quantities import (
    UNDERFLOW,
    Counts,
    Keys,
    Measured,
    as_singles,
    find_runs,
    measure_few,
    upper_halves,
)

_TOGETHER = 1 << 15
"""Values that are worked out at once: they stay in the processor's second cache."""

Ints = npt.NDArray[np.int64]
Item = TypeVar("Item")
Found = TypeVar("Found")


@dataclass
class _Batch(Generic[Item, Found]):
    items: list[Item] = field(default_factory=list)
    found: list[Found] | None = None


class Together(Generic[Item, Found]):
    """Puts work off until its first result is asked for, and then does all of it.

    Results are asked for by one thread; by another than the one that adds only after `close`.

    Args:
        work: the results of so many items, in their order.
    """

    def __init__(self, work: Callable[[Sequence[Item]], list[Found]]) -> None:
        self._work = work
        self._batch: _Batch[Item, Found] = _Batch()

    def add(self, item: Item) -> Callable[[], Found]:
        """Have it worked out; its result."""
        batch, index = self._batch, len(self._batch.items)
        batch.items.append(item)
        return lambda: self._results(batch)[index]

    def close(self) -> None:
        """What is added from now on is worked out apart from what was added before."""
        if self._batch.items:
            self._batch = _Batch()

    def _results(self, batch: _Batch[Item, Found]) -> list[Found]:
        if batch.found is None:
            if batch is self._batch:
                self.close()
            batch.found = self._work(batch.items)
            batch.items = []
        return batch.found


class Few(NamedTuple):
    """A small flat tensor in main memory that nobody changes any more; whether the checksum of its bits is wanted."""

    values: Tensor
    checksum: bool


class Products(NamedTuple):
    """Inner products of two vectors, a.b, a.a and b.b, and that of `a - b` with itself."""

    ab: float
    aa: float
    bb: float
    difference: float


def measure_together(items: Sequence[Few]) -> list[Measured]:
    """As `measure_few` of each, with its checksum."""
    found: list[Measured] = []
    for part in _parts([item.values.numel() for item in items]):
        found += _measure([_numbers(item.values) for item in items[part]])
    asked = [index for index, item in enumerate(items) if item.checksum]
    for index, checksum in zip(asked, checksums_of_few([items[index].values for index in asked]), strict=True):
        found[index] = found[index]._replace(checksum=checksum)
    return found


def multiply_together(pairs: Sequence[tuple[Tensor, Tensor]]) -> list[Products]:
    """Of each pair of flat tensors of equal length; in float64."""
    found: list[Products] = []
    for part in _parts([a.numel() for a, _ in pairs]):
        n = np.array([a.numel() for a, _ in pairs[part]])
        a, b = (np.concatenate([_numbers(pair[side]) for pair in pairs[part]]).astype(np.float64) for side in (0, 1))
        with np.errstate(all="ignore"):
            columns = [_sums(product, n).tolist() for product in (a * b, a * a, b * b, np.square(a - b))]
        found += map(Products, *columns)
    return found


def _numbers(values: Tensor) -> Numbers:
    if values.dtype not in (torch.float32, torch.float64):
        values = values.to(torch.float32)  # exact
    found: Numbers = values.numpy()
    return found


def _parts(sizes: list[int]) -> Iterator[slice]:
    """Neighbours that have some `_TOGETHER` values together."""
    start = before = 0
    for index, total in enumerate(itertools.accumulate(sizes)):
        if total - before >= _TOGETHER or index + 1 == len(sizes):
            yield slice(start, index + 1)
            start, before = index + 1, total


def _sums(values: npt.NDArray[np.float64] | npt.NDArray[np.bool_], n: Ints) -> npt.NDArray[np.float64]:
    """Of the first n[0] values, of the n[1] after them, and so on; 0 where that is none."""
    sums = np.zeros(len(n))
    some = n > 0
    if some.any():
        sums[some] = np.add.reduceat(values, (np.cumsum(n) - n)[some], dtype=np.float64)
    return sums


def _measure(tensors: list[Numbers]) -> list[Measured]:
    found: list[Measured | None] = [None if len(values) else measure_few(values) for values in tensors]
    some = [index for index, one in enumerate(found) if one is None]
    if some:
        for index, one in zip(some, _measure_some([tensors[index] for index in some]), strict=True):
            found[index] = one if one is not None else measure_few(tensors[index])
    return [one for one in found if one is not None]


def _measure_some(tensors: list[Numbers]) -> list[Measured | None]:
    """Of tensors with values; None of those that have some that are not finite."""
    n = np.array([len(values) for values in tensors])
    starts = np.cumsum(n) - n
    wide = np.concatenate(tensors).astype(np.float64)
    keys, counts, edges = _count([as_singles(values) for values in tensors], starts)
    with np.errstate(all="ignore"):
        total = np.add.reduceat(wide, starts)
        mean = total / n
        m2 = np.add.reduceat(np.square(wide - np.repeat(mean, n)), starts)
        zeros = np.add.reduceat(wide == 0, starts, dtype=np.int64)
        below = np.add.reduceat(np.abs(wide) < UNDERFLOW, starts, dtype=np.int64)
        low, high = np.minimum.reduceat(wide, starts), np.maximum.reduceat(wide, starts)
    columns = [each.tolist() for each in (n, zeros, below - zeros, mean, m2, low, high, np.isfinite(total))]
    return [
        Measured(
            n=num,
            zeros=num_zeros,
            nans=0,
            infs=0,
            underflow=underflow,
            moments=Moments(num, middle, spread),
            low=least,
            high=most,
            keys=keys[edges[index] : edges[index + 1]],
            counts=counts[edges[index] : edges[index + 1]],
        )
        if is_finite
        else None
        for index, (num, num_zeros, underflow, middle, spread, least, most, is_finite) in enumerate(
            zip(*columns, strict=True)
        )
    ]


def _count(tensors: list[npt.NDArray[np.float32]], starts: Ints) -> tuple[Keys, Counts, list[int]]:
    """The keys of each tensor, ascending, one after the other; how often each occurs; where those of each begin."""
    keys = upper_halves(np.concatenate(tensors))
    bounds = [*starts.tolist(), len(keys)]
    for start, end in itertools.pairwise(bounds):
        keys[start:end].sort()
    edges = find_runs(keys, starts)
    return keys[edges[:-1]], edges[1:] - edges[:-1], np.searchsorted(edges, bounds).tolist()
