"""The table `tensors`: statistics and a histogram of each watched tensor at each sampled step.

The last segment of a process is rewritten whole as it grows. When it holds 4,096 rows it is sealed: forced to the
device, never touched again, and the next one begins. Rows are sorted by kind, name and step, in row groups of 256, and
the file's index says which rows each tensor has, so that one tensor is read without the others.
"""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from explorer.storage.disk import Disk
from explorer.storage.ends import META_KEY, encode_index
from explorer.storage.layout import FORMAT_VERSION, TENSORS, SegmentName
from explorer.storage.sealed import seal
from explorer.storage.tensor_files import SEGMENT_ROWS, TensorSegment, TensorSpan, open_tensor_segment
from explorer.storage.tensor_histograms import MAX_ENTRIES
from explorer.storage.tensor_rows import SCHEMA, TensorRow, as_text, table_of

__all__ = ["TensorRow", "TensorSegment", "TensorSegments", "TensorSpan", "open_tensor_segment"]

GROUP_ROWS: Final = 256
MAX_PENDING_BYTES: Final = 64 * 2**20
MIN_PERIOD_S: Final = 1.0
IDLE_SHARE: Final = 20
_DICTIONARIES: Final = ("name", "kind")
# Byte-stream split throughout: after zstd it is within a few percent of delta encoding, and numpy can put it together.
_ENCODINGS: Final = {
    **{
        field.name: "BYTE_STREAM_SPLIT"
        for field in SCHEMA
        if field.name not in _DICTIONARIES and not pa.types.is_list(field.type)
    },
    "wall_time": "DELTA_BINARY_PACKED",
    "bins.list.element": "BYTE_STREAM_SPLIT",
    "counts.list.element": "BYTE_STREAM_SPLIT",
}

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Batch:
    """Rows as they were added; `tensor` is the number of each row's (kind, name)."""

    table: pa.Table
    tensor: Ints
    step: Ints
    entries: Ints

    def slice(self, start: int, stop: int | None = None) -> _Batch:
        part = slice(start, stop)
        length = None if stop is None else stop - start
        return _Batch(self.table.slice(start, length), self.tensor[part], self.step[part], self.entries[part])


class TensorSegments:
    """Writes the segments of one process. Used by one thread.

    Attributes:
        num_rows: rows that were added and are not lost.
        num_dropped: rows that were refused because 64 MiB were waiting for a disk that takes nothing.
    """

    def __init__(self, run_dir: Path, attempt: int, rank: int, disk: Disk) -> None:
        self.num_rows = 0
        self.num_dropped = 0
        self._run_dir, self._attempt, self._rank, self._disk = run_dir, attempt, rank, disk
        self._segment = 1
        self._numbers: dict[tuple[str, str], int] = {}
        self._batches: list[_Batch] = []
        self._num_waiting = 0  # rows in no sealed segment
        self._num_in_tail = 0  # of those, rows that are in the tail on disk
        self._num_bytes = self._num_entries = 0  # of those, in memory
        self._due = 0.0

    @property
    def is_due(self) -> bool:
        """Whether rows wait and `flush` was not called for a second, or for 20 times as long as it last took.

        To rewrite the tail costs about 20 us for each row that is in it; a writer that flushes when this is true never
        spends more than a twentieth of one core on it.
        """
        return self._num_waiting != self._num_in_tail and time.monotonic() >= self._due

    def add(self, rows: Sequence[TensorRow]) -> None:
        """Take rows; nothing is written yet. Raises UsageError for values that the columns cannot hold."""
        if not rows:
            return
        table = table_of(rows)
        num_bytes = table.nbytes
        if self._num_bytes + num_bytes > MAX_PENDING_BYTES:
            self.num_dropped += len(rows)
            return
        tensor = [self._numbers.setdefault((row.kind, as_text(row.name)), len(self._numbers)) for row in rows]
        entries = [0 if row.bins is None else len(row.bins) for row in rows]
        self._batches.append(_Batch(table, np.array(tensor), np.array([row.step for row in rows]), np.array(entries)))
        self._num_bytes += num_bytes
        self._num_entries += sum(entries)
        self._num_waiting += len(rows)
        self.num_rows += len(rows)

    def flush(self) -> None:
        """Write everything that was added. Raises OSError; it can be called again and goes on where it stopped."""
        began = time.monotonic()
        while num := self._num_full():
            self._seal(num)
        if self._num_waiting != self._num_in_tail:
            self._write(self._merged(), sealed=False)
            self._num_in_tail = self._num_waiting
        now = time.monotonic()
        self._due = now + max(MIN_PERIOD_S, IDLE_SHARE * (now - began))

    def finish(self) -> None:
        """Write everything and seal the last segment. Raises OSError as `flush` does."""
        while num := self._num_full():
            self._seal(num)
        if self._num_waiting:
            self._seal(self._num_waiting)

    def _num_full(self) -> int:
        """How many of the waiting rows make a full segment; 0 when they do not yet."""
        if self._num_waiting < SEGMENT_ROWS and self._num_entries <= MAX_ENTRIES:
            return 0
        total = np.cumsum(self._merged().entries[:SEGMENT_ROWS])
        num = max(1, int(np.searchsorted(total, MAX_ENTRIES, side="right")))
        return num if num < self._num_waiting or num == SEGMENT_ROWS else 0

    def _merged(self) -> _Batch:
        if len(self._batches) > 1:
            table = pa.concat_tables([batch.table for batch in self._batches])
            columns = ("tensor", "step", "entries")
            joined = [np.concatenate([getattr(batch, name) for batch in self._batches]) for name in columns]
            self._batches = [_Batch(table, *joined)]
        return self._batches[0]

    def _seal(self, num: int) -> None:
        batch = self._merged()
        self._write(batch.slice(0, num), sealed=True)
        # A slice keeps the memory of the whole table: what is left is copied.
        rest = batch.slice(num)
        left = [_Batch(_taken(rest.table, np.arange(len(rest.step))), rest.tensor, rest.step, rest.entries)]
        self._batches = left if len(rest.step) else []
        self._segment += 1
        self._num_waiting -= num
        self._num_entries = int(rest.entries.sum())
        self._num_bytes = sum(batch.table.nbytes for batch in self._batches)
        self._num_in_tail = 0

    def _write(self, batch: _Batch, *, sealed: bool) -> None:
        name = SegmentName(self._attempt, self._rank, self._segment)
        path = self._run_dir / TENSORS / name.filename
        self._disk.make_dir(path.parent)
        self._disk.write_file(path, self._encode(batch, sealed=sealed), sync=sealed)

    def _encode(self, batch: _Batch, *, sealed: bool) -> bytes:
        tensors = sorted(self._numbers)
        rank = np.empty(len(tensors), np.int64)
        rank[[self._numbers[tensor] for tensor in tensors]] = np.arange(len(tensors))
        place = rank[batch.tensor]
        order = np.lexsort((batch.step, place))
        place, step = place[order], batch.step[order]
        starts = np.flatnonzero(np.diff(place, prepend=-1))
        ends = np.append(starts[1:], len(place))
        spans: dict[str, list[list[Any]]] = {}
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            kind, name = tensors[place[start]]
            spans.setdefault(kind, []).append([name, end - start, int(step[start]), int(step[end - 1])])
        meta = {
            "format": FORMAT_VERSION, "table": TENSORS, "attempt": self._attempt, "rank": self._rank,
            "segment": self._segment, "rows": len(step), "group_rows": GROUP_ROWS, "sealed": sealed, "tensors": spans,
        }  # fmt: skip
        return encode_tensors(_taken(batch.table, order), meta)


def encode_tensors(table: pa.Table, meta: dict[str, Any]) -> bytes:
    """The bytes of a segment, given its rows in order and its index."""
    text = encode_index(meta)
    sink = io.BytesIO()
    pq.write_table(
        table.replace_schema_metadata({META_KEY: text}),
        sink,
        row_group_size=GROUP_ROWS,
        compression="zstd",
        compression_level=1,
        use_dictionary=list(_DICTIONARIES),
        column_encoding=_ENCODINGS,
        write_statistics=["kind", "name"],
        write_page_checksum=True,
    )
    return seal(sink.getbuffer(), text)


def _taken(table: pa.Table, rows: Ints) -> pa.Table:
    """Those rows, in that order. `Table.take` would import `pyarrow.compute`: 30 ms of CPU in the training process."""
    places = pa.Array.from_buffers(pa.int64(), len(rows), [None, pa.py_buffer(rows)])
    try:
        from pyarrow._compute import call_function
    except ImportError:  # not a public name: a later pyarrow may have it elsewhere
        return table.take(places)
    return call_function("take", [table, places])
