"""Parquet files of several row groups that carry an index and checksums of all their bytes (`ends`)."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from explorer.errors import DamagedFile, FileError
from explorer.storage.block import AFTER_FOOTER_BYTES, chunks_of, footer_start
from explorer.storage.damage import READ_ERRORS, first_line
from explorer.storage.ends import META_KEY, FileEnd, encode_end, read_end
from explorer.storage.opening import open_regular
from explorer.storage.page_headers import read_pages
from explorer.storage.parquet_footer import ZSTD, ColumnChunk, encode_footer, encode_schema
from explorer.storage.records import check_format
from explorer.storage.thrift import Encoded

MAX_CHUNK_BYTES: Final = 64 * 2**20


def seal(data: memoryview, text: bytes) -> bytes:
    """A Parquet file that pyarrow has just written, with this index and checksums put before its footer."""
    start = footer_start(data)
    end = encode_end(text, chunks_of(data), data[start:-AFTER_FOOTER_BYTES])
    return b"".join([data[:start], end, data[start:]])


class SealedFile:
    """Such a file, open; its index and footer are as they were written. A context manager; see `open_sealed`.

    All reading goes through one descriptor, so a file that is replaced meanwhile cannot be mixed with its successor.

    Attributes:
        path: the file.
        meta: the index; its format version has been checked, its other claims have not.
        size: bytes of the file.
        identity: (size in bytes, modification time in ns, inode) of the file that is open.
        chunks: all column chunks, row group by row group.
    """

    def __init__(self, path: str | Path, fd: int, found: os.stat_result, before: SealedFile | None) -> None:
        self.path, self._fd = Path(path), fd
        self.size = found.st_size
        self.identity = (found.st_size, found.st_mtime_ns, found.st_ino)
        known = before._end if before is not None and before.identity == self.identity else None
        self._end: FileEnd = known or read_end(self.size, self.read_at)
        check_format(path, self._end.meta.get("format"))
        self.meta, self.chunks = self._end.meta, self._end.chunks

    def read_at(self, start: int, size: int) -> bytes:
        """Some bytes, unverified. Raises ValueError when the file has not that many."""
        data = os.pread(self._fd, size, start) if 0 <= start <= self.size - size else b""
        if len(data) != size:
            raise ValueError("is cut")
        return data

    def read_into(self, start: int, target: memoryview) -> None:
        """Fill the target with bytes of the file, unverified. Raises ValueError when the file has not that many."""
        done = 0
        while done < len(target) and 0 <= start <= self.size - len(target):
            num = os.preadv(self._fd, [target[done:]], start + done)
            if not num:
                break
            done += num
        if done < len(target):
            raise ValueError("is cut")

    def check_all(self) -> None:
        """Read every column chunk and compare. Raises DamagedFile."""
        try:
            end = len(b"PAR1")
            for index, (start, size, crc) in enumerate(self.chunks):
                if start != end or zlib.crc32(self.read_at(start, size)) != crc:
                    raise ValueError(f"has a wrong checksum in column chunk {index + 1} of {len(self.chunks)}")
                end = start + size
            if end != self._end.end_of_pages or self.read_at(0, 4) != b"PAR1":
                raise ValueError("has bytes that belong to nothing")
        except READ_ERRORS as error:
            raise DamagedFile(self.path, first_line(error)) from error

    def check_schema(self, schema: pa.Schema) -> None:
        """Parse the footer and compare the columns and the metadata. Raises DamagedFile."""
        limit = len(self._end.footer)  # nothing in a footer is longer than it is
        shown = b"PAR1" + self._end.footer
        try:
            found = pq.ParquetFile(
                pa.BufferReader(shown), thrift_string_size_limit=limit, thrift_container_size_limit=limit
            )
            if not found.schema_arrow.equals(schema):
                raise ValueError("has other columns than this table has")
            if json.loads((found.metadata.metadata or {}).get(META_KEY, b"")) != self.meta:
                raise ValueError("has an index that differs from its footer")
        except READ_ERRORS as error:
            raise DamagedFile(self.path, first_line(error)) from error

    def read_chunk(self, index: int) -> bytes:
        """The bytes of a column chunk, as they were written. Raises ValueError when the checksum is wrong."""
        start, size, crc = self.chunks[index]
        data = self.read_at(start, size)
        if zlib.crc32(data) != crc:
            raise ValueError(f"has a wrong checksum in column chunk {index + 1} of {len(self.chunks)}")
        return data

    def read_groups(
        self, schema: pa.Schema, columns: Sequence[int], groups: Sequence[tuple[int, int]], max_values: int
    ) -> pa.Table:
        """Some columns of some row groups. Only bytes whose checksums were compared are decoded.

        Args:
            schema: of the whole file; its pages are zstd.
            columns: columns wanted, ascending, from 0.
            groups: row groups wanted, from 0, and the rows of each.
            max_values: values that a column of a row group may have.

        Raises:
            DamagedFile: a checksum is wrong, or a page claims more than that.
        """
        try:
            parts, at = [b"PAR1"], 4
            described = []
            for group, num_rows in groups:
                chunks = []
                for column in columns:
                    data = self.read_chunk(group * len(schema) + column)
                    size = len(data)
                    pages = read_pages(memoryview(data), max_values, MAX_CHUNK_BYTES)
                    chunks.append(ColumnChunk(at, size, pages.num_values, pages.num_bytes, pages.dictionary_bytes))
                    parts.append(data)
                    at += size
                described.append((num_rows, chunks))
            shown, elements = _columns_of(schema, tuple(columns))
            parts.append(encode_footer(shown, elements, described, ZSTD))
            reader = pq.ParquetFile(pa.BufferReader(b"".join(parts))).reader
            return reader.read_all(use_threads=False)
        except READ_ERRORS as error:
            raise DamagedFile(self.path, f"is damaged: {first_line(error)}") from error

    def close(self) -> None:
        """Give the file back."""
        os.close(self._fd)

    def __enter__(self) -> SealedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@lru_cache(maxsize=64)
def _columns_of(schema: pa.Schema, columns: tuple[int, ...]) -> tuple[pa.Schema, list[Encoded]]:
    shown = pa.schema([schema.field(column) for column in columns])
    return shown, encode_schema(shown)


def open_sealed(path: str | Path, before: SealedFile | None = None) -> SealedFile:
    """Open such a file; index, block and footer are checked here, values when they are read.

    Args:
        path: the file.
        before: the file as it was opened before; what was checked then is not read again if it is still the same one.

    Raises:
        FileNotFoundError: it is not there.
        DamagedFile: it is torn, foreign or a link.
        UnsupportedFormat: a newer version wrote it.
    """
    fd, found = open_regular(path)
    try:
        return SealedFile(path, fd, found, before)
    except FileError:
        os.close(fd)
        raise
    except READ_ERRORS as error:
        os.close(fd)
        raise DamagedFile(path, f"is not a whole file of ours: {first_line(error)}") from error
