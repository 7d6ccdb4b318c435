"""Arrays that grow at their end, while views of what is there stay valid."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from explorer.reading.blocks import Ints


class Buffer:
    """An array that grows at its end. Views of what is there stay valid and never change."""

    def __init__(self, kind: type[np.generic]) -> None:
        self.values: npt.NDArray[Any] = np.empty(0, kind)
        self.num = 0

    def append(self, block: npt.NDArray[Any]) -> None:
        """Add values at the end. The caller does not change them later: the first block is not copied."""
        need = self.num + len(block)
        if not len(self.values):
            self.values = block
        else:
            if need > len(self.values):
                self.reserve(max(need, 2 * len(self.values)))
            self.values[self.num : need] = block
        self.num = need

    def reserve(self, num: int) -> None:
        """Make room for `num` values in all; memory that is never written costs nothing."""
        if num > len(self.values):
            grown = np.empty(num, self.values.dtype)
            grown[: self.num] = self.values[: self.num]
            self.values = grown

    def view(self, num: int) -> npt.NDArray[Any]:
        """The first `num` values, read-only."""
        shown = self.values[:num]
        shown.flags.writeable = False
        return shown


class Steps:
    """The steps of a column: the beginning of a buffer, which columns with the same steps share."""

    def __init__(self, find_buffers: Callable[[], Iterator[Buffer]]) -> None:
        self.buffer: Buffer | None = None
        self.num = 0
        self._find_buffers = find_buffers
        self._expected = 0

    @property
    def last(self) -> int:
        """The last step; there must be one."""
        return int(self.view()[-1])

    def view(self) -> Ints:
        """int64[num], read-only."""
        return self.buffer.view(self.num) if self.buffer is not None else np.empty(0, np.int64)

    def reserve(self, num: int) -> None:
        """Make room for `num` steps in the next buffer of our own."""
        self._expected = num

    def append(self, block: Ints) -> None:
        """Add steps: into the shared buffer if it goes on like this, else into one of our own."""
        if self.buffer is None:
            self.buffer = next((b for b in self._find_buffers() if _goes_on(b, 0, block)), None) or self._own()
        elif not _goes_on(self.buffer, self.num, block):
            before, self.buffer = self.view(), self._own()
            self.buffer.append(before)
        there = self.buffer.num - self.num
        if there < len(block):
            self.buffer.append(block[max(there, 0) :])
        self.num += len(block)

    def _own(self) -> Buffer:
        own = Buffer(np.int64)
        own.reserve(self._expected)
        return own


def _goes_on(buffer: Buffer, at: int, block: Ints) -> bool:
    """Whether the buffer holds this block at that place, or ends so that it can be added."""
    there = min(len(block), buffer.num - at)
    return bool(np.array_equal(buffer.values[at : at + there], block[:there])) and (at > 0 or there > 0)
