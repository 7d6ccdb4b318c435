"""Which tensors are bit for bit what an earlier snapshot holds, so that they are not written again."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

# Below that, reading one more file would cost more than the bytes that it saves.
MIN_SHARED_BYTES = 4_096


@dataclass(frozen=True)
class Fingerprint:
    """What two tensors of the same bits have in common. Two of different bits share it once in 2^96 pairs.

    Attributes:
        dtype, shape: of the tensor.
        crc32: of its bytes.
        word_sum: sum of its bytes as 64-bit words, modulo 2^64; what is left over at the end counts as single bytes.
    """

    dtype: str
    shape: tuple[int, ...]
    crc32: int
    word_sum: int


def fingerprint(dtype: str, shape: tuple[int, ...], data: memoryview) -> Fingerprint:
    """Of a tensor's bytes; both passes let other threads run."""
    whole = len(data) // 8 * 8
    words = np.frombuffer(data[:whole], np.uint64)
    rest = np.frombuffer(data[whole:], np.uint8)
    word_sum = (int(words.sum(dtype=np.uint64)) + int(rest.sum(dtype=np.uint64))) % 2**64
    return Fingerprint(dtype, shape, zlib.crc32(data), word_sum)


class StoredTensors:
    """Which snapshot of this attempt holds the newest bytes of each tensor."""

    def __init__(self) -> None:
        self._stored: dict[str, tuple[Fingerprint, int]] = {}

    def find(self, name: str, mark: Fingerprint, num_bytes: int) -> int | None:
        """The step of the snapshot that holds these very bytes of this tensor; None when there is none."""
        found = self._stored.get(name)
        if found is None or num_bytes < MIN_SHARED_BYTES or found[0] != mark:
            return None
        return found[1]

    def add(self, name: str, mark: Fingerprint, step: int) -> None:
        """The snapshot of this step holds these bytes itself."""
        self._stored[name] = (mark, step)

    def forget_step(self, step: int) -> None:
        """The snapshot of this step is going, or is gone."""
        self._stored = {name: found for name, found in self._stored.items() if found[1] != step}
