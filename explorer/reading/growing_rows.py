"""Rows of one tensor in arrays that grow at their end, so that what a run adds is all that is copied."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from explorer.storage.bins import Histograms, empty_histograms

_PER_ROW: Final = tuple(field.name for field in fields(Histograms) if field.name not in ("offsets", "bins", "counts"))
# What is asked for beyond what is there. Memory that nothing was written to costs nothing.
_SPARE: Final = 1.125


class GrowingRows:
    """Rows in the order they were added. Not thread-safe: its owner holds a lock.

    What was handed out stays as it is: rows are added behind it, and others in their place come in arrays of their own.
    """

    def __init__(self) -> None:
        none = empty_histograms()
        self._columns: dict[str, npt.NDArray[Any]] = {name: getattr(none, name).copy() for name in _PER_ROW}
        self._entries: dict[str, npt.NDArray[Any]] = {"bins": none.bins.copy(), "counts": none.counts.astype(np.int32)}
        self._offsets = none.offsets.copy()
        self._num = 0
        self._num_written = 0  # rows in the arrays that somebody may hold, perhaps beyond those that count

    def __len__(self) -> int:
        return self._num

    def rows(self) -> Histograms:
        """All rows, without a copy."""
        end = self._offsets[self._num]
        entries = {name: array[:end] for name, array in self._entries.items()}
        columns = {name: array[: self._num] for name, array in self._columns.items()}
        return Histograms(offsets=self._offsets[: self._num + 1], **entries, **columns)

    def cut(self, num_rows: int) -> None:
        """Keep the first rows; those that are added next take the place of the others."""
        self._num = min(num_rows, self._num)

    def add(self, h: Histograms, start: int, stop: int, num_expected: int) -> None:
        """Add the rows `start` to before `stop` of `h`; `num_expected` rows of their size are about to come in all."""
        again = min(self._num_written - self._num, stop - start)
        if again > 0:
            if self._has(h, start, start + again):
                self._num += again
                start += again
            else:
                self._move(len(self._offsets) - 1, len(self._entries["bins"]))
        if start < stop:
            self._write(h, start, stop, num_expected)

    def _has(self, h: Histograms, start: int, stop: int) -> bool:
        """Whether the rows that were once written here are these."""
        here = slice(self._num, self._num + stop - start)
        for name, array in self._columns.items():
            if not np.array_equal(array[here], getattr(h, name)[start:stop], equal_nan=array.dtype.kind == "f"):
                return False
        if not np.array_equal(np.diff(self._offsets[here.start : here.stop + 1]), np.diff(h.offsets[start : stop + 1])):
            return False
        own = slice(self._offsets[here.start], self._offsets[here.stop])
        others = slice(h.offsets[start], h.offsets[stop])
        return all(np.array_equal(array[own], getattr(h, name)[others]) for name, array in self._entries.items())

    def _write(self, h: Histograms, start: int, stop: int, num_expected: int) -> None:
        num, first, last = stop - start, int(h.offsets[start]), int(h.offsets[stop])
        at, to = int(self._offsets[self._num]), int(self._offsets[self._num]) + last - first
        if h.counts.dtype.itemsize > self._entries["counts"].dtype.itemsize:  # large ones, the first of this tensor
            self._entries["counts"] = self._entries["counts"].astype(h.counts.dtype)
        if self._num + num >= len(self._offsets) or to > len(self._entries["bins"]):
            more = max(num_expected, num)
            num_entries = at + (last - first) * more // num
            self._move(int((self._num + more) * _SPARE) + 1, int(num_entries * _SPARE) + 1)
        for name, array in self._columns.items():
            array[self._num : self._num + num] = getattr(h, name)[start:stop]
        for name, array in self._entries.items():
            array[at:to] = getattr(h, name)[first:last]
        self._offsets[self._num + 1 : self._num + num + 1] = h.offsets[start + 1 : stop + 1] + (at - first)
        self._num += num
        self._num_written = self._num

    def _move(self, max_rows: int, max_entries: int) -> None:
        """Go on in new arrays, with the rows that count."""
        end = int(self._offsets[self._num])
        for arrays, num, size in ((self._columns, self._num, max_rows), (self._entries, end, max_entries)):
            for name, array in arrays.items():
                arrays[name] = _larger(array[:num], size)
        self._offsets = _larger(self._offsets[: self._num + 1], max_rows + 1)
        self._num_written = self._num


def _larger(array: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    larger = np.empty(max(size, len(array)), array.dtype)
    larger[: len(array)] = array
    return larger
