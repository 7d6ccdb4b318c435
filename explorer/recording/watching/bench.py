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
    """Works on flat tensors of one device; see `flatten`. Nothing here waits for the device.

    What is measured may be worked out later where it is small. Whatever the training could change until then is given
    as `hold` returns it; what `copy` or `take_sample` gave is safe as it is.
    """

    def hold(self, values: Tensor) -> Tensor:
        """The values as they are now, for one look: a copy where they would be worked out later."""

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

    def gather(self, values: Tensor) -> Tensor:
        """The same values side by side; overwritten by the next call, or by who changes `values`."""

    def copy(self, values: Tensor, name: str) -> Tensor:
        """The values as they are now, to be compared with soon; overwritten by the next copy under this name."""


class HostBench:
    """Main memory: everything is worked out at once, in the calling thread, but small tensors, see `few`."""

    def __init__(self) -> None:
        self._work = Workspace()
        self._copies: dict[str, Tensor] = {}
        self._gathered: dict[torch.dtype, Tensor] = {}
        self._few: Together[Few, Measured] = Together(measure_together)
        self._few_pairs: Together[tuple[Tensor, Tensor], Products] = Together(multiply_together)

    def close(self) -> None:
        """A look is over: its results may be asked for by another thread from now on."""
        self._few.close()
        self._few_pairs.close()

    def hold(self, values: Tensor) -> Tensor:
        """See `Bench`."""
        return values.clone() if values.numel() <= SMALL else values

    def measure(self, values: Tensor, *, checksum: bool = False) -> Later[Measured]:
        """See `Bench`."""
        if values.numel() > SMALL:
            return _known(self._work.measure(values, checksum=checksum))
        return self._few.add(Few(values, checksum))

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
            products = self._few_pairs.add((a, b))
            return lambda: products()[:3]
        one, two = (self._work.source(x)(0, x.numel()).astype(np.float64) for x in (a, b))
        with np.errstate(all="ignore"):
            return _known((dot(one, two), dot(one, one), dot(two, two)))

    def change(self, after: Tensor, before: Tensor) -> Later[tuple[float, float]]:
        """See `Bench`."""
        n = after.numel()
        if n <= SMALL:
            products = self._few_pairs.add((after, before))
            return lambda: (products().difference, products().bb)
        difference, earlier = self._work.difference(after, before), self._work.source(before)
        changed = kept = 0.0
        with np.errstate(all="ignore"):
            for start in range(0, n, _PIECE):
                end = min(start + _PIECE, n)
                changed += sum_of_squares(difference(start, end))
                kept += sum_of_squares(earlier(start, end))
        return _known((changed, kept))

    def squares(self, tensors: Sequence[Tensor]) -> Later[float]:
        """See `Bench`."""
        total = 0.0
        with np.errstate(all="ignore"):
            for values in tensors:
                source, n = self._work.source(values), values.numel()
                for start in range(0, n, _PIECE):
                    total += sum_of_squares(source(start, min(start + _PIECE, n)))
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

    def gather(self, values: Tensor) -> Tensor:
        """See `Bench`."""
        if values.is_contiguous():
            return values
        n, gathered = len(values), self._gathered.get(values.dtype)
        if gathered is None or len(gathered) < n:
            gathered = self._gathered[values.dtype] = torch.empty(n, dtype=values.dtype, device="cpu")
        _copy(values, gathered[:n])
        return gathered[:n]

    def copy(self, values: Tensor, name: str) -> Tensor:
        """See `Bench`. Memory of large ones is kept for the next look: fresh pages cost seven times the copy itself."""
        if values.numel() <= SMALL:
            return values.clone()
        kept = self._copies.get(name)
        if kept is None or kept.shape != values.shape or kept.dtype != values.dtype:
            kept = self._copies[name] = values.clone()
        else:
            _copy(values, kept)
        return kept


_PIECE = 1 << 16


def _copy(values: Tensor, to: Tensor) -> None:
    if values.dtype in (torch.float32, torch.float64):
        np.copyto(to.numpy(), values.numpy())  # a fifth faster than torch where values lie apart
    else:
        for start in range(0, len(values), _PIECE // 2):  # a larger copy would start threads
            to[start : start + _PIECE // 2].copy_(values[start : start + _PIECE // 2])


def _known(value: T) -> Later[T]:
    return lambda: value
