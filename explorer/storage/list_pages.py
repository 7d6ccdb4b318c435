"""Columns of lists, decoded straight from the bytes that our writer puts there; see `pages`.

Parquet's own reader puts two levels beside each number and takes three times as long. Here every row has a list and
every list an entry; whatever looks different is left to Parquet's own reader.

The layout: https://parquet.apache.org/docs/file-format/data-pages/ and .../nestedencoding/
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from explorer.storage.pages import OtherLayout, read_pages, read_varint

_SIZE_BYTES: Final = 4
_ALL_THERE: Final = 3  # definition level of an entry of a list, where list and entry may be null
# For each byte of levels, which of its eight entries begin a list.
_BEGINS: Final = [[place for place in range(8) if not byte >> place & 1] for byte in range(256)]

Ints = npt.NDArray[np.int64]


class Lists:
    """A column chunk of lists of whole numbers, decompressed.

    Attributes:
        offsets: int64[num_rows + 1]; row i has the entries `offsets[i]:offsets[i + 1]`.
    """

    def __init__(self, data: bytes, num_rows: int, max_values: int, width: int, twin: Lists | None = None) -> None:
        """Find the lists.

        Args:
            data: the bytes of the chunk.
            num_rows: rows of the chunk.
            max_values: entries that it may have.
            width: bytes of a number in the file.
            twin: a column that has lists of the same lengths as a rule.

        Raises:
            OtherLayout: nothing is wrong, but it is not for us to decode.
            OSError: a page does not decompress.
        """
        self._width = width
        self._pages: list[tuple[memoryview, int, int, int]] = []
        self._levels: list[tuple[int, memoryview]] = []
        total = 0
        for page, count in read_pages(data, max_values):
            at = _SIZE_BYTES + int.from_bytes(page[:_SIZE_BYTES], "little")
            self._levels.append((count, page[_SIZE_BYTES:at]))
            at = _skip_all_there(page, at, count)
            if len(page) - at != width * count:
                raise OtherLayout
            self._pages.append((page, at, total, count))
            total += count
        if twin is not None and twin._levels == self._levels:
            self.offsets: Ints = twin.offsets
            return
        starts: list[int] = []
        base = 0
        for count, levels in self._levels:
            _add_begins(levels, base, count, starts)
            base += count
        if len(starts) != num_rows or starts[:1] != [0]:
            raise OtherLayout
        self.offsets = np.array([*starts, total], np.int64)

    def fill(self, target: npt.NDArray[Any], low: int, high: int) -> None:
        """Put the entries from `low` to before `high` into an array of zeros; of narrower types, their lowest bytes."""
        for page, at, base, count in self._pages:
            begin, end = max(low, base), min(high, base + count)
            if begin >= end:
                continue
            shown = target[begin - low : end - low].view(np.uint8).reshape(end - begin, -1)
            planes = np.frombuffer(page, np.uint8, self._width * count, at).reshape(self._width, count)
            for place in range(shown.shape[1]):
                plane = planes[place, begin - base : end - base]
                if plane.any():  # the upper bytes of counts are zero as a rule
                    shown[:, place] = plane


def _add_begins(view: memoryview, base: int, count: int, starts: list[int]) -> None:
    """Add where rows begin among the entries, by the levels of repetition. Raises OtherLayout."""
    levels = bytes(view)  # a byte of a view takes three times as long to get
    at, end, stop = 0, len(levels), base + count
    while base < stop:
        if at + 1 >= end:
            raise OtherLayout
        head = levels[at]
        at += 1
        if head > 0x7F:
            if levels[at] < 0x80:  # as nearly all do, it has two bytes
                head, at = head & 0x7F | levels[at] << 7, at + 1
            else:
                head, at = read_varint(view, at - 1, end)
        if head & 1:  # groups of eight, a bit each
            groups = head >> 1
            for byte in levels[at : at + groups]:
                for place in _BEGINS[byte]:
                    starts.append(base + place)
                base += 8
            at += groups
        elif at < end:
            if levels[at] == 0:
                starts += range(base, min(base + (head >> 1), stop))
            base += head >> 1
            at += 1
        else:
            raise OtherLayout
        if at > end or head <= 1:
            raise OtherLayout
    while starts and starts[-1] >= stop:  # what fills the last group of eight up
        starts.pop()


def _skip_all_there(page: memoryview, at: int, count: int) -> int:
    """Where the levels of definition end, which say that nothing is missing. Raises OtherLayout when they do not."""
    end = at + _SIZE_BYTES + int.from_bytes(page[at : at + _SIZE_BYTES], "little")
    if end > len(page):
        raise OtherLayout
    head, at = read_varint(page, at + _SIZE_BYTES, end)
    if head != count << 1 or page[at:end] != bytes([_ALL_THERE]):
        raise OtherLayout
    return end
