"""Segments: immutable Parquet files of a table, written with page checksums and read with care.

Compression is zstd 1; step and time are delta encoded, values byte-stream split: about 3 bytes a value (measured in
benchmarks/README.md). Pages carry Parquet's own CRC32 for other readers; ours compares the checksums of whole column
chunks and of the footer (`checksums`), which leave no bit uncovered.
"""

from __future__ import annotations

import io
import json
import os
import stat
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from explorer.errors import DamagedFile, FileError
from explorer.storage import columns
from explorer.storage.checksums import Checksums, Source, add_checksums, read_checksums
from explorer.storage.columns import STEP, WALL_TIME, WALL_TYPE
from explorer.storage.disk import Disk
from explorer.storage.layout import FORMAT_VERSION, SegmentName
from explorer.storage.records import check_format

META_KEY = b"explorer"
_METRIC_TYPES = frozenset({pa.float64().id, pa.int64().id})
MAX_CELLS = 200_000_000
MAX_FOOTER_BYTES = 64 * 2**20
MAX_FOOTER_ITEMS = 2_000_000

# What pyarrow was seen to raise on damaged files (24,000 mutated ones), besides our own errors.
READ_ERRORS = (pa.ArrowException, OSError, UnicodeDecodeError, MemoryError, ValueError, IndexError, KeyError, TypeError)


@dataclass(frozen=True)
class SegmentMeta:
    """What a segment says of itself in its footer."""

    table: str
    attempt: int
    rank: int
    segment: int
    part: int
    parts: int
    rows: int
    format: int = FORMAT_VERSION


def encode_segment(table: pa.Table, meta: SegmentMeta) -> bytes:
    """The bytes of a segment file of a table with the columns `step`, `wall_time` and metrics (`columns.tables_of`)."""
    table = table.replace_schema_metadata({META_KEY: json.dumps(asdict(meta)).encode()})
    encodings = {name: "BYTE_STREAM_SPLIT" for name in table.column_names}
    encodings |= {STEP: "DELTA_BINARY_PACKED", WALL_TIME: "DELTA_BINARY_PACKED"}
    sink = io.BytesIO()
    pq.write_table(
        table,
        sink,
        row_group_size=max(1, len(table)),
        compression="zstd",
        compression_level=1,
        use_dictionary=False,
        column_encoding=encodings,
        write_statistics=[STEP],
        write_page_checksum=True,
    )
    return add_checksums(sink.getbuffer())


def write_segment(
    run_dir: Path, table_name: str, name: SegmentName, tables: Sequence[pa.Table], *, disk: Disk
) -> list[Path]:
    """Write the parts of one segment, part 0 last: it is what makes the segment count. Raises OSError.

    Returns the paths written, part 0 first.
    """
    paths: list[Path] = []
    for part in reversed(range(len(tables))):
        part_name = SegmentName(name.attempt, name.rank, name.segment, part)
        meta = SegmentMeta(table_name, name.attempt, name.rank, name.segment, part, len(tables), tables[part].num_rows)
        path = run_dir / table_name / part_name.filename
        disk.write_file(path, encode_segment(tables[part], meta), sync=True)
        paths.insert(0, path)
    return paths


class Segment:
    """A segment open for reading, checked to be ours and whole at its ends. A context manager; see `open_segment`.

    Attributes:
        path: the file.
        meta: what its footer says.
        num_rows: rows.
        metrics: metric name to column name, in the order of the file.
    """

    def __init__(self, path: str | Path, fd: int, source: Source, checksums: Checksums, file: pq.ParquetFile) -> None:
        self.path = Path(path)
        self._fd, self._source, self._checksums, self._file = fd, source, checksums, file
        self.meta = segment_meta(path, file)
        self.num_rows: int = file.metadata.num_rows
        self._names: list[str] = self._check_schema()
        self.metrics = {columns.metric_name(name): name for name in self._names[2:]}

    def _check_schema(self) -> list[str]:
        try:
            schema = self._file.schema_arrow
        except READ_ERRORS as error:
            raise DamagedFile(self.path, f"has an unreadable schema ({_first_line(error)})") from error
        if self.num_rows * len(schema) > MAX_CELLS or self._file.metadata.num_row_groups > 1:
            raise DamagedFile(
                self.path, f"claims {self.num_rows:,} rows of {len(schema):,} columns; no segment has that"
            )
        if self.meta.get("rows") != self.num_rows:
            raise DamagedFile(self.path, "has another number of rows than was written")
        names, types = schema.names, schema.types
        if names[:2] != [STEP, WALL_TIME] or types[:2] != [pa.int64(), WALL_TYPE]:
            raise DamagedFile(self.path, "does not start with the columns step (int64) and wall_time (timestamp[us])")
        if len(set(names)) != len(names):
            raise DamagedFile(self.path, "has two columns of one name")
        if any(kind.id not in _METRIC_TYPES for kind in types[2:]):
            raise DamagedFile(self.path, "has a metric that is neither float64 nor int64")
        return list(names)

    def read(self, metrics: Sequence[str] | None = None, *, wall_time: bool = True) -> pa.Table:
        """`step`, `wall_time`, then a column named as its metric for each one asked for and found (None: all).

        Without `wall_time` that column is left out and not read, which makes reading one metric a third faster.

        Raises DamagedFile when a checksum is wrong.
        """
        found = list(self.metrics) if metrics is None else [m for m in dict.fromkeys(metrics) if m in self.metrics]
        fixed = [STEP, WALL_TIME] if wall_time else [STEP]
        wanted = [*fixed, *(self.metrics[name] for name in found)]
        indices = [self._names.index(name) for name in wanted]
        try:
            self._checksums.check_chunks(self._source, indices)
            # `ParquetFile.read` without its look at the path of every column.
            table = self._file.reader.read_all(column_indices=indices, use_threads=False)
        except READ_ERRORS as error:
            raise DamagedFile(self.path, f"is damaged: {_first_line(error)}") from error
        if table.num_rows != self.num_rows:
            raise DamagedFile(self.path, "has fewer rows than its footer says")
        return table.select(wanted).rename_columns([*fixed, *found])

    def close(self) -> None:
        """Give the file back."""
        self._file.close()
        os.close(self._fd)

    def __enter__(self) -> Segment:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_segment(path: str | Path) -> Segment:
    """Open a segment; footer, schema and counts are checked here, values when they are read.

    Raises:
        FileNotFoundError: it is not there.
        DamagedFile: it is torn, foreign, a link, or says impossible things.
        UnsupportedFormat: a newer version wrote it.
    """
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedFile(path, f"cannot be opened ({error.strerror})") from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise DamagedFile(path, "is not a regular file")
        source = Source(fd)
        checksums = read_checksums(source)
        file = pq.ParquetFile(
            path if source.data is None else pa.BufferReader(source.data),
            thrift_string_size_limit=MAX_FOOTER_BYTES,
            thrift_container_size_limit=MAX_FOOTER_ITEMS,
        )
        return Segment(path, fd, source, checksums, file)
    except FileError:
        os.close(fd)
        raise
    except READ_ERRORS as error:
        os.close(fd)
        raise DamagedFile(path, f"is not a whole segment of ours: {_first_line(error)}") from error


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


def read_columns(path: str | Path, metrics: Sequence[str] | None = None) -> pa.Table:
    """Open a segment and read some metrics of it: `open_segment` and `Segment.read` in one. Raises as they do."""
    with open_segment(path) as segment:
        return segment.read(metrics)


def _first_line(error: BaseException) -> str:
    text = (str(error).splitlines() or [type(error).__name__])[0]
    return text if len(text) <= 160 else text[:157] + "..."
