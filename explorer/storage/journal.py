"""The journal: rows that are not in a segment yet, in a file that a killed process leaves readable.

Layout, in the byte order that the header names (little-endian on every machine that we know):

    header, 64 bytes    magic "EXPJRNL1" | u32 crc32 of the 48 bytes after it | u32 0 |
                        i64 wall minus monotonic clock, ns | u32 attempt | u32 rank | u32 segment | zeros
    rows, one after the other, each a multiple of 8 bytes:
                        head: u32 shape, u32 bytes of the row | i64 step | i64 monotonic time, ns |
                        8 bytes a value | u64 mark
    a shape, as a row   shape 0; the step is the new shape's number, the time the count of its values; then JSON
                        {"names": [...], "kinds": "ddq..."} (d = float64, q = int64), padded with spaces; the mark is
                        the adler32 of all before. Written twice, so that one bad bit does not cost that shape's rows.

The mark of a row is written last. The training writes the complement of the head, which says that the row is whole;
within a second the writer thread replaces it with a checksum of the row. So a row that was being written when the
process died, or one with a flipped bit, is recognised, left out, and costs nothing else: the reader goes on at the
next place where a row of a known shape checks out. Only rows of a killed process's last second carry no checksum.

The checksum is the sum of the row's 64-bit words, each times an odd number of its place, modulo 2**64: a flip of any
one bit changes it, and any other change goes unseen once in 2**64 times.
"""

from __future__ import annotations

import json
import struct
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MAGIC = b"EXPJRNL1"
HEADER_BYTES = 64
ROW_HEAD_BYTES = 24
MARK_BYTES = 8
DEFINITION = 0
MAX_SHAPE_NAMES = 4096
MAX_SHAPES = 65_535
MAX_JOURNAL_BYTES = 256 * 2**20

BYTE_ORDER = "<" if sys.byteorder == "little" else ">"
_ALL_BITS = 2**64 - 1
_HEADER = struct.Struct(f"{BYTE_ORDER}8sIIqIII28x")
_ROW_HEAD = struct.Struct(f"{BYTE_ORDER}IIqq")
MARK = struct.Struct(f"{BYTE_ORDER}Q")


@dataclass(frozen=True)
class Header:
    """Whose rows these are, and how to turn their monotonic times into wall times (ns since 1970, UTC)."""

    wall_minus_monotonic_ns: int
    attempt: int
    rank: int
    segment: int

    def encode(self) -> bytes:
        """The first 64 bytes of a journal."""
        fields = (self.wall_minus_monotonic_ns, self.attempt, self.rank, self.segment)
        body = _HEADER.pack(MAGIC, 0, 0, *fields)[16:]
        return _HEADER.pack(MAGIC, zlib.crc32(body), 0, *fields)

    @classmethod
    def decode(cls, data: bytes | memoryview) -> Header:
        """Raises ValueError for anything but a whole header of ours."""
        if len(data) < HEADER_BYTES:
            raise ValueError("is shorter than a journal's header")
        magic, crc, _, *fields = _HEADER.unpack_from(data)
        if magic != MAGIC:
            raise ValueError("does not start like a journal")
        if crc != zlib.crc32(bytes(data[16:HEADER_BYTES])):
            raise ValueError("has a damaged header")
        return cls(*fields)


class Shape:
    """The layout of one kind of row: which metrics, in which order, float64 or int64.

    Attributes:
        number: 1, 2, ... within a journal.
        names: metric names.
        kinds: one letter a name, "d" or "q".
        row_bytes: bytes of a row.
        head: its first word, as the float64 of these bits: a float is packed faster than an integer of 64 bits.
        whole: its mark until it gets a checksum, as the float64 of these bits (a quiet NaN, which keeps them).
        pack_into: `pack_into(memory, offset, head, step, monotonic_ns, *values, whole)` writes a row.
    """

    __slots__ = ("head", "kinds", "names", "number", "pack_into", "row_bytes", "whole")

    def __init__(self, number: int, names: Sequence[str], kinds: str) -> None:
        self.number = number
        self.names = tuple(names)
        self.kinds = kinds
        self.row_bytes = ROW_HEAD_BYTES + 8 * len(self.names) + MARK_BYTES
        head = number | self.row_bytes << 32 if BYTE_ORDER == "<" else number << 32 | self.row_bytes
        self.head, self.whole = _as_float(head), _as_float(head ^ _ALL_BITS)
        # Native packing copies whole words, which is a third faster; on these machines it is the same layout.
        self.pack_into = struct.Struct(f"@dqq{kinds}d").pack_into

    def definition(self) -> bytes:
        """The row that introduces this shape, checksum included."""
        text = json.dumps({"names": self.names, "kinds": self.kinds}, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        size = ROW_HEAD_BYTES + len(text) + MARK_BYTES
        body = _ROW_HEAD.pack(DEFINITION, size, self.number, len(self.names)) + text
        return body + MARK.pack(zlib.adler32(body))

    @classmethod
    def from_definition(cls, row: bytes) -> Shape:
        """Raises ValueError when the row does not define a shape."""
        _, _, number, width = _ROW_HEAD.unpack_from(row)
        text = json.loads(row[ROW_HEAD_BYTES:-MARK_BYTES])
        names, kinds = text["names"], text["kinds"]
        good = (
            isinstance(names, list)
            and all(isinstance(name, str) for name in names)
            and isinstance(kinds, str)
            and set(kinds) <= {"d", "q"}
            and 0 < len(names) == len(kinds) == width <= MAX_SHAPE_NAMES
            and len(set(names)) == len(names)
            and 0 < number <= MAX_SHAPES
        )
        if not good:
            raise ValueError("not a shape")
        "".join(names).encode()  # raises UnicodeEncodeError, a ValueError, for half a character
        return cls(number, names, kinds)


def _as_float(bits: int) -> float:
    value: float = struct.unpack("=d", struct.pack("=Q", bits))[0]
    return value


def checksums(block: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The checksum of each row without its mark: uint64[n] of uint64[n, w]."""
    weights = np.arange(block.shape[1], dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C16) + np.uint64(0x9E3779B97F4A7C15)
    return np.asarray(block @ weights)
