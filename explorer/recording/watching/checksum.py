"""A 64-bit checksum of a tensor's bits that processors and accelerators compute alike.

Each 8-byte lane times an odd weight of its place, added up modulo 2**64 in blocks, which are joined by Horner's rule.
A change of one lane always shows, a rearrangement all but surely. What such a sum cannot see, pairs of changes in the
topmost bit of lanes (signs), changes the histogram: `checksum_with_counts` takes that in too.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

LANES = 1 << 15
_MASK = (1 << 64) - 1
_BASE = 0x9E3779B97F4A7C15 - (1 << 64)
_FIRST, _SECOND = 0x2545F4914F6CDD1D, -0x61C8864680B583EB


class RunningChecksum:
    """Of a flat tensor in main memory, worked out while others go through its values too."""

    def __init__(self, values: Tensor) -> None:
        self._data: npt.NDArray[np.uint8] = values.view(torch.uint8).numpy()
        self._value_bytes = values.element_size()
        whole = len(self._data) // 8 * 8
        self._lanes = self._data[:whole].view(np.int64)
        self._done = self._total = 0

    def advance(self, num_values: int) -> None:
        """Take in the blocks that end within the first so many values."""
        end = num_values * self._value_bytes // 8 // LANES * LANES
        if end > self._done:
            blocks = self._lanes[self._done : end].reshape(-1, LANES)
            for found in np.einsum("ij,j->i", blocks, _weights()).tolist():
                self._total = (self._total * _BASE + found) & _MASK
            self._done = end

    def finish(self) -> int:
        """All of it; from -2**63 to 2**63 - 1."""
        self.advance(len(self._data) // self._value_bytes)
        total, rest = self._total, self._lanes[self._done :]
        if len(rest):
            total = total * _BASE + int(np.einsum("i,i->", rest, _weights()[: len(rest)]))
        last = int.from_bytes(self._data[len(self._lanes) * 8 :].tobytes(), "little")
        return _signed((total * _BASE + last) * _BASE + len(self._data))


def checksums_of_few(tensors: Sequence[Tensor]) -> list[int]:
    """As `RunningChecksum` of each, for flat tensors in main memory of at most `LANES` lanes."""
    data = [values.view(torch.uint8).numpy() for values in tensors]
    num = np.array([len(each) // 8 for each in data])
    starts, some = np.cumsum(num) - num, num > 0
    sums = np.zeros(len(num), np.int64)
    if some.any():
        lanes = np.concatenate([each[: len(each) // 8 * 8].view(np.int64) for each in data])
        weights = _weights()[np.arange(len(lanes)) - np.repeat(starts, num)]
        sums[some] = np.add.reduceat(lanes * weights, starts[some])
    rests = [int.from_bytes(each[len(each) // 8 * 8 :].tobytes(), "little") for each in data]
    return [
        _signed((total * _BASE + last) * _BASE + len(each))
        for total, last, each in zip(sums.tolist(), rests, data, strict=True)
    ]


def checksum_on_device(values: Tensor, weights: Tensor) -> Tensor:
    """The same of a tensor on any device, without waiting for it: int64[1].

    Args:
        values: flat.
        weights: `device_weights` of its device.
    """
    data = values.view(torch.uint8)
    whole = data.numel() // 8 * 8
    lanes = data[:whole]
    if lanes.storage_offset() % 8:
        lanes = lanes.clone()
    lanes = lanes.view(torch.int64)
    num_full = lanes.numel() // LANES
    sums = [(lanes[: num_full * LANES].view(num_full, LANES) * weights).sum(1)]
    rest = lanes[num_full * LANES :]
    if rest.numel():
        sums.append((rest * weights[: rest.numel()]).sum().view(1))
    last = torch.zeros(8, dtype=torch.uint8, device=data.device)
    last[: data.numel() - whole] = data[whole:]
    sums.append(last.view(torch.int64))
    sums.append(torch.full((1,), data.numel(), dtype=torch.int64, device=data.device))
    joined = torch.cat(sums)
    powers = torch.full_like(joined, _BASE)
    powers[0] = 1
    return (joined * powers.cumprod(0).flip(0)).sum().view(1)


def device_weights(device: torch.device) -> Tensor:
    """int64[LANES], made on the device itself."""
    place = torch.arange(LANES, dtype=torch.int64, device=device)
    mixed = place * _FIRST + _SECOND
    return ((mixed ^ (mixed >> 29)) * _SECOND) | 1


def checksum_with_counts(checksum: int, keys: npt.NDArray[np.uint16], counts: npt.NDArray[np.int64]) -> int:
    """A checksum that also depends on how often each upper half of a value occurs."""
    return _signed(checksum ^ (zlib.crc32(counts, zlib.crc32(keys)) << 20))


@lru_cache(maxsize=1)
def _weights() -> npt.NDArray[np.int64]:
    found: npt.NDArray[np.int64] = device_weights(torch.device("cpu")).numpy()
    return found


def _signed(value: int) -> int:
    value &= _MASK
    return value - (1 << 64) if value >> 63 else value
