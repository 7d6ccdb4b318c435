"""Arrays that grow at their end, while views of what is there stay valid."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from explorer.reading.blocks import Ints
from explorer.storage.points import EvenSteps, even_steps


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
            target = self.values[self.num : need]
            if _place(block) != _place(target):  # else it was made in the `room` of this buffer
                target[:] = block
        self.num = need

    def room(self, num: int) -> npt.NDArray[Any]:
        """An array for `num` values that can be appended, without copying them, as long as nothing else is."""
        need = self.num + num
        if need > len(self.values):
            self.reserve(max(need, 2 * len(self.values)))
        return self.values[self.num : need]

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


class Ramps:
    """Evenly spaced steps, shared by all series that have them, for as long as one of them is kept."""

    def __init__(self) -> None:
        self._ramps: WeakValueDictionary[tuple[int, int], Ints] = WeakValueDictionary()

    def view(self, steps: EvenSteps) -> Ints:
        """int64[num], read-only."""
        ramp = self._ramps.get(steps[:2])
        if ramp is None or len(ramp) < steps.num:
            # A run that grows asks for a longer one each time.
            num = steps.num if ramp is None else max(steps.num, 2 * len(ramp))
            limit = (2**63 - 1 - steps.first) // steps.stride
            ramp = EvenSteps(steps.first, steps.stride, min(num, limit)).array()
            ramp.flags.writeable = False
            self._ramps[steps[:2]] = ramp
        return ramp[: steps.num]


class Steps:
    """The steps of a column: a beginning of a ramp while they are even, then of a buffer; both may be shared."""

    def __init__(self, ramps: Ramps, find_buffers: Callable[[], Iterator[Buffer]]) -> None:
        self.buffer: Buffer | None = None
        self.num = 0
        self._ramps = ramps
        self._even: EvenSteps | None = None
        self._find_buffers = find_buffers
        self._expected = 0

    @property
    def last(self) -> int:
        """The last step; there must be one."""
        return int(self.view()[-1]) if self._even is None else self._even.first + self._even.stride * (self.num - 1)

    def view(self) -> Ints:
        """int64[num], read-only."""
        if self._even is not None:
            return self._ramps.view(self._even)
        return self.buffer.view(self.num) if self.buffer is not None else np.empty(0, np.int64)

    def reserve(self, num: int) -> None:
        """Make room for `num` steps in the next buffer of our own."""
        self._expected = num

    def append(self, steps: Ints | EvenSteps) -> None:
        """Add steps that ascend and come after those that are there."""
        if self.buffer is None:
            even = steps if isinstance(steps, EvenSteps) else even_steps(steps)
            if even is not None and self._go_on(even):
                return
        if self._even is not None:
            before, self._even, self.num = self.view(), None, 0
            self._append(before)
        self._append(steps.array() if isinstance(steps, EvenSteps) else steps)

    def _go_on(self, even: EvenSteps) -> bool:
        """Add even steps to even ones; tell whether that was possible."""
        if self._even is None:
            self._even = even
        else:
            first, stride, num = self._even
            if even.first != first + stride * num or (even.stride != stride and even.num > 1):
                return False
            self._even = EvenSteps(first, stride, num + even.num)
        self.num = self._even.num
        return True

    def _append(self, block: Ints) -> None:
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


def _place(values: npt.NDArray[Any]) -> int:
    return int(values.__array_interface__["data"][0])


def _goes_on(buffer: Buffer, at: int, block: Ints) -> bool:
    """Whether the buffer holds this block at that place, or ends so that it can be added."""
    there = min(len(block), buffer.num - at)
    return bool(np.array_equal(buffer.values[at : at + there], block[:there])) and (at > 0 or there > 0)
