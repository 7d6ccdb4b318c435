"""What stands at the end of our Parquet files of several row groups: an index, checksums, and Parquet's own footer.

Between the last page and the footer, where Parquet readers do not look, stand

    a JSON object in ASCII | u32 its bytes | u32 crc32 of all that | "EXI1"
    for each column chunk, row group by row group: u64 its first byte | u32 its bytes | u32 crc32 of them
    u32 number of chunks | u32 crc32 of the footer | u32 crc32 of the block up to here | "EXC1"

The JSON object is the same as in the footer's metadata under `explorer`. It stands there once more because to parse a
footer takes 4 us for each column chunk, and most readers want to know first which row groups they need.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

META_KEY: Final = b"explorer"
MAX_END_BYTES: Final = 256 * 2**20

_CHECKSUMS_MAGIC, _INDEX_MAGIC = b"EXC1", b"EXI1"
_CHUNK = struct.Struct("<QII")
_END = struct.Struct("<III4s")
_INDEX_END = struct.Struct("<II4s")
_TAIL = struct.Struct("<I4s")
_FIRST_LOOK_BYTES = 65_536

Chunk = tuple[int, int, int]
"""(first byte, bytes, crc32) of a column chunk."""


@dataclass(frozen=True)
class FileEnd:
    """The end of a file, whose checksums were right.

    Attributes:
        meta: the index; what it claims was not looked at.
        chunks: all column chunks, row group by row group.
        footer: Parquet's footer with the eight bytes after it.
        end_of_pages: where the last page should end.
    """

    meta: dict[str, Any]
    chunks: list[Chunk]
    footer: bytes
    end_of_pages: int


def encode_index(meta: dict[str, Any]) -> bytes:
    """The JSON text of an index."""
    return json.dumps(meta, separators=(",", ":")).encode("ascii")


def encode_end(text: bytes, chunks: Sequence[Chunk], footer: bytes | memoryview) -> bytes:
    """What stands between the last page and the footer.

    Args:
        text: the index.
        chunks: all column chunks, row group by row group.
        footer: without the eight bytes after it.
    """
    index = text + struct.pack("<I", len(text))
    index += struct.pack("<I", zlib.crc32(index)) + _INDEX_MAGIC
    block = b"".join(_CHUNK.pack(*chunk) for chunk in chunks)
    block += struct.pack("<II", len(chunks), zlib.crc32(footer))
    return index + block + struct.pack("<I", zlib.crc32(block)) + _CHECKSUMS_MAGIC


def footer_start(data: memoryview) -> int:
    """Where the footer of a whole Parquet file begins."""
    return len(data) - _TAIL.size - int(_TAIL.unpack_from(data, len(data) - _TAIL.size)[0])


def read_end(size: int, read_at: Callable[[int, int], bytes]) -> FileEnd:
    """Read and verify the end of a file.

    Args:
        size: bytes of the file.
        read_at: gives so many bytes from a place on.

    Raises:
        ValueError: something does not fit.
    """
    tail = _read_tail(size, read_at)
    end = footer_start(memoryview(tail))
    count, footer_crc, block_crc, _ = _END.unpack_from(tail, end - _END.size)
    start = end - _END.size - _CHUNK.size * count
    if zlib.crc32(tail[start : end - 8]) != block_crc or zlib.crc32(tail[end : -_TAIL.size]) != footer_crc:
        raise ValueError("has a damaged footer")
    text_bytes, index_crc, _ = _INDEX_END.unpack_from(tail, start - _INDEX_END.size)
    text = tail[start - _INDEX_END.size - text_bytes : start - _INDEX_END.size]
    if zlib.crc32(text + struct.pack("<I", text_bytes)) != index_crc:
        raise ValueError("has a damaged index")
    try:
        meta = json.loads(text)
    except RecursionError as error:
        raise ValueError("has an index that is nested without end") from error
    if not isinstance(meta, dict):
        raise ValueError("has an index that is no object")
    chunks = list(_CHUNK.iter_unpack(tail[start : end - _END.size]))
    return FileEnd(meta, chunks, tail[end:], size - len(tail) + start - _INDEX_END.size - text_bytes)


def _read_tail(size: int, read_at: Callable[[int, int], bytes]) -> bytes:
    look = min(size, _FIRST_LOOK_BYTES)
    while True:
        tail = read_at(size - look, look)
        need = _needed(tail)
        if need <= look:
            return tail
        if need > min(size, MAX_END_BYTES):
            raise ValueError("is cut, or its footer is damaged")
        look = need


def _needed(tail: bytes) -> int:
    """How many bytes of the end hold footer, block and index, as far as this shorter end tells. Raises ValueError."""
    if len(tail) < _TAIL.size:
        raise ValueError("is too short for a Parquet file")
    footer_bytes, magic = _TAIL.unpack_from(tail, len(tail) - _TAIL.size)
    if magic != b"PAR1":
        raise ValueError("does not end like a Parquet file")
    need = _TAIL.size + footer_bytes + _END.size
    if need > len(tail):
        return int(need)
    count, _, _, magic = _END.unpack_from(tail, len(tail) - need)
    if magic != _CHECKSUMS_MAGIC:
        raise ValueError("has no checksums of ours")
    need += _CHUNK.size * count + _INDEX_END.size
    if need > len(tail):
        return int(need)
    text_bytes, _, magic = _INDEX_END.unpack_from(tail, len(tail) - need)
    if magic != _INDEX_MAGIC:
        raise ValueError("has no index of ours")
    return int(need + text_bytes)
