"""Where quantities are worked out: at once in main memory, or on an accelerator, to be read when they have arrived."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from explorer.recording.watching.few import Few, Products, Together, measure_together, multiply_together
from explorer.recording.watching.moments import dot, sum_of_squares
from explorer.recording.watching.quantities import SMALL, Measured, Workspace
from explorer.recording.watching.units import Criterion, UnitCounts, as_batch, count_units

T = TypeVar("T")
Later = Callable[[], T]
"""A result that can be asked for once the bench's values have arrived."""


class Bench(Protocol):
    """Works on flat tensors of one device; see `flatten`. Nothing here waits for the device."""

    def measure(self, values: Tensor, *, checksum: bool = False) -> Later[Measured]:
        """Counters, moments and keys of all values, and the checksum of their bits if that is asked for."""

    def measure_difference(self, after: Tensor, before: Tensor) -> Later[Measured]:
        """The same of `after - before`."""

    def inner_products(self, a: Tensor, b: Tensor) -> Later[tuple[float, float, float]]:
        """a.b, a.a and b.b of two samples of equal length."""

    def change(self, after: Tensor, before: Tensor) -> Later[tuple[float, float]]:
        """Sums of squares of `after - before` and of `before`."""

    def squares(self, tensors: Sequence[Tensor]) -> Later[float]:
        """Sum of the squares of all values of all these tensors."""

    def count_units(self, output: Tensor, axis: int, criterion: Criterion) -> Later[UnitCounts]:
        """Active and saturated units of an output with units along this axis; see `units`."""

    def number(self, value: Tensor) -> Later[float]:
        """A tensor of one value."""

    def bring(self, values: Tensor) -> Later[npt.NDArray[Any]]:
        """A few values as they are now, as numpy's."""

    def copy(self, values: Tensor, name: str) -> Tensor:
        """The values as they are now, to be compared with soon; overwritten by the next copy under this name."""


class HostBench:
    """Main memory: everything is worked out at once, in the calling thread; small tensors are copied, see `few`."""

    def __init__(self) -> None:
        self._work = Workspace()
        self._copies: dict[str, Tensor] = {}
        self._few: Together[Few, Measured] = Together(measure_together)
        self._few_pairs: Together[tuple[Tensor, Tensor], Products] = Together(multiply_together)

    def close(self) -> None:
        """A look is over: its results may be asked for by another thread from now on."""
        self._few.close()
        self._few_pairs.close()

    def measure(self, values: Tensor, *, checksum: bool = False) -> Later[Measured]:
        """See `Bench`."""
        if values.numel() > SMALL:
            return _known(self._work.measure(values, checksum=checksum))
        return self._few.add(Few(values.clone(), checksum))

    def measure_difference(self, after: Tensor, before: Tensor) -> Later[Measured]:
        """See `Bench`."""
        if after.numel() > SMALL:
            return _known(self._work.measure_difference(after, before))
        with np.errstate(all="ignore"):
            difference = self._work.difference(after, before)(0, after.numel()).copy()
        return self._few.add(Few(torch.from_numpy(difference), checksum=False))

    def inner_products(self, a: Tensor, b: Tensor) -> Later[tuple[float, float, float]]:
        """See `Bench`."""
        if a.numel() <= SMALL:
            products = self._few_pairs.add((a.clone(), b.clone()))
            return lambda: products()[:3]
        with np.errstate(all="ignore"):
            one, two = (self._work.source(x)(0, x.numel()).astype(np.float64) for x in (a, b))
            found = dot(one, two), dot(one, one), dot(two, two)
        return _known(found)

    def change(self, after: Tensor, before: Tensor) -> Later[tuple[float, float]]:
        """See `Bench`."""
        if after.numel() <= SMALL:
            products = self._few_pairs.add((after.clone(), before.clone()))
            return lambda: (products().difference, products().bb)
        difference, earlier = self._work.difference(after, before), self._work.source(before)
        changed = kept = 0.0
        with np.errstate(all="ignore"):
            for start in range(0, len(after), _PIECE):
                end = min(start + _PIECE, len(after))
                changed += sum_of_squares(difference(start, end))
                kept += sum_of_squares(earlier(start, end))
        return _known((changed, kept))

    def squares(self, tensors: Sequence[Tensor]) -> Later[float]:
        """See `Bench`."""
        total = 0.0
        for values in tensors:
            source = self._work.source(values)
            for start in range(0, values.numel(), _PIECE):
                total += sum_of_squares(source(start, min(start + _PIECE, values.numel())))
        return _known(total)

    def count_units(self, output: Tensor, axis: int, criterion: Criterion) -> Later[UnitCounts]:
        """See `Bench`."""
        batch = as_batch(output, axis)
        examples, before, num_units, after = batch.shape
        size = before * num_units * after
        source, step = self._work.source(batch.reshape(-1)), max(1, _PIECE // size)
        active, saturated = np.zeros(num_units, np.int64), np.zeros(num_units, np.int64)
        for start in range(0, examples, step):
            end = min(start + step, examples)
            values = source(start * size, end * size).reshape(end - start, before, num_units, after)
            more_active, more_saturated = count_units(values, criterion)
            active += more_active
            saturated += more_saturated
        return _known(UnitCounts(examples, before * after, active, saturated if criterion.saturated else None))

    def number(self, value: Tensor) -> Later[float]:
        """See `Bench`."""
        return _known(float(value))

    def bring(self, values: Tensor) -> Later[npt.NDArray[Any]]:
        """See `Bench`."""
        return _known(self._work.source(values)(0, values.numel()).copy())

    def copy(self, values: Tensor, name: str) -> Tensor:
        """See `Bench`. The memory is kept for the next look: fresh pages cost seven times the copy itself."""
        kept = self._copies.get(name)
        if kept is None or kept.shape != values.shape or kept.dtype != values.dtype:
            kept = self._copies[name] = values.clone()
        elif values.dtype in (torch.float32, torch.float64):
            np.copyto(kept.numpy(), values.numpy())  # a fifth faster than torch where values lie apart
        else:
            for start in range(0, values.numel(), _PIECE // 2):  # a larger copy would start threads
                kept[start : start + _PIECE // 2].copy_(values[start : start + _PIECE // 2])
        return kept


_PIECE = 1 << 16


def _known(value: T) -> Later[T]:
    return lambda: value
