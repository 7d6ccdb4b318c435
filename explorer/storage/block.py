"""The block of checksums that stands before the footer of our Parquet files.

Parquet's own page checksums cover neither the page headers nor the footer: a flipped bit there can give wrong numbers
without an error. So we put a block of our own between the last page and the footer, where no reader looks:

    for each column chunk, row group by row group: u64 its first byte | u32 its bytes | u32 crc32 of them
    u32 number of chunks | u32 crc32 of the footer | u32 crc32 of the block up to here | "EXC1"

The file stays an ordinary Parquet file: pages are found by their absolute offsets, the footer from the end. The block
says itself where the chunks are: asking pyarrow for that aborts the process (not an exception) when somebody has
fabricated a footer.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Final

import pyarrow.parquet as pq

CHUNK: Final = struct.Struct("<QII")
MAGIC: Final = b"EXC1"
AFTER_FOOTER_BYTES: Final = 8
"""Behind the footer: u32 its bytes | "PAR1"."""
_END = struct.Struct("<III4s")
_TAIL = struct.Struct("<I4s")

Chunk = tuple[int, int, int]
"""(first byte, bytes, crc32) of a column chunk."""


def chunks_of(data: memoryview) -> list[Chunk]:
    """The column chunks of a whole Parquet file that pyarrow has just written."""
    metadata = pq.read_metadata(io.BytesIO(data))
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    chunks = []
    for found in (group.column(index) for group in groups for index in range(group.num_columns)):
        start, size = found.dictionary_page_offset or found.data_page_offset, found.total_compressed_size
        chunks.append((start, size, zlib.crc32(data[start : start + size])))
    return chunks


def encode_block(chunks: Sequence[Chunk], footer: bytes | memoryview) -> bytes:
    """The bytes of the block; `footer` is without the eight bytes after it."""
    block = b"".join([CHUNK.pack(*chunk) for chunk in chunks])
    block += struct.pack("<II", len(chunks), zlib.crc32(footer))
    return block + struct.pack("<I", zlib.crc32(block)) + MAGIC


def footer_start(data: bytes | memoryview) -> int:
    """Where the footer begins in the end of a Parquet file, as these bytes say."""
    return len(data) - _TAIL.size - int(_TAIL.unpack_from(data, len(data) - _TAIL.size)[0])


def block_needs(tail: bytes) -> int:
    """How many bytes of the end of a file hold footer and block, as far as this shorter end tells.

    Raises ValueError for what is no Parquet file of ours.
    """
    if len(tail) < _TAIL.size:
        raise ValueError("is too short for a Parquet file")
    footer_bytes, magic = _TAIL.unpack_from(tail, len(tail) - _TAIL.size)
    if magic != b"PAR1":
        raise ValueError("does not end like a Parquet file")
    need = _TAIL.size + int(footer_bytes) + _END.size
    if need > len(tail):
        return need
    count, _, _, magic = _END.unpack_from(tail, len(tail) - need)
    if magic != MAGIC:
        raise ValueError("has no checksums of ours")
    return need + CHUNK.size * int(count)


def check_block(tail: bytes) -> tuple[int, int, int]:
    """Compare both checksums of an end that has all of `block_needs`. Raises ValueError.

    Returns:
        Where in it the block begins, where the part of the block about chunks ends, and where the footer begins.
    """
    end = footer_start(tail)
    count, footer_crc, block_crc, _ = _END.unpack_from(tail, end - _END.size)
    start = end - _END.size - CHUNK.size * count
    if zlib.crc32(tail[start : end - 8]) != block_crc or zlib.crc32(tail[end : -_TAIL.size]) != footer_crc:
        raise ValueError("has a damaged footer")
    return start, end - _END.size, end
