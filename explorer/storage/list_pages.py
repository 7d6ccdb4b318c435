"""Columns of lists, decoded straight from the bytes that our writer puts there; see `pages`.

Parquet's own reader puts two levels beside each number and takes three times as long. Here every row has a list and
every list an entry; whatever looks different is left to Parquet's own reader.

The layout: https://parquet.apache.org/docs/file-format/data-pages/ and .../nestedencoding/
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from explorer.storage.pages import OtherLayout, read_pages, read_varint

_SIZE_BYTES: Final = 4
_ALL_THERE: Final = 3  # definition level of an entry of a list, where list and entry may be null
# For each byte of levels, which of its eight entries begin a list.
_BEGINS: Final = [[place for place in range(8) if not byte >> place & 1] for byte in range(256)]
_GROUP, _FIRST_OF_EIGHT = 3, 0xFE  # the head of one group of eight entries, and one whose first begins a list

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
        starts: list[Ints] = []
        base = 0
        for count, levels in self._levels:
            starts.append(base + _begins(levels, count))
            base += count
        self.offsets = np.concatenate([*starts, np.array([total])])
        if len(self.offsets) != num_rows + 1 or self.offsets[0] != 0:
            raise OtherLayout

    @cached_property
    def num_bits(self) -> int:
        """How many of the lowest bits of a number are used by any of them; 64 or 32 when one is below zero."""
        most = 0
        for page, at, _, count in self._pages:
            planes = self._planes(page, at, count)
            top = self._width - 1
            while top and 8 * top >= most and not planes[top].any():
                top -= 1
            most = max(most, 8 * top + int(planes[top].max()).bit_length())
        return most

    def fill(self, target: npt.NDArray[Any], low: int, high: int) -> None:
        """Put the entries from `low` to before `high` into an array; of narrower types, their lowest bytes."""
        num_bytes = min(-(-self.num_bits // 8), target.itemsize)
        for page, at, base, count in self._pages:
            begin, end = max(low, base), min(high, base + count)
            if begin >= end:
                continue
            shown = target[begin - low : end - low]
            planes = self._planes(page, at, count)[:num_bytes, begin - base : end - base]
            # All numbers a byte at a time: half of the time that the bytes of each take one after the other.
            shown[:] = planes[-1] if num_bytes else 0
            for plane in planes[-2::-1]:
                shown <<= 8
                shown |= plane

    def _planes(self, page: memoryview, at: int, count: int) -> npt.NDArray[np.uint8]:
        """The bytes of a page's numbers, the lowest of all first: `[width, count]`."""
        return np.frombuffer(page, np.uint8, self._width * count, at).reshape(self._width, count)


def _begins(levels: memoryview, count: int) -> Ints:
    """Where rows begin among so many entries, by the levels of repetition. Raises OtherLayout."""
    sizes = _sizes_of_long_rows(levels)
    if sizes is not None and sizes.sum() == count:
        return np.cumsum(sizes) - sizes
    starts: list[int] = []
    _add_begins(levels, 0, count, starts)
    return np.array(starts, np.int64)


def _sizes_of_long_rows(levels: memoryview) -> Ints | None:
    """How many entries each row has, when all have 16 to 8,199; None when any has not.

    Each is then four or five bytes: a group of its first eight entries, and one run of the others. No other byte of
    them is the head of a group with such a group behind it, so rows are found without going from each to the next.
    """
    data = np.frombuffer(levels, np.uint8)
    starts = np.flatnonzero((data[:-1] == _GROUP) & (data[1:] == _FIRST_OF_EIGHT))
    ends = np.append(starts[1:], len(data))
    num_bytes = ends - starts
    if not len(starts) or starts[0] or num_bytes.min() < 4 or num_bytes.max() > 5:
        return None
    is_long = num_bytes == 5
    low, high, value = data[starts + 2], data[starts + 3], data[ends - 1]
    as_expected = (low & 1 == 0) & ((low > 0x7F) == is_long) & (value == 1) & ((high < 0x80) | ~is_long)
    if not as_expected.all():
        return None
    head = (low & 0x7F) + np.where(is_long, high.astype(np.int64) << 7, 0)
    return 8 + (head >> 1) if head.all() else None


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
