"""The tensors of one run: its segments, and what has been read of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from explorer.errors import FileError
from explorer.reading.growing_rows import GrowingRows
from explorer.reading.model_record import read_model
from explorer.reading.tensor_pieces import (
    STATISTICS,
    newest,
    newest_statistics,
    parts_of,
    read_statistics,
)
from explorer.storage.bins import Histograms, empty_histograms
from explorer.storage.layout import TENSORS, SegmentFile, list_gaps, list_segments
from explorer.storage.tensor_files import TensorSegment, TensorSpan, open_tensor_segment
from explorer.storage.tensor_rows import SCHEMA

Identity = tuple[int, int, int]
T = TypeVar("T")


@dataclass(frozen=True)
class TensorKey:
    """A tensor that was watched.

    Attributes:
        name: fully qualified name.
        kind: `param`, `grad`, `update`, `activation` or `labels`.
        num_samples: steps at which it was recorded. Where attempts overlap, a step that several have counts for each.
        first_step, last_step: the smallest and the largest of them.
    """

    name: str
    kind: str
    num_samples: int
    first_step: int
    last_step: int


class _Known:
    """A segment as it was seen last.

    Attributes:
        file: as it was when it was read last; the last segment of a process grows.
        spans: what it holds; none when it cannot be read.
        problem: why not.
    """

    def __init__(self, file: SegmentFile) -> None:
        self.file = file
        self.spans: list[TensorSpan] = []
        self.problem: str | None = None
        self._opened: TensorSegment | None = None
        self._open_and(lambda segment: None)

    def read(
        self, is_wanted: Callable[[TensorSpan], bool], read: Callable[[TensorSegment], T]
    ) -> tuple[list[TensorSpan], T] | None:
        """The spans that are wanted and what `read` returns; None when there are none or the file is damaged."""
        before = self.spans
        wanted = [span for span in before if is_wanted(span)]
        if not wanted:
            return None
        found = self._open_and(read)
        if self.spans is not before:
            wanted = [span for span in self.spans if is_wanted(span)]
        return None if found is None else (wanted, found)

    def _open_and(self, read: Callable[[TensorSegment], T]) -> T | None:
        try:
            with open_tensor_segment(self.file.location, self._opened) as segment:
                self._opened = segment
                size, mtime_ns, inode = segment.identity
                self.file = self.file._replace(size=size, mtime_ns=mtime_ns, inode=inode)
                self.spans = segment.tensors
                return read(segment)
        except FileError as error:
            self.problem = f"{self.file.path.name}: {error.reason}"
        except FileNotFoundError:
            self.problem = f"{self.file.path.name}: is gone"
        self.spans = []
        return None


@dataclass
class _Rows:
    """Rows of one tensor in the order in which they count, and which file each came from."""

    rows: GrowingRows = field(default_factory=GrowingRows)
    taken: list[tuple[Identity, int]] = field(default_factory=list)
    """(identity of a file, rows up to its end)."""
    shown: Histograms = field(default_factory=empty_histograms)


class RunTensors:
    """See the module. Every public method takes the lock of the run; `fresh_s` is how old the last look may be."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._lock = threading.RLock()
        self._looked: float | None = None
        self._known: dict[Path, _Known] = {}
        self._segments: list[_Known] = []
        self._gaps: list[str] = []
        self._tensors: dict[tuple[str, str], _Rows] = {}
        self._statistics: dict[str | None, tuple[list[Identity], pa.Table]] = {}

    def names(self, fresh_s: float) -> list[TensorKey]:
        """See `TensorStore.names`."""
        with self._lock:
            self._look(fresh_s)
            spans: dict[tuple[str, str], list[TensorSpan]] = {}
            for known in self._segments:
                for span in known.spans:
                    spans.setdefault((span.kind, span.name), []).append(span)
        keys = [
            TensorKey(
                name,
                kind,
                sum(span.num_rows for span in found),
                min(span.first_step for span in found),
                max(span.last_step for span in found),
            )
            for (kind, name), found in spans.items()
        ]
        model = read_model(self._run_dir)
        order = {} if model is None else model.order
        return sorted(keys, key=lambda key: (key.kind, order.get((key.kind, key.name), len(order)), key.name))

    def problems(self, fresh_s: float) -> tuple[str, ...]:
        """See `TensorStore.problems`."""
        with self._lock:
            self._look(fresh_s)
            return self._problems()

    def _problems(self) -> tuple[str, ...]:
        return (*self._gaps, *(known.problem for known in self._segments if known.problem))

    def drop(self, key: tuple[str, str | None]) -> None:
        """Let go of what was read; what was handed out stays valid."""
        kind, name = key
        with self._lock:
            if kind == "statistics":
                self._statistics.pop(name, None)
            elif name is not None:
                self._tensors.pop((kind, name), None)

    def statistics(self, kind: str | None, fresh_s: float) -> pa.Table:
        """See `TensorStore.statistics`."""
        with self._lock:
            self._look(fresh_s)
            before = self._statistics.get(kind)
            if before is not None and before[0] == self._identities():
                return before[1]
            tables, spans = [], []
            for known in self._segments:
                found = known.read(lambda span: kind in (None, span.kind), partial(read_statistics, kind=kind))
                if found is not None:
                    tables.append(found[1])
                    spans.append(found[0])
            table = newest_statistics(tables, spans) if tables else SCHEMA.empty_table().select(list(STATISTICS))
            self._statistics[kind] = (self._identities(), table)
            return table

    def histograms(self, kind: str, names: Sequence[str], fresh_s: float) -> dict[str, Histograms]:
        """The histograms of some tensors of a kind; those that were not recorded are left out."""
        with self._lock:
            self._look(fresh_s)
            wanted = {name: self._tensors.get((kind, name)) or _Rows() for name in names}
            new = {name: same for name, rows in wanted.items() if (same := self._num_same(rows)) is not None}
            if new:
                self._read_on(kind, {name: wanted[name] for name in new}, new)
            found = {name: rows for name, rows in wanted.items() if len(rows.rows)}
            self._tensors |= {(kind, name): rows for name, rows in found.items()}
            return {name: rows.shown for name, rows in found.items()}

    def _identities(self) -> list[Identity]:
        return [known.file.identity for known in self._segments]

    def _num_same(self, rows: _Rows) -> int | None:
        """How many of the files that rows were taken from are as they were; None when nothing is new."""
        taken, now = [identity for identity, _ in rows.taken], self._identities()
        if taken == now:
            return None
        same = 0
        for one, other in zip(taken, now, strict=False):
            if one != other:
                break
            same += 1
        return same

    def _read_on(self, kind: str, tensors: dict[str, _Rows], same: dict[str, int]) -> None:
        """Read what is new of these tensors; `same` tells how many files of each need not be read again.

        Each file is read once, and of one after the other the rows are in memory twice.
        """
        taken = {name: rows.taken[: same[name]] for name, rows in tensors.items()}
        for name, rows in tensors.items():
            rows.rows.cut(taken[name][-1][1] if taken[name] else 0)
        num_to_come = self._num_rows(kind, same)
        for at, known in enumerate(self._segments):
            names = {name for name in tensors if same[name] <= at}
            before = {name: len(tensors[name].rows) for name in names}
            is_wanted = partial(_is_one_of, kind=kind, names=names)

            def add(segment: TensorSegment, is_wanted: Callable[[TensorSpan], bool] = is_wanted) -> set[str]:
                spans = [span for span in segment.tensors if is_wanted(span)]
                wanted = {span.name for span in spans}
                for name, part in parts_of(spans, segment.read_histograms(kind, wanted)):
                    tensors[name].rows.add(*part, num_to_come[name])
                    num_to_come[name] -= part[2] - part[1]
                return wanted

            is_whole = known.read(is_wanted, add) is not None
            for name, num in before.items():
                if not is_whole:  # damage that was found on the way costs all rows of the file
                    tensors[name].rows.cut(num)
                taken[name].append((known.file.identity, len(tensors[name].rows)))
        for name, each in tensors.items():
            each.taken = taken[name]
            each.shown = newest(each.rows.rows())

    def _num_rows(self, kind: str, same: dict[str, int]) -> dict[str, int]:
        """How many rows the files behind the first `same` have of each tensor."""
        num = dict.fromkeys(same, 0)
        for at, known in enumerate(self._segments):
            for span in known.spans:
                if span.kind == kind and at >= same.get(span.name, len(self._segments)):
                    num[span.name] += span.num_rows
        return num

    def _look(self, fresh_s: float) -> None:
        now = time.monotonic()
        if self._looked is not None and now - self._looked < fresh_s:
            return
        self._looked = now
        files = [file for file in list_segments(self._run_dir, TENSORS) if file.name.kind == "segment"]
        self._gaps = [f"{TENSORS}: {gap}" for gap in list_gaps(files)]
        before, self._known = self._known, {}
        for file in files:
            known = before.get(file.path)
            if known is None or known.file.identity != file.identity:
                known = _Known(file)
            self._known[file.path] = known
        # What comes later counts more: a newer attempt, and of one attempt a lower rank.
        self._segments = sorted(
            self._known.values(), key=lambda k: (k.file.name.attempt, -k.file.name.rank, k.file.name.segment)
        )


def _is_one_of(span: TensorSpan, kind: str, names: Collection[str]) -> bool:
    return span.kind == kind and span.name in names
