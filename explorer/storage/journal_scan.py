"""Find the whole rows in a journal's bytes, of a live writer or a dead one, undamaged or not."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from explorer.storage.journal import DEFINITION, HEADER_BYTES, MARK, MARK_BYTES, ROW_HEAD_BYTES, Shape, checksums

IN_FLIGHT_ROWS = 64

# Rows do not overlap, so all of a journal's are as long as it is. Places that only look like the start of a row may
# overlap: so many times the journal's length is looked at, and a file full of such places costs no more than that.
_MAX_LOOKS = 4

Spans = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]


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
    data: memoryview | bytes,
    offset: int,
    end: int,
    shapes: dict[int, Shape],
    *,
    final: bool,
    verify: bool = True,
    patient: bool = False,
) -> Scan:
    """Find the whole rows in `data[offset:end]`.

    Args:
        data: a journal from its first byte on.
        offset: a row's start, 64 or an earlier `next_offset`.
        end: where to stop, a multiple of 8.
        shapes: the shapes defined before `offset`, by number; those found here are added.
        final: the writer is gone, so a place without a whole row is damage, not a row that is being written.
        verify: check the rows' checksums; the writer itself need not, for rows that it has just put in memory.
        patient: unless final, stop before a place without a whole row however many rows follow.
    """
    words = np.frombuffer(data, np.uint64, count=end // 8)[offset // 8 :]
    heads = words.view(np.uint32).reshape(-1, 2)
    numbers, sizes = heads[:, 0], heads[:, 1]
    spans = [_definitions(data, offset, words, numbers, sizes, shapes)]
    left = _MAX_LOOKS * len(words)
    for number, found in _candidates(numbers, sizes, shapes):
        width = shapes[number].row_bytes >> 3
        looked_at = found[: left // width]
        left -= len(looked_at) * width
        spans.append(_rows_of(words, looked_at, width, number, verify))
    starts, lengths, kinds = (np.concatenate(parts) for parts in zip(*spans, strict=True))
    order = np.argsort(starts, kind="stable")
    starts, lengths, kinds = starts[order], lengths[order], kinds[order]
    starts, lengths, kinds, holes, stop = _chain(starts, lengths, kinds, final, patient)
    rows = []
    for number in np.unique(kinds[kinds != DEFINITION]).tolist():
        rows.append(_gather(words, offset, shapes[number], starts[kinds == number]))
    return Scan(rows, offset + 8 * stop, holes)


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
    left = _MAX_LOOKS * 8 * len(words)
    for start in np.flatnonzero(maybe).tolist():
        first, size = offset + 8 * start, int(sizes[start])
        if (left := left - size) < 0:
            break
        row = bytes(data[first : first + size])
        if MARK.unpack_from(row, size - MARK_BYTES)[0] != zlib.adler32(row[:-MARK_BYTES]):
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


def put_checksums(data: memoryview, rows: Sequence[ShapeRows]) -> None:
    """Replace the marks of rows that `scan` found in this memory by their checksums."""
    words = np.frombuffer(data, np.uint64)
    for found in rows:
        width = found.shape.row_bytes >> 3
        starts = found.order >> 3
        words[starts + width - 1] = checksums(_blocks(words, starts, width)[:, :-1])


def _chain(
    starts: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    kinds: npt.NDArray[np.int64],
    final: bool,
    patient: bool,
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
        open_gaps = gaps if patient else gaps[len(starts) - gaps < IN_FLIGHT_ROWS]
        if len(open_gaps):
            cut = int(open_gaps[0])
            return starts[:cut], lengths[:cut], kinds[:cut], len(gaps) - len(open_gaps), int(before[cut])
    return starts, lengths, kinds, len(gaps), int(ends[-1])


def _blocks(words: npt.NDArray[np.uint64], starts: npt.NDArray[np.int64], width: int) -> npt.NDArray[np.uint64]:
    """uint64[n, width], the rows at these places; a view when they follow each other without a break."""
    first = int(starts[0])
    if int(starts[-1]) - first == (len(starts) - 1) * width:
        return words[first : first + len(starts) * width].reshape(-1, width)
    scattered: npt.NDArray[np.uint64] = words[starts[:, None] + np.arange(width)]
    return scattered


def _gather(words: npt.NDArray[np.uint64], offset: int, shape: Shape, starts: npt.NDArray[np.int64]) -> ShapeRows:
    block = _blocks(words, starts, shape.row_bytes >> 3)[:, 1:-1]
    return ShapeRows(shape, np.array(block, order="F"), offset + 8 * starts)
