"""What stands at the end of our Parquet files of several row groups: an index, checksums, and Parquet's own footer.

Between the last page and the footer, where Parquet readers do not look, stand

    a JSON object in ASCII | u32 its bytes | u32 crc32 of all that | "EXI1"
    the `block` of checksums

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

from explorer.storage.block import CHUNK, Chunk, block_needs, check_block, encode_block

META_KEY: Final = b"explorer"
MAX_END_BYTES: Final = 256 * 2**20

_INDEX_MAGIC = b"EXI1"
_INDEX_END = struct.Struct("<II4s")
_FIRST_LOOK_BYTES = 65_536


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
    return index + encode_block(chunks, footer)


def read_end(size: int, read_at: Callable[[int, int], bytes]) -> FileEnd:
    """Read and verify the end of a file.

    Args:
        size: bytes of the file.
        read_at: gives so many bytes from a place on.

    Raises:
        ValueError: something does not fit.
    """
    tail = _read_tail(size, read_at)
    start, end, footer = check_block(tail)
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
    chunks = list(CHUNK.iter_unpack(tail[start:end]))
    return FileEnd(meta, chunks, tail[footer:], size - len(tail) + start - _INDEX_END.size - text_bytes)


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
    need = block_needs(tail) + _INDEX_END.size
    if need > len(tail):
        return need
    text_bytes, _, magic = _INDEX_END.unpack_from(tail, len(tail) - need)
    if magic != _INDEX_MAGIC:
        raise ValueError("has no index of ours")
    return need + int(text_bytes)
