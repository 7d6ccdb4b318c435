"""Checksums of a segment: a Parquet file of one row group that ends with our `block`."""

from __future__ import annotations

import os
import zlib
from typing import NamedTuple

from explorer.storage.block import (
    AFTER_FOOTER_BYTES,
    CHUNK,
    block_needs,
    check_block,
    chunks_of,
    encode_block,
    footer_start,
)

# What is read at once: all of a small file, else the end, where footer, block and index are. Of the segment of a short
# run (0.3 MB), reading all of it costs more than decoding one metric.
_SMALL_FILE_BYTES = 65_536
_FIRST_LOOK_BYTES = 16_384


class Source:
    """An open file whose end has been read.

    Attributes:
        size: bytes.
    """

    def __init__(self, fd: int, size: int) -> None:
        self._fd, self.size = fd, size
        look = size if size <= _SMALL_FILE_BYTES else _FIRST_LOOK_BYTES
        self._known_from = size - look
        self._known = os.pread(fd, look, self._known_from)

    def read_at(self, start: int, size: int) -> bytes:
        """Some bytes; fewer at the end of the file. Raises OSError."""
        at = start - self._known_from
        return os.pread(self._fd, size, start) if at < 0 else self._known[at : at + size]


def add_checksums(data: bytes | memoryview, *, index: bytes = b"") -> bytes:
    """A Parquet file of one row group (or none), our block put before its footer, and an index before that."""
    view = memoryview(data)
    start = footer_start(view)
    block = encode_block(chunks_of(view), view[start:-AFTER_FOOTER_BYTES])
    return b"".join([view[:start], index, block, view[start:]])


class Checksums(NamedTuple):
    """What the block of a file says; the footer has been checked against it.

    Attributes:
        entries: the part of the block that describes the column chunks.
        start: where the block begins in the file.
        footer: (first byte, bytes) of the footer with the eight bytes after it.
    """

    entries: bytes
    start: int
    footer: tuple[int, int]

    @property
    def num_chunks(self) -> int:
        """Column chunks."""
        return len(self.entries) // CHUNK.size

    def chunk(self, column: int) -> tuple[int, int, int]:
        """(first byte, bytes, crc32) of a column chunk, in schema order. Raises ValueError when there is none."""
        if column >= self.num_chunks:
            raise ValueError(f"has checksums for {self.num_chunks} columns only")
        start, size, crc = CHUNK.unpack_from(self.entries, column * CHUNK.size)
        return start, size, crc

    @property
    def end_of_pages(self) -> int:
        """Where the last chunk ends; what stands between that and the block is an index."""
        if not self.entries:
            return len(b"PAR1")
        start, size, _ = self.chunk(self.num_chunks - 1)
        return start + size

    def read_chunk(self, file: Source, column: int) -> bytes:
        """The bytes of a column, which are as they were written. Raises OSError, or ValueError naming the column."""
        start, size, crc = self.chunk(column)
        # Before it is read: nobody makes us ask for more memory than the file has bytes.
        data = file.read_at(start, size) if start + size <= file.size else b""
        if len(data) != size or zlib.crc32(data) != crc:
            raise ValueError(f"column {column + 1} of {self.num_chunks} has a wrong checksum")
        return data


def read_checksums(file: Source) -> Checksums:
    """The block of an open file, with block and footer verified. Raises ValueError when something does not fit."""
    look = min(_FIRST_LOOK_BYTES, file.size)
    while True:
        tail = file.read_at(file.size - look, look)
        need = block_needs(tail)
        if need <= len(tail):
            break
        if need > file.size or len(tail) < look:
            raise ValueError("is cut, or its footer is damaged")
        look = need
    start, end, footer = check_block(tail)
    offset = file.size - len(tail)
    return Checksums(tail[start:end], offset + start, (offset + footer, len(tail) - footer))
