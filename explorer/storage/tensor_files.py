"""Segments of the table `tensors`, opened for reading. One tensor is read without the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from explorer.errors import DamagedFile
from explorer.storage.bins import Histograms
from explorer.storage.columns import numbers
from explorer.storage.damage import READ_ERRORS, first_line
from explorer.storage.layout import TENSORS, parse_segment_name
from explorer.storage.pages import OtherLayout
from explorer.storage.sealed import SealedFile, open_sealed
from explorer.storage.tensor_histograms import HISTOGRAM_COLUMNS, MAX_ENTRIES, decode_histograms, histograms_of
from explorer.storage.tensor_rows import COLUMNS, SCHEMA, check_rows

SEGMENT_ROWS: Final = 4_096


class TensorSpan(NamedTuple):
    """The rows of one tensor in one segment.

    Attributes:
        kind, name: whose rows they are.
        start, num_rows: which rows of the segment.
        first_step, last_step: the smallest and the largest of their steps.
    """

    kind: str
    name: str
    start: int
    num_rows: int
    first_step: int
    last_step: int


class TensorSegment:
    """A segment open for reading. A context manager; see `open_tensor_segment`.

    Attributes:
        meta: its index.
        identity: (size in bytes, modification time in ns, inode) of the file that is open.
        num_rows: rows.
        group_rows: rows of each row group but the last one.
        tensors: what it holds, by kind and name; their rows follow each other.
    """

    def __init__(self, file: SealedFile, before: TensorSegment | None) -> None:
        self._file = file
        self.meta, self.identity = file.meta, file.identity
        same = before is not None and before.meta is file.meta
        self.tensors: list[TensorSpan] = before.tensors if before is not None and same else _spans(file)
        self.num_rows: int = self.meta["rows"]
        self.group_rows: int = self.meta["group_rows"]

    def read(
        self, columns: Sequence[str], names: Iterable[str] | None = None, kinds: Iterable[str] | None = None
    ) -> pa.Table:
        """Some columns of the rows of some tensors, sorted by kind, name and step.

        Only the row groups that hold them are read and decoded.

        Args:
            columns: which ones, in the order wanted.
            names: whose rows; None is every name.
            kinds: of which kinds; None is every kind.

        Raises:
            DamagedFile: a checksum is wrong, or a value is impossible.
        """
        return self._read_ranges(columns, self._find(names, kinds))

    def read_histograms(self, kind: str, names: Iterable[str] | None = None) -> Iterator[Histograms]:
        """The histograms of one kind, of these names or of all, in the order of the file and in parts of some rows.

        A part is read when it is asked for, into memory that is in use anyway.

        Raises:
            DamagedFile: a checksum is wrong, or a value is impossible.
        """
        size = self.group_rows
        for first, end in self._find(names, [kind]):
            for start, stop in pairwise([first, *range((first // size + 1) * size, end, size), end]):
                yield self._decode(start, stop)

    def _decode(self, start: int, stop: int) -> Histograms:
        try:
            return decode_histograms(self._file, self.num_rows, self.group_rows, start, stop)
        except OtherLayout:
            return histograms_of(self._read_ranges(HISTOGRAM_COLUMNS, [(start, stop)]))
        except READ_ERRORS as error:
            raise DamagedFile(self._file.path, f"is damaged: {first_line(error)}") from error

    def _find(self, names: Iterable[str] | None, kinds: Iterable[str] | None) -> list[tuple[int, int]]:
        """The rows of these tensors, neighbours together."""
        wanted_names = None if names is None else frozenset(names)
        wanted_kinds = None if kinds is None else frozenset(kinds)
        ranges: list[tuple[int, int]] = []
        for span in self.tensors:
            if wanted_kinds is not None and span.kind not in wanted_kinds:
                continue
            if wanted_names is None or span.name in wanted_names:
                start, stop = span.start, span.start + span.num_rows
                if ranges and ranges[-1][1] == start:
                    start = ranges.pop()[0]
                ranges.append((start, stop))
        return ranges

    def check(self) -> None:
        """Read everything, and compare the index with the rows. Raises DamagedFile."""
        self._file.check_all()
        self._file.check_schema(SCHEMA)
        table = self.read(COLUMNS)
        names, kinds = table.column("name").to_pylist(), table.column("kind").to_pylist()
        step = numbers(table.column("step"))
        for span in self.tensors:
            rows = slice(span.start, span.start + span.num_rows)
            steps = step[rows]
            said = ({span.kind}, {span.name}, span.first_step, span.last_step)
            if said != (set(kinds[rows]), set(names[rows]), steps[0], steps[-1]) or (np.diff(steps) < 0).any():
                raise DamagedFile(self._file.path, "has rows that its index does not tell of")

    def _read_ranges(self, columns: Sequence[str], ranges: list[tuple[int, int]]) -> pa.Table:
        size = self.group_rows
        groups = sorted({group for start, end in ranges for group in range(start // size, -(-end // size))})
        if not groups:
            return SCHEMA.empty_table().select(list(columns))
        sizes = [min(size, self.num_rows - group * size) for group in groups]
        places = sorted(COLUMNS.index(name) for name in columns)
        table = self._file.read_groups(SCHEMA, places, list(zip(groups, sizes, strict=True)), MAX_ENTRIES)
        if table.num_rows != sum(sizes):
            raise DamagedFile(self._file.path, "has another number of rows than its index says")
        begins = dict(zip(groups, accumulate(sizes, initial=0), strict=False))
        parts = []
        for start, end in ranges:
            first = begins[start // size] + start % size
            parts.append(table.slice(first, end - start))
        found = (parts[0] if len(parts) == 1 else pa.concat_tables(parts)).select(list(columns))
        try:
            check_rows(found)
        except READ_ERRORS as error:
            raise DamagedFile(self._file.path, first_line(error)) from error
        return found

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def __enter__(self) -> TensorSegment:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_tensor_segment(path: str | Path, before: TensorSegment | None = None) -> TensorSegment:
    """Open a segment; its end and its index are checked here, rows when they are read.

    Args:
        path: the file.
        before: the segment as it was opened before; what was checked then is not read again if it is still the same.

    Raises:
        FileNotFoundError: it is not there.
        DamagedFile: it is torn, foreign, a link, or says impossible things.
        UnsupportedFormat: a newer version wrote it.
    """
    file = open_sealed(path, None if before is None else before._file)
    try:
        segment = TensorSegment(file, before)
        name = parse_segment_name(file.path.name)
        said = [file.meta.get(key) for key in ("table", "attempt", "rank", "segment")]
        if name is not None and said != [TENSORS, name.attempt, name.rank, name.segment]:
            raise DamagedFile(path, "belongs to another place than its name says")
    except BaseException:
        file.close()
        raise
    return segment


def _spans(file: SealedFile) -> list[TensorSpan]:
    """What the index says is in the file. Raises DamagedFile when that is impossible."""
    found: list[TensorSpan] = []
    start = 0
    try:
        for kind, tensors in file.meta["tensors"].items():
            for name, num_rows, first, last in tensors:
                if not type(num_rows) is type(first) is type(last) is int or num_rows < 1 or type(name) is not str:
                    raise ValueError("has an index that says impossible things")
                found.append(TensorSpan(kind, name, start, num_rows, first, last))
                start += num_rows
        if start != file.meta["rows"] or not 0 < start <= SEGMENT_ROWS:
            raise ValueError(f"claims other rows than those {start:,} that its index tells of")
        size = file.meta["group_rows"]
        if type(size) is not int or size < 1 or len(file.chunks) != -(-start // size) * len(COLUMNS):
            raise ValueError("has another number of column chunks than this table has")
        if any(one[:2] >= other[:2] for one, other in pairwise(found)):
            raise ValueError("has an index that is not sorted")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DamagedFile(file.path, f"has a damaged index: {first_line(error)}") from error
    return found
