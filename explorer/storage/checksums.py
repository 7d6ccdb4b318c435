"""Checksums of a Parquet file that close what Parquet leaves open.

Parquet's own page checksums cover neither the page headers nor the footer: a flipped bit there can give wrong numbers
without an error. So we put a block of our own between the last page and the footer, where no reader looks:

    for each column chunk, in schema order: u64 its first byte | u32 its bytes | u32 crc32 of them
    u32 number of chunks | u32 crc32 of the footer | u32 crc32 of the block up to here | "EXC1"

The file stays an ordinary Parquet file: pages are found by their absolute offsets, the footer from the end.
Files have one row group. The block says itself where the chunks are: asking pyarrow for that aborts the process (not
an exception) when somebody has fabricated a footer.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from typing import NamedTuple

import pyarrow.parquet as pq

MAGIC = b"EXC1"
_CHUNK = struct.Struct("<QII")
_END = struct.Struct("<III4s")
_TAIL = struct.Struct("<I4s")
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
    footer_bytes, _ = _TAIL.unpack_from(data, len(data) - _TAIL.size)
    footer_start = len(data) - _TAIL.size - footer_bytes
    ranges = _chunk_ranges(pq.read_metadata(io.BytesIO(data)))
    view = memoryview(data)
    block = b"".join(_CHUNK.pack(start, size, zlib.crc32(view[start : start + size])) for start, size in ranges)
    block += struct.pack("<II", len(ranges), zlib.crc32(view[footer_start : footer_start + footer_bytes]))
    block += struct.pack("<I", zlib.crc32(block)) + MAGIC
    return b"".join([view[:footer_start], index, block, view[footer_start:]])


def _chunk_ranges(metadata: pq.FileMetaData) -> list[tuple[int, int]]:
    """(first byte, bytes) of each column chunk of a file of our own, in schema order."""
    if metadata.num_row_groups == 0:
        return []
    group = metadata.row_group(0)
    chunks = [group.column(index) for index in range(group.num_columns)]
    return [(chunk.dictionary_page_offset or chunk.data_page_offset, chunk.total_compressed_size) for chunk in chunks]


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
        return len(self.entries) // _CHUNK.size

    def chunk(self, column: int) -> tuple[int, int, int]:
        """(first byte, bytes, crc32) of a column chunk, in schema order. Raises ValueError when there is none."""
        if column >= self.num_chunks:
            raise ValueError(f"has checksums for {self.num_chunks} columns only")
        start, size, crc = _CHUNK.unpack_from(self.entries, column * _CHUNK.size)
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
    size = file.size
    look = _FIRST_LOOK_BYTES
    while True:
        tail = file.read_at(max(0, size - look), min(look, size))
        if len(tail) < _TAIL.size:
            raise ValueError("is too short for a Parquet file")
        footer_bytes, magic = _TAIL.unpack_from(tail, len(tail) - _TAIL.size)
        if magic != b"PAR1":
            raise ValueError("does not end like a Parquet file")
        end = len(tail) - _TAIL.size - footer_bytes  # of our block, within the tail
        if end >= _END.size:
            count, footer_crc, block_crc, found = _END.unpack_from(tail, end - _END.size)
            if found != MAGIC:
                raise ValueError("has no checksums of ours")
            start = end - _END.size - _CHUNK.size * count
            if start >= 0:
                break
        else:
            count = 0
        need = footer_bytes + _TAIL.size + _END.size + _CHUNK.size * count
        if need > size or len(tail) >= size:
            raise ValueError("is cut, or its footer is damaged")
        look = need
    if zlib.crc32(tail[start : end - 8]) != block_crc or zlib.crc32(tail[end : -_TAIL.size]) != footer_crc:
        raise ValueError("has a damaged footer")
    offset = size - len(tail)
    return Checksums(tail[start : end - _END.size], offset + start, (offset + end, len(tail) - end))
