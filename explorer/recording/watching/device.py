"""Quantities on an accelerator: enqueued, packed, brought over behind the training's back.

The caller enqueues a fixed number of operations a tensor and never reads a result; the writer thread takes the results
apart when they have arrived.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from explorer.recording.watching.bench import Later
from explorer.recording.watching.checksum import checksum_on_device, device_weights
from explorer.recording.watching.moments import Moments
from explorer.recording.watching.quantities import UNDERFLOW_KEY, Measured, measure_few
from explorer.recording.watching.shipping import PinnedPool, Shipment
from explorer.recording.watching.units import Criterion, UnitCounts, as_batch, count_units_on_device

RAW_VALUES = 1 << 15
"""Up to here the values themselves are brought over: they are no more than a table of counts, and exact."""
_PIECE = 1 << 22
_NUM_KEYS = 1 << 16
_SIGN = 1 << 15


class DeviceBench:
    """See `Bench`; `ship` sends what was asked for since the last time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._wide = torch.float32 if device.type == "mps" else torch.float64
        self._pool = PinnedPool()
        self._weights: Tensor | None = None
        self._shipment = Shipment(device, self._pool)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was asked for since the last time."""
        return self._shipment.is_empty

    def ship(self) -> Shipment:
        """Send the results off; those that were promised can be read when it has arrived."""
        shipment, self._shipment = self._shipment, Shipment(self._device, self._pool)
        shipment.send()
        return shipment

    def hold(self, values: Tensor) -> Tensor:
        """See `Bench`. Everything is enqueued at once, before what the training does next."""
        return values

    def measure(self, values: Tensor, *, checksum: bool = False) -> Later[Measured]:
        """See `Bench`."""
        if checksum:
            found, bits = self.measure(values), self._checksum(values)
            return lambda: found()._replace(checksum=bits())
        shipment = self._shipment
        if values.numel() <= RAW_VALUES:
            raw = shipment.put("floats", values.to(self._wide))
            return lambda: measure_few(shipment.floats[raw])
        table = torch.zeros(_NUM_KEYS, dtype=torch.int32, device=values.device)
        one = torch.ones((), dtype=torch.int32, device=values.device)
        floats, ints = [], []
        for piece in torch.split(values, _PIECE):
            wide = piece.to(self._wide)
            finite = torch.isfinite(wide)
            zero = wide.new_zeros(())
            num = finite.sum()
            mean = torch.where(finite, wide, zero).sum() / num.clamp(min=1)
            centred = torch.where(finite, wide - mean, zero)
            low, high = torch.where(finite, wide, torch.inf).min(), torch.where(finite, wide, -torch.inf).max()
            floats.append(torch.stack([mean, (centred * centred).sum(), low, high]))
            ints.append(torch.stack([num, torch.isnan(wide).sum(), (wide == 0).sum()]))
            keys = (_as_singles(piece, finite).view(torch.int32) >> 16) & (_NUM_KEYS - 1)
            table.index_add_(0, keys.to(torch.int64), one.expand(len(keys)))
        n = values.numel()
        moments, counts = shipment.put("floats", torch.cat(floats)), shipment.put("ints", torch.cat(ints))
        place = shipment.put("tables", table)
        return lambda: _unpacked(n, shipment.floats[moments], shipment.ints[counts], shipment.tables[place])

    def measure_difference(self, after: Tensor, before: Tensor) -> Later[Measured]:
        """See `Bench`."""
        return self.measure(_difference(after, before))

    def inner_products(self, a: Tensor, b: Tensor) -> Later[tuple[float, float, float]]:
        """See `Bench`."""
        one, two = a.to(self._wide), b.to(self._wide)
        return self._numbers3(torch.stack([(one * two).sum(), (one * one).sum(), (two * two).sum()]))

    def change(self, after: Tensor, before: Tensor) -> Later[tuple[float, float]]:
        """See `Bench`."""
        pieces = zip(torch.split(after, _PIECE), torch.split(before, _PIECE), strict=True)
        sums = [torch.stack([self._square(_difference(new, old)), self._square(old)]) for new, old in pieces]
        shipment, place = self._shipment, self._shipment.put("floats", torch.stack(sums).sum(0))
        return lambda: (float(shipment.floats[place][0]), float(shipment.floats[place][1]))

    def squares(self, tensors: Sequence[Tensor]) -> Later[float]:
        """See `Bench`."""
        pieces = [self._square(piece) for values in tensors for piece in torch.split(values, _PIECE)]
        return self.number(torch.stack(pieces).sum() if pieces else torch.zeros((), device=self._device))

    def _checksum(self, values: Tensor) -> Later[int]:
        if self._weights is None:
            self._weights = device_weights(self._device)
        shipment, place = self._shipment, self._shipment.put("ints", checksum_on_device(values, self._weights))
        return lambda: int(shipment.ints[place][0])

    def count_units(self, output: Tensor, axis: int, criterion: Criterion) -> Later[UnitCounts]:
        """See `Bench`."""
        batch = as_batch(output, axis)
        examples, before, num_units, after = batch.shape
        shipment = self._shipment
        place = shipment.put("ints", count_units_on_device(batch, criterion).reshape(-1))

        def read() -> UnitCounts:
            active, saturated = shipment.ints[place].reshape(2, num_units)
            return UnitCounts(examples, before * after, active, saturated if criterion.saturated else None)

        return read

    def number(self, value: Tensor) -> Later[float]:
        """See `Bench`."""
        shipment, place = self._shipment, self._shipment.put("floats", value.detach().to(self._wide).reshape(1))
        return lambda: float(shipment.floats[place][0])

    def bring(self, values: Tensor) -> Later[npt.NDArray[Any]]:
        """See `Bench`."""
        shipment, place = self._shipment, self._shipment.put("floats", values.to(self._wide))
        return lambda: shipment.floats[place]

    def gather(self, values: Tensor) -> Tensor:
        """See `Bench`."""
        return values.contiguous()

    def copy(self, values: Tensor, name: str) -> Tensor:
        """See `Bench`. The device's allocator keeps the memory itself."""
        return values.clone()

    def _numbers3(self, values: Tensor) -> Later[tuple[float, float, float]]:
        shipment, place = self._shipment, self._shipment.put("floats", values)

        def read() -> tuple[float, float, float]:
            first, second, third = shipment.floats[place].tolist()
            return first, second, third

        return read

    def _square(self, values: Tensor) -> Tensor:
        wide = values.to(self._wide)
        return (wide * wide).sum()


def _difference(after: Tensor, before: Tensor) -> Tensor:
    if after.dtype == torch.float64:
        return after - before
    return after.to(torch.float32) - before.to(torch.float32)


def _as_singles(values: Tensor, finite: Tensor) -> Tensor:
    singles = values.to(torch.float32)
    if values.dtype == torch.float64:
        limit = torch.finfo(torch.float32).max
        singles = torch.where(finite, singles.clamp(-limit, limit), singles)
    return singles


def _unpacked(n: int, floats: npt.NDArray[Any], ints: npt.NDArray[np.int64], table: npt.NDArray[np.int32]) -> Measured:
    moments = Moments()
    pieces = floats.reshape(-1, 4).astype(np.float64)
    counts = ints.reshape(-1, 3)
    for (mean, m2, _, _), num in zip(pieces.tolist(), counts[:, 0].tolist(), strict=True):
        moments = moments.plus(Moments(num, mean, m2))
    zeros, nans = int(counts[:, 2].sum()), int(counts[:, 1].sum())
    wide = table.astype(np.int64)
    keys = np.flatnonzero(wide != 0)
    small = int(wide[:UNDERFLOW_KEY].sum() + wide[_SIGN : _SIGN + UNDERFLOW_KEY].sum())
    return Measured(
        n=n,
        zeros=zeros,
        nans=nans,
        infs=n - nans - moments.n,
        underflow=small - zeros,
        moments=moments,
        low=float(pieces[:, 2].min()) if moments.n else np.nan,
        high=float(pieces[:, 3].max()) if moments.n else np.nan,
        keys=keys.astype(np.uint16),
        counts=wide[keys],
    )
