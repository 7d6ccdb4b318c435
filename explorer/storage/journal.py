"""The journal: rows that are not in a segment yet, in a file that a killed process leaves readable.

Layout, in the byte order that the header names (little-endian on every machine that we know):

    header, 64 bytes    magic "EXPJRNL1" | u32 crc32 of the 48 bytes after it | u32 0 | i64 wall minus monotonic clock, ns |
                        u32 attempt | u32 rank | u32 segment | zeros
    rows, one after the other, each a multiple of 8 bytes:
                        head: u32 shape, u32 bytes of the row | i64 step | i64 monotonic time, ns |
                        8 bytes a value | u64 mark
    a shape, as a row   shape 0; the step is the new shape's number, the time the count of its values; then JSON
                        {"names": [...], "kinds": "ddq..."} (d = float64, q = int64), padded with spaces; the mark is
                        the adler32 of all before. Written twice, so that one bad bit does not cost that shape's rows.

The mark of a row is written last. The training writes the complement of the head, which says that the row is whole; within a
second the writer thread replaces it with a checksum of the row. So a row that was being written when the process died,
or one with a flipped bit, is recognised, left out, and costs nothing else: the reader goes on at the next place where a
row of a known shape checks out. Only rows of a killed process's last second carry no checksum.

The checksum is the sum of the row's 64-bit words, each times an odd number of its place, modulo 2**64: a flip of any one
bit changes it, and any other change goes unseen once in 2**64 times.
"""

from __future__ import annotations

import json
import struct
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

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
IN_FLIGHT_ROWS = 64

BYTE_ORDER = "<" if sys.byteorder == "little" else ">"
_ALL_BITS = 2**64 - 1
_HEADER = struct.Struct(f"{BYTE_ORDER}8sIIqIII28x")
_ROW_HEAD = struct.Struct(f"{BYTE_ORDER}IIqq")
_MARK = struct.Struct(f"{BYTE_ORDER}Q")


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
        head: its first word.
        whole: its mark until it gets a checksum.
        pack_into: `pack_into(memory, offset, head, step, monotonic_ns, *values, whole)` writes a row.
    """

    __slots__ = ("head", "kinds", "names", "number", "pack_into", "row_bytes", "whole")

    def __init__(self, number: int, names: Sequence[str], kinds: str) -> None:
        self.number = number
        self.names = tuple(names)
        self.kinds = kinds
        self.row_bytes = ROW_HEAD_BYTES + 8 * len(self.names) + MARK_BYTES
        self.head = number | self.row_bytes << 32 if BYTE_ORDER == "<" else number << 32 | self.row_bytes
        self.whole = self.head ^ _ALL_BITS
        # Native packing copies whole words, which is a third faster; on these machines it is the same layout.
        self.pack_into = struct.Struct(f"@Qqq{kinds}Q").pack_into

    def definition(self) -> bytes:
        """The row that introduces this shape, checksum included."""
        text = json.dumps({"names": self.names, "kinds": self.kinds}, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        size = ROW_HEAD_BYTES + len(text) + MARK_BYTES
        body = _ROW_HEAD.pack(DEFINITION, size, self.number, len(self.names)) + text
        return body + _MARK.pack(zlib.adler32(body))

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
        return cls(number, names, kinds)


@dataclass(frozen=True)
class ShapeRows:
    """Rows of one shape, in the order they were written.

    Attributes:
        shape: names and kinds of the columns.
        words: uint64[n, 2 + k]: step, monotonic time in ns, then k values as their bits.
        order: int64[n], the byte offset of each row in the journal; it orders rows of different shapes.
    """

    shape: Shape
    words: npt.NDArray[np.uint64]
    order: npt.NDArray[np.int64]

    @property
    def steps(self) -> npt.NDArray[np.int64]:
        """int64[n]."""
        return self.words[:, 0].view(np.int64)

    @property
    def monotonic_ns(self) -> npt.NDArray[np.int64]:
        """int64[n]."""
        return self.words[:, 1].view(np.int64)

    def column(self, index: int) -> npt.NDArray[np.float64] | npt.NDArray[np.int64]:
        """[n], float64 or int64 as the shape says; a view."""
        bits = self.words[:, 2 + index]
        return bits.view(np.int64) if self.shape.kinds[index] == "q" else bits.view(np.float64)


@dataclass
class Scan:
    """What a walk over a journal's bytes found.

    Attributes:
        rows: one entry a shape that has rows.
        next_offset: where to go on later, so that no row comes twice.
        damaged: number of places that held no whole row although rows follow.
    """

    rows: list[ShapeRows] = field(default_factory=list)
    next_offset: int = HEADER_BYTES
    damaged: int = 0

    @property
    def num_rows(self) -> int:
        """Rows of all shapes."""
        return sum(len(found.order) for found in self.rows)


def scan(
    data: memoryview | bytes, offset: int, end: int, shapes: dict[int, Shape], *, final: bool, verify: bool = True
) -> Scan:
    """Find the whole rows in `data[offset:end]`.

    Args:
        data: a journal from its first byte on.
        offset: a row's start, 64 or an earlier `next_offset`.
        end: where to stop, a multiple of 8.
        shapes: the shapes defined before `offset`, by number; those found here are added.
        final: the writer is gone, so a place without a whole row is damage, not a row that is being written.
        verify: check the rows' checksums; the writer itself need not, for rows that it has just put in memory.
    """
    words = np.frombuffer(data, np.uint64, count=end // 8)[offset // 8 :]
    heads = words.view(np.uint32).reshape(-1, 2)
    numbers, sizes = heads[:, 0], heads[:, 1]
    spans = [_definitions(data, offset, words, numbers, sizes, shapes)]
    spans += [
        _rows_of(words, found, shapes[number].row_bytes >> 3, number, verify)
        for number, found in _candidates(numbers, sizes, shapes)
    ]
    starts, lengths, kinds = (np.concatenate(parts) for parts in zip(*spans, strict=True))
    order = np.argsort(starts, kind="stable")
    starts, lengths, kinds = starts[order], lengths[order], kinds[order]
    starts, lengths, kinds, holes, stop = _chain(starts, lengths, kinds, final)
    rows = []
    for number in np.unique(kinds[kinds != DEFINITION]).tolist():
        rows.append(_gather(words, offset, shapes[number], starts[kinds == number]))
    return Scan(rows, offset + 8 * stop, holes)


Spans = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]


def _definitions(
    data: memoryview | bytes,
    offset: int,
    words: npt.NDArray[np.uint64],
    numbers: npt.NDArray[np.uint32],
    sizes: npt.NDArray[np.uint32],
    shapes: dict[int, Shape],
) -> Spans:
    """Learn the shapes defined here; (starts, lengths, kinds) of their rows in words."""
    room = 8 * np.arange(len(words), 0, -1, dtype=np.int64)
    maybe = (numbers == DEFINITION) & (sizes >= ROW_HEAD_BYTES + MARK_BYTES) & (sizes % 8 == 0) & (sizes <= room)
    starts, lengths = [], []
    for start in np.flatnonzero(maybe).tolist():
        first, size = offset + 8 * start, int(sizes[start])
        row = bytes(data[first : first + size])
        if _MARK.unpack_from(row, size - MARK_BYTES)[0] != zlib.adler32(row[:-MARK_BYTES]):
            continue
        try:
            shape = Shape.from_definition(row)
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
        shapes[shape.number] = shape
        starts.append(start)
        lengths.append(size // 8)
    return np.array(starts, np.int64), np.array(lengths, np.int64), np.zeros(len(starts), np.int64)


def _candidates(
    numbers: npt.NDArray[np.uint32], sizes: npt.NDArray[np.uint32], shapes: dict[int, Shape]
) -> list[tuple[int, npt.NDArray[np.int64]]]:
    """(shape number, word offsets that look like the head of such a row), in one pass for all shapes."""
    if not shapes:
        return []
    expected = np.zeros(max(shapes) + 2, np.uint32)
    for number, shape in shapes.items():
        expected[number] = shape.row_bytes
    known = np.minimum(numbers, len(expected) - 1)
    found = np.flatnonzero((expected[known] == sizes) & (sizes > 0))
    kinds = known[found]
    return [(int(number), found[kinds == number]) for number in np.unique(kinds)]


def _rows_of(
    words: npt.NDArray[np.uint64], starts: npt.NDArray[np.int64], width: int, number: int, verify: bool
) -> Spans:
    """Those of the candidates that are whole rows, as (starts, lengths, kinds) in words."""
    starts = starts[starts + width <= len(words)]
    if len(starts):
        marks = words[starts + width - 1]
        good = marks == ~words[starts]
        good |= checksums(_blocks(words, starts, width)[:, :-1]) == marks if verify else marks != 0
        starts = starts[good]
    return starts, np.full(len(starts), width), np.full(len(starts), number)


def checksums(block: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The checksum of each row without its mark: uint64[n] of uint64[n, w]."""
    weights = np.arange(block.shape[1], dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C16) + np.uint64(0x9E3779B97F4A7C15)
    return np.asarray(block @ weights)


def put_checksums(data: memoryview, rows: Sequence[ShapeRows]) -> None:
    """Replace the marks of rows that `scan` found in this memory by their checksums."""
    words = np.frombuffer(data, np.uint64)
    for found in rows:
        width = found.shape.row_bytes >> 3
        starts = found.order >> 3
        words[starts + width - 1] = checksums(_blocks(words, starts, width)[:, :-1])


def _chain(
    starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], kinds: npt.NDArray[np.int64], final: bool
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64], int, int]:
    """Drop what lies inside another row and find the places that hold none.

    Returns the kept spans, the number of places without a whole row that rows follow, and the word to go on from.
    A place counts as damage once enough rows follow it; before that it may be a row that another thread is writing.
    """
    if bool((starts[1:] < (starts + lengths)[:-1]).any()):  # values that look like the head of a row
        kept, end = [], 0
        for index, (start, length) in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True)):
            if start >= end:
                kept.append(index)
                end = start + length
        starts, lengths, kinds = starts[kept], lengths[kept], kinds[kept]
    ends = starts + lengths
    if not len(starts):
        return starts, lengths, kinds, 0, 0
    before = np.concatenate([[0], ends[:-1]])
    gaps = np.flatnonzero(starts > before)
    if not final:
        open_gaps = gaps[len(starts) - gaps < IN_FLIGHT_ROWS]
        if len(open_gaps):
            cut = int(open_gaps[0])
            return starts[:cut], lengths[:cut], kinds[:cut], len(gaps) - len(open_gaps), int(before[cut])
    return starts, lengths, kinds, len(gaps), int(ends[-1])


def _blocks(words: npt.NDArray[np.uint64], starts: npt.NDArray[np.int64], width: int) -> npt.NDArray[np.uint64]:
    """uint64[n, width], the rows at these places; a view when they follow each other without a break."""
    first = int(starts[0])
    if int(starts[-1]) - first == (len(starts) - 1) * width:
        return words[first : first + len(starts) * width].reshape(-1, width)
    return words[starts[:, None] + np.arange(width)]


def _gather(words: npt.NDArray[np.uint64], offset: int, shape: Shape, starts: npt.NDArray[np.int64]) -> ShapeRows:
    block = _blocks(words, starts, shape.row_bytes >> 3)[:, 1:-1]
    return ShapeRows(shape, np.array(block, order="F"), offset + 8 * starts)
