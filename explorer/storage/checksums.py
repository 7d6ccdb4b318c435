"""Checksums of a Parquet file that close what Parquet leaves open.

Parquet's own page checksums cover neither the page headers nor the footer: a flipped bit there can give wrong numbers
without an error. So we put a block of our own between the last page and the footer, where no reader looks:

    u32 crc32 of each column chunk, in schema order | u32 number of chunks | u32 crc32 of the footer |
    u32 crc32 of the block up to here | "EXC1"

The file stays an ordinary Parquet file: pages are found by their absolute offsets, the footer from the end.
Files have one row group.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from dataclasses import dataclass

import pyarrow.parquet as pq

MAGIC = b"EXC1"
_END = struct.Struct("<III4s")
_TAIL = struct.Struct("<I4s")
_FIRST_LOOK_BYTES = 16_384


def add_checksums(data: bytes | memoryview) -> bytes:
    """A Parquet file of one row group (or none), with our block put before its footer."""
    footer_bytes, _ = _TAIL.unpack_from(data, len(data) - _TAIL.size)
    footer_start = len(data) - _TAIL.size - footer_bytes
    ranges = chunk_ranges(pq.read_metadata(io.BytesIO(data)))
    view = memoryview(data)
    crcs = [zlib.crc32(view[start : start + size]) for start, size in ranges]
    block = struct.pack(f"<{len(crcs)}I", *crcs)
    block += struct.pack("<II", len(crcs), zlib.crc32(view[footer_start : footer_start + footer_bytes]))
    block += struct.pack("<I", zlib.crc32(block)) + MAGIC
    return b"".join([view[:footer_start], block, view[footer_start:]])


def chunk_ranges(metadata: pq.FileMetaData) -> list[tuple[int, int]]:
    """(first byte, bytes) of each column chunk, in schema order."""
    if metadata.num_row_groups == 0:
        return []
    group = metadata.row_group(0)
    chunks = [group.column(index) for index in range(group.num_columns)]
    return [(chunk.dictionary_page_offset or chunk.data_page_offset, chunk.total_compressed_size) for chunk in chunks]


@dataclass(frozen=True)
class Checksums:
    """What the block of a file says; the footer has been checked against it."""

    chunk_crcs: tuple[int, ...]

    def check_chunks(self, fd: int, metadata: pq.FileMetaData, columns: list[int]) -> None:
        """Read these columns' bytes and compare. Raises ValueError naming the first column that differs."""
        ranges = chunk_ranges(metadata)
        if len(ranges) != len(self.chunk_crcs):
            raise ValueError(f"has {len(ranges)} column chunks but checksums for {len(self.chunk_crcs)}")
        for index in columns:
            start, size = ranges[index]
            if zlib.crc32(os.pread(fd, size, start)) != self.chunk_crcs[index]:
                raise ValueError(f"column {index + 1} of {len(ranges)} has a wrong checksum")


def read_checksums(fd: int) -> Checksums:
    """The block of an open file, with block and footer verified. Raises ValueError when something does not fit."""
    size = os.fstat(fd).st_size
    look = _FIRST_LOOK_BYTES
    while True:
        tail = os.pread(fd, min(look, size), max(0, size - look))
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
            start = end - _END.size - 4 * count
            if start >= 0:
                break
        else:
            count = 0
        need = footer_bytes + _TAIL.size + _END.size + 4 * count
        if need > size or len(tail) >= size:
            raise ValueError("is cut, or its footer is damaged")
        look = need
    if zlib.crc32(tail[start : end - 8]) != block_crc or zlib.crc32(tail[end : -_TAIL.size]) != footer_crc:
        raise ValueError("has a damaged footer")
    return Checksums(struct.unpack_from(f"<{count}I", tail, start))
