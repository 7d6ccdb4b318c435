"""Segments: immutable Parquet files of a table, written with page checksums and read with care.

Compression is zstd 1; step and time are delta encoded, values byte-stream split: about 3 bytes a value (measured in
benchmarks/README.md). Pages carry Parquet's own CRC32 for other readers; ours compares the checksums of whole column
chunks and of the footer (`checksums`), which leave no bit uncovered.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from explorer.errors import DamagedFile, FileError
from explorer.storage import columns
from explorer.storage.checksums import Source, add_checksums, read_checksums
from explorer.storage.columns import STEP, WALL_TIME
from explorer.storage.damage import READ_ERRORS, first_line
from explorer.storage.disk import Disk
from explorer.storage.index import Index, encode_index, read_index
from explorer.storage.layout import FORMAT_VERSION, SegmentName
from explorer.storage.opening import open_regular
from explorer.storage.pages import OtherLayout, decode_column
from explorer.storage.parquet import META_KEY, Parquet, check_columns, open_parquet
from explorer.storage.points import EvenSteps, Points, even_steps, points_of
from explorer.storage.records import check_format

# Gives an array for so many float64 values.
MakeRoom = Callable[[int], npt.NDArray[Any]]


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
        # One page a chunk, up to Parquet's 1 MiB, instead of one for 20,000 rows: 5% smaller and 25% faster to decode.
        max_rows_per_page=2**20,
    )
    return add_checksums(sink.getbuffer(), index=encode_index(asdict(meta), table))


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
    """A segment open for reading, checked to be ours and whole at its end. A context manager; see `open_segment`.

    Attributes:
        path: the file.
        meta: what it says of itself.
        num_rows: rows.
    """

    def __init__(self, path: str | Path, fd: int, size: int) -> None:
        self.path = path
        self._fd, self._source = fd, Source(fd, size)
        self._checksums = read_checksums(self._source)
        self._index = read_index(self._source, self._checksums.end_of_pages, self._checksums.start)
        self._parquet: Parquet | None = None
        if self._index is not None:
            self.meta: dict[str, Any] = self._index.meta
            check_format(path, self.meta.get("format"))
            self.num_rows, self._names = self.meta["rows"], self._index.columns
            check_columns(path, self.num_rows, self._names)
        else:
            self._parquet = open_parquet(path, self._source, self._checksums)
            self.meta, self.num_rows, self._names = self._parquet.meta, self._parquet.num_rows, self._parquet.names

    @cached_property
    def metrics(self) -> dict[str, str]:
        """Metric name to column name, in the order of the file."""
        return {columns.metric_name(name): name for name in self._names[2:]}

    def read(self, metrics: Sequence[str] | None = None, *, wall_time: bool = True) -> pa.Table:
        """`step`, `wall_time`, then a column named as its metric for each one asked for and found (None: all).

        Without `wall_time` that column is left out and not read, which makes reading one metric a third faster.

        Raises DamagedFile when a checksum is wrong.
        """
        found = list(self.metrics) if metrics is None else [m for m in dict.fromkeys(metrics) if m in self.metrics]
        fixed = [STEP, WALL_TIME] if wall_time else [STEP]
        wanted = [*fixed, *(self.metrics[name] for name in found)]
        indices = [self._names.index(name) for name in wanted]
        if self._parquet is None:
            self._parquet = open_parquet(self.path, self._source, self._checksums)
            if (self._parquet.meta, self._parquet.names) != (self.meta, self._names):
                raise DamagedFile(self.path, "has an index of another segment")
        try:
            table = self._parquet.read(indices)
        except READ_ERRORS as error:
            raise DamagedFile(self.path, f"is damaged: {first_line(error)}") from error
        if table.num_rows != self.num_rows:
            raise DamagedFile(self.path, "has fewer rows than its footer says")
        if self._index is not None and self._index.steps not in (None, even_steps(columns.numbers(table.column(0)))):
            raise DamagedFile(self.path, "has other steps than its index says")
        return table.select(wanted).rename_columns([*fixed, *found])

    def read_points(self, metric: str, *, wall_time: bool = True, room: MakeRoom = np.empty) -> Points | None:
        """The points of one metric; None when the segment does not have it. Without `wall_time`, times are left out.

        Evenly spaced steps are counted, not read, and Parquet's own reader is left out where its start would take
        longer than everything else.

        Args:
            metric: its name.
            wall_time: whether times are wanted.
            room: gives an array for n float64 values, in which the values are then put if possible.

        Raises DamagedFile when a checksum is wrong.
        """
        name = columns.column_name(metric)
        if name not in self._names[2:]:
            return None
        points = None
        if self._index is not None and self._index.steps is not None and not wall_time:
            points = self._read_indexed(self._index, self._index.steps, self._names.index(name), room)
        if points is not None:
            return points
        return points_of(self.read([metric], wall_time=wall_time), metric, wall_time=wall_time)

    def _read_indexed(self, index: Index, steps: EvenSteps, column: int, room: MakeRoom) -> Points | None:
        count, is_float = index.counts[column - 2], index.kinds[column - 2] == "d"
        try:
            chunk = self._checksums.read_chunk(self._source, column)
            values = room(count) if is_float else np.empty(count, np.int64)
            rows = decode_column(chunk, self.num_rows, values)
        except OtherLayout:
            return None
        except READ_ERRORS as error:
            raise DamagedFile(self.path, f"is damaged: {first_line(error)}") from error
        shown = steps if rows is None else steps.first + steps.stride * rows
        return Points(shown, values, np.empty(0, np.int64))

    def close(self) -> None:
        """Give the file back."""
        os.close(self._fd)

    def __enter__(self) -> Segment:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_segment(path: str | Path) -> Segment:
    """Open a segment; footer or index, schema and counts are checked here, values when they are read.

    Raises:
        FileNotFoundError: it is not there.
        DamagedFile: it is torn, foreign, a link, or says impossible things.
        UnsupportedFormat: a newer version wrote it.
    """
    fd, found = open_regular(path)
    try:
        return Segment(path, fd, found.st_size)
    except FileError:
        os.close(fd)
        raise
    except READ_ERRORS as error:
        os.close(fd)
        raise DamagedFile(path, f"is not a whole segment of ours: {first_line(error)}") from error


def read_columns(path: str | Path, metrics: Sequence[str] | None = None) -> pa.Table:
    """Open a segment and read some metrics of it: `open_segment` and `Segment.read` in one. Raises as they do."""
    with open_segment(path) as segment:
        return segment.read(metrics)
