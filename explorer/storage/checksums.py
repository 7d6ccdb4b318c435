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
from dataclasses import dataclass

import pyarrow.parquet as pq

SMALL_FILE_BYTES = 2**20
MAGIC = b"EXC1"
_CHUNK = struct.Struct("<QII")
_END = struct.Struct("<III4s")
_TAIL = struct.Struct("<I4s")
_FIRST_LOOK_BYTES = 16_384


class Source:
    """An open file, read at once when it is small: for a segment of a short run that halves the calls.

    Attributes:
        size: bytes.
        data: all of them, or None for a large file.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.size = os.fstat(fd).st_size
        self.data = os.pread(fd, self.size, 0) if self.size <= SMALL_FILE_BYTES else None

    def read_at(self, start: int, size: int) -> bytes:
        """Some bytes; fewer at the end of the file. Raises OSError."""
        return os.pread(self._fd, size, start) if self.data is None else self.data[start : start + size]


def add_checksums(data: bytes | memoryview) -> bytes:
    """A Parquet file of one row group (or none), with our block put before its footer."""
    footer_bytes, _ = _TAIL.unpack_from(data, len(data) - _TAIL.size)
    footer_start = len(data) - _TAIL.size - footer_bytes
    ranges = _chunk_ranges(pq.read_metadata(io.BytesIO(data)))
    view = memoryview(data)
    block = b"".join(_CHUNK.pack(start, size, zlib.crc32(view[start : start + size])) for start, size in ranges)
    block += struct.pack("<II", len(ranges), zlib.crc32(view[footer_start : footer_start + footer_bytes]))
    block += struct.pack("<I", zlib.crc32(block)) + MAGIC
    return b"".join([view[:footer_start], block, view[footer_start:]])


def _chunk_ranges(metadata: pq.FileMetaData) -> list[tuple[int, int]]:
    """(first byte, bytes) of each column chunk of a file of our own, in schema order."""
    if metadata.num_row_groups == 0:
        return []
    group = metadata.row_group(0)
    chunks = [group.column(index) for index in range(group.num_columns)]
    return [(chunk.dictionary_page_offset or chunk.data_page_offset, chunk.total_compressed_size) for chunk in chunks]


@dataclass(frozen=True)
class Checksums:
    """What the block of a file says; the footer has been checked against it.

    Attributes:
        chunks: (first byte, bytes, crc32) of each column chunk, in schema order.
    """

    chunks: tuple[tuple[int, int, int], ...]

    def check_chunks(self, file: Source, columns: list[int]) -> None:
        """Read these columns' bytes and compare. Raises ValueError naming the first column that differs."""
        for index in columns:
            if index >= len(self.chunks):
                raise ValueError(f"has checksums for {len(self.chunks)} columns only")
            start, size, crc = self.chunks[index]
            if start + size > file.size or zlib.crc32(file.read_at(start, size)) != crc:
                raise ValueError(f"column {index + 1} of {len(self.chunks)} has a wrong checksum")


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
    return Checksums(tuple(_CHUNK.iter_unpack(tail[start : end - _END.size])))
