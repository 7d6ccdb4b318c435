"""Parquet pages without compression, as a snapshot needs them: the bytes of tensors stand in the file as they are.

Parquet's own writer copies every tensor several times. Here a column chunk is one data page v1 with plain values, and
the long values are written straight from where they lie.

https://parquet.apache.org/docs/file-format/data-pages/ and .../data-pages/encodings/
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from explorer.storage.parquet_footer import PLAIN, RLE
from explorer.storage.thrift import Int32, encode_struct, varint

Bytes = bytes | memoryview
_DATA_PAGE = 0
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class Page:
    """A column chunk of one page.

    Attributes:
        parts: its bytes, one after the other.
        num_values: values, nulls included; of a list, its entries, an empty list counting as one.
    """

    parts: list[Bytes]
    num_values: int

    @property
    def size(self) -> int:
        """Bytes of the chunk."""
        return sum(len(part) for part in self.parts)


def numbers_page(values: Sequence[int], letter: str) -> Page:
    """Whole numbers, each there; the letter is that of `struct`: i for 32 bits, q for 64."""
    return _page([struct.pack(f"<{len(values)}{letter}", *values)], len(values))


def optional_numbers_page(values: Sequence[int | None]) -> Page:
    """Whole numbers of 64 bits, some of which may be missing."""
    known = [value for value in values if value is not None]
    return _page(
        [_levels([value is not None for value in values]), struct.pack(f"<{len(known)}q", *known)], len(values)
    )


def texts_page(values: Sequence[str]) -> Page:
    """Texts, each there."""
    return _page([b"".join(_LENGTH.pack(len(text)) + text for text in map(str.encode, values))], len(values))


def optional_bytes_page(values: Sequence[Bytes | None]) -> Page:
    """Byte strings, some of which may be missing; they are not copied."""
    parts: list[Bytes] = [_levels([value is not None for value in values])]
    for value in values:
        if value is not None:
            parts += [_LENGTH.pack(len(value)), value]
    return _page(parts, len(values))


def lists_page(values: Sequence[Sequence[int]]) -> Page:
    """Lists of whole numbers of 64 bits; lists and numbers are each there."""
    first: list[bool] = []
    there: list[bool] = []
    flat: list[int] = []
    for value in values:
        first += [False, *([True] * (len(value) - 1))] if value else [False]
        there += [True] * len(value) if value else [False]
        flat += value
    return _page([_levels(first), _levels(there), struct.pack(f"<{len(flat)}q", *flat)], len(there))


def _levels(bits: Sequence[bool]) -> bytes:
    """Levels of one bit, in groups of eight."""
    packed = bytearray(-(-len(bits) // 8))
    for place, bit in enumerate(bits):
        packed[place // 8] |= bit << place % 8
    run = varint(len(packed) << 1 | 1) + packed
    return _LENGTH.pack(len(run)) + run


def _page(parts: list[Bytes], num_values: int) -> Page:
    size = sum(len(part) for part in parts)
    described = encode_struct({1: Int32(num_values), 2: Int32(PLAIN), 3: Int32(RLE), 4: Int32(RLE)})
    header = encode_struct({1: Int32(_DATA_PAGE), 2: Int32(size), 3: Int32(size), 5: described})
    return Page([header.data, *parts], num_values)
