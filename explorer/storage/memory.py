"""Memory for many bytes that are about to be read: one piece of it, in large pages where the system has them.

Fresh memory is handed out page by page, when each is first written to. For the weights of a model that costs more than
reading and checking them: a GPT of 498 MB takes 120,000 pages of 4 KiB, or 240 of 2 MiB.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import numpy as np
import numpy.typing as npt

_LINE: Final = 64  # bytes that start at a multiple of this suit every dtype and every kernel
_MIN_BYTES: Final = 8 * 2**20
"""Below this there are few pages to be saved, and the allocator has such a piece at hand."""


def empty_arrays(sizes: Sequence[int]) -> list[npt.NDArray[np.uint8]]:
    """Arrays of so many bytes each, to be filled; they share one piece of memory, which lives as long as any of them.

    Raises:
        MemoryError: there is not as much, or this process may not take it.
    """
    starts = np.cumsum([0, *(-(-size // _LINE) * _LINE for size in sizes)])
    piece = _piece(int(starts[-1]))
    return [piece[int(start) : int(start) + size] for start, size in zip(starts, sizes, strict=False)]


def _piece(num_bytes: int) -> npt.NDArray[np.uint8]:
    if num_bytes < _MIN_BYTES or not hasattr(mmap, "MADV_HUGEPAGE"):  # macOS and Windows choose by themselves
        return np.empty(num_bytes, np.uint8)
    try:
        piece = mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"there are no {num_bytes:,} bytes of memory") from error
    with suppress(OSError):  # a kernel that was built without large pages
        piece.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(piece, np.uint8)
