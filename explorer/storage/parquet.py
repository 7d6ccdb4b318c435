"""Parquet's own reader over bytes whose checksums we have compared, and over no others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from explorer.errors import DamagedFile
from explorer.storage.checksums import Checksums, Source
from explorer.storage.columns import STEP, WALL_TIME, WALL_TYPE
from explorer.storage.damage import READ_ERRORS, first_line
from explorer.storage.records import check_format

META_KEY = b"explorer"
MAX_CELLS = 200_000_000
MAX_FILE_BYTES = 2**32
MAX_FOOTER_BYTES = 64 * 2**20
MAX_FOOTER_ITEMS = 2_000_000
_METRIC_TYPES = frozenset({pa.float64().id, pa.int64().id})


class Parquet:
    """A segment open in Parquet's own reader; see `open_parquet`.

    Attributes:
        meta: what the footer says.
        num_rows: rows.
        names: names of all columns.
    """

    def __init__(self, path: str | Path, source: Source, checksums: Checksums) -> None:
        if source.size > MAX_FILE_BYTES:
            raise DamagedFile(path, f"has {source.size:,} bytes; no segment has that")
        self._source, self._checksums = source, checksums
        # The file as far as it has been read, zeros elsewhere: memory that is never written costs nothing, and the
        # reader sees nothing that was not checked.
        self._bytes = np.zeros(source.size, np.uint8)
        start, size = checksums.footer
        self._fill(start, source.read_at(start, size))
        self._file = pq.ParquetFile(
            pa.BufferReader(pa.py_buffer(self._bytes)),
            thrift_string_size_limit=MAX_FOOTER_BYTES,
            thrift_container_size_limit=MAX_FOOTER_ITEMS,
        )
        self.meta = segment_meta(path, self._file)
        self.num_rows: int = self._file.metadata.num_rows
        self.names = _check_schema(path, self._file, self.meta)

    def read(self, indices: Sequence[int]) -> pa.Table:
        """Some columns, in the order of the file. Raises ValueError when a checksum is wrong, else `READ_ERRORS`."""
        for index in indices:
            data = self._checksums.read_chunk(self._source, index)
            self._fill(self._checksums.chunk(index)[0], data)
        # `ParquetFile.read` without its look at the path of every column.
        return self._file.reader.read_all(column_indices=indices, use_threads=False)

    def _fill(self, start: int, data: bytes) -> None:
        self._bytes[start : start + len(data)] = np.frombuffer(data, np.uint8)


def open_parquet(path: str | Path, source: Source, checksums: Checksums) -> Parquet:
    """Open a file whose footer has been checked.

    Raises:
        DamagedFile: it is foreign, or says impossible things.
        UnsupportedFormat: a newer version wrote it.
    """
    try:
        return Parquet(path, source, checksums)
    except READ_ERRORS as error:
        raise DamagedFile(path, f"is not a whole segment of ours: {first_line(error)}") from error


def segment_meta(path: str | Path, file: pq.ParquetFile) -> dict[str, Any]:
    """What the footer says; its format version has been checked. Raises DamagedFile or UnsupportedFormat."""
    raw = (file.metadata.metadata or {}).get(META_KEY)
    if raw is None:
        raise DamagedFile(path, "is a Parquet file, but not one of ours")
    try:
        meta = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise DamagedFile(path, "has damaged metadata") from error
    if not isinstance(meta, dict):
        raise DamagedFile(path, "has damaged metadata")
    check_format(path, meta.get("format"))
    return meta


def _check_schema(path: str | Path, file: pq.ParquetFile, meta: dict[str, Any]) -> list[str]:
    """Names of all columns. Raises DamagedFile."""
    try:
        schema = file.schema_arrow
    except READ_ERRORS as error:
        raise DamagedFile(path, f"has an unreadable schema ({first_line(error)})") from error
    names, types, rows = list(schema.names), schema.types, file.metadata.num_rows
    if file.metadata.num_row_groups > 1:
        raise DamagedFile(path, "has several row groups; no segment has that")
    check_columns(path, rows, names)
    if meta.get("rows") != rows:
        raise DamagedFile(path, "has another number of rows than was written")
    if types[:2] != [pa.int64(), WALL_TYPE]:
        raise DamagedFile(path, "has steps that are not int64, or times that are not timestamp[us]")
    if any(kind.id not in _METRIC_TYPES for kind in types[2:]):
        raise DamagedFile(path, "has a metric that is neither float64 nor int64")
    return names


def check_columns(path: str | Path, rows: int, names: Sequence[str]) -> None:
    """Refuse what no segment of ours has. Raises DamagedFile."""
    if rows * len(names) > MAX_CELLS:
        raise DamagedFile(path, f"claims {rows:,} rows of {len(names):,} columns; no segment has that")
    if list(names[:2]) != [STEP, WALL_TIME]:
        raise DamagedFile(path, "does not start with the columns step and wall_time")
    if len(set(names)) != len(names):
        raise DamagedFile(path, "has two columns of one name")
