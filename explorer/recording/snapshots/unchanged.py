"""Which tensors are bit for bit what an earlier snapshot holds, so that they are not written again."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from explorer.storage.crc import join_all_crc32
from explorer.storage.snapshots import CHUNK_BYTES

# Below that, reading one more file would cost more than the bytes that it saves.
MIN_SHARED_BYTES = 4_096
_PIECE_BYTES = 2**18


@dataclass(frozen=True)
class Fingerprint:
    """What two tensors of the same bits have in common. Two of different bits share it once in 2^96 pairs.

    Attributes:
        dtype, shape: of the tensor.
        crc32s: of each 16 MB of its bytes.
        word_sum: sum of its bytes as 64-bit words, modulo 2^64; what is left over at the end counts as single bytes.
        aliases: further names of the tensor, which the snapshot that holds its bytes must know too.
    """

    dtype: str
    shape: tuple[int, ...]
    crc32s: tuple[int, ...]
    word_sum: int
    aliases: tuple[str, ...] = ()


def fingerprint(dtype: str, shape: tuple[int, ...], data: memoryview, aliases: tuple[str, ...] = ()) -> Fingerprint:
    """Of a tensor's bytes. Other threads run meanwhile."""
    word_sum, crc32s = 0, []
    for start in range(0, max(1, len(data)), CHUNK_BYTES):
        chunk, crc32 = data[start : start + CHUNK_BYTES], 0
        for at in range(0, len(chunk), _PIECE_BYTES):  # the second look finds a piece in the cache
            piece = chunk[at : at + _PIECE_BYTES]
            crc32 = zlib.crc32(piece, crc32)
            whole = len(piece) // 8 * 8
            word_sum += int(np.frombuffer(piece[:whole], np.uint64).sum(dtype=np.uint64)) + sum(piece[whole:])
        crc32s.append(crc32)
    return Fingerprint(dtype, shape, tuple(crc32s), word_sum % 2**64, aliases)


def whole_crc32(mark: Fingerprint, num_bytes: int) -> int:
    """The CRC-32 of all bytes, of which there are so many."""
    sizes = [min(CHUNK_BYTES, num_bytes - start) for start in range(0, max(1, num_bytes), CHUNK_BYTES)]
    return join_all_crc32(zip(mark.crc32s, sizes, strict=True))


class StoredTensors:
    """Which snapshot of this attempt holds the newest bytes of each tensor, and which bytes others refer to."""

    def __init__(self) -> None:
        self._stored: dict[str, tuple[Fingerprint, int]] = {}
        self._sources: dict[int, dict[str, int]] = {}  # of each snapshot: name to the step that holds its bytes
        self._needed: dict[int, Counter[str]] = {}  # of each step: how many snapshots refer to its bytes of a name

    def find(self, name: str, mark: Fingerprint, num_bytes: int) -> int | None:
        """The step of the snapshot that holds these very bytes of this tensor; None when there is none."""
        found = self._stored.get(name)
        if found is None or num_bytes < MIN_SHARED_BYTES or found[0] != mark:
            return None
        return found[1]

    def add(self, step: int, fresh: Iterable[tuple[str, Fingerprint]], sources: dict[str, int]) -> None:
        """A snapshot was written: `fresh` are the bytes that it holds itself, `sources` says where the others are."""
        for name, mark in fresh:
            self._stored[name] = (mark, step)
        self._sources[step] = sources
        for name, source in sources.items():
            self._needed.setdefault(source, Counter())[name] += 1

    def needed(self, step: int) -> set[str]:
        """The names whose bytes in the snapshot of this step others refer to."""
        return set(self._needed.get(step, ()))

    def drop(self, step: int) -> set[str]:
        """A snapshot is being deleted. Returns the names whose bytes must stay, see `needed`."""
        for name, source in self._sources.pop(step, {}).items():
            count = self._needed[source]
            count[name] -= 1
            if not count[name]:
                del count[name]
        needed = self.needed(step)
        self._stored = {name: found for name, found in self._stored.items() if found[1] != step or name in needed}
        return needed
