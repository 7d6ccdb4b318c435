"""The pages of a metric's column, decoded straight from the bytes that our writer puts there.

Parquet's own reader takes twice as long to get ready for a file of 20 metrics as it takes to decode 5,000 values, so
one metric is read here: data pages v1, zstd, byte-stream split, values that may be missing. Whatever looks different is
left to Parquet's own reader. `list_pages` does the same for lists.

The layout: https://parquet.apache.org/docs/file-format/data-pages/ and .../data-pages/encodings/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_VARINT: Final = rb"([\x80-\xff]{0,4}[\x00-\x7f])"
# A page header in Thrift's compact protocol: data page, its bytes before and after compression, perhaps its crc32 (the
# whole chunk has been checked), its rows, byte-stream split, both kinds of levels as runs, perhaps empty statistics.
_HEADER: Final = re.compile(
    rb"\x15\x00\x15" + _VARINT + rb"\x15" + _VARINT + rb"(?:\x15[\x80-\xff]{0,4}[\x00-\x7f]\x1c|\x2c)"
    rb"\x15" + _VARINT + rb"\x15\x12\x15\x06\x15\x06(?:\x1c\x00)?\x00\x00",
    re.DOTALL,
)
_LEVELS_SIZE_BYTES: Final = 4


class OtherLayout(Exception):
    """These pages are not as our writer makes them: Parquet's own reader has to decode them."""


def decode_column(data: bytes, num_rows: int, values: npt.NDArray[Any]) -> npt.NDArray[np.int64] | None:
    """Decode a column chunk.

    Args:
        data: the bytes of the chunk.
        num_rows: rows of the segment.
        values: float64[k], int64[k] or int32[k], as many as the column has; overwritten.

    Returns:
        The row of each value, int64[k]; None when every row has one.

    Raises:
        OtherLayout: nothing is wrong, but it is not for us to decode.
        OSError: a page does not decompress.
    """
    there: list[tuple[int, npt.NDArray[np.bool_] | None]] = []
    row = num = 0
    for page, count in read_pages(data, num_rows):
        present, start = _decode_levels(page, count)
        known = count if present is None else int(present.sum())
        if len(page) - start != values.itemsize * known or known > len(values) - num:
            raise OtherLayout
        unsplit(page, start, values[num : num + known])
        there.append((count, present))
        row, num = row + count, num + known
    if row != num_rows or num != len(values):
        raise OtherLayout
    if num == num_rows:
        return None
    return np.flatnonzero(np.concatenate([np.ones(count, bool) if one is None else one for count, one in there]))


def read_pages(data: bytes, max_values: int) -> Iterator[tuple[memoryview, int]]:
    """The pages of a column chunk, decompressed: levels and then values, and how many values, nulls included.

    Args:
        data: the bytes of the chunk.
        max_values: values that all its pages may have.

    Raises:
        OtherLayout: a page is not as our writer makes it, or claims more.
        OSError: a page does not decompress.
    """
    codec, chunk = pa.Codec("zstd"), memoryview(data)
    at = num = 0
    while at < len(data):
        found = _HEADER.match(data, at)
        if found is None:
            raise OtherLayout
        size, packed, count = map(_zigzag, found.groups())
        start, at = found.end(), found.end() + packed
        # Levels take a byte for 2 values at the most, and some more for a run.
        if packed < 0 or at > len(data) or not 0 < count <= max_values - num or not 0 <= size <= 9 * count + 64:
            raise OtherLayout
        yield memoryview(codec.decompress(chunk[start:at], decompressed_size=size)).cast("B"), count
        num += count


def _zigzag(text: bytes) -> int:
    """A number of up to five bytes, seven bits each, the lowest first; the last bit of it is the sign."""
    bits = int.from_bytes(text, "little")
    value = (bits & 0x7F) | (bits >> 1 & 0x3F80) | (bits >> 2 & 0x1FC000)
    value |= (bits >> 3 & 0xFE00000) | (bits >> 4 & 0x7F0000000)
    return (value >> 1) ^ -(value & 1)


def unsplit(page: memoryview, start: int, values: npt.NDArray[Any]) -> None:
    """Put the values of a page together: first come the lowest bytes of all, then the next ones."""
    width = values.itemsize
    planes = np.frombuffer(page, np.uint8, width * len(values), start).reshape(width, len(values))
    target = values.view(np.uint8).reshape(len(values), width)
    for place in range(width):
        target[:, place] = planes[place]


def _decode_levels(page: memoryview, count: int) -> tuple[npt.NDArray[np.bool_] | None, int]:
    """Which of the rows have a value (None: all), and where the values begin. Raises OtherLayout."""
    at = _LEVELS_SIZE_BYTES
    end = at + int.from_bytes(page[:at], "little")
    if end > len(page):
        raise OtherLayout
    runs: list[npt.NDArray[np.bool_]] = []
    num = 0
    while num < count:
        head, at = read_varint(page, at, end)
        if head & 1:  # groups of 8 rows, a bit each
            packed = min(head >> 1, end - at)
            bits = np.unpackbits(np.frombuffer(page, np.uint8, packed, at), bitorder="little")
            runs.append(bits[: count - num].astype(bool))
            at += packed
        elif at < end:
            length, is_there = min(head >> 1, count - num), page[at] == 1
            if length == count and is_there:
                return None, end
            runs.append(np.full(length, is_there))
            at += 1
        if not runs or not len(runs[-1]):
            raise OtherLayout
        num += len(runs[-1])
    return np.concatenate(runs), end


def read_varint(page: memoryview, at: int, end: int) -> tuple[int, int]:
    """A number of at most 32 bits and where it ends. Raises OtherLayout."""
    value = 0
    for shift in range(0, 35, 7):
        if at >= end:
            break
        byte = page[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise OtherLayout
